//! A real Chromium, driven by a small program of node.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{skipped, tool};

/// How long a browser may take to close.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A browser with one page.
pub struct Browser {
    child: Child,
    /// None once it was told to end.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    /// Starts one; none where something for it is missing, which was said.
    pub fn start() -> Option<Self> {
        let what = "the pages in a browser";
        let modules = tool("AIAI_TEST_NODE_MODULES", what)?;
        if !Path::new(&modules).join("playwright-core").is_dir() {
            skipped(&format!(
                "{what} (no playwright-core in {modules}; scripts/test fetches it)"
            ));
            return None;
        }
        let Some(chromium) = chromium() else {
            skipped(&format!(
                "{what} (no chromium; apt-get install chromium, or set AIAI_TEST_CHROMIUM)"
            ));
            return None;
        };
        let mut child = Command::new("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/drive.mjs"))
            .arg(modules)
            .arg(chromium)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        Some(Self {
            commands: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().expect("standard output")),
            child,
        })
    }

    /// One command; panics with what the page says when it fails.
    pub fn run(&mut self, command: &Value) -> Value {
        let commands = self.commands.as_mut().expect("the driver runs");
        writeln!(commands, "{command}").expect("the driver takes commands");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the driver answers");
        let mut answer: Value = serde_json::from_str(&line).expect("an answer");
        assert!(
            answer.get("error").is_none(),
            "{command}: {}",
            answer["error"].as_str().unwrap_or(&line)
        );
        answer["ok"].take()
    }

    /// Opens a page in a theme and width.
    pub fn open(&mut self, url: &str, dark: bool, width: u32) {
        let status = self.run(&json!({"do": "open", "url": url, "dark": dark, "width": width}));
        assert_eq!(status, 200, "{url}");
    }

    /// Waits until this JavaScript is true; how many milliseconds that took.
    pub fn wait(&mut self, js: &str) -> u64 {
        let waited = self.run(&json!({"do": "wait", "js": js, "ms": 30_000}));
        waited.as_u64().expect("milliseconds")
    }

    /// Waits until an element's text has this in it.
    pub fn wait_text(&mut self, selector: &str, part: &str) -> u64 {
        let (selector, part) = (json!(selector), json!(part));
        self.wait(&format!(
            "document.querySelector({selector})?.textContent.includes({part})"
        ))
    }

    /// The value of some JavaScript.
    pub fn evaluate(&mut self, js: &str) -> Value {
        self.run(&json!({"do": "evaluate", "js": js}))
    }

    /// What went wrong in pages since it was last asked.
    pub fn problems(&mut self) -> Vec<String> {
        serde_json::from_value(self.run(&json!({"do": "problems"}))).expect("a list")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // At the end of its commands the driver closes the browser; one that hangs is killed, and its browser with it.
        drop(self.commands.take());
        let deadline = Instant::now() + END_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The one named, Debian's, or one in PATH.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("AIAI_TEST_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)));
    let debian = PathBuf::from("/usr/bin/chromium");
    named
        .into_iter()
        .chain([debian])
        .chain(in_path)
        .find(|path| path.is_file())
}
