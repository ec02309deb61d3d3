//! An entry of the ledger as a row of texts and numbers: the same columns in every SQL database that has no better types.

use crate::error::{Error, Kind, Result};
use crate::ledger::{Direction, Entry, Id, Outcome, Progress};

/// The columns, in order.
pub(crate) const COLUMNS: &str = "id, name, checksum, direction, outcome, run_by, started_at_ms, finished_at_ms, duration_ms, \
     attempts, progress, error";

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) checksum: String,
    pub(crate) direction: String,
    pub(crate) outcome: String,
    pub(crate) run_by: String,
    pub(crate) started_at_ms: i64,
    pub(crate) finished_at_ms: Option<i64>,
    pub(crate) duration_ms: i64,
    pub(crate) attempts: i64,
    pub(crate) progress: String,
    pub(crate) error: Option<String>,
}

impl Record {
    /// As it is written.
    pub(crate) fn of(entry: &Entry) -> Result<Self> {
        Ok(Self {
            id: entry.id.to_text(),
            name: entry.name.clone(),
            checksum: entry.checksum.clone(),
            direction: entry.direction.as_str().to_owned(),
            outcome: entry.outcome.as_str().to_owned(),
            run_by: entry.by.clone(),
            started_at_ms: entry.started_at_ms,
            finished_at_ms: entry.finished_at_ms,
            duration_ms: i64::try_from(entry.duration_ms).unwrap_or(i64::MAX),
            attempts: i64::from(entry.attempts),
            progress: progress(&entry.progress)?,
            error: entry.error.clone(),
        })
    }

    /// As it is read.
    pub(crate) fn entry(self) -> Result<Entry> {
        let unknown = |what: &str| {
            Error::refused(
                format!("the ledger's entry {} has {what} that this agent does not know", self.id),
                "was it written by a newer agent? update this one",
            )
        };
        Ok(Entry {
            id: Id::from_text(&self.id).ok_or_else(|| unknown("a version"))?,
            direction: match self.direction.as_str() {
                "up" => Direction::Up,
                "down" => Direction::Down,
                _ => return Err(unknown("a direction")),
            },
            outcome: Outcome::from_word(&self.outcome).ok_or_else(|| unknown("an outcome"))?,
            progress: serde_json::from_str(&self.progress).map_err(|_| unknown("progress"))?,
            name: self.name,
            checksum: self.checksum,
            by: self.run_by,
            started_at_ms: self.started_at_ms,
            finished_at_ms: self.finished_at_ms,
            duration_ms: u64::try_from(self.duration_ms).unwrap_or(0),
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            error: self.error,
        })
    }
}

/// The progress as the ledger keeps it.
pub(crate) fn progress(progress: &Progress) -> Result<String> {
    serde_json::to_string(progress).map_err(|cause| {
        Error::new(Kind::Database, "ledger", "the progress cannot be written as JSON").caused_by(cause)
    })
}

/// Entries in the order of their versions.
pub(crate) fn entries(records: Vec<Record>) -> Result<Vec<Entry>> {
    let mut entries = records.into_iter().map(Record::entry).collect::<Result<Vec<_>>>()?;
    entries.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(entries)
}

/// Somebody else has the lock.
pub(crate) fn lost() -> Error {
    Error::new(Kind::LockLost, "lock_lost", "somebody else has taken over the lock")
        .with_remedy("run the same command again: it goes on from what the ledger says")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let mut progress = Progress { step: 3, after: Some(serde_json::json!([7])), ..Progress::default() };
        progress.add("orders", 9);
        Entry {
            id: Id::Repeatable("views".to_owned()),
            name: "views".to_owned(),
            checksum: "ab".to_owned(),
            direction: Direction::Down,
            outcome: Outcome::Failed,
            by: "me@here (1)".to_owned(),
            started_at_ms: -1,
            finished_at_ms: None,
            duration_ms: 12,
            attempts: 2,
            progress,
            error: Some("why".to_owned()),
        }
    }

    #[test]
    fn an_entry_reads_as_it_was_written() {
        assert_eq!(Record::of(&entry()).unwrap().entry().unwrap(), entry());
    }

    #[test]
    fn what_a_newer_agent_wrote_is_refused_with_its_version() {
        let good = Record::of(&entry()).unwrap();
        for wrong in [
            Record { id: "x".to_owned(), ..good.clone() },
            Record { direction: "sideways".to_owned(), ..good.clone() },
            Record { outcome: "maybe".to_owned(), ..good.clone() },
            Record { progress: "[]".to_owned(), ..good.clone() },
        ] {
            assert_eq!(wrong.entry().unwrap_err().kind, Kind::Refused);
        }
        let versions = ["10", "9", "R:a"].map(|id| Record { id: id.to_owned(), ..good.clone() }).to_vec();
        let sorted: Vec<_> = entries(versions).unwrap().iter().map(|entry| entry.id.to_text()).collect();
        assert_eq!(sorted, ["9", "10", "R:a"]);
    }
}
