//! The archive's contracts: jobs, the files they became, and what the database knows about them.
//!
//! A job is a range of EVENTS sequences. Jobs never overlap and leave no hole. Its files are named by the stream's
//! epoch and the sequences they cover, so that a file is never overwritten by another one's rows, not even after
//! EVENTS was deleted and its sequences start anew.

use serde::{Deserialize, Serialize};

use crate::{Kind, Origins, Time};

/// Jobs: ranges to be archived.
pub const JOB_SUBJECT: &str = "archive.job";
/// Manifests: the files that a job became.
pub const FILE_SUBJECT: &str = "archive.file";
/// Where the sink is asked what it did with a range. (`archive.>` belongs to the stream.)
pub const COVERAGE_SUBJECT: &str = "query.archive";

/// Under which a file's key-value metadata holds its [`Contents`], as JSON.
pub const METADATA_KEY: &str = "aiai";

/// The columns that files have today. Those of layout 1 lack some that were added since.
pub const LAYOUT: u16 = 2;

/// The highest sequence a job may name, so that no arithmetic on it overflows.
const SEQUENCE_MAX: u64 = i64::MAX as u64;
/// Length of a ULID's text.
const ULID_BYTES: usize = 26;
/// Length of a SHA-256 in hexadecimal digits.
const SHA256_BYTES: usize = 64;

/// A range of EVENTS to be archived, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// ULID of the epoch of EVENTS.
    pub epoch: String,
    /// The first sequence.
    pub first: u64,
    /// The last sequence.
    pub last: u64,
}

/// What a job became. Without files where the range held no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The job.
    pub job: Job,
    /// Its files; each covers all rows of one kind and day (or, of very old days, of several) in its sequences.
    pub files: Vec<File>,
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The first sequence of EVENTS it covers.
    pub first: u64,
    /// The last sequence of EVENTS it covers.
    pub last: u64,
    /// The kind of its rows.
    pub kind: Kind,
    /// The UTC day of its rows, `YYYY-MM-DD`.
    pub date: String,
    /// Where it is in the archive folder: [`path`].
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// When the oldest of its rows happened.
    pub min_ts: Time,
    /// When the newest of its rows happened.
    pub max_ts: Time,
    /// Which columns it has: [`LAYOUT`], or 1 where nothing is said.
    #[serde(default = "first_layout")]
    pub layout: u16,
}

const fn first_layout() -> u16 {
    1
}

/// What a part of a job became, as each of its files carries it: enough to get everything back from the files alone.
///
/// The parts of a job are ranges that follow each other without a hole; a part has a file for each kind and day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// ULID of the epoch of EVENTS.
    pub epoch: String,
    /// The first sequence of the part.
    pub first: u64,
    /// The last sequence of the part.
    pub last: u64,
    /// All files of the part: kind, how many files, how many rows.
    pub files: Vec<(Kind, u64, u64)>,
    /// Sequences of which no row was stored: dead letters.
    pub refused: String,
    /// Origins that were stored before, by the sequence of the message whose rows were therefore left out.
    pub duplicates: Vec<(u64, String)>,
}

/// What the path of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The kind of its rows.
    pub kind: Kind,
    /// The UTC day of its rows, `YYYY-MM-DD`.
    pub date: String,
    /// ULID of the epoch of EVENTS.
    pub epoch: String,
    /// The first sequence of EVENTS it covers.
    pub first: u64,
    /// The last sequence of EVENTS it covers.
    pub last: u64,
}

/// Asks the sink about a range of EVENTS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverageRequest {
    /// ULID of the epoch of EVENTS.
    pub epoch: String,
    /// The first sequence.
    pub first: u64,
    /// The last sequence.
    pub last: u64,
}

/// What the sink did with a range of EVENTS. Final once `checkpoint` has passed it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Every message up to here is stored, or refused for good.
    pub checkpoint: u64,
    /// All sequences that were archived, as ranges; not only those asked for.
    pub archived: String,
    /// Sequences in the range of which no row was stored: dead letters.
    pub refused: String,
    /// Origins that were stored before, by the sequence of the message whose rows were therefore left out.
    pub duplicates: Vec<(u64, String)>,
}

/// Where the file of these rows is, in the archive folder.
pub fn path(kind: Kind, date: &str, epoch: &str, first: u64, last: u64) -> String {
    format!("{kind}/date={date}/{epoch}-{first:012}-{last:012}.parquet")
}

/// Reads what [`path`] wrote.
#[must_use]
pub fn parse_path(text: &str) -> Option<Place> {
    let (kind, rest) = text.split_once("/date=")?;
    let (date, name) = rest.split_once('/')?;
    let (epoch, range) = name.strip_suffix(".parquet")?.split_once('-')?;
    let (first, last) = range.split_once('-')?;
    let place = Place {
        kind: Kind::parse(kind)?,
        date: date.to_owned(),
        epoch: epoch.to_owned(),
        first: first.parse().ok()?,
        last: last.parse().ok()?,
    };
    let is_range = (1..=place.last).contains(&place.first) && place.last <= SEQUENCE_MAX;
    let is_same = text == path(place.kind, &place.date, &place.epoch, place.first, place.last);
    (is_ulid(&place.epoch) && is_range && is_same).then_some(place)
}

