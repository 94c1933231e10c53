//! Request bodies, within bounds: in bytes, in time, and in memory for all of them together.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::refusal::Refusal;

/// All of a body comes within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What memory is counted in.
const UNIT: usize = 1024;

/// The memory of all requests.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    all: usize,
}

/// A part of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Memory,
    permit: Option<OwnedSemaphorePermit>,
    held: usize,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let all = bytes / UNIT;
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    pub(crate) fn share(&self) -> Share {
        Share {
            memory: self.clone(),
            permit: None,
            held: 0,
        }
    }
}

impl Share {
    /// Makes the share at least so large.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = bytes.div_ceil(UNIT);
        if wanted > self.memory.all {
            let text = "its parts need more memory than all requests may have (otlp.memory_megabytes): send less at once";
            return Err(Refusal::TooLarge(text.into()));
        }
        let Some(more) = wanted.checked_sub(self.held).filter(|more| *more > 0) else {
            return Ok(());
        };
        let more_permits = u32::try_from(more).map_err(|_| Refusal::Busy)?;
        let got = self.memory.free.clone().try_acquire_many_owned(more_permits);
        let got = got.map_err(|_| Refusal::Busy)?;
        match &mut self.permit {
            Some(permit) => permit.merge(got),
            none => *none = Some(got),
        }
        self.held = wanted;
        Ok(())
    }
}

/// Reads a body of at most `bytes_max`.
pub(crate) async fn read(body: Body, bytes_max: usize, share: &mut Share) -> Result<Bytes, Refusal> {
    let reading = timeout(BODY_TIMEOUT, collect(body, bytes_max, share));
    reading
        .await
        .unwrap_or(Err(Refusal::Slow(BODY_TIMEOUT.as_secs())))
}

async fn collect(mut body: Body, bytes_max: usize, share: &mut Share) -> Result<Bytes, Refusal> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken = |error: axum::Error| Refusal::Undecodable(format!("the body broke off: {error}"));
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        // A vector that grows has twice the room it needs.
        share.hold(2 * (bytes.len() + data.len()))?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// Decompresses gzip, to at most `bytes_max`.
pub(crate) fn gunzip(compressed: &[u8], bytes_max: usize, share: &mut Share) -> Result<Bytes, Refusal> {
    const STEP: usize = 64 * 1024;
    let mut bytes = Vec::new();
    let mut reader = MultiGzDecoder::new(compressed);
    loop {
        share.hold(2 * (compressed.len() + bytes.len() + STEP))?;
        let read = (&mut reader).take(STEP as u64).read_to_end(&mut bytes);
        let read = read.map_err(|error| Refusal::Undecodable(format!("the body is not gzip: {error}")))?;
        if bytes.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        if read == 0 {
            return Ok(bytes.into());
        }
    }
}

pub(crate) fn too_large(bytes_max: usize) -> Refusal {
    Refusal::TooLarge(format!(
        "it has more than {} megabytes (otlp.body_megabytes_max), decompressed: send less at once",
        bytes_max / 1_048_576
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_left_after_as_much_as_is_allowed() {
        let memory = Memory::new(64 << 20);
        let bomb = gzip(&vec![0; 32 << 20]);
        let refused = gunzip(&bomb, 4 << 20, &mut memory.share()).unwrap_err();
        assert!(matches!(refused, Refusal::TooLarge(_)), "{refused}");
        let plain = gunzip(&gzip(b"abc"), 3, &mut memory.share()).unwrap();
        assert_eq!(plain, "abc");
        assert!(matches!(
            gunzip(b"abc", 3, &mut memory.share()),
            Err(Refusal::Undecodable(_))
        ));
    }

    #[test]
    fn memory_is_shared_and_given_back() {
        let memory = Memory::new(10 * UNIT);
        let mut first = memory.share();
        first.hold(6 * UNIT).unwrap();
        first.hold(2 * UNIT).unwrap();
        let mut second = memory.share();
        assert!(matches!(second.hold(5 * UNIT), Err(Refusal::Busy)));
        drop(first);
        second.hold(10 * UNIT).unwrap();
        assert!(matches!(second.hold(11 * UNIT), Err(Refusal::TooLarge(_))));
    }
}
