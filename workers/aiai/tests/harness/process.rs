//! Running a program to its end, within a time.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::until;

/// No program of these tests takes longer.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How a program ended.
#[derive(Debug)]
pub struct Output {
    /// None: a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }
}

/// Runs it with nothing on standard input.
pub fn run(command: Command) -> Output {
    run_with(command, Vec::new())
}

/// Runs it with this on standard input.
pub fn run_with(mut command: Command, input: Vec<u8>) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    let mut stdin = child.stdin.take().expect("standard input");
    let writer = std::thread::spawn(move || {
        // Whoever does not read it all has its reasons.
        let _ = stdin.write_all(&input);
    });
    let stdout = reader(child.stdout.take().expect("standard output"));
    let stderr = reader(child.stderr.take().expect("standard error"));
    let status = until(
        &format!("the end of {}", command.get_program().display()),
        TIMEOUT,
        || child.try_wait().expect("a status"),
    );
    writer.join().expect("writes");
    Output {
        code: status.code(),
        stdout: stdout.join().expect("reads"),
        stderr: stderr.join().expect("reads"),
    }
}

fn reader(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
