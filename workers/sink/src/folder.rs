//! What the archive folder holds, by the names of its files and what is written into them.
//!
//! The manifest is in the stream ARCHIVE and in the database; where both are gone, or older than the files, the folder
//! alone must be enough. Each file lists all files of its part, so that a lost one is noticed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use duckdb::Connection;
use schemas::Kind;
use schemas::archive::{Contents, METADATA_KEY, parse_path};

use crate::schema::quote;

/// Files of one range of EVENTS: all that its rows became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) epoch: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) files: Vec<Found>,
}

/// A file by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) date: String,
    /// In the archive folder.
    pub(crate) path: String,
}

/// All parts in the folder, by epoch and sequence. Files with other names are somebody else's.
pub(crate) fn parts(folder: &Path) -> Vec<Part> {
    let mut parts: BTreeMap<(String, u64, u64), Vec<Found>> = BTreeMap::new();
    for kind in Kind::ALL {
        let days = fs::read_dir(folder.join(kind.as_str())).into_iter().flatten();
        for day in days.flatten() {
            let files = fs::read_dir(day.path()).into_iter().flatten();
            for file in files.flatten() {
                let day = day.file_name();
                let name = file.file_name();
                let (Some(day), Some(name)) = (day.to_str(), name.to_str()) else {
                    continue;
                };
                let path = format!("{kind}/{day}/{name}");
                let Some(place) = parse_path(&path) else { continue };
                let key = (place.epoch, place.first, place.last);
                let date = place.date;
                parts.entry(key).or_default().push(Found { kind, date, path });
            }
        }
    }
    let parts = parts.into_iter().map(|((epoch, first, last), mut files)| {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Part {
            epoch,
            first,
            last,
            files,
        }
    });
    parts.collect()
}

/// What a part's files say about it; none if an older version wrote them, or none can be read.
pub(crate) fn contents(connection: &Connection, folder: &Path, part: &Part) -> Option<Contents> {
    part.files.iter().find_map(|file| {
        let path = folder.join(&file.path);
        let sql = format!(
            "SELECT decode(value) FROM parquet_kv_metadata({}) WHERE decode(key) = '{METADATA_KEY}'",
            quote(path.to_str()?)
        );
        let text: String = connection.query_row(&sql, [], |row| row.get(0)).ok()?;
        serde_json::from_str::<Contents>(&text).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_range_are_a_part_and_others_are_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let epoch = "01JD00000000000000000000B1";
        let mut paths = vec![
            schemas::archive::path(Kind::Usage, "2026-11-20", epoch, 5, 9),
            schemas::archive::path(Kind::Metric, "2026-11-20", epoch, 5, 9),
            schemas::archive::path(Kind::Metric, "2026-11-21", epoch, 5, 9),
            schemas::archive::path(Kind::Metric, "2026-11-20", epoch, 1, 4),
        ];
        paths.push(format!("{}.w.tmp", paths[0]));
        paths.push("metric/date=2026-11-20/mine.parquet".to_owned());
        paths.push("other/date=2026-11-20/x.parquet".to_owned());
        for path in &paths {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        let parts = parts(folder.path());
        let found: Vec<_> = parts
            .iter()
            .map(|part| (part.first, part.last, part.files.len()))
            .collect();
        assert_eq!(found, [(1, 4, 1), (5, 9, 3)]);
        assert_eq!(parts[1].files[0].path, paths[1]);
    }
}
