//! Directories in the conventions of other tools, run as they are, up and down where they have a down: PostgreSQL (PG_PORT,
//! PG_USER and PG_PASSWORD say where) and MongoDB (MONGO_PORT). MariaDB's and SQLite's stand with these databases' tests.

use std::collections::BTreeMap;

use bson::{Document, doc};
use tokio_postgres::{Client, NoTls};
use whimbrel_migrate::catalog::CatalogOptions;
use whimbrel_migrate::connect::{Settings, open};

use crate::runner::{Stage, convention};
use crate::support::{setting, unique};

async fn connect(database: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&url(database), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn url(database: &str) -> String {
    let (user, password, port) = (setting("PG_USER"), setting("PG_PASSWORD"), setting("PG_PORT"));
    format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
}

/// Runs a directory up, asks the query, has `between` done, and runs it down where it has a down.
async fn postgresql(directory: &str, up: &[&str], query: &str, answer: &str, between: &str, down: &[&str]) {
    let name = unique("directory");
    let admin = connect("postgres").await;
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let options = CatalogOptions { placeholders: BTreeMap::from([("schema".to_owned(), "public".to_owned())]) };
    let database = open(&url(&name), Settings::default()).unwrap();
    let stage = Stage::with(database, &convention(directory), &options);
    assert_eq!(stage.must_up().await, up, "{directory}");
    let client = connect(&name).await;
    let row = client.query_one(&format!("SELECT ({query})::text"), &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), answer, "{directory}");
    assert_eq!(stage.must_up().await, [""; 0], "{directory}: a second time there is nothing to do");
    client.batch_execute(between).await.unwrap();
    if !down.is_empty() {
        assert_eq!(stage.must_down().await, down, "{directory}");
        let left =
            "SELECT count(*) FROM pg_class WHERE relname IN ('orders', 'customers', 'orders_price', 'orders_total')";
        assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0, "{directory}");
    }
    drop((client, stage));
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}

#[tokio::test]
async fn a_directory_of_flyway_runs_as_it_is_on_postgresql() {
    let up = ["1", "1.1", "2.0.1", "10", "R:totals"];
    let query = "SELECT sum(total) = 2.5 * sum(quantity) FROM totals, orders WHERE orders.customer_id = 1 AND email = 'c1@example.com'";
    // A repeatable has no down, and this one's view would hold on to what it looks at.
    let down = ["10", "2.0.1", "1.1", "1"];
    postgresql("flyway/postgresql", &up, query, "true", "DROP VIEW totals", &down).await;
}

#[tokio::test]
async fn a_directory_of_golang_migrate_runs_as_it_is_on_postgresql() {
    let query = "SELECT count(*) FROM orders WHERE state = 'paid'";
    postgresql("golang-migrate/postgresql", &["1", "2", "3"], query, "10", "", &["3", "2", "1"]).await;
}

#[tokio::test]
async fn a_directory_of_dbmate_runs_as_it_is_on_postgresql() {
    let up = ["20260110093000", "20260112101500", "20260113080000"];
    let down = ["20260113080000", "20260112101500", "20260110093000"];
    postgresql("dbmate/postgresql", &up, "SELECT sum(total) FROM orders", "37.5", "", &down).await;
}

#[tokio::test]
async fn a_directory_of_goose_runs_as_it_is_on_postgresql() {
    postgresql("goose/postgresql", &["1", "2", "3"], "SELECT sum(total) FROM orders", "13.0", "", &["3", "2", "1"])
        .await;
}

#[tokio::test]
async fn a_directory_of_diesel_runs_as_it_is_on_postgresql() {
    let up = ["0", "20260110093000", "20260111110000"];
    let down = ["20260111110000", "20260110093000", "0"];
    postgresql("diesel/postgresql", &up, "SELECT sum(price) FROM orders", "6", "", &down).await;
}

#[tokio::test]
async fn a_directory_of_sqlx_runs_as_it_is_on_postgresql() {
    let up = ["20260110093000", "20260111100000", "20260112090000"];
    postgresql("sqlx/postgresql", &up, "SELECT note FROM notes", "a; b", "", &[]).await;
}

#[tokio::test]
async fn a_directory_of_golang_migrate_runs_as_it_is_on_mongodb() {
    let url = format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", setting("MONGO_PORT"));
    let name = unique("directory");
    let database = mongodb::Client::with_uri_str(&url).await.unwrap().database(&name);
    let settings = Settings { namespace: Some(name), ..Settings::default() };
    let stage = Stage::new(open(&url, settings).unwrap(), &convention("golang-migrate/mongodb"));
    assert_eq!(stage.must_up().await, ["1", "2"]);
    let orders = database.collection::<Document>("orders");
    assert_eq!(orders.count_documents(doc! {"many": true}).await.unwrap(), 2);
    assert_eq!(orders.list_index_names().await.unwrap(), ["_id_", "customer_number"]);
    assert_eq!(stage.must_up().await, [""; 0]);
    assert_eq!(stage.must_down().await, ["2", "1"]);
    assert!(!database.list_collection_names().await.unwrap().contains(&"orders".to_owned()));
    database.drop().await.unwrap();
}
