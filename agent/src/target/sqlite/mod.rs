//! SQLite, embedded: rows, offsets and dead letters in one file.
//!
//! All work on the database is done on a blocking thread; the async side only encodes a batch into an owned `encode::Job`.

pub mod config;

mod client;
mod encode;
mod state;
mod tables;
mod write;

use async_trait::async_trait;
use rusqlite::Connection;

use super::error::{ErrorKind, TargetError};
use super::plan::WriteBatch;
use super::{Applied, DeadLetterFilter, ParkedKey, StoredDeadLetter, StoredOffset, Target};

pub use config::Settings;

/// The SQLite target.
#[derive(Debug)]
pub struct SqliteTarget {
    settings: Settings,
    /// Away while a blocking thread works with it; gone when that thread's answer was not waited for.
    open: Option<Box<Open>>,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    memory: write::Memory,
}

impl SqliteTarget {
    /// A target that is not open yet.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { settings, open: None }
    }

    /// Runs `work` on a blocking thread.
    async fn run<T, F>(&mut self, work: F) -> Result<T, TargetError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Open) -> Result<T, TargetError> + Send + 'static,
    {
        let Some(mut open) = self.open.take() else {
            return Err(TargetError::new(ErrorKind::Network, "the database is not open"));
        };
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut open);
            (open, result)
        });
        match done.await {
            Ok((open, result)) => {
                self.open = Some(open);
                result
            }
            Err(e) => Err(TargetError::new(ErrorKind::Unknown, "the database thread died").caused_by(e)),
        }
    }

    async fn read<T, F>(&mut self, doing: &'static str, work: F) -> Result<T, TargetError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(move |open| work(&open.connection).map_err(|e| client::error(doing, e))).await
    }
}

#[async_trait]
impl Target for SqliteTarget {
    async fn open(&mut self) -> Result<(), TargetError> {
        self.open = None;
        let settings = self.settings.clone();
        let connection = tokio::task::spawn_blocking(move || client::open(&settings))
            .await
            .map_err(|e| TargetError::new(ErrorKind::Unknown, "the database thread died").caused_by(e))??;
        self.open = Some(Box::new(Open { connection, memory: write::Memory::default() }));
        Ok(())
    }

    async fn offsets(
        &mut self,
        pipeline: &str,
        partitions: &[(String, i32)],
    ) -> Result<Vec<StoredOffset>, TargetError> {
        let (pipeline, partitions) = (pipeline.to_owned(), partitions.to_vec());
        self.read("cannot read offsets", move |c| state::offsets(c, &pipeline, &partitions)).await
    }

    async fn apply(&mut self, write: &WriteBatch<'_>) -> Result<Applied, TargetError> {
        let job = encode::encode(write, self.settings.ledger)?;
        let grace = i64::try_from(self.settings.delete_grace.as_millis()).unwrap_or(i64::MAX);
        self.run(move |open| write::apply(&mut open.connection, &mut open.memory, &job, grace)).await
    }

    async fn parked_keys(&mut self, pipeline: &str, topics: &[String]) -> Result<Vec<ParkedKey>, TargetError> {
        let (pipeline, topics) = (pipeline.to_owned(), topics.to_vec());
        self.read("cannot read dead letters", move |c| state::parked_keys(c, &pipeline, &topics)).await
    }

    async fn dead_letters(
        &mut self,
        pipeline: &str,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<StoredDeadLetter>, TargetError> {
        let (pipeline, filter) = (pipeline.to_owned(), filter.clone());
        self.read("cannot read dead letters", move |c| state::dead_letters(c, &pipeline, &filter)).await
    }

    async fn dead_letter_count(&mut self, pipeline: &str) -> Result<u64, TargetError> {
        let pipeline = pipeline.to_owned();
        self.read("cannot count dead letters", move |c| state::dead_letter_count(c, &pipeline)).await
    }

    async fn ping(&mut self) -> Result<(), TargetError> {
        self.read("cannot reach the database", |c| c.query_row("SELECT 1", [], |_| Ok(()))).await
    }
}

#[cfg(test)]
mod tests;
