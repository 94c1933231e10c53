//! What is bad is refused with place and fix, and nothing of it is stored.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};

use common::{Gateway, METRIC};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// Resident memory of this process at its highest, in megabytes.
fn memory_high_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_item_refuses_all_and_is_named() {
    let gateway = Gateway::start().await;
    let answer = gateway
        .post(
            "/v1/metrics",
            &format!(r#"[{METRIC},{{"name":"x","vlaue":1}},{METRIC},5]"#),
        )
        .await;
    let problem = answer.problem(422, "2 things are wrong");
    assert_eq!(problem["errors"][0]["index"], 1);
    assert_eq!(problem["errors"][0]["place"], "[1].vlaue");
    assert_eq!(problem["errors"][0]["reason"], "unknown_field");
    assert_eq!(problem["errors"][0]["fix"], "did you mean `value`?");
    assert_eq!(problem["errors"][1]["index"], 3);
    let lines = format!("{METRIC}\nnonsense\n{METRIC}");
    let headers = [("Content-Type", "application/x-ndjson")];
    let answer = gateway
        .send("POST", "/v1/metrics", &headers, lines.as_bytes())
        .await;
    assert_eq!(answer.problem(422, "see errors")["errors"][0]["place"], "line 2");
    let answer = gateway.post("/v1/usage", "").await;
    let problem = answer.problem(422, "one thing");
    assert_eq!(problem["errors"][0]["reason"], "empty_payload");
    assert!(problem["errors"][0]["index"].is_null());
    assert_eq!(gateway.stored().await, 0, "nothing of them");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bad_items_are_counted_and_some_described() {
    let gateway = Gateway::start().await;
    let answer = gateway
        .post("/v1/metrics", &format!("[{}5]", "5,".repeat(999)))
        .await;
    let problem = answer.problem(422, "1000 things are wrong");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 50);
    assert_eq!(problem["errors_omitted"], 950);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_fill_memory_does_not() {
    let gateway = Gateway::start().await;
    let blanks = || std::io::repeat(b' ').take(256 << 20);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::copy(&mut blanks(), &mut gzip).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(blanks(), 1).unwrap();
    let before = memory_high_megabytes();
    for (encoding, bomb) in [("gzip", gzip), ("zstd", zstd)] {
        assert!(bomb.len() < 1_500_000, "{encoding} packs well: {}", bomb.len());
        // As much of it as is let in.
        let bomb = &bomb[..bomb.len().min(900_000)];
        let headers = [JSON, ("Content-Encoding", encoding)];
        let answer = gateway.send("POST", "/v1/metrics", &headers, bomb).await;
        answer.problem(413, "several requests");
    }
    let answer = gateway
        .post("/v1/metrics", &format!("[{}5]", "5,".repeat(400_000)))
        .await;
    assert!(
        answer.problem(422, "wrong")["errors"][0]["problem"]
            .as_str()
            .unwrap()
            .contains("more than 10000")
    );
    let grown = memory_high_megabytes() - before;
    assert!(grown < 64, "{grown} MB more");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_told_before_it_is_read() {
    let gateway = Gateway::start().await;
    let million = format!("[{}5]", "5,".repeat(1_000_000));
    gateway
        .post("/v1/metrics", &million)
        .await
        .problem(413, "bytes, unpacked");
    let name = format!(r#"{{"name":"{}","value":1}}"#, "n".repeat(10 << 20));
    gateway
        .post("/v1/metrics", &name)
        .await
        .problem(413, "bytes, unpacked");
    // Without a length it is seen on the way.
    let head = format!(
        "POST /v1/metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        gateway.address,
        2 << 20
    );
    let answer = gateway
        .exchange(&[head.as_bytes(), &vec![b' '; 2 << 20], b"\r\n0\r\n\r\n"])
        .await;
    answer.problem(413, "bytes, unpacked");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_body_that_is_taken_is_stored() {
    let gateway = Gateway::start().await;
    let told = gateway.post("/v1/events", &" ".repeat(2 << 20)).await.json();
    let detail = told["detail"].as_str().unwrap();
    let limit: usize = detail
        .split(' ')
        .find_map(|word| word.parse().ok())
        .expect("the limit");
    let mut body = String::from("[");
    while body.len() < limit - 2000 {
        let data = "x".repeat(1000.min(limit - body.len() - 500));
        write!(body, r#"{{"name":"x","data":"{data}"}},"#).unwrap();
    }
    body.push_str(r#"{"name":"last"}]"#);
    body.push_str(&" ".repeat(limit - body.len()));
    let long = "k".repeat(128);
    let tenant = "t".repeat(256);
    let headers = [
        JSON,
        ("Idempotency-Key", long.as_str()),
        ("Aiai-Tenant", tenant.as_str()),
    ];
    let answer = gateway
        .send("POST", "/v1/events", &headers, body.as_bytes())
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    body.push(' ');
    gateway.post("/v1/events", &body).await.problem(413, "bytes");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told() {
    let gateway = Gateway::start().await;
    let deep = format!(r#"{{"name":"x","data":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    let problem = gateway.post("/v1/events", &deep).await.problem(422, "one thing");
    assert_eq!(problem["errors"][0]["reason"], "too_deep");
    let deeper = "[".repeat(100_000);
    gateway
        .post("/v1/events", &deeper)
        .await
        .problem(422, "one thing");
    let answer = gateway
        .send(
            "POST",
            "/v1/metrics",
            &[JSON],
            b"{\"name\":\"\xff\xfe\",\"value\":1}",
        )
        .await;
    assert_eq!(
        answer.problem(422, "one thing")["errors"][0]["reason"],
        "invalid_utf8"
    );
    let mut cut = gzip(METRIC.as_bytes());
    cut.truncate(cut.len() - 12);
    for body in [&cut[..], b"plain", b"\x1f\x8b"] {
        let headers = [JSON, ("Content-Encoding", "gzip")];
        let answer = gateway.send("POST", "/v1/metrics", &headers, body).await;
        answer.problem(400, "not whole as gzip");
    }
    let headers = [JSON, ("Content-Encoding", "zstd")];
    let answer = gateway.send("POST", "/v1/metrics", &headers, &gzip(b"x")).await;
    answer.problem(400, "not whole as zstd");
    assert_eq!(gateway.stored().await, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_types_and_encodings_are_not_taken() {
    let gateway = Gateway::start().await;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "application/xml",
        "",
    ] {
        let headers = [("Content-Type", content_type)];
        let answer = gateway
            .send("POST", "/v1/metrics", &headers, METRIC.as_bytes())
            .await;
        answer.problem(415, "application/x-ndjson");
        assert!(answer.header("accept").is_some());
    }
    gateway
        .send("POST", "/v1/metrics", &[], METRIC.as_bytes())
        .await
        .problem(415, "Content-Type");
    for encoding in ["br", "deflate", "gzip, gzip", ""] {
        let headers = [JSON, ("Content-Encoding", encoding)];
        let answer = gateway
            .send("POST", "/v1/metrics", &headers, METRIC.as_bytes())
            .await;
        answer.problem(415, "Content-Encoding");
        assert_eq!(answer.header("accept-encoding"), Some("gzip, zstd"));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_cannot_be_used_are_told() {
    let gateway = Gateway::start().await;
    let long = "x".repeat(4000);
    for (name, value) in [
        ("Aiai-Tenant", "a.b"),
        ("Aiai-Tenant", ">"),
        ("Aiai-Tenant", ""),
        ("Idempotency-Key", ""),
        ("Idempotency-Key", &long[..129]),
        ("Idempotency-Key", "é"),
        ("Idempotency-Key", "two words"),
        ("traceparent", &long),
    ] {
        let headers = [JSON, (name, value)];
        let answer = gateway
            .send("POST", "/v1/metrics", &headers, METRIC.as_bytes())
            .await;
        answer.problem(400, &name.to_lowercase());
    }
    let twice = [JSON, ("Aiai-Tenant", "a"), ("Aiai-Tenant", "b")];
    let answer = gateway
        .send("POST", "/v1/metrics", &twice, METRIC.as_bytes())
        .await;
    answer.problem(400, "twice");
    let many = [("X-Many", "y"); 150];
    assert_eq!(gateway.send("GET", "/health", &many, b"").await.status, 431);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_methods_and_hosts_are_told() {
    let gateway = Gateway::start().await;
    gateway.get("/v1/metricz").await.problem(404, "/v1/metrics");
    let answer = gateway.get("/v1/metrics").await;
    answer.problem(405, "Allow");
    assert_eq!(answer.header("allow"), Some("post"));
    let answer = gateway.send("DELETE", "/health", &[], b"").await;
    answer.problem(405, "Allow");
    assert_eq!(answer.header("allow"), Some("get,head"));
    let foreign = b"GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    gateway.exchange(&[foreign]).await.problem(421, "localhost");
    let ours = b"GET /health HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n\r\n";
    assert_eq!(gateway.exchange(&[ours]).await.status, 200);
    gateway.stop().await;
}
