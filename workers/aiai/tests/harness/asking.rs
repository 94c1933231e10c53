//! What a world answers: rows, the overview, the ledger.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{SETTLE_TIMEOUT, World, client, process, rows, tool, until};

impl World {
    /// Rows of one SELECT, through `aiai query`.
    pub fn query(&self, sql: &str) -> Vec<Value> {
        let output = self.ask(sql);
        assert!(output.ok(), "aiai query {sql}: {}", output.stderr);
        rows(&output.stdout)
    }

    /// The same while the sink may be away or busy; none: it did not answer.
    pub fn try_query(&self, sql: &str) -> Option<Vec<Value>> {
        let output = self.ask(sql);
        output.ok().then(|| rows(&output.stdout))
    }

    fn ask(&self, sql: &str) -> process::Output {
        process::run(self.cli(&["query", sql, "-o", "ndjson", "--rows", "1000000"]))
    }

    /// Rows of one SELECT, read from the file by the duckdb module of Python; nobody else may have it open.
    /// `None`: there is no such Python here, and that was said.
    pub fn read(&self, sql: &str) -> Option<Vec<Value>> {
        let python = tool(
            "AIAI_TEST_PYTHON",
            "reading the database file with DuckDB's own library",
        )?;
        let mut command = Command::new(python);
        command.arg(client("read_rows.py")).arg(self.database()).arg(sql);
        let output = process::run(command);
        assert!(output.ok(), "read_rows.py {sql}: {}", output.stderr);
        Some(rows(&output.stdout))
    }

    /// What `/api/overview` says, once the sink answers: just after a start it may not yet.
    pub fn overview(&self) -> Value {
        until("an overview", SETTLE_TIMEOUT, || {
            let (status, body) = http_get(&self.dashboard, "/api/overview");
            (status == 200).then(|| serde_json::from_str(&body).expect("JSON"))
        })
    }

    /// The ledger, once it knows of so many messages (or more) and none of them is pending.
    pub fn settled(&self, published_min: u64) -> Ledger {
        let mut last = Value::Null;
        until("the ledger to settle", SETTLE_TIMEOUT, || {
            last = self.overview()["ledger"].clone();
            let ledger = Ledger::read(&last);
            assert_eq!(
                ledger.published,
                ledger.stored + ledger.dead + ledger.pending + ledger.missing,
                "{last}"
            );
            assert_eq!(ledger.missing, 0, "{last}");
            (ledger.published >= published_min && ledger.pending == 0).then_some(ledger)
        })
    }
}

/// The ledger's line of the overview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    pub published: u64,
    pub stored: u64,
    pub dead: u64,
    pub pending: u64,
    pub missing: u64,
}

impl Ledger {
    pub fn read(value: &Value) -> Self {
        let count = |name: &str| value[name].as_u64().expect("a count");
        Self {
            published: count("published"),
            stored: count("stored"),
            dead: count("dead"),
            pending: count("pending"),
            missing: count("missing"),
        }
    }
}

/// Status and body of an HTTP/1.1 GET.
pub fn http_get(address: &str, path: &str) -> (u16, String) {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).expect("connects");
    let timeout = Some(Duration::from_secs(10));
    stream.set_read_timeout(timeout).expect("a timeout");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}
