//! MongoDB against a real replica set: MONGO_PORT says where.

mod apply;
mod fence;
mod program;

use bson::{Document, doc};
use mongodb::Client;
use whimbrel_migrate::database::Database;
use whimbrel_migrate::migration::Migration;
use whimbrel_migrate::mongodb::{Settings, file, open};

use crate::support::{migrations, setting, unique};

/// A database of a test's own.
struct Scene {
    name: String,
    database: mongodb::Database,
}

fn url() -> String {
    format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", setting("MONGO_PORT"))
}

impl Scene {
    async fn new(stem: &str) -> Self {
        let name = unique(stem);
        let client = Client::with_uri_str(url()).await.unwrap();
        Self { database: client.database(&name), name }
    }

    fn open(&self) -> Box<dyn Database> {
        open(Settings { url: url(), database: Some(self.name.clone()), ledger: None }).unwrap()
    }

    fn documents(&self, collection: &str) -> mongodb::Collection<Document> {
        self.database.collection(collection)
    }

    async fn fill(&self, collection: &str, count: i32) {
        let all: Vec<Document> = (0..count).map(|i| doc! {"_id": i, "price": i, "n": 0}).collect();
        self.documents(collection).insert_many(all).await.unwrap();
    }

    async fn count(&self, collection: &str, filter: Document) -> u64 {
        self.documents(collection).count_documents(filter).await.unwrap()
    }

    async fn close(self) {
        self.database.drop().await.unwrap();
    }
}

/// Migrations 1, 2, … of YAML texts.
fn yaml(texts: &[&str]) -> Vec<Migration> {
    migrations(texts.iter().map(|text| file::parse(text).unwrap_or_else(|faults| panic!("{faults:?}"))).collect())
}
