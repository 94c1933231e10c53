//! A real nats-server for a test: free port, temporary files, gone when dropped.

use rustix::process::Signal;
use tempfile::TempDir;

use crate::connect::NatsConfig;
use crate::error::Result;
use crate::server::{self, Server};

/// A server of one test.
#[derive(Debug)]
pub struct TestServer {
    server: Option<Server>,
    // Dropped after the server was killed.
    _folder: TempDir,
}

impl TestServer {
    /// Starts one.
    ///
    /// # Errors
    /// When there is no nats-server executable or it does not start.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()
            .map_err(|error| crate::error::Error::io("cannot make a temporary folder", error))?;
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(server::find()?, listen, folder.path()).await?;
        Ok(Self {
            server: Some(server),
            _folder: folder,
        })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.server.as_ref().map_or("", Server::url)
    }

    /// Configuration to connect to it.
    #[must_use]
    pub fn config(&self) -> NatsConfig {
        NatsConfig {
            url: self.url().to_owned(),
            ..NatsConfig::default()
        }
    }

    /// Sends it a signal, for example STOP and CONT.
    pub fn signal(&self, signal: Signal) {
        if let Some(server) = &self.server {
            server.signal(signal);
        }
    }

    /// SIGKILL, then the same port and files again.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        if let Some(server) = self.server.take() {
            self.server = Some(server.kill_and_restart().await?);
        }
        Ok(())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
