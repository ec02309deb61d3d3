//! What has changed between two looks at a database.

use std::collections::HashMap;

use crate::database::Sample;

/// A look lists the largest tables only: with so many in it, there were others.
const MANY: usize = 200;

/// The database as it was seen.
#[derive(Default)]
pub(super) struct Growth {
    /// Rows per table: the most there ever were. Estimates go up and down; what was counted is not counted again.
    rows: HashMap<String, u64>,
    /// Whether the first look was taken, with which tables were there before.
    begun: bool,
    /// Whether there were tables that it does not list.
    partial: bool,
    progress: Vec<(String, u64, Option<u64>)>,
    blocked: Vec<(i64, i64)>,
}

/// What is new.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Rows by which tables grew.
    pub(super) grown: Vec<(String, u64)>,
    /// What the server is at.
    pub(super) measured: Vec<(String, u64, Option<u64>)>,
    /// Whether others wait, or no longer do.
    pub(super) blocked: bool,
}

impl Growth {
    /// Takes the tables as they are before anything is done.
    pub(super) fn begin(&mut self, sample: &Sample) {
        self.rows = sample.rows.iter().cloned().collect();
        self.partial = sample.rows.len() >= MANY;
        self.begun = true;
    }

    /// What this look shows that the last one did not. If there was none before the command began, what this one finds is
    /// taken for what was there before: rather too little is counted than what was never written.
    pub(super) fn look(&mut self, sample: &Sample) -> Changes {
        let mut changes = Changes::default();
        if !self.begun {
            self.begin(sample);
        }
        for (table, rows) in &sample.rows {
            // A table that was not there before had no rows; one that was not listed may have had as many.
            let unseen = if self.partial { *rows } else { 0 };
            let before = self.rows.entry(table.clone()).or_insert(unseen);
            if let Some(more) = rows.checked_sub(*before).filter(|more| *more > 0) {
                changes.grown.push((table.clone(), more));
                *before = *rows;
            }
        }
        changes.measured = sample.progress.iter().filter(|one| !self.progress.contains(one)).cloned().collect();
        self.progress.clone_from(&sample.progress);
        let mut blocked: Vec<_> = sample.blocked.iter().map(|session| (session.waiting, session.blocked_by)).collect();
        blocked.sort_unstable();
        changes.blocked = blocked != self.blocked;
        self.blocked = blocked;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::BlockedSession;

    fn sample(rows: &[(&str, u64)]) -> Sample {
        Sample { rows: rows.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect(), ..Sample::default() }
    }

    fn blocked(waiting: i64, waiting_ms: u64) -> BlockedSession {
        let word = String::new();
        BlockedSession {
            waiting,
            blocked_by: 1,
            by_us: true,
            waiting_ms,
            what: word.clone(),
            user: word.clone(),
            application: word,
        }
    }

    #[test]
    fn rows_are_counted_once_however_estimates_waver() {
        let mut growth = Growth::default();
        growth.begin(&sample(&[("a", 100), ("b", 5)]));
        let mut counted = HashMap::<String, u64>::new();
        for look in [
            sample(&[("a", 100), ("b", 5)]),
            sample(&[("a", 150), ("b", 5), ("new", 10)]),
            sample(&[("a", 90), ("b", 0), ("new", 10)]),
            sample(&[("a", 160), ("b", 6)]),
            sample(&[("new", 12)]),
        ] {
            for (table, rows) in growth.look(&look).grown {
                *counted.entry(table).or_default() += rows;
            }
        }
        assert_eq!(counted, HashMap::from([("a".into(), 60), ("b".into(), 1), ("new".into(), 12)]));
    }

    #[test]
    fn without_a_look_before_nothing_is_made_up() {
        let mut growth = Growth::default();
        assert_eq!(growth.look(&sample(&[("a", 100)])), Changes::default());
        assert_eq!(growth.look(&sample(&[("a", 101)])).grown, [("a".to_owned(), 1)]);
    }

    #[test]
    fn a_table_that_was_only_not_listed_is_not_taken_for_new() {
        let many: Vec<_> = (0..200).map(|n| (format!("t{n}"), 1_000)).collect();
        let mut growth = Growth::default();
        growth.begin(&Sample { rows: many, ..Sample::default() });
        assert_eq!(growth.look(&sample(&[("small", 999)])).grown, []);
        assert_eq!(growth.look(&sample(&[("small", 1_000)])).grown, [("small".to_owned(), 1)]);
    }

    #[test]
    fn waiting_sessions_and_progress_are_told_when_they_change() {
        let mut growth = Growth::default();
        growth.begin(&Sample::default());
        let index = |done| ("building index".to_owned(), done, Some(10));
        let look = |sessions: &[BlockedSession], done| Sample {
            blocked: sessions.to_vec(),
            progress: vec![index(done)],
            ..Sample::default()
        };
        let first = growth.look(&look(&[blocked(7, 10)], 1));
        assert_eq!((first.blocked, first.measured), (true, vec![index(1)]));
        let same = growth.look(&look(&[blocked(7, 900)], 1));
        assert_eq!((same.blocked, same.measured), (false, vec![]));
        let more = growth.look(&look(&[blocked(8, 1), blocked(7, 1900)], 2));
        assert_eq!((more.blocked, more.measured), (true, vec![index(2)]));
        assert!(growth.look(&look(&[], 2)).blocked);
    }
}
