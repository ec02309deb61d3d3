//! MongoDB as a target: rows become documents of a collection, their key becomes `_id`.
//!
//! Owns its connection and the state collections. Never retries, never drops a row, never reads from a source: it writes a
//! batch whole or says why not, and `pipeline/` decides. In exactly_once mode a batch is one transaction; in at_least_once
//! mode documents carry a version in `_whimbrel` and deletes leave tombstones (see `guarded.rs`).

mod abandoned;
mod client;
mod commands;
pub mod config;
mod encode;
mod guarded;
mod state;
mod write;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bson::doc;
use mongodb::{Client, ClientSession, Database};

pub(crate) use client::connect;
pub use config::Settings;

use crate::target::{
    Applied, DeadLetterFilter, DeliveryMode, Encoded, Encoder, ErrorKind, ParkedKey, StoredDeadLetter, StoredOffset,
    Target, TargetError, WriteBatch,
};

/// A MongoDB target.
#[derive(Debug)]
pub struct MongoTarget {
    settings: Settings,
    plans: encode::plan::Plans,
    link: Option<Link>,
}

/// What is there once connected.
#[derive(Debug)]
struct Link {
    client: Client,
    data: Database,
    state: Database,
    /// Used again from batch to batch; `None` after an error, for the driver then ends what was begun.
    session: Option<ClientSession>,
    /// Collections known to be there.
    collections: HashSet<Arc<str>>,
    /// When abandoned transactions were last looked for.
    looked: Option<Instant>,
}

impl MongoTarget {
    /// A target that is not connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, plans: encode::plan::Plans::default(), link: None }
    }

    fn link(&mut self) -> Result<&mut Link, TargetError> {
        self.link.as_mut().ok_or_else(|| TargetError::new(ErrorKind::Network, "not connected yet"))
    }
}

#[async_trait]
impl Target for MongoTarget {
    async fn open(&mut self) -> Result<(), TargetError> {
        // A client that is there finds its way back by itself; a new one would only throw good connections away.
        if let Some(link) = &mut self.link {
            link.session = None;
            link.collections.clear();
            return prepare(link, &self.settings).await;
        }
        let client = client::connect(&self.settings).await?;
        let data = client.database(&self.settings.database);
        let state = client.database(&self.settings.state_database);
        let mut link = Link { client, data, state, session: None, collections: HashSet::new(), looked: None };
        prepare(&mut link, &self.settings).await?;
        self.link = Some(link);
        Ok(())
    }

    async fn offsets(
        &mut self,
        pipeline: &str,
        partitions: &[(String, i32)],
    ) -> Result<Vec<StoredOffset>, TargetError> {
        state::offsets(&self.link()?.state, pipeline, partitions).await
    }

    async fn apply(&mut self, write: &WriteBatch<'_>) -> Result<Applied, TargetError> {
        let Self { settings, plans, link } = self;
        let link = link.as_mut().ok_or_else(|| TargetError::new(ErrorKind::Network, "not connected yet"))?;
        match write.mode {
            DeliveryMode::ExactlyOnce => {
                let rows = write::encode(settings, plans, write, false)?;
                write::transaction(settings, link, write, rows).await
            }
            DeliveryMode::AtLeastOnce => guarded::apply(settings, plans, link, write).await,
        }
    }

    fn encoder(&self) -> Option<Box<dyn Encoder>> {
        // Guarded writes are bound to the keys they look for afterwards, and wait for the server far longer anyway.
        let exactly_once = self.settings.mode == DeliveryMode::ExactlyOnce;
        exactly_once.then(|| {
            Box::new(Ahead { settings: self.settings.clone(), plans: encode::plan::Plans::default() })
                as Box<dyn Encoder>
        })
    }

    async fn apply_encoded(&mut self, write: &WriteBatch<'_>, rows: Encoded) -> Result<Applied, TargetError> {
        let (Some(link), Some(rows)) = (&mut self.link, rows.open()) else { return self.apply(write).await };
        write::transaction(&self.settings, link, write, rows).await
    }

    async fn parked_keys(&mut self, pipeline: &str, topics: &[String]) -> Result<Vec<ParkedKey>, TargetError> {
        state::parked_keys(&self.link()?.state, pipeline, topics).await
    }

    async fn dead_letters(
        &mut self,
        pipeline: &str,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<StoredDeadLetter>, TargetError> {
        state::dead_letters(&self.link()?.state, pipeline, filter).await
    }

    async fn dead_letter_count(&mut self, pipeline: &str) -> Result<u64, TargetError> {
        state::dead_letter_count(&self.link()?.state, pipeline).await
    }

    async fn ping(&mut self) -> Result<(), TargetError> {
        let admin = self.link()?.client.database("admin");
        client::bounded(async { admin.run_command(doc! {"ping": 1}).await }).await.map(drop)
    }
}

/// Encodes ahead; what it works out of layouts is its own.
struct Ahead {
    settings: Settings,
    plans: encode::plan::Plans,
}

impl Encoder for Ahead {
    fn encode(&mut self, write: &WriteBatch<'_>) -> Option<Encoded> {
        write::encode(&self.settings, &mut self.plans, write, false).ok().map(Encoded::new)
    }
}

async fn prepare(link: &mut Link, settings: &Settings) -> Result<(), TargetError> {
    let tombstones = settings.mode == DeliveryMode::AtLeastOnce;
    state::prepare(&link.state, settings.ledger, tombstones).await
}

impl Link {
    /// Makes sure that the collections are there.
    async fn create_collections(&mut self, names: &[Arc<str>]) -> Result<(), TargetError> {
        for name in names {
            if !self.collections.contains(name) {
                state::create(&self.data, name).await?;
                self.collections.insert(Arc::clone(name));
            }
        }
        Ok(())
    }

    /// After a conflict: ends abandoned transactions, which may be what this one collides with, but not at every try.
    async fn end_abandoned(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < abandoned::INACTIVE) {
            return;
        }
        self.looked = Some(Instant::now());
        match abandoned::end(&self.client).await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "ended transactions of agents that are gone"),
            Err(error) => tracing::debug!(%error, "abandoned transactions cannot be looked for"),
        }
    }

    /// The session of the last batch, or a new one.
    async fn take_session(&mut self) -> Result<ClientSession, TargetError> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => client::bounded(async { self.client.start_session().await }).await,
        }
    }
}
