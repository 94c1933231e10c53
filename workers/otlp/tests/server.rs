//! The worker on a real nats-server: what it answers, and what lies in INGEST then.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bus::testing::TestServer;
use bus::topology::{INGEST, StreamsConfig};
use bus::{CancellationToken, Context, Token, Tokens};
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use otlp::Config;
use prost::Message as _;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const TRACES: &[u8] = include_bytes!("fixtures/traceloop_openai.traces.pb");
const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";

struct Worker {
    server: TestServer,
    context: Context,
    address: SocketAddr,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Worker {
    async fn start(config: Config) -> Self {
        let server = TestServer::start().await.expect("a server");
        let (nats, streams) = (server.config(), StreamsConfig::default());
        let connecting = Context::connect(&nats, &streams, "otlp", CancellationToken::new());
        let context = connecting.await.expect("a connection");
        context.ensure_topology().await.expect("streams");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            listen_http: free,
            listen_grpc: free,
            ..config
        };
        let listeners = otlp::bind(&config).await.expect("ports");
        let address = listeners.http_address().expect("an address");
        tokio::spawn(otlp::run(config, listeners, context.clone()));
        Self {
            server,
            context,
            address,
        }
    }

    async fn send(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.expect("a connection");
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.expect("sent");
            // A refusal may come before all is sent.
            let _ = stream.write_all(body).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        };
        let answer = timeout(PATIENCE, exchange).await.expect("an answer in time");
        let end = answer
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        Answer {
            status,
            head,
            body: answer[end + 4..].to_vec(),
        }
    }

    async fn messages(&self) -> u64 {
        self.context
            .stream_state(INGEST)
            .await
            .expect("a stream")
            .messages
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_stored_once_however_often_and_packed_it_comes() {
    let worker = Worker::start(Config::default()).await;
    let answer = worker.send("/v1/traces", PROTOBUF, TRACES).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    let taken = ExportTraceServiceResponse::decode(&answer.body[..]).expect("an answer");
    assert_eq!(taken, ExportTraceServiceResponse::default());
    // Steps and usage.
    assert_eq!(worker.messages().await, 2);
    let packed = gzip(TRACES);
    let again = worker
        .send(
            "/v1/traces",
            &format!("{PROTOBUF}Content-Encoding: gzip\r\n"),
            &packed,
        )
        .await;
    assert_eq!((again.status, worker.messages().await), (200, 2));
    let other = worker
        .send("/v1/traces", &format!("{PROTOBUF}Aiai-Tenant: acme\r\n"), TRACES)
        .await;
    assert_eq!((other.status, worker.messages().await), (200, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_with_its_fix() {
    let config = Config {
        body_megabytes_max: 1,
        memory_megabytes: 16,
        ..Config::default()
    };
    let worker = Worker::start(config).await;
    let bomb = gzip(&vec![0; 8 << 20]);
    let empty_spans: Vec<u8> = {
        let scope: Vec<u8> = [0x12, 0].repeat(300_000);
        let wrap = |inner: &[u8]| {
            let mut outer = vec![if inner.len() > 600_000 { 0x0a } else { 0x12 }];
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            outer.extend_from_slice(inner);
            outer
        };
        wrap(&wrap(&scope))
    };
    let json = "Content-Type: application/json\r\n";
    for (headers, body, status, text) in [
        (PROTOBUF, &b"\xff"[..], 400, "protobuf"),
        (json, b"{", 400, "OTLP's JSON"),
        (
            "Content-Type: text/plain\r\n",
            b"x",
            415,
            "application/x-protobuf",
        ),
        (
            "Content-Type: application/json\r\nContent-Encoding: br\r\n",
            b"x",
            415,
            "gzip",
        ),
        (PROTOBUF, &vec![0; 2 << 20], 413, "send less"),
        (
            "Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n",
            &bomb,
            413,
            "send less",
        ),
        (
            "Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n",
            b"x",
            400,
            "gzip",
        ),
        (PROTOBUF, &empty_spans, 413, "send less"),
        (
            "Content-Type: application/json\r\nAiai-Tenant: a.b\r\n",
            b"{}",
            400,
            "Aiai-Tenant",
        ),
        (
            "Content-Type: application/json\r\nOrigin: http://evil.example\r\n",
            b"{}",
            403,
            "otlp.tokens",
        ),
    ] {
        let answer = worker.send("/v1/traces", headers, body).await;
        let said = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{headers}{said}");
        assert!(said.contains(text), "{said}");
    }
    assert_eq!(worker.messages().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_cannot_be_stored_is_told() {
    let worker = Worker::start(Config::default()).await;
    let span = |name: &str| {
        serde_json::json!({"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": name,
            "startTimeUnixNano": "1763600000000000000"})
    };
    let request =
        serde_json::json!({"resourceSpans": [{"scopeSpans": [{"spans": [span("good"), span("")]}]}]});
    let answer = worker
        .send(
            "/v1/traces",
            "Content-Type: application/json\r\n",
            request.to_string().as_bytes(),
        )
        .await;
    assert_eq!(answer.status, 200);
    let said: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(
        said,
        serde_json::json!({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "span ``: it has no name; name it"}})
    );
    assert_eq!(worker.messages().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_asked_for_where_there_are_any() {
    let token = Token {
        token: "0123456789abcdef".into(),
        tenant: "acme".into(),
    };
    let worker = Worker::start(Config {
        tokens: Tokens(vec![token]),
        ..Config::default()
    })
    .await;
    let answer = worker.send("/v1/traces", PROTOBUF, TRACES).await;
    assert_eq!(answer.status, 401);
    assert!(
        answer.head.contains("www-authenticate: bearer"),
        "{}",
        answer.head
    );
    let authorized = format!("{PROTOBUF}Authorization: Bearer 0123456789abcdef\r\n");
    let answer = worker.send("/v1/traces", &authorized, TRACES).await;
    assert_eq!((answer.status, worker.messages().await), (200, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_the_sender_is_told_to_come_again() {
    let worker = Worker::start(Config::default()).await;
    worker.server.signal(Signal::STOP);
    let answer = worker.send("/v1/traces", PROTOBUF, TRACES).await;
    worker.server.signal(Signal::CONT);
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    // Whether or not it was stored, once it is sent again it is stored once.
    let again = worker.send("/v1/traces", PROTOBUF, TRACES).await;
    assert_eq!((again.status, worker.messages().await), (200, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_clients_hold_nothing_up() {
    let worker = Worker::start(Config::default()).await;
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(worker.address).await.expect("a connection");
        let head =
            format!("POST /v1/traces HTTP/1.1\r\nHost: a\r\n{PROTOBUF}Content-Length: 16000000\r\n\r\nx");
        stream.write_all(head.as_bytes()).await.expect("sent");
        stalled.push(stream);
    }
    let answer = worker.send("/v1/traces", PROTOBUF, TRACES).await;
    assert_eq!(answer.status, 200);
}
