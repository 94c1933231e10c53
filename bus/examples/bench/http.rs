//! Batches over HTTP against the same batches by NATS: as many clients, each waits for the answer before it sends the next.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bus::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::{connect, message};
use crate::rounds::rate;
use crate::world::{Programs, World};

/// Events in a batch.
pub const EVENTS: u64 = 500;
/// Clients at the same time.
const CLIENTS: u64 = 8;
/// A round that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(180);

/// Events a second until each is acknowledged, and until each is a row.
#[derive(Default, Clone, Copy, serde::Serialize)]
pub struct Rates {
    pub acknowledged: f64,
    pub stored: f64,
}

/// How batches get to INGEST.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Nats,
    Http,
}

/// So many events in batches, one way.
pub async fn measure(programs: &Programs, way: Way, events: u64) -> anyhow::Result<Rates> {
    let world = World::new().await?;
    let workers = ["gateway", "ingest", "sink"].map(str::to_owned);
    let _process = world.run(&programs.aiai, &workers).await?;
    let address = world.address_of("gateway").await?;
    let each = (events / EVENTS / CLIENTS).max(1);
    let payload = message(EVENTS);
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..CLIENTS {
        let (url, address) = (world.server.url().to_owned(), address.clone());
        let payload = payload.clone();
        clients.spawn(async move {
            match way {
                Way::Nats => by_nats(url, each, payload).await,
                Way::Http => by_http(address, each, payload).await,
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    let sent = each * CLIENTS * EVENTS;
    let acknowledged = rate(sent, begun.elapsed());
    world.stored(sent, TIMEOUT).await?;
    Ok(Rates {
        acknowledged,
        stored: rate(sent, begun.elapsed()),
    })
}

async fn by_nats(url: String, batches: u64, payload: Bytes) -> anyhow::Result<()> {
    let jetstream = connect(&url).await?;
    for _ in 0..batches {
        jetstream.publish("ingest.metric", payload.clone()).await?.await?;
    }
    Ok(())
}

/// On one connection.
async fn by_http(address: String, batches: u64, payload: Bytes) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "POST /v1/metrics/batch HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        payload.len()
    );
    let mut answer = vec![0; 4096];
    for _ in 0..batches {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&payload).await?;
        let mut read = 0;
        while !answer[..read].ends_with(b"}") {
            let more = stream.read(&mut answer[read..]).await?;
            ensure!(more > 0, "the gateway closed the connection");
            read += more;
        }
        let text = std::str::from_utf8(&answer[..read])?;
        let (status, _) = text.split_once("\r\n").context("an answer")?;
        ensure!(status.contains(" 202 "), "{text}");
    }
    Ok(())
}
