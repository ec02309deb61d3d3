//! Plugins: their statements, in one transaction with the ledger.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use whimbrel_migrate::error::{Error, Kind};
use whimbrel_migrate::migration::PluginFile;
use whimbrel_migrate::program::{Call, Failure, Lent, Program, Programs};

use super::{Scene, until, yaml};
use crate::support::runner;

/// A plugin that sends these commands and looks at their answers.
#[derive(Clone)]
struct Commands {
    up: Vec<(Value, Result<Value, &'static str>)>,
    validate: Result<(), &'static str>,
}

impl Programs for Commands {
    fn load(&self, _: &PluginFile) -> Result<Box<dyn Program>, Error> {
        Ok(Box::new(self.clone()))
    }
}

impl Program for Commands {
    fn call(&mut self, call: Call, mut lent: Box<dyn Lent>) -> (Box<dyn Lent>, Result<(), Failure>) {
        if call == Call::Validate {
            let failed = |code: &str| Failure { code: code.to_owned(), message: "no".to_owned(), retryable: false };
            return (lent, self.validate.map_err(failed));
        }
        for (command, expected) in &self.up {
            let answer = lent.run(&command.to_string());
            let seen = answer.as_deref().map(|text| serde_json::from_str::<Value>(text).unwrap());
            let right = match (&seen, expected) {
                (Ok(seen), Ok(expected)) => seen == expected,
                (Err(failure), Err(code)) => failure.code == *code,
                _ => false,
            };
            if !right {
                let failure =
                    Failure { code: "unexpected".into(), message: format!("{command}: {answer:?}"), retryable: false };
                return (lent, Err(failure));
            }
        }
        lent.progress("a", 2, Some(2));
        (lent, Ok(()))
    }
}

async fn run(
    scene: &Scene,
    up: Vec<(Value, Result<Value, &'static str>)>,
    validate: Result<(), &'static str>,
) -> Result<(), Error> {
    let (mut runner, _) = runner(scene.open(), yaml(&["plugin: {file: x.wasm}"]), "one");
    runner.programs = Arc::new(Commands { up, validate });
    runner.up(None, &CancellationToken::new()).await.map(|_| ())
}

#[tokio::test]
async fn a_plugin_works_with_values_of_any_type_and_can_go_on_after_an_error() {
    let scene = Scene::new("plugin").await;
    scene.run("CREATE TABLE a (id bigint PRIMARY KEY, at timestamptz, price numeric, note text, ok boolean)").await;
    let insert = "INSERT INTO a VALUES ($1, $2, $3, $4, $5)";
    let none = || Ok(json!({"rows": [], "affected": 1}));
    let commands = vec![
        (json!({"sql": insert, "parameters": [1, "2026-01-31T12:00:00Z", 12.5, "it's", true]}), none()),
        (json!({"sql": insert, "parameters": [1, null, null, null, null]}), Err("unique_violation")),
        (json!({"sql": insert, "parameters": [2, null, "7.25", null, false]}), none()),
        (
            json!({"sql": "SELECT id, price, note, ok FROM a WHERE id > $1 ORDER BY id;", "parameters": [0]}),
            Ok(
                json!({"rows": [{"id": 1, "price": 12.5, "note": "it's", "ok": true}, {"id": 2, "price": 7.25, "note": null, "ok": false}], "affected": 0}),
            ),
        ),
        (
            json!({"sql": "UPDATE a SET ok = true RETURNING id"}),
            Ok(json!({"rows": [{"id": 1}, {"id": 2}], "affected": 2})),
        ),
        (json!({"sql": "UPDATE a SET ok = false WHERE id = 7"}), Ok(json!({"rows": [], "affected": 0}))),
        (json!({"sql": "ALTER TABLE a ADD more int"}), Ok(json!({"rows": [], "affected": 0}))),
        (json!({"sql": "COMMIT"}), Err("command")),
        (json!({"sql": "SELECT 1; SELECT 2"}), Err("command")),
        (json!({"sql": "SELECT $1::int", "parameters": []}), Err("command")),
        (json!({"sql": "SELECT 1", "parameters": [[1]]}), Err("command")),
        (json!({"query": "SELECT 1"}), Err("command")),
        (json!({"sql": "SELECT generate_series(1, 20000)"}), Err("too_many_rows")),
    ];
    run(&scene, commands, Ok(())).await.unwrap();
    assert_eq!(scene.value("SELECT string_agg(id::text, ',' ORDER BY id) FROM a WHERE ok").await, "1,2");
    assert_eq!(scene.ledger().await, "1 up success 1");
    assert_eq!(scene.value("SELECT progress->'counts'->'a'->>'done' FROM whimbrel_migrations").await, "2");
    scene.close().await;
}

#[tokio::test]
async fn what_a_plugin_has_done_is_undone_when_it_fails() {
    let scene = Scene::new("plugin_fails").await;
    scene.run("CREATE TABLE a (id int)").await;
    let insert = || (json!({"sql": "INSERT INTO a VALUES (1)"}), Ok(json!({"rows": [], "affected": 1})));
    let failed = run(&scene, vec![insert()], Err("not_right")).await.unwrap_err();
    assert_eq!((failed.kind, &*failed.code), (Kind::CheckFailed, "not_right"));
    let wrong = vec![insert(), (json!({"sql": "SELECT 1"}), Err("never"))];
    assert_eq!(run(&scene, wrong, Ok(())).await.unwrap_err().code, "unexpected");
    assert_eq!(scene.value("SELECT count(*) FROM a").await, "0");
    assert_eq!(scene.ledger().await, "1 up failed 2");
    scene.close().await;
}

#[tokio::test]
async fn a_plugin_whose_lock_is_lost_is_stopped() {
    let scene = Scene::new("plugin_lost").await;
    scene.run("CREATE TABLE a (id int)").await;
    let commands = vec![
        (json!({"sql": "INSERT INTO a VALUES (1)"}), Ok(json!({"rows": [], "affected": 1}))),
        (json!({"sql": "SELECT pg_sleep(60)"}), Err("lock_lost")),
    ];
    let thief = async {
        let running = "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active'
            AND datname = current_database() AND pid <> pg_backend_pid()";
        until(&scene.client, running).await;
        scene.run("UPDATE whimbrel_migrations_lock SET token = token + 1, holder = 'thief', expires_at = now()").await;
        until(&scene.client, &running.replace("= 1", "= 0")).await;
    };
    let (ran, ()) = tokio::join!(run(&scene, commands, Ok(())), thief);
    assert_eq!(ran.unwrap_err().kind, Kind::LockLost);
    assert_eq!(scene.value("SELECT count(*) FROM a").await, "0");
    scene.close().await;
}
