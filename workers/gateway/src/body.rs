//! Reading bodies: bounded in bytes, in time, and in what they become when unpacked.
//!
//! What is held counts against one budget for all requests, byte by byte as it comes: a client that announces much and
//! sends little holds little. A body is copied at most once while it is read, and not at all where it came in one piece.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::header::CONNECTION;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{self, Problem};
use crate::request::Encoding;

/// A zstd frame may ask for a window of 2 GiB; this is what RFC 8878 recommends to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Of a body that is refused so much is read, so that its sender reads the answer and not a broken connection.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);

type Result<T> = std::result::Result<T, Box<Problem>>;

/// Bytes that are held, and their share of the budget.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    share: Option<OwnedSemaphorePermit>,
}

/// Bytes of all bodies that may be held at the same time.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    pub(crate) fn free_bytes(&self) -> usize {
        self.0.available_permits()
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let taken = self.0.clone().try_acquire_many_owned(bytes);
        taken.map_err(|_| busy("the bodies of other requests fill gateway.bodies_max_megabytes"))
    }
}

pub(crate) fn busy(why: &str) -> Box<Problem> {
    Problem::new(problem::BUSY, format!("{why}: try again, with fewer requests at once")).retry_after("1")
}

/// The whole body, if it comes within the limits.
pub(crate) async fn read(body: &mut Body, bytes_max: usize, timeout: Duration, budget: &Budget) -> Result<Held> {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let reading = pieces(body, announced.unwrap_or_default(), bytes_max, budget);
    tokio::time::timeout(timeout, reading).await.unwrap_or_else(|_| {
        let seconds = timeout.as_secs();
        let detail = format!("the body was not there within {seconds} s: send less at once, or compress it");
        Err(Problem::new(problem::TOO_SLOW, detail).with(CONNECTION, "close"))
    })
}

async fn pieces(body: &mut Body, announced: u64, bytes_max: usize, budget: &Budget) -> Result<Held> {
    let mut held = Held {
        bytes: Bytes::new(),
        share: None,
    };
    let mut joined: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let detail = format!("the body ends early or is not framed as HTTP wants it: {}", bus::chain(&error));
            Problem::new(problem::BAD_BODY, detail)
        })?;
        let Ok(piece) = frame.into_data() else { continue };
        if held.bytes.len() + joined.len() + piece.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        let share = budget.take(piece.len())?;
        match &mut held.share {
            Some(held) => held.merge(share),
            none => *none = Some(share),
        }
        if held.bytes.is_empty() && joined.is_empty() {
            held.bytes = piece;
            continue;
        }
        if joined.is_empty() {
            let announced = usize::try_from(announced).unwrap_or_default();
            joined.reserve_exact(announced.max(held.bytes.len() + piece.len()));
            joined.extend_from_slice(&std::mem::take(&mut held.bytes));
        }
        joined.extend_from_slice(&piece);
    }
    if !joined.is_empty() {
        held.bytes = Bytes::from(joined);
    }
    Ok(held)
}

/// Reads on for a while what nobody wants.
pub(crate) async fn drain(body: &mut Body) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > DRAIN_BYTES {
                break;
            }
        }
    };
    // When it takes longer, the connection is closed.
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

/// The bytes as their sender had them before they were packed.
pub(crate) fn unpacked(packed: Held, encoding: Encoding, bytes_max: usize, budget: &Budget) -> Result<Held> {
    let name = match encoding {
        Encoding::None => return Ok(packed),
        Encoding::Gzip => "gzip",
        Encoding::Zstd => "zstd",
    };
    let mut share = budget.take(bytes_max)?;
    let damaged = |error: std::io::Error| {
        let detail = format!("the body is not whole as {name}: {}", bus::chain(&error));
        Problem::new(problem::BAD_BODY, detail)
    };
    let limit = bytes_max as u64 + 1;
    let bytes = packed.bytes.as_ref();
    let mut whole = Vec::with_capacity(bytes.len().saturating_mul(4).min(bytes_max));
    match encoding {
        Encoding::Zstd => zstd::stream::read::Decoder::with_buffer(bytes)
            .and_then(|mut reader| {
                reader.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                reader.take(limit).read_to_end(&mut whole)
            })
            .map_err(damaged)?,
        _ => flate2::bufread::MultiGzDecoder::new(bytes)
            .take(limit)
            .read_to_end(&mut whole)
            .map_err(damaged)?,
    };
    if whole.len() > bytes_max {
        return Err(too_large(bytes_max));
    }
    let unused = bytes_max - whole.len();
    drop(share.split(unused));
    Ok(Held {
        bytes: Bytes::from(whole),
        share: Some(share),
    })
}

