//! PostgreSQL: rows in UNNEST batches, offsets and dead letters in a schema of the agent's own.
//!
//! A target table's column types come from the catalog, and each value is encoded for the type it meets there. Foreign
//! keys are the target's own business: tables arrive on separate topics, so a child may come before its parent.

pub mod config;

mod ahead;
mod bookkeeping;
mod client;
mod encode;
mod plan;
mod state;
mod statements;
mod tables;
mod types;
mod write;

use async_trait::async_trait;

use super::error::{ErrorKind, TargetError};
use super::plan::WriteBatch;
use super::{Applied, DeadLetterFilter, Encoded, Encoder, ParkedKey, StoredDeadLetter, StoredOffset, Target};

pub(crate) use client::{connect, error as failed};
pub use config::Settings;

/// The PostgreSQL target.
pub struct PostgresTarget {
    settings: Settings,
    names: state::Names,
    session: Option<write::Session>,
    /// What is known of the target's tables.
    known: tables::Known,
}

impl PostgresTarget {
    /// A target that is not connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let names = state::Names::new(&settings.state_schema);
        Self { settings, names, session: None, known: tables::Known::default() }
    }

    fn session(&mut self) -> Result<&mut write::Session, TargetError> {
        if self.session.as_ref().is_some_and(|s| !s.is_usable()) {
            self.session = None;
        }
        self.session.as_mut().ok_or_else(|| TargetError::new(ErrorKind::Network, "not connected to PostgreSQL"))
    }

    async fn write(&mut self, write: &WriteBatch<'_>, planned: Option<plan::Plan>) -> Result<Applied, TargetError> {
        let (settings, names) = (self.settings.clone(), self.names.clone());
        let session = self.session()?;
        let ahead = planned.is_some();
        let first = session.apply(&settings, &names, write, planned).await;
        let Err(cause) = first else { return first };
        // What was known of the tables may be outdated: somebody has mended or changed one. Once more with a fresh look,
        // before a good row is blamed for not fitting a type its column no longer has.
        let outdated = session.forget() || ahead;
        let schema = matches!(cause.kind, ErrorKind::SchemaMismatch | ErrorKind::BadValue);
        if schema && outdated && session.is_usable() {
            let again = session.apply(&settings, &names, write, None).await;
            if again.is_err() {
                session.forget();
            }
            return again;
        }
        Err(cause)
    }
}

#[async_trait]
impl Target for PostgresTarget {
    async fn open(&mut self) -> Result<(), TargetError> {
        self.session = None;
        let client = client::connect(&self.settings).await?;
        self.names.ensure(&client).await?;
        self.session = Some(write::Session::new(client, tables::Tables::new(self.known.clone())));
        Ok(())
    }

    async fn offsets(
        &mut self,
        pipeline: &str,
        partitions: &[(String, i32)],
    ) -> Result<Vec<StoredOffset>, TargetError> {
        let names = self.names.clone();
        names.read_offsets(&self.session()?.client, pipeline, partitions).await
    }

    async fn apply(&mut self, write: &WriteBatch<'_>) -> Result<Applied, TargetError> {
        self.write(write, None).await
    }

    fn encoder(&self) -> Option<Box<dyn Encoder>> {
        Some(Box::new(ahead::Ahead {
            schema: self.settings.schema.clone(),
            names: self.names.clone(),
            known: self.known.clone(),
        }))
    }

    async fn apply_encoded(&mut self, write: &WriteBatch<'_>, rows: Encoded) -> Result<Applied, TargetError> {
        self.write(write, rows.open()).await
    }

    async fn parked_keys(&mut self, pipeline: &str, topics: &[String]) -> Result<Vec<ParkedKey>, TargetError> {
        let names = self.names.clone();
        names.read_parked(&self.session()?.client, pipeline, topics).await
    }

    async fn dead_letters(
        &mut self,
        pipeline: &str,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<StoredDeadLetter>, TargetError> {
        let names = self.names.clone();
        names.read_dead_letters(&self.session()?.client, pipeline, filter).await
    }

    async fn dead_letter_count(&mut self, pipeline: &str) -> Result<u64, TargetError> {
        let names = self.names.clone();
        names.count_dead_letters(&self.session()?.client, pipeline).await
    }

    async fn ping(&mut self) -> Result<(), TargetError> {
        let session = self.session()?;
        session.client.check_connection().await.map_err(|e| client::error("PostgreSQL does not answer", e))
    }
}
