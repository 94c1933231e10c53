//! The ledger's side of the database: what is stored and dead of each epoch of INGEST.
//!
//! No statement is kept: a plan that DuckDB made while a table was empty can go on finding nothing in it.

use duckdb::{Connection, params};
use schemas::Time;
use schemas::ledger::{EARLIER_MAX, Epoch, Missing, Report};

use crate::kinds::Kinds;
use crate::ledger::{Account, Found, Holes};
use crate::overview::read_set;
use crate::{Horizon, Source, StreamFigures};

/// Every epoch of INGEST, as of one moment.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// INGEST as it is now.
    pub(crate) current: Account,
    /// Newest first.
    pub(crate) earlier: Vec<Account>,
    /// Still earlier ones.
    pub(crate) omitted: u64,
}

/// Missing messages of an earlier epoch named.
const LOST_NAMED: usize = 10;
const LOST: &str = "lost with the stream, which was deleted before it was stored";

impl Accounts {
    /// The ledger; `holes` and what was found out about them are those of the present epoch.
    pub(crate) fn report(&self, holes: &Holes, found: Found, now: Time) -> Report {
        let current = self.current.balance(holes, found);
        Report {
            at_ms: now.as_millis(),
            balances: current.balances(),
            current,
            earlier: self.earlier.iter().map(over).collect(),
            earlier_omitted: self.omitted,
        }
    }
}

/// An epoch whose stream is gone.
fn over(account: &Account) -> Epoch {
    let holes = account.holes();
    let lost = holes.missing.iter().cloned().flatten().take(LOST_NAMED);
    let messages = lost.map(|sequence| Missing {
        sequence,
        cause: LOST.to_owned(),
        ..Missing::default()
    });
    let found = Found {
        messages: messages.collect(),
        ..Found::default()
    };
    account.balance(&holes, found)
}

/// The present epoch, without its kinds.
pub(crate) fn current(
    connection: &Connection,
    figures: &StreamFigures,
    horizon: &mut Horizon,
) -> anyhow::Result<Account> {
    look_back(connection, figures, horizon)?;
    let mut account = read(connection, &figures.epoch, None)?;
    account.last = figures.last_sequence;
    account.horizon = horizon.of(&figures.epoch, &figures.epoch);
    Ok(account)
}

/// All epochs with their kinds.
pub(crate) fn all(
    connection: &Connection,
    figures: &StreamFigures,
    horizon: &mut Horizon,
) -> anyhow::Result<Accounts> {
    let mut accounts = Accounts {
        current: current(connection, figures, horizon)?,
        ..Accounts::default()
    };
    // A ULID begins with the time at which it was made.
    let mut known = connection.prepare(
        "SELECT coalesce(known.epoch, seen.epoch) AS epoch, id, coalesce(published, 0)
         FROM (FROM epochs WHERE stream = 'INGEST') AS known
         FULL JOIN ledger_epoch AS seen ON known.epoch = seen.epoch ORDER BY epoch DESC",
    )?;
    let mut rows = known.query([])?;
    while let Some(row) = rows.next()? {
        let (epoch, id, published): (String, Option<u16>, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if epoch == figures.epoch {
            if let Some(id) = id {
                accounts.current.kinds = Kinds::load(connection, id)?;
            }
            continue;
        }
        if accounts.earlier.len() >= EARLIER_MAX {
            accounts.omitted += 1;
            continue;
        }
        let mut account = read(connection, &epoch, id)?;
        account.last = published.max(account.last);
        account.horizon = horizon.of(&epoch, &figures.epoch);
        if account.last > 0 {
            accounts.earlier.push(account);
        }
    }
    Ok(accounts)
}

/// Decides as much as the database has caught up with.
fn look_back(connection: &Connection, figures: &StreamFigures, horizon: &mut Horizon) -> anyhow::Result<()> {
    horizon.note(figures);
    let mut checkpoints: Vec<(Source, String, u64)> = Vec::new();
    let mut statement =
        connection.prepare("SELECT stream, epoch, seq FROM checkpoint WHERE stream IN (?, ?)")?;
    let mut rows = statement.query(params![Source::Events.as_str(), Source::Dead.as_str()])?;
    while let Some(row) = rows.next()? {
        let stream: String = row.get(0)?;
        if let Some(source) = Source::parse(&stream) {
            checkpoints.push((source, row.get(1)?, row.get(2)?));
        }
    }
    let reached = |source: Source, epoch: &str| {
        let found = checkpoints
            .iter()
            .find(|(of, known, _)| *of == source && known == epoch);
        found.map_or(0, |(.., sequence)| *sequence)
    };
    horizon.pass(
        |epoch| reached(Source::Events, epoch),
        |epoch| reached(Source::Dead, epoch),
    );
    Ok(())
}

/// One epoch; its kinds if its id is given.
fn read(connection: &Connection, epoch: &str, id: Option<u16>) -> anyhow::Result<Account> {
    let duplicates = connection
        .prepare(
            "SELECT count(*) FROM duplicates JOIN epochs ON epochs.id = duplicates.epoch WHERE epochs.epoch = ?",
        )?
        .query_row(params![epoch], |row| row.get(0))?;
    let stored = read_set(connection, epoch, "stored")?;
    let dead = read_set(connection, epoch, "dead")?;
    Ok(Account {
        epoch: epoch.to_owned(),
        last: stored.last().max(dead.last()).unwrap_or(0),
        stored,
        dead,
        duplicates,
        kinds: match id {
            Some(id) => Kinds::load(connection, id)?,
            None => Kinds::default(),
        },
        horizon: 0,
    })
}

/// Keeps how far an epoch got; never lowers it.
pub(crate) fn remember(connection: &Connection, epoch: &str, published: u64) -> anyhow::Result<()> {
    let known = "UPDATE ledger_epoch SET published = greatest(published, ?) WHERE epoch = ?";
    if connection.prepare(known)?.execute(params![published, epoch])? == 0 {
        connection
            .prepare("INSERT INTO ledger_epoch(epoch, published) VALUES (?, ?)")?
            .execute(params![epoch, published])?;
    }
    Ok(())
}
