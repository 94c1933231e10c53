//! What `aiai up` costs when nobody publishes, without its nats-server child.

use std::time::Duration;

use crate::report::Idle;
use crate::world::{Process, Programs};

pub const SECONDS: u64 = 20;

/// After it has settled.
pub async fn measure(programs: &Programs) -> anyhow::Result<Idle> {
    let data = tempfile::tempdir()?;
    let listen = [
        "up",
        "--set",
        "nats.listen=127.0.0.1:0",
        "--set",
        "dashboard.listen=127.0.0.1:0",
        "--set",
        "gateway.listen=127.0.0.1:0",
        "--set",
        "otlp.listen_http=127.0.0.1:0",
        "--set",
        "otlp.listen_grpc=127.0.0.1:0",
        "--set",
        "monitor.listen=127.0.0.1:0",
    ];
    let process = Process::start(&programs.aiai, data.path(), &listen)?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = process.processor_seconds()?;
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let after = process.processor_seconds()?;
    let memory_megabytes = process.memory_megabytes("VmRSS")?;
    process.end().await?;
    #[allow(clippy::cast_precision_loss)]
    Ok(Idle {
        cpu_percent: (after - before) * 100.0 / SECONDS as f64,
        memory_megabytes,
    })
}