fn too_large(bytes_max: usize) -> Box<Problem> {
    let detail = format!(
        "a body may have {bytes_max} bytes, unpacked, because it travels as one message: send its items in several requests"
    );
    Problem::new(problem::TOO_LARGE, detail)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LIMIT: usize = 64 * 1024;

    fn held(bytes: Vec<u8>) -> Held {
        Held {
            bytes: Bytes::from(bytes),
            share: None,
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 19).unwrap()
    }

    fn status(packed: Vec<u8>, encoding: Encoding) -> Option<u16> {
        let budget = Budget::new(LIMIT * 2);
        let result = unpacked(held(packed), encoding, LIMIT, &budget);
        let status = result.as_ref().err().map(|problem| problem.status);
        drop(result);
        assert_eq!(budget.free_bytes(), LIMIT * 2, "everything is given back");
        status
    }

    #[test]
    fn what_is_packed_comes_back() {
        let text = br#"{"name":"x","value":1}"#.repeat(100);
        for (packed, encoding) in [(gzip(&text), Encoding::Gzip), (zstd(&text), Encoding::Zstd)] {
            let budget = Budget::new(LIMIT);
            let whole = unpacked(held(packed), encoding, LIMIT, &budget).unwrap();
            assert_eq!(whole.bytes, text);
            assert_eq!(budget.free_bytes(), LIMIT - text.len());
        }
        let twice = [gzip(b"a"), gzip(b"b")].concat();
        let whole = unpacked(held(twice), Encoding::Gzip, LIMIT, &Budget::new(LIMIT)).unwrap();
        assert_eq!(whole.bytes.as_ref(), b"ab");
    }

    #[test]
    fn a_bomb_is_too_large_and_stays_small() {
        let zeros = vec![0; 64 * 1024 * 1024];
        for (packed, encoding) in [(gzip(&zeros), Encoding::Gzip), (zstd(&zeros), Encoding::Zstd)] {
            assert!(packed.len() < LIMIT * 2, "{}", packed.len());
            assert_eq!(status(packed, encoding), Some(413));
        }
        assert_eq!(status(gzip(&vec![0; LIMIT]), Encoding::Gzip), None, "exactly the limit");
    }

    #[test]
    fn a_window_of_gigabytes_is_refused() {
        let mut writer = zstd::Encoder::new(Vec::new(), 1).unwrap();
        writer.window_log(27).unwrap();
        writer.include_contentsize(false).unwrap();
        writer.write_all(&vec![7; 32 * 1024 * 1024]).unwrap();
        assert_eq!(status(writer.finish().unwrap(), Encoding::Zstd), Some(400));
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_refused() {
        let text = b"some text that is long enough to be cut off in the middle of it";
        for (mut packed, encoding) in [(gzip(text), Encoding::Gzip), (zstd(text), Encoding::Zstd)] {
            packed.truncate(packed.len() / 2);
            assert_eq!(status(packed, encoding), Some(400), "{encoding:?} cut off");
            assert_eq!(status(text.to_vec(), encoding), Some(400), "not {encoding:?}");
        }
    }

    #[test]
    fn without_room_it_is_told_to_wait() {
        let budget = Budget::new(LIMIT - 1);
        let problem = unpacked(held(gzip(b"x")), Encoding::Gzip, LIMIT, &budget).unwrap_err();
        assert_eq!(problem.status, 429);
    }
}
