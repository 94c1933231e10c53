//! OTLP/gRPC, frame by frame: the same messages as over HTTP, and the status that says why not.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, Request};
use bus::testing::TestServer;
use bus::topology::{INGEST, StreamsConfig};
use bus::{Bytes, CancellationToken, Context};
use flate2::Compression;
use flate2::write::GzEncoder;
use otlp::Config;
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const TRACES: &[u8] = include_bytes!("fixtures/traceloop_openai.traces.pb");
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A message in its frame.
fn framed(message: &[u8], compressed: bool) -> Vec<u8> {
    let mut frame = vec![u8::from(compressed)];
    frame.extend_from_slice(&u32::try_from(message.len()).expect("a length").to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// The headers and trailers of the answer, together.
async fn call(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> HeaderMap {
    let exchange = async {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut request = Request::post(format!("http://{address}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let (answer, mut sending) = client.send_request(request, false).expect("sent");
        // A call that its headers decide may be answered, and its stream closed, before the body is on its way.
        let _ = sending.send_data(Bytes::from(body), true);
        let (head, mut body) = answer.await.expect("an answer").into_parts();
        let mut all = head.headers;
        while let Some(data) = body.data().await {
            let data = data.expect("data");
            body.flow_control()
                .release_capacity(data.len())
                .expect("released");
        }
        all.extend(body.trailers().await.expect("trailers").unwrap_or_default());
        all
    };
    timeout(PATIENCE, exchange).await.expect("an answer in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_stored_once_and_refused_with_a_status() {
    let server = TestServer::start().await.expect("a server");
    let (nats, streams) = (server.config(), StreamsConfig::default());
    let connecting = Context::connect(&nats, &streams, "otlp", CancellationToken::new());
    let context = connecting.await.expect("a connection");
    context.ensure_topology().await.expect("streams");
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        listen_http: free,
        listen_grpc: free,
        body_megabytes_max: 1,
        ..Config::default()
    };
    let listeners = otlp::bind(&config).await.expect("ports");
    let address = listeners.grpc_address().expect("an address");
    tokio::spawn(otlp::run(config, listeners, context.clone()));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(TRACES).expect("compressed");
    let packed = framed(&encoder.finish().expect("compressed"), true);

    for (headers, body) in [
        (&[][..], framed(TRACES, false)),
        (&[("grpc-encoding", "gzip")][..], packed),
    ] {
        let answer = call(address, EXPORT, headers, body).await;
        assert_eq!(answer["grpc-status"], "0", "{answer:?}");
        let state = context.stream_state(INGEST).await.expect("a stream");
        assert_eq!(state.messages, 2);
    }
    for (path, body, status) in [
        (EXPORT, framed(b"\xff", false), "3"),
        (EXPORT, framed(&vec![0; 2 << 20], false), "3"),
        ("/other.Service/Export", framed(b"", false), "12"),
    ] {
        let answer = call(address, path, &[], body).await;
        assert_eq!(answer["grpc-status"], status, "{answer:?}");
    }
    server.signal(Signal::STOP);
    let mut answer = call(address, EXPORT, &[], framed(TRACES, false)).await;
    // A busy machine stops it a moment later; the request is known, and stored no more.
    let begun = Instant::now();
    while answer["grpc-status"] == "0" && begun.elapsed() < PATIENCE {
        answer = call(address, EXPORT, &[], framed(TRACES, false)).await;
    }
    server.signal(Signal::CONT);
    assert_eq!(answer["grpc-status"], "14", "{answer:?}");
    assert!(answer.contains_key("grpc-status-details-bin"), "{answer:?}");
}
