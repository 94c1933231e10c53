//! Ports that a test keeps while what listens on them is killed and started again.
//!
//! A port that the system chose is free again with the process that had it: the next connection of any
//! other test may get it, and the restart fails. These lie below the ports that systems take for
//! connections (32768 and up on Linux, 49152 and up elsewhere), and a lock that ends with the test's
//! process keeps other tests away.

use std::fs::{self, File};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// How many ports this process looked at.
static LOOKED_AT: AtomicU16 = AtomicU16::new(0);
/// The locks; held until the process ends.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that nobody has now, and that no other test gets before this process ends.
pub fn free_port() -> u16 {
    let user = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir().join(format!("aiai-test-ports-{user}"));
    fs::create_dir_all(&folder).expect("a folder for locks");
    // Processes start at different places, so that they seldom ask for the same port.
    let start = std::process::id().wrapping_mul(37) % u32::from(COUNT);
    let start = u16::try_from(start).expect("less than COUNT");
    loop {
        let step = LOOKED_AT.fetch_add(1, Ordering::Relaxed);
        assert!(step < COUNT, "every port from {FIRST} on is taken");
        let port = FIRST + (start + step) % COUNT;
        let lock = File::create(folder.join(port.to_string())).expect("a file to lock");
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock().expect("no test panics here").push(lock);
            return port;
        }
    }
}
