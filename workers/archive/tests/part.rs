//! Files: the same messages give the same bytes; what is wrong with one is named.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use archive::{Folder, Listed, Message, Part, Stamp, unlisted, verify};
use schemas::archive::File;
use schemas::{Kind, Origins, Time};

const EPOCH: &str = "01JD00000000000000000000B1";

fn metric(origin: u64, timestamp: &str) -> String {
    format!(
        "{{\"o\":{origin},\"i\":0,\"tenant\":\"t\",\"timestamp\":\"{timestamp}\",\"source\":\"a\",\"name\":\"x\",\
         \"value\":{origin}.5,\"tags\":{{\"b\":\"c\"}},\"v\":1}}\n"
    )
}

fn add(part: &mut Part, sequence: u64, subject: &str, payload: &str, repeated: Option<&Origins>) {
    let stamp = Stamp {
        ingest_epoch: "01JD00000000000000000000A1",
        events_epoch: EPOCH,
        sequence,
        stored: Time(1_795_176_000_000_000),
    };
    let message = Message {
        stamp,
        subject,
        payload: payload.as_bytes(),
        repeated,
    };
    part.add(&message).unwrap();
}

/// Metrics of two days, the later ones first, an event and two calls of which one was stored before.
fn write(root: &Path, writer: &str) -> Vec<File> {
    let mut part = Part::new(EPOCH, 7);
    let late = metric(1, "2026-11-20T00:00:00.000000Z") + &metric(2, "2026-11-19T23:59:59.999999Z");
    add(&mut part, 7, "events.metric", &late, None);
    let event = "{\"o\":3,\"i\":0,\"tenant\":\"t\",\"timestamp\":\"2026-11-18T00:00:00.000000Z\",\"source\":\"a\",\
                 \"name\":\"e\",\"data\":{\"k\":[1]},\"v\":1}\n";
    add(&mut part, 8, "events.event", event, None);
    let call = |origin| {
        format!(
            "{{\"o\":{origin},\"i\":0,\"tenant\":\"t\",\"timestamp\":\"2026-11-18T00:00:00.000000Z\",\"source\":\"a\",\
             \"model\":\"m\",\"tokens_in\":5,\"cost_usd\":0.000000001,\"v\":1}}\n"
        )
    };
    let repeated = Origins::from_iter([4]);
    add(
        &mut part,
        9,
        "events.usage",
        &(call(4) + &call(5)),
        Some(&repeated),
    );
    let drafts = part.write(12, &Folder::new(root, writer)).unwrap();
    drafts
        .into_iter()
        .map(|draft| draft.put_in_place().unwrap())
        .collect()
}

fn listed(files: &[File]) -> Vec<Listed> {
    let of = |file: &File| Listed {
        path: file.path.clone(),
        rows: file.rows,
        bytes: file.bytes,
        sha256: file.sha256.clone(),
    };
    files.iter().map(of).collect()
}

#[test]
fn the_same_messages_give_the_same_files_whoever_writes_them() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = write(one.path(), "first");
    let shape: Vec<_> = files
        .iter()
        .map(|file| (file.kind, file.date.as_str(), file.rows, file.first, file.last))
        .collect();
    assert_eq!(
        shape,
        [
            (Kind::Metric, "2026-11-19", 1, 7, 12),
            (Kind::Metric, "2026-11-20", 1, 7, 12),
            (Kind::Event, "2026-11-18", 1, 7, 12),
            (Kind::Usage, "2026-11-18", 1, 7, 12),
        ]
    );
    assert_eq!(write(two.path(), "second"), files);
    assert_eq!(write(one.path(), "again"), files);
    for file in &files {
        let bytes = |root: &Path| std::fs::read(root.join(&file.path)).unwrap();
        assert_eq!(bytes(one.path()), bytes(two.path()));
    }
    let listed = listed(&files);
    assert!(listed.iter().all(|file| verify(one.path(), file).is_none()));
    assert_eq!(unlisted(one.path(), &listed), []);
}

#[test]
fn what_a_killed_process_left_goes_when_its_file_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), "first");
    let left = folder.path().join(format!("{}.killed.tmp", files[0].path));
    std::fs::write(&left, b"half").unwrap();
    write(folder.path(), "second");
    assert!(!left.exists());
}

#[test]
fn every_way_to_break_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), "first");
    let listed = listed(&files);
    let problem = |change: &dyn Fn(&Path)| {
        let path = folder.path().join(&files[0].path);
        let whole = std::fs::read(&path).unwrap();
        change(&path);
        let problem = verify(folder.path(), &listed[0]).unwrap();
        std::fs::write(path, whole).unwrap();
        assert!(problem.fix.contains("restore"));
        problem.problem
    };
    assert_eq!(
        problem(&|path| std::fs::remove_file(path).unwrap()),
        "is not there"
    );
    assert!(problem(&|path| std::fs::write(path, b"short").unwrap()).starts_with("has 5 bytes"));
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[10] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    assert!(problem(&flip).starts_with("has SHA-256"));
    let more = Listed {
        rows: 9,
        ..listed[0].clone()
    };
    assert_eq!(verify(folder.path(), &more).unwrap().problem, "has 1 rows, not 9");

    let stranger = folder.path().join("metric/date=2026-11-19/stranger.parquet");
    std::fs::write(&stranger, b"x").unwrap();
    assert_eq!(
        unlisted(folder.path(), &listed),
        [],
        "it may just be being written"
    );
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let file = std::fs::File::options().write(true).open(&stranger).unwrap();
    file.set_modified(long_ago).unwrap();
    let found = unlisted(folder.path(), &listed);
    assert_eq!(found.len(), 1);
    assert!(found[0].problem.contains("not in the manifest") && stranger.exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_its_fix() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("metric"), b"a file where a folder should be").unwrap();
    let mut part = Part::new(EPOCH, 1);
    add(
        &mut part,
        1,
        "events.metric",
        &metric(1, "2026-11-20T00:00:00.000000Z"),
        None,
    );
    let error = part.write(1, &Folder::new(folder.path(), "w")).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("cannot write") && text.contains("nothing is lost"),
        "{text}"
    );
}

#[test]
fn a_file_has_its_name_only_once_it_is_put_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let drafts = |writer| {
        let mut part = Part::new(EPOCH, 1);
        let row = metric(1, "2026-11-20T00:00:00.000000Z");
        add(&mut part, 1, "events.metric", &row, None);
        part.write(1, &Folder::new(folder.path(), writer)).unwrap()
    };
    let files = || {
        let found = std::fs::read_dir(folder.path().join("metric/date=2026-11-20")).unwrap();
        let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".parquet")).count()
    };
    drop(drafts("stalled"));
    assert_eq!(files(), 0, "given up: nothing is left");
    for draft in drafts("w") {
        assert_eq!(files(), 0, "nobody sees it yet");
        draft.put_in_place().unwrap();
    }
    assert_eq!(files(), 1);
}
