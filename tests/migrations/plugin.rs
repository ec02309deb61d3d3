//! A migration that is a component, built as its author would, on every database: applied once, looked at, undone; and what
//! it did before it failed is gone where the database can.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use bson::{Document, doc};
use mysql_async::prelude::Queryable as _;

use super::command::{Ran, finish, migrate};
use super::scene::{Scene, Store, mariadb, postgres};
use crate::support::agent::binary;

/// One plugin for all databases: its commands are its configuration.
const LIB: &str = r#"//! Runs the commands it is given.
use whimbrel_plugin::prelude::*;

/// Runs the commands it is given.
#[derive(Config)]
struct Given {
    up: Vec<String>,
    down: Vec<String>,
    /// A command, and what its answer must hold.
    look: Vec<String>,
}

#[migration]
impl Migration for Given {
    fn up(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
        for (done, command) in self.up.iter().enumerate() {
            cx.run(command)?;
            cx.progress("marks", done as u64 + 1, Some(self.up.len() as u64));
        }
        Ok(())
    }

    fn down(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
        self.down.iter().try_for_each(|command| cx.run(command).map(drop))
    }

    fn validate(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
        let answer = cx.run(&self.look[0])?;
        if answer.contains(&self.look[1]) { Ok(()) } else { Err(Failure::new("not_there", answer)) }
    }
}
"#;

/// The component's bytes, built once.
fn component() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authors").display().to_string();
        let plugin = |words: &[&str]| {
            let output = Command::new(binary()).arg("plugin").args(words).current_dir(folder.path()).output().unwrap();
            assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        plugin(&["new", "given", "--kind", "migration"]);
        fs::write(folder.path().join("given/src/lib.rs"), LIB).unwrap();
        plugin(&["build", "given", "--target-dir", &target]);
        fs::read(format!("{target}/given.wasm")).unwrap()
    })
}

/// Commands for this database: to write a mark, to take it back, to see it, and one that fails.
fn commands(store: Store) -> [String; 4] {
    let sql = |sql: &str| serde_json::json!({ "sql": sql }).to_string();
    match store {
        Store::Mongodb => [
            r#"{"insert": "marks", "documents": [{"_id": 1}]}"#.to_owned(),
            r#"{"delete": "marks", "deletes": [{"q": {"_id": 1}, "limit": 1}]}"#.to_owned(),
            r#"{"find": "marks", "filter": {}}"#.to_owned(),
            r#"{"insert": "marks", "documents": [{"_id": 1}]}"#.to_owned(),
        ],
        _ => [
            sql("INSERT INTO marks (id) VALUES (1)"),
            sql("DELETE FROM marks WHERE id = 1"),
            sql("SELECT id AS mark FROM marks"),
            sql("INSERT INTO nowhere (id) VALUES (1)"),
        ],
    }
}

async fn marks(scene: &Scene) -> u64 {
    match scene.store {
        Store::Mongodb => scene.mongodb().await.collection::<Document>("marks").count_documents(doc! {}).await.unwrap(),
        Store::Postgres => {
            let row = postgres(&scene.name).await.query_one("SELECT count(*) FROM marks", &[]).await.unwrap();
            u64::try_from(row.get::<_, i64>(0)).unwrap()
        }
        Store::Mariadb => {
            mariadb(&scene.name).await.query_first::<u64, _>("SELECT count(*) FROM marks").await.unwrap().unwrap()
        }
        Store::Sqlite => panic!("tried without a server, in the agent's own tests"),
    }
}

async fn a_component_migrates(store: Store) {
    let scene = Scene::bare(store, "component").await;
    match store {
        Store::Mongodb => scene.mongodb().await.create_collection("marks").await.unwrap(),
        Store::Postgres => postgres(&scene.name).await.batch_execute("CREATE TABLE marks (id int)").await.unwrap(),
        Store::Mariadb => {
            mariadb(&scene.name).await.query_drop("CREATE TABLE marks (id int) ENGINE=InnoDB").await.unwrap();
        }
        Store::Sqlite => {}
    }
    fs::write(scene.directory().join("given.wasm"), component()).unwrap();
    let [up, down, look, fails] = commands(store);
    let write = |ups: &[&String], wanted: &str| {
        let config = serde_json::json!({ "up": ups, "down": [down], "look": [look, wanted] });
        scene.file("0001_marks.yaml", &format!("plugin: {{file: given.wasm, config: {config}}}\n"));
    };
    let run = |verb: &[&str]| -> Ran { finish(migrate(&scene.directory(), &scene.url(), verb, &[]).spawn().unwrap()) };

    // What it did before a command failed is gone; so is what its own validation refused.
    write(&[&up, &fails], "1");
    let failed = run(&["up"]);
    assert_ne!(failed.code(), Some(0), "{store:?}: {}{}", failed.out, failed.err);
    assert_eq!(marks(&scene).await, 0, "{store:?}: {}{}", failed.out, failed.err);
    write(&[&up], "never to be seen");
    let refused = run(&["up"]);
    assert_eq!(refused.code(), Some(4), "{store:?}: {}{}", refused.out, refused.err);
    assert_eq!(marks(&scene).await, 0, "{store:?}: {}{}", refused.out, refused.err);

    write(&[&up], "1");
    for _ in 0..2 {
        let applied = run(&["up"]);
        assert_eq!(applied.code(), Some(0), "{store:?}: {}{}", applied.out, applied.err);
        assert_eq!(marks(&scene).await, 1, "{store:?}");
    }
    let valid = run(&["validate"]);
    assert_eq!(valid.code(), Some(0), "{store:?}: {}{}", valid.out, valid.err);
    let undone = run(&["down"]);
    assert_eq!(undone.code(), Some(0), "{store:?}: {}{}", undone.out, undone.err);
    assert_eq!(marks(&scene).await, 0, "{store:?}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_migrates_mongodb() {
    a_component_migrates(Store::Mongodb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_migrates_postgres() {
    a_component_migrates(Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_migrates_mariadb() {
    a_component_migrates(Store::Mariadb).await;
}
