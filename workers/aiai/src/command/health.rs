//! `aiai health`: what `/health` of a process on this machine says. For containers, which have no curl.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Config;
use crate::failure::{UNHEALTHY, Unreachable, Usage};
use crate::output;

/// A process that needs longer for this is not healthy.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The answer is a line for each worker of one process.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks and prints.
pub async fn health(config: &Config) -> anyhow::Result<ExitCode> {
    let address = config.monitor.listen;
    if address.port() == 0 {
        let problem = "monitor.listen has no port; give the process and this command the same one";
        return Err(Usage(problem.into()).into());
    }
    let answer = tokio::time::timeout(TIMEOUT, ask(config)).await.map_err(|_| {
        Unreachable(format!(
            "no answer from http://{address} within {} s",
            TIMEOUT.as_secs()
        ))
    })??;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("{address} is not the monitor of an aiai; correct monitor.listen");
    };
    output::print(&format!("{}\n", body.trim_end()))?;
    let healthy = head.split(' ').nth(1) == Some("200");
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNHEALTHY)
    })
}

async fn ask(config: &Config) -> anyhow::Result<String> {
    let address = config.monitor.listen;
    let mut stream = TcpStream::connect(address).await.map_err(|error| {
        Unreachable(format!("nothing answers at http://{address}: {error}; start `aiai run` or `aiai up` with this monitor.listen"))
    })?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}