impl Job {
    /// Reads a job.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(payload: &[u8]) -> Result<Self, String> {
        let job: Self = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        job.check()?;
        Ok(job)
    }

    fn check(&self) -> Result<(), String> {
        if !is_ulid(&self.epoch) {
            return Err(format!("epoch `{}` is not a ULID", self.epoch));
        }
        if self.first == 0 || self.first > self.last || self.last > SEQUENCE_MAX {
            return Err(format!(
                "{} to {} is not a range of sequences",
                self.first, self.last
            ));
        }
        Ok(())
    }
}

impl Manifest {
    /// Reads a manifest. One that is read names no file outside the archive folder.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(payload: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        let job = &manifest.job;
        job.check()?;
        for file in &manifest.files {
            let at = || format!("file {}", file.path);
            if file.first < job.first || file.first > file.last || file.last > job.last {
                return Err(format!("{}: its sequences are not in the job's", at()));
            }
            let is_day = file.date.parse::<jiff::civil::Date>().is_ok() && file.date.len() == 10;
            if !is_day || file.path != path(file.kind, &file.date, &job.epoch, file.first, file.last) {
                return Err(format!("{}: its path does not follow from what it holds", at()));
            }
            let is_hex = file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
            if file.sha256.len() != SHA256_BYTES || !is_hex {
                return Err(format!("{}: sha256 is not one", at()));
            }
        }
        Ok(manifest)
    }
}

impl Coverage {
    /// The ranges it names: archived, refused.
    ///
    /// # Errors
    /// The one that is not a list of ranges.
    pub fn ranges(&self) -> Result<(Origins, Origins), String> {
        let read = |name: &str, text: &str| {
            let ranges = text.parse::<Origins>();
            ranges.map_err(|error| format!("{name}: {error}"))
        };
        Ok((read("archived", &self.archived)?, read("refused", &self.refused)?))
    }
}

fn is_ulid(text: &str) -> bool {
    text.len() == ULID_BYTES
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: &str = "01JD00000000000000000000B1";

    fn manifest() -> Manifest {
        let (first, last, kind, date) = (5, 9, Kind::Usage, "2026-11-20".to_owned());
        let file = File {
            path: path(kind, &date, EPOCH, first, last),
            first,
            last,
            kind,
            date,
            rows: 1,
            bytes: 2,
            sha256: "0a".repeat(32),
            min_ts: Time(0),
            max_ts: Time(1),
            layout: LAYOUT,
        };
        let job = Job {
            epoch: EPOCH.into(),
            first: 5,
            last: 9,
        };
        Manifest {
            job,
            files: vec![file],
        }
    }

    fn read(manifest: &Manifest) -> Result<Manifest, String> {
        Manifest::read(&serde_json::to_vec(manifest).unwrap())
    }

    #[test]
    fn a_manifest_is_read_as_written() {
        assert_eq!(
            manifest().files[0].path,
            "usage/date=2026-11-20/01JD00000000000000000000B1-000000000005-000000000009.parquet"
        );
        assert_eq!(read(&manifest()).unwrap(), manifest());
    }

    #[test]
    fn a_path_is_read_as_written_and_no_other_is() {
        let text = path(Kind::Usage, "2026-11-20", EPOCH, 5, 9);
        let place = parse_path(&text).unwrap();
        assert_eq!((place.kind, place.first, place.last), (Kind::Usage, 5, 9));
        assert_eq!((place.date.as_str(), place.epoch.as_str()), ("2026-11-20", EPOCH));
        for other in [
            text.replace("usage", "other"),
            text.replace("date=", "day="),
            text.replace("000000000005", "5"),
            text.replace("000000000009", "000000000004"),
            text.replace(EPOCH, "short"),
            format!("{text}.tmp"),
            format!("../{text}"),
        ] {
            assert_eq!(parse_path(&other), None, "{other}");
        }
    }

    #[test]
    fn a_manifest_names_only_files_of_its_job() {
        let broken = |change: fn(&mut Manifest)| {
            let mut manifest = manifest();
            change(&mut manifest);
            read(&manifest).unwrap_err()
        };
        assert!(broken(|m| m.files[0].path = "../../etc/passwd".into()).contains("path does not follow"));
        assert!(broken(|m| m.files[0].date = "../..".into()).contains("path does not follow"));
        assert!(broken(|m| m.files[0].last = 10).contains("not in the job's"));
        assert!(broken(|m| m.files[0].sha256 = "x".into()).contains("sha256"));
        assert!(broken(|m| m.job.epoch = "../".into()).contains("not a ULID"));
        assert!(broken(|m| m.job.last = u64::MAX).contains("not a range"));
        assert!(Job::read(br#"{"epoch":"01JD00000000000000000000B1","first":3,"last":2}"#).is_err());
    }
}
