//! `golden/<kind>/v1/{valid,invalid}/<case>.json` are payloads; `<case>.expected` beside each is what `decode`
//! makes of it: canonical lines, and for what is rejected `rejected [index] reason: place: problem; fix`.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use schemas::{Decoded, Incoming, Item, Kind, Reason, Time, decode, read_lines, with_kind};

/// When the golden messages were stored: 2026-11-20T07:00:01Z.
const STORED: Time = Time(1_795_158_001_000_000);

/// Reasons which are found in subjects, or by workers later on.
const NOT_OF_PAYLOADS: [Reason; 10] = [
    Reason::BadSubject,
    Reason::UnknownKind,
    Reason::RetriesExhausted,
    Reason::WorkerPanicked,
    Reason::UnreadableHeaders,
    Reason::MalformedBatch,
    Reason::WebhookRefused,
    Reason::WorkerKilled,
    Reason::Terminated,
    Reason::MaxDeliveries,
];

#[derive(Default)]
struct Outcome {
    text: Vec<u8>,
    lines: Vec<u8>,
    rejected: Vec<Reason>,
}

#[test]
fn valid_payloads_become_these_events() {
    let mut faults = Vec::new();
    for (kind, path, outcome) in cases("valid") {
        assert!(
            outcome.rejected.is_empty(),
            "{}: {}",
            path.display(),
            outcome.text.escape_ascii()
        );
        faults.extend(common::check_file(&path.with_extension("expected"), &outcome.text).err());
        assert_eq!(
            rewrite(kind, &outcome.lines),
            outcome.lines,
            "{} read and written again",
            path.display()
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn invalid_payloads_are_rejected_like_this() {
    let (mut faults, mut reasons) = (Vec::new(), BTreeSet::new());
    for (_, path, outcome) in cases("invalid") {
        assert!(!outcome.rejected.is_empty(), "{} was accepted", path.display());
        reasons.extend(outcome.rejected);
        faults.extend(common::check_file(&path.with_extension("expected"), &outcome.text).err());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let absent: Vec<&Reason> = Reason::ALL
        .iter()
        .filter(|reason| !reasons.contains(reason) && !NOT_OF_PAYLOADS.contains(reason))
        .collect();
    assert!(absent.is_empty(), "no golden file for {absent:?}");
}

fn cases(group: &str) -> Vec<(Kind, PathBuf, Outcome)> {
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        let folder = common::path(&format!("golden/{kind}/v1/{group}"));
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let paths = files.map(|file| file.expect("a readable folder").path());
        for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
            let outcome = run(kind, &path);
            cases.push((kind, path, outcome));
        }
    }
    assert!(!cases.is_empty(), "no golden files");
    cases
}

fn run(kind: Kind, path: &Path) -> Outcome {
    let payload = fs::read(path).expect("a readable file");
    let subject = format!("ingest.acme.{kind}");
    let message = Incoming {
        subject: &subject,
        content_type: None,
        trace_parent: None,
        cloud_event: None,
        payload: &payload,
        origin: 7,
        stored: STORED,
    };
    let mut outcome = Outcome::default();
    decode(&message, |decoded| match decoded {
        Decoded::Item { item, .. } => {
            item.write_line(&mut outcome.text);
            item.write_line(&mut outcome.lines);
        }
        Decoded::Rejected { index, rejection, .. } => {
            let index = index.map_or(String::new(), |index| format!(" {index}"));
            let text = format!("rejected{index} {}: {rejection}\n", rejection.reason.as_str());
            outcome.text.extend(text.as_bytes());
            outcome.rejected.push(rejection.reason);
        }
    });
    outcome
}

/// The canonical lines, read as the sink reads them and written again.
fn rewrite(kind: Kind, lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let items: Vec<Item<'_>> =
        with_kind!(kind, T => rows::<T<'_>>(lines).into_iter().map(Item::from).collect());
    items.iter().for_each(|item| item.write_line(&mut out));
    out
}

fn rows<'a, T: serde::Deserialize<'a>>(lines: &'a [u8]) -> Vec<T> {
    read_lines(lines).expect("canonical lines")
}
