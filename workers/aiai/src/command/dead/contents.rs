//! Headers and payloads of letters: a few small ones at a time, large ones piece by piece.

use std::collections::BTreeMap;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bus::{Bytes, Context};
use serde::Deserialize;

use super::select::{Letter, of_epoch};
use crate::command::sql;

/// Letters read at once are together no larger, unless it is one.
const TOGETHER_BYTES: u64 = 256 * 1024;
/// Letters read at once.
const TOGETHER_MAX: usize = 100;
/// Of a large payload, in Base64: fits an answer's part on every server.
const PIECE_CHARS: usize = 512 * 1024;

/// What a letter holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) headers: BTreeMap<String, String>,
    pub(super) payload: Bytes,
}

#[derive(Deserialize)]
struct Row {
    id: u64,
    headers: BTreeMap<String, String>,
    payload: String,
}

/// How many letters at the front can be read at once; at least one.
pub(super) fn together(letters: &[&Letter]) -> usize {
    let Some(first) = letters.first() else { return 0 };
    let mut bytes = 0;
    let fitting = letters.iter().take(TOGETHER_MAX).take_while(|letter| {
        bytes += letter.bytes;
        letter.epoch == first.epoch && bytes <= TOGETHER_BYTES
    });
    fitting.count().max(1)
}

/// Reads so many letters as [`together`] said. A letter that is there no more is missing in the answer.
pub(super) async fn read(context: &Context, letters: &[&Letter]) -> anyhow::Result<BTreeMap<u64, Contents>> {
    if let [letter] = letters
        && letter.bytes > TOGETHER_BYTES
    {
        let contents = large(context, letter).await?;
        return Ok(contents
            .map(|contents| (letter.id, contents))
            .into_iter()
            .collect());
    }
    let ids: Vec<String> = letters.iter().map(|letter| letter.id.to_string()).collect();
    let epoch = of_epoch(letters.first().and_then(|letter| letter.epoch.as_deref()));
    let select = format!(
        "SELECT dead_seq AS id, headers, base64(payload) AS payload FROM dead \
         WHERE {epoch} AND dead_seq IN ({}) AND payload IS NOT NULL",
        ids.join(",")
    );
    let rows: Vec<Row> = sql::rows(context, &select).await?;
    rows.into_iter()
        .map(|row| {
            let payload = STANDARD.decode(&row.payload).context("a payload is not Base64")?;
            let contents = Contents {
                headers: row.headers,
                payload: payload.into(),
            };
            Ok((row.id, contents))
        })
        .collect()
}

async fn large(context: &Context, letter: &Letter) -> anyhow::Result<Option<Contents>> {
    #[derive(Deserialize)]
    struct Head {
        headers: BTreeMap<String, String>,
        chars: usize,
    }
    #[derive(Deserialize)]
    struct Piece {
        piece: String,
    }
    let from = format!("FROM dead WHERE {} AND payload IS NOT NULL", letter.condition());
    let head = format!("SELECT headers, length(base64(payload)) AS chars {from}");
    let Some(head) = sql::rows::<Head>(context, &head).await?.pop() else {
        return Ok(None);
    };
    let mut encoded = String::with_capacity(head.chars);
    while encoded.len() < head.chars {
        let select = format!(
            "SELECT substr(base64(payload), {}, {PIECE_CHARS}) AS piece {from}",
            encoded.len() + 1
        );
        let Some(piece) = sql::rows::<Piece>(context, &select).await?.pop() else {
            return Ok(None);
        };
        anyhow::ensure!(
            !piece.piece.is_empty(),
            "the payload of letter {} ended early; ask again",
            letter.id
        );
        encoded.push_str(&piece.piece);
    }
    let payload = STANDARD.decode(&encoded).context("a payload is not Base64")?;
    Ok(Some(Contents {
        headers: head.headers,
        payload: payload.into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_letters_are_read_together_and_a_large_one_alone() {
        let letter = |bytes: u64, epoch: &str| Letter {
            bytes,
            epoch: Some(epoch.into()),
            ..Letter::default()
        };
        let all = [
            letter(100, "a"),
            letter(100, "a"),
            letter(1_000_000, "a"),
            letter(1, "a"),
            letter(1, "b"),
        ];
        let from = |at: usize| together(&all[at..].iter().collect::<Vec<_>>());
        assert_eq!(
            [from(0), from(1), from(2), from(3), from(4), from(5)],
            [2, 1, 1, 1, 1, 0]
        );
    }
}
