//! Partials that went with their stream are made here, from the rows.
//!
//! Worker rollup has acknowledged the events of a partial that ROLLUP lost, and will not make it again.

use std::ops::{ControlFlow, RangeInclusive};

use duckdb::Connection;
use schemas::Kind;
use schemas::alert::Match;
use schemas::rollup::Partial;

use crate::corrections::ROWS_AS_THEY_CAME;
use crate::loading::among;
use crate::reread;
use crate::{Source, Store};

/// Messages of EVENTS folded in one transaction.
const MESSAGES_MAX: usize = 2000;

impl Store {
    /// Folds the rows of all messages of EVENTS whose partials have not come. Says how many there were, and what is to
    /// be told of.
    ///
    /// # Errors
    /// The database failed; what was folded stays so.
    pub(crate) fn make_missing_partials(&mut self) -> anyhow::Result<(u64, Vec<Match>)> {
        let reading = self.connection().try_clone()?;
        let (mut made, mut alerts) = (0, Vec::new());
        for (epoch, id) in self.progress.epochs_of_events() {
            let unmerged = self.unmerged(&epoch);
            if unmerged.is_empty() {
                continue;
            }
            for kind in Kind::ALL {
                let rows = match kind {
                    Kind::Usage => ROWS_AS_THEY_CAME.to_owned(),
                    _ => format!("{kind}_all"),
                };
                let from = format!("(SELECT *, '' AS ingest_epoch FROM {rows} WHERE events_epoch = {id})");
                let subject = format!("events.{kind}");
                let (mut partial, mut sequences) = (Partial::default(), Vec::new());
                let mut failed = None;
                reread::messages(&reading, kind, &from, &among(&unmerged), |message| {
                    partial.merge(Partial::of_events(&subject, &message.lines)?);
                    sequences.push(message.sequence);
                    if sequences.len() >= MESSAGES_MAX {
                        made += sequences.len() as u64;
                        let folded = std::mem::take(&mut partial);
                        match self.add_partial(&epoch, folded, &std::mem::take(&mut sequences)) {
                            Ok(found) => alerts.extend(found),
                            Err(error) => {
                                failed = Some(error);
                                return Ok(ControlFlow::Break(()));
                            }
                        }
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
                if let Some(error) = failed {
                    return Err(error);
                }
                made += sequences.len() as u64;
                alerts.extend(self.add_partial(&epoch, partial, &sequences)?);
            }
        }
        Ok((made, alerts))
    }

    /// What was stored and is in no aggregate.
    fn unmerged(&self, epoch: &str) -> Vec<RangeInclusive<u64>> {
        let Some(stored) = self.progress.processed(Source::Events, epoch) else {
            return Vec::new();
        };
        let ranges = stored.ranges().cloned();
        ranges
            .flat_map(|range| self.progress.absent(Source::Merged, epoch, range))
            .collect()
    }

    /// Adds aggregates and notes whose they are, in one transaction.
    fn add_partial(
        &mut self,
        epoch: &str,
        partial: Partial,
        sequences: &[u64],
    ) -> anyhow::Result<Vec<Match>> {
        let add = |connection: &Connection, store: &mut Self| {
            connection.execute_batch("BEGIN")?;
            let alerts = store.rollups.append(connection, partial)?;
            for sequence in sequences {
                store
                    .progress
                    .process(Source::Merged, epoch, *sequence..=*sequence);
            }
            store.progress.save(connection)?;
            connection.execute_batch("COMMIT")?;
            anyhow::Ok(alerts)
        };
        let connection = self.connection().try_clone()?;
        let added = add(&connection, self);
        if added.is_err() {
            // Fails where no transaction is open any more.
            let _ = connection.execute_batch("ROLLBACK");
            self.forget();
        }
        added
    }
}
