//! A gateway of one test on a nats-server of its own, and a client that sends what the test says, byte by byte.

#![allow(dead_code, reason = "no test program uses all of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::net::SocketAddr;
use std::time::Duration;

use bus::testing::TestServer;
use bus::topology::{INGEST, StreamsConfig};
use bus::{CancellationToken, Context, Delivery, Token};
use gateway::Config;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing here takes longer, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Gateway {
    pub server: TestServer,
    pub context: Context,
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub running: JoinHandle<anyhow::Result<()>>,
}

impl Gateway {
    pub async fn start() -> Self {
        Self::start_with(Config::default(), StreamsConfig::default()).await
    }

    pub async fn start_with(config: Config, streams: StreamsConfig) -> Self {
        let server = TestServer::start().await.unwrap();
        let shutdown = CancellationToken::new();
        let context = Context::connect(&server.config(), &streams, "gateway", shutdown.clone())
            .await
            .unwrap();
        context.ensure_topology().await.unwrap();
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            ..config
        };
        let listener = gateway::bind(&config).await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(gateway::run(config, listener, context.clone()));
        Self {
            server,
            context,
            address,
            shutdown,
            running,
        }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Waits until it holds so many bytes of bodies.
    pub async fn holds(&self, bytes: usize) {
        let wanted = format!("aiai_gateway_held_bytes {bytes}\n");
        let begun = std::time::Instant::now();
        loop {
            let figures = String::from_utf8(self.get("/metrics").await.body).unwrap();
            if figures.contains(&wanted) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "not {bytes}: {figures}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// One request on a connection of its own.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        self.exchange(&[head.as_bytes(), body]).await
    }

    /// Writes and reads at the same time, as a client has to.
    pub async fn exchange(&self, parts: &[&[u8]]) -> Answer {
        let (mut reader, mut writer) = self.connect().await.into_split();
        let writing = async {
            for part in parts {
                if writer.write_all(part).await.is_err() {
                    break;
                }
            }
        };
        let mut bytes = Vec::new();
        let both = async {
            let (_, read) = tokio::join!(writing, reader.read_to_end(&mut bytes));
            read
        };
        timeout(PATIENCE, both).await.expect("an answer in time").unwrap();
        Answer::read(&bytes)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    /// JSON for a path.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )
        .await
    }

    /// Messages in INGEST.
    pub async fn stored(&self) -> u64 {
        self.context.stream_state(INGEST).await.unwrap().messages
    }

    /// The message of INGEST with this sequence.
    pub async fn message(&self, sequence: u64) -> Delivery {
        let mut range = self.context.range(INGEST, sequence, sequence).await.unwrap();
        range.next().await.unwrap().expect("a message")
    }

    /// Stops it and waits for its end.
    pub async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.running)
            .await
            .expect("an end")
            .unwrap()
            .unwrap();
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The lines before the body, in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = bytes[end + 4..].to_vec();
        Self { status, head, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts that it is problem details with this status whose detail has these words; gives them.
    pub fn problem(&self, status: u16, words: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(
            problem["type"].as_str().unwrap().starts_with("urn:aiai:problem:"),
            "{problem}"
        );
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
        problem
    }
}

pub fn with_tokens(tokens: &[(&str, &str)]) -> Config {
    let mut config = Config::default();
    config.tokens.0 = tokens
        .iter()
        .map(|(token, tenant)| Token {
            token: (*token).to_owned(),
            tenant: (*tenant).to_owned(),
        })
        .collect();
    config
}

pub const METRIC: &str = r#"{"name":"queue.depth","value":42.5,"tags":{"region":"eu"}}"#;
