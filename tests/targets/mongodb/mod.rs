//! The MongoDB target against a real mongod (replica set) at MONGO_PORT.

mod letters;
mod names;
mod ownership;
mod values;
mod writing;

use std::time::Duration;

use super::cases;
use super::planned::{PIPELINE, Planned, TOPIC, UNAVAILABLE, layout};
use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{Client, Database};
use serde_json::json;
use whimbrel::config::raw::{CompositeId, MongoTarget as Raw, OddFieldNames};
use whimbrel::config::secret::Secret;
use whimbrel::event::{Reason, SourceType};
use whimbrel::target::mongodb::{MongoTarget, Settings};
use whimbrel::target::{
    Applied, DeadLetterFilter, DeliveryMode, ErrorKind, KafkaCoordinates, ParkedKey, RowAction, Step, StoredOffset,
    Target, TargetError,
};

/// A database of the test's own, and targets on it.
struct Bench {
    db: Database,
    raw: Raw,
}

impl Bench {
    async fn new(test: &str) -> Self {
        let port = std::env::var("MONGO_PORT").expect("MONGO_PORT: port of a mongod replica set (./x services up)");
        let uri = format!("mongodb://127.0.0.1:{port}/?replicaSet=rs0");
        let client = Client::with_uri_str(&uri).await.unwrap();
        let database = format!("wb_{test}_{}", std::process::id());
        let db = client.database(&database);
        db.drop().await.unwrap();
        let raw = Raw {
            uri: Secret::new(uri),
            database,
            state_database: None,
            composite_id: CompositeId::Document,
            key_fields: true,
            odd_field_names: OddFieldNames::Keep,
            ledger: true,
            timeout: None,
        };
        Self { db, raw }
    }

    async fn target(&self, mode: DeliveryMode) -> MongoTarget {
        let settings = Settings::from_raw(&self.raw, mode, Duration::from_secs(3600)).unwrap();
        let mut target = MongoTarget::new(settings);
        target.open().await.unwrap();
        target
    }

    /// All documents, by `_id`, without the version.
    async fn all(&self, collection: &str) -> Vec<Document> {
        let found = self.db.collection::<Document>(collection).find(doc! {}).sort(doc! {"_id": 1}).await.unwrap();
        let mut all: Vec<Document> = found.try_collect().await.unwrap();
        for document in &mut all {
            document.remove("_whimbrel");
        }
        all
    }

    async fn count(&self, collection: &str) -> u64 {
        self.db.collection::<Document>(collection).count_documents(doc! {}).await.unwrap()
    }
}

/// As the pipeline does with conflicts: again. Very large transactions can meet a full cache.
async fn retried(target: &mut MongoTarget, planned: &Planned) -> Result<Applied, TargetError> {
    for _ in 0..100 {
        match target.apply(&planned.write()).await {
            Err(error) if error.kind == ErrorKind::Conflict => tokio::time::sleep(Duration::from_millis(100)).await,
            outcome => return outcome,
        }
    }
    panic!("conflicts without end");
}

const ONCE: DeliveryMode = DeliveryMode::ExactlyOnce;

const ATLEAST: DeliveryMode = DeliveryMode::AtLeastOnce;

fn people() -> std::sync::Arc<whimbrel::target::Layout> {
    layout("people", &[("id", SourceType::Int64), ("name", SourceType::Text), ("bio", SourceType::Text)], &["id"])
}
