//! A web server for webhooks: remembers what it was sent, answers as told, or never.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request.
#[derive(Debug, Clone)]
pub struct Posted {
    /// The request line and the headers, in lower case.
    pub head: String,
    pub body: String,
}

/// The status for the nth request, from 0; none: no answer at all.
pub type Answers = fn(usize) -> Option<u16>;

pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Posted>>>,
}

impl Server {
    pub fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                silent.extend(serve(stream, &kept, answers));
            }
        });
        Self { url, seen }
    }

    pub fn posted(&self) -> Vec<Posted> {
        self.seen.lock().expect("the book").clone()
    }
}

/// Answers one request; gives the connection back if it is to stay silent.
fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Posted>>, answers: Answers) -> Option<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let number = {
        let mut seen = seen.lock().expect("the book");
        let body = String::from_utf8_lossy(&body).into_owned();
        seen.push(Posted { head, body });
        seen.len() - 1
    };
    let Some(status) = answers(number) else {
        return Some(stream);
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    None
}
