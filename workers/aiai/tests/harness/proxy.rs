//! A TCP proxy before a nats-server: cuts connections, holds them up, loses one side, and knows enough of the
//! protocol to act on a chosen message.
//!
//! Each connection has two threads, one for each direction. A hook sees every message that passes, in either direction,
//! and says what becomes of it: so a test can stop the world between two messages of its choice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One message on its way.
#[derive(Debug)]
pub struct Frame<'a> {
    /// From a client to nats-server.
    pub to_server: bool,
    pub subject: &'a str,
    /// Headers and payload.
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// Whether it acknowledges a message of a durable, as `STREAM.durable`.
    pub fn acknowledges(&self, durable: &str) -> bool {
        self.to_server
            && self.subject.starts_with("$JS.ACK.")
            && self.subject.contains(&format!(".{durable}."))
            && self.body == b"+ACK"
    }

    /// Whether it tells a publisher that this stream has its message.
    pub fn stored_in(&self, stream: &str) -> bool {
        let start = format!("{{\"stream\":\"{stream}\"");
        !self.to_server && self.body.starts_with(start.as_bytes())
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// It is lost; its connection lives on.
    Swallow,
    /// It is lost and its connection breaks.
    Cut,
}

type Hook = Box<dyn FnMut(&Frame<'_>) -> Verdict + Send>;

/// A connection.
struct Link {
    number: u64,
    client: TcpStream,
    server: TcpStream,
    /// nats-server is gone, and the client is not told.
    half_open: Arc<AtomicBool>,
}

#[derive(Default)]
struct Shared {
    target: String,
    links: Mutex<Vec<Link>>,
    accepted: AtomicU64,
    hook: Mutex<Option<Hook>>,
    stalled_until: Mutex<Option<Instant>>,
    delay_milliseconds: AtomicU64,
    ended: AtomicBool,
}

/// A proxy. Connections are cut when it is dropped.
pub struct Proxy {
    /// `nats://…`, where clients connect.
    pub url: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Before the server at `nats://host:port`, which may not be there yet.
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("nats://{}", listener.local_addr().expect("its address"));
        let shared = Arc::new(Shared {
            target: target.trim_start_matches("nats://").to_owned(),
            ..Shared::default()
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Relaxed) {
                    return;
                }
                accept(&accepting, &client);
            }
        });
        Self { url, shared }
    }

    /// Every message from now on is shown to `hook`.
    pub fn watch(&self, hook: impl FnMut(&Frame<'_>) -> Verdict + Send + 'static) {
        *self.shared.hook.lock().expect("the hook") = Some(Box::new(hook));
    }

    /// Nobody looks any more.
    pub fn unwatch(&self) {
        *self.shared.hook.lock().expect("the hook") = None;
    }

    /// Breaks all connections.
    pub fn cut_all(&self) {
        self.links().drain(..).for_each(|link| link.cut());
    }

    /// Breaks one connection.
    pub fn cut_one(&self, which: u64) {
        let mut links = self.links();
        if !links.is_empty() {
            let at = usize::try_from(which % links.len() as u64).expect("small");
            links.swap_remove(at).cut();
        }
    }

    /// Nothing passes for a while, in either direction; nothing is lost.
    pub fn stall(&self, time: Duration) {
        *self.shared.stalled_until.lock().expect("the time") = Some(Instant::now() + time);
    }

    /// Everything takes this much longer.
    pub fn delay(&self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).expect("short");
        self.shared.delay_milliseconds.store(milliseconds, Relaxed);
    }

    /// nats-server loses all connections, and no client is told: what they send goes nowhere.
    pub fn half_open(&self) {
        for link in self.links().iter() {
            link.half_open.store(true, Relaxed);
            let _ = link.server.shutdown(Shutdown::Both);
        }
    }

    /// Tells the clients at last.
    pub fn cut_half_open(&self) {
        self.links().retain(|link| {
            let lost = link.half_open.load(Relaxed);
            if lost {
                link.cut();
            }
            !lost
        });
    }

    fn links(&self) -> std::sync::MutexGuard<'_, Vec<Link>> {
        self.shared.links.lock().expect("the connections")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
        self.cut_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.url.trim_start_matches("nats://"));
    }
}

