//! NATS by hand: text lines over TCP. Sends any bytes at all, and knows what was acknowledged.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

/// Requests sent before their answers are read; both fit into the sockets' buffers.
const WINDOW: usize = 128;

/// One message to publish.
#[derive(Debug, Clone)]
pub struct Message {
    pub subject: String,
    /// Lines `Name: value`.
    pub headers: Vec<String>,
    pub payload: Vec<u8>,
}

impl Message {
    pub fn new(subject: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            subject: subject.to_owned(),
            headers: Vec::new(),
            payload: payload.into(),
        }
    }
}

/// Tells the answers to one connection from those to another.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// A connection.
pub struct Wire {
    /// Where its answers come, without the number of the message.
    inbox: String,
    /// Messages sent so far: the number of the next.
    sent: usize,
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Wire {
    /// Connects to `nats://host:port`.
    pub fn connect(url: &str) -> io::Result<Self> {
        Self::connect_with(url, Duration::from_secs(10))
    }

    /// As [`Wire::connect`]; waits so long for an answer, and to be rid of what it sends.
    pub fn connect_with(url: &str, patience: Duration) -> io::Result<Self> {
        let writer = TcpStream::connect(url.trim_start_matches("nats://"))?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(patience))?;
        writer.set_write_timeout(Some(patience))?;
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let mut wire = Self {
            inbox: format!("answer.{}-{connection}.", std::process::id()),
            sent: 0,
            reader: BufReader::new(writer.try_clone()?),
            writer,
        };
        wire.line()?;
        let options = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#;
        let hello = format!("CONNECT {options}\r\nSUB {}* 1\r\nPING\r\n", wire.inbox);
        wire.writer.write_all(hello.as_bytes())?;
        while wire.line()? != "PONG" {}
        Ok(wire)
    }

    /// Listens to a subject; what comes is read with [`Wire::next`]. Not to be used for publishing then.
    pub fn subscribe(&mut self, subject: &str) -> io::Result<()> {
        self.writer
            .write_all(format!("SUB {subject} 2\r\nPING\r\n").as_bytes())?;
        while self.line()? != "PONG" {}
        Ok(())
    }

    /// The next message of a subscription: subject and body, without its headers. None: none came for a while.
    pub fn next(&mut self, patience: Duration) -> Option<(String, Vec<u8>)> {
        self.writer.set_read_timeout(Some(patience)).ok()?;
        let line = self.line().ok()?;
        let words: Vec<&str> = line.split(' ').collect();
        let size = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
        let (total, head) = match words[0] {
            "HMSG" => (size(words.len() - 1)?, size(words.len() - 2)?),
            _ => (size(words.len() - 1)?, 0),
        };
        let mut body = vec![0; total + 2];
        self.reader.read_exact(&mut body).ok()?;
        Some((words[1].to_owned(), body[head..total].to_vec()))
    }

    /// Publishes and waits for every answer of the stream: its sequence, or its error in words. In order.
    pub fn publish(&mut self, messages: &[Message]) -> io::Result<Vec<Result<u64, String>>> {
        let mut answers = Vec::with_capacity(messages.len());
        for window in messages.chunks(WINDOW) {
            answers.extend(self.publish_window(window)?);
        }
        Ok(answers)
    }

    /// As [`Wire::publish`], where all are to be stored.
    pub fn store(&mut self, messages: &[Message]) -> Vec<u64> {
        let answers = self.publish(messages).expect("nats-server answers");
        answers
            .into_iter()
            .map(|answer| answer.expect("stored"))
            .collect()
    }

    /// Asks a service, or the server itself, for JSON.
    pub fn ask(&mut self, subject: &str, body: &str) -> io::Result<Value> {
        let request = [Message::new(subject, body)];
        match self.exchange(&request).remove(0) {
            Some(Err(answer)) => serde_json::from_str(&answer).map_err(io::Error::other),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn publish_window(&mut self, messages: &[Message]) -> io::Result<Vec<Result<u64, String>>> {
        let answers = self.exchange(messages);
        let all: Option<Vec<_>> = answers.into_iter().collect();
        all.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Publishes a few messages and gives the answer of the stream to each; none where the connection broke, or
    /// nothing came for a while: the connection is of no use then.
    pub fn exchange(&mut self, messages: &[Message]) -> Vec<Option<Result<u64, String>>> {
        let mut answers = vec![None; messages.len()];
        // What was written in part may be stored in part: the answers tell.
        let _ = self.writer.write_all(&self.published(messages));
        while answers.iter().any(Option::is_none) {
            let Ok((at, answer)) = self.answer() else { break };
            // A late answer to an earlier one, if any, is told by its number.
            if let Some(place) = at.checked_sub(self.sent).and_then(|at| answers.get_mut(at)) {
                *place = Some(answer);
            }
        }
        self.sent += messages.len();
        answers
    }

    /// The messages as the protocol has them.
    fn published(&self, messages: &[Message]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, message) in (self.sent..).zip(messages) {
            let (subject, size, inbox) = (&message.subject, message.payload.len(), &self.inbox);
            if message.headers.is_empty() {
                out.extend_from_slice(format!("PUB {subject} {inbox}{at} {size}\r\n").as_bytes());
            } else {
                let head = format!("NATS/1.0\r\n{}\r\n\r\n", message.headers.join("\r\n"));
                let total = head.len() + size;
                out.extend_from_slice(
                    format!("HPUB {subject} {inbox}{at} {} {total}\r\n{head}", head.len()).as_bytes(),
                );
            }
            out.extend_from_slice(&message.payload);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    fn answer(&mut self) -> io::Result<(usize, Result<u64, String>)> {
        let line = self.line()?;
        let words: Vec<&str> = line.split(' ').collect();
        let broken = || io::Error::other(format!("unexpected line from nats-server: {line}"));
        if !matches!(words[0], "MSG" | "HMSG") {
            return Err(broken());
        }
        let at = words[1]
            .rsplit('.')
            .next()
            .and_then(|at| at.parse().ok())
            .ok_or_else(broken)?;
        let size: usize = words[words.len() - 1].parse().map_err(|_| broken())?;
        let mut body = vec![0; size + 2];
        self.reader.read_exact(&mut body)?;
        let answer = match serde_json::from_slice::<Value>(&body[..size]) {
            // An error has a sequence, too: 0.
            Ok(answer) if answer.get("error").is_some() => Err(answer["error"].to_string()),
            Ok(answer) => answer["seq"].as_u64().ok_or_else(|| answer.to_string()),
            // Headers instead of an answer: no stream listens.
            Err(_) => Err(String::from_utf8_lossy(&body).into_owned()),
        };
        Ok((at, answer))
    }

    /// The next line that is not a question whether we live.
    fn line(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "PING" => self.writer.write_all(b"PONG\r\n")?,
                line => return Ok(line.to_owned()),
            }
        }
    }
}
