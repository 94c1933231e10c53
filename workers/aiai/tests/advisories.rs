//! The backstop: what nobody gets any more, because somebody else ended its delivery, becomes a dead letter.

mod harness;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::process;
use harness::wire::{Message, Wire};
use harness::{World, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A client of somebody else: requests by hand.
struct Stranger {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Stranger {
    fn connect(url: &str) -> Self {
        let writer = TcpStream::connect(url.trim_start_matches("nats://")).expect("connects");
        let patience = Some(Duration::from_secs(10));
        writer.set_read_timeout(patience).expect("a timeout");
        let reader = BufReader::new(writer.try_clone().expect("a reader"));
        let mut stranger = Self { reader, writer };
        stranger.line();
        stranger.send("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB stranger 1\r\n");
        stranger
    }

    fn send(&mut self, text: &str) {
        self.writer.write_all(text.as_bytes()).expect("sends");
    }

    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).expect("a line");
            if line.trim_end() != "PING" {
                return line.trim_end().to_owned();
            }
            self.send("PONG\r\n");
        }
    }

    /// The next message: the subject to answer on, and the body.
    fn message(&mut self) -> (String, Vec<u8>) {
        // The server may speak of itself in between.
        let line = loop {
            let line = self.line();
            if line.contains("MSG ") && !line.starts_with("INFO") {
                break line;
            }
        };
        let words: Vec<&str> = line.split(' ').collect();
        let size: usize = words[words.len() - 1].parse().expect("a size");
        let mut body = vec![0; size + 2];
        self.reader.read_exact(&mut body).expect("a body");
        body.truncate(size);
        let has_reply = words.len() - usize::from(words[0] == "HMSG") > 4;
        (
            if has_reply {
                words[3].to_owned()
            } else {
                String::new()
            },
            body,
        )
    }

    fn request(&mut self, subject: &str, body: &str) -> (String, Vec<u8>) {
        self.send(&format!("PUB {subject} stranger {}\r\n{body}\r\n", body.len()));
        self.message()
    }

    /// Takes the next message of a durable.
    fn take(&mut self, durable: &str) -> (String, Vec<u8>) {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{durable}");
        self.request(&subject, r#"{"batch":1,"expires":5000000000}"#)
    }

    fn answer(&mut self, reply: &str, word: &str) {
        self.send(&format!("PUB {reply} {}\r\n{word}\r\nPING\r\n", word.len()));
        while self.line() != "PONG" {}
    }
}

/// Everything but ingest, on a server of `aiai up` whose process is gone.
fn without_ingest(world: &mut World) -> Rest {
    world.kill();
    let mut command = world.cli(&[
        "run",
        "sink",
        "--data",
        "data",
        "--set",
        "monitor.listen=127.0.0.1:0",
    ]);
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    Rest(command.spawn().expect("starts"))
}

struct Rest(std::process::Child);

impl Drop for Rest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn letters(world: &World) -> Vec<Value> {
    let output = process::run(world.cli(&[
        "query",
        "SELECT reason, stage, decode(payload) AS payload FROM dead ORDER BY dead_seq",
    ]));
    harness::rows(&output.stdout)
}

/// The letter of the message with this name.
fn awaited(world: &World, name: &str) -> Value {
    let wanted = format!("\"{name}\"");
    until("the recovered letter", Duration::from_secs(60), || {
        let found = letters(world).into_iter();
        let mut found =
            found.filter(|row| row["payload"].as_str().is_some_and(|text| text.contains(&wanted)));
        found.next()
    })
}

#[test]
fn what_a_stranger_terminated_or_used_up_is_recovered() {
    let mut world = World::start();
    let mut wire = Wire::connect(&world.url()).expect("connects");
    wire.store(&[Message::new("ingest.metric", r#"{"name":"first","value":1}"#)]);
    world.settled(1);
    let rest = without_ingest(&mut world);
    let metric = |name: &str| Message::new("ingest.metric", format!(r#"{{"name":"{name}","value":2}}"#));
    wire.store(&[metric("terminated"), metric("used up"), metric("left alone")]);
    let mut stranger = Stranger::connect(&world.url());
    let (reply, body) = take_of(&mut stranger, "terminated");
    assert_eq!(body, br#"{"name":"terminated","value":2}"#);
    stranger.answer(&reply, "+TERM");
    assert_eq!(
        awaited(&world, "terminated"),
        json!({"reason": "terminated", "stage": "ingest", "payload": r#"{"name":"terminated","value":2}"#})
    );

    // An operator's edit: one delivery, and that one is not acknowledged.
    let info =
        String::from_utf8(stranger.request("$JS.API.CONSUMER.INFO.INGEST.ingest", "").1).expect("text");
    let info: Value = serde_json::from_str(&info).expect("JSON");
    let mut config = info["config"].clone();
    config["max_deliver"] = json!(1);
    let edit = json!({"stream_name": "INGEST", "config": config, "action": "update"}).to_string();
    let filter = "$JS.API.CONSUMER.CREATE.INGEST.ingest.ingest.>";
    let answer = stranger.request(filter, &edit).1;
    assert!(
        !String::from_utf8_lossy(&answer).contains("\"error\""),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let (_, body) = take_of(&mut stranger, "used up");
    assert_eq!(body, br#"{"name":"used up","value":2}"#);
    assert_eq!(awaited(&world, "used up")["reason"], "max_deliveries");
    let plan = process::run(world.cli(&["topology", "plan"])).stdout;
    assert!(plan.contains("max_deliver"), "{plan}");
    assert!(process::run(world.cli(&["topology", "apply"])).ok());

    drop(rest);
    world.restart();
    let ledger = world.settled(4);
    assert_eq!(ledger.missing, 0, "{ledger:?}");
    let stored = world.query("SELECT name FROM metric WHERE name IN ('first', 'left alone') ORDER BY name");
    assert_eq!(stored, [json!({"name": "first"}), json!({"name": "left alone"})]);
    let replayed = process::run(world.cli(&["dead", "replay", "--reason", "terminated", "--yes"]));
    assert!(replayed.ok(), "{replayed:?}");
    world.settled(5);
    let names = world.query("SELECT count(*) AS n FROM metric WHERE name = 'terminated'");
    assert_eq!(names, [json!({"n": 1})]);
    world.stop(Signal::TERM);
}

/// This machine's own figures may come between: they are given back.
fn take_of(stranger: &mut Stranger, name: &str) -> (String, Vec<u8>) {
    let wanted = format!("\"{name}\"");
    until("the message", Duration::from_secs(20), || {
        let (reply, body) = stranger.take("INGEST.ingest");
        if String::from_utf8_lossy(&body).contains(&wanted) {
            return Some((reply, body));
        }
        if !reply.is_empty() {
            stranger.answer(&reply, "-NAK");
        }
        None
    })
}