impl Link {
    fn cut(&self) {
        for side in [&self.client, &self.server] {
            let _ = side.shutdown(Shutdown::Both);
        }
    }
}

fn accept(shared: &Arc<Shared>, client: &TcpStream) {
    let Ok(server) = TcpStream::connect(&shared.target) else {
        return;
    };
    let half_open = Arc::new(AtomicBool::new(false));
    let copy = |side: &TcpStream| side.try_clone().expect("a socket");
    for side in [client, &server] {
        let _ = side.set_nodelay(true);
    }
    let number = shared.accepted.fetch_add(1, Relaxed);
    let link = || Link {
        number,
        client: copy(client),
        server: copy(&server),
        half_open: half_open.clone(),
    };
    shared.links.lock().expect("the connections").push(link());
    for to_server in [true, false] {
        let (shared, link) = (shared.clone(), link());
        std::thread::spawn(move || {
            pump(&shared, &link, to_server);
            if !link.half_open.load(Relaxed) {
                link.cut();
                let mut links = shared.links.lock().expect("the connections");
                links.retain(|known| known.number != link.number);
            }
        });
    }
}

/// Carries one direction until it breaks.
fn pump(shared: &Shared, link: &Link, to_server: bool) {
    let (mut from, mut to) = match to_server {
        true => (&link.client, &link.server),
        false => (&link.server, &link.client),
    };
    let (mut buffer, mut waiting) = (vec![0; 64 * 1024], Vec::new());
    loop {
        let size = match from.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(size) => size,
        };
        shared.hold_up();
        if link.half_open.load(Relaxed) {
            waiting.clear();
            continue;
        }
        waiting.extend_from_slice(&buffer[..size]);
        let (passing, used, cut) = shared.judge(&waiting, to_server);
        waiting.drain(..used);
        if to.write_all(&passing).is_err() || cut {
            return;
        }
    }
}

impl Shared {
    fn hold_up(&self) {
        std::thread::sleep(Duration::from_millis(self.delay_milliseconds.load(Relaxed)));
        loop {
            let until = *self.stalled_until.lock().expect("the time");
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(left) if !left.is_zero() => std::thread::sleep(left.min(Duration::from_millis(20))),
                _ => return,
            }
        }
    }

    /// What of these bytes passes, how many of them are whole, and whether the connection breaks.
    fn judge(&self, bytes: &[u8], to_server: bool) -> (Vec<u8>, usize, bool) {
        let mut hook = self.hook.lock().expect("the hook");
        let (mut passing, mut used) = (Vec::with_capacity(bytes.len()), 0);
        while let Some((frame, size)) = next(&bytes[used..], to_server) {
            let verdict = match (&frame, &mut *hook) {
                (Some(frame), Some(hook)) => hook(frame),
                _ => Verdict::Pass,
            };
            if verdict == Verdict::Pass {
                passing.extend_from_slice(&bytes[used..used + size]);
            }
            used += size;
            if verdict == Verdict::Cut {
                return (passing, used, true);
            }
        }
        (passing, used, false)
    }
}

/// The first line, with the message it announces if it is one, and its size; none while it is not whole.
fn next(bytes: &[u8], to_server: bool) -> Option<(Option<Frame<'_>>, usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = String::from_utf8_lossy(&bytes[..end]);
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_message = matches!(words.first(), Some(&("PUB" | "HPUB" | "MSG" | "HMSG")));
    let Some(size) = words
        .last()
        .filter(|_| is_message)
        .and_then(|word| word.parse::<usize>().ok())
    else {
        return Some((None, end + 2));
    };
    let start = end + 2;
    let body = bytes.get(start..start + size)?;
    bytes.get(start + size..start + size + 2)?;
    // The second word of the line; the line is ASCII wherever that matters.
    let at = line.find(' ')? + 1;
    let subject = std::str::from_utf8(&bytes[at..end]).unwrap_or_default();
    let frame = Frame {
        to_server,
        subject: subject.split(' ').next().unwrap_or_default(),
        body,
    };
    Some((Some(frame), start + size + 2))
}
