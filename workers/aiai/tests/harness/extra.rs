//! More processes with workers, beside `aiai up`.

use std::fs;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use super::{STOP_TIMEOUT, World, send, until};

impl World {
    /// Another process with some of the workers on this server; killed when dropped.
    pub fn also_run(&self, workers: &[&str]) -> Extra {
        let mut command = self.cli(&["run"]);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder().join("extra.log"));
        command
            .args(workers)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"));
        Extra {
            child: command.spawn().expect("aiai run starts"),
        }
    }
}

/// One more process with workers.
pub struct Extra {
    child: Child,
}

impl Extra {
    /// Sends the signal and waits for the end.
    pub fn end(&mut self, signal: Signal) -> Option<i32> {
        send(self.child.id(), signal);
        let ended = || self.child.try_wait().expect("a status");
        until("the end of aiai run", STOP_TIMEOUT * 3, ended).code()
    }
}

impl Drop for Extra {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
