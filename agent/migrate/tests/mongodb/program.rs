//! Plugins as migrations: what they do is one transaction with the ledger, and gone with whatever goes wrong.

use std::sync::Arc;

use bson::doc;
use tokio_util::sync::CancellationToken;
use whimbrel_migrate::contents::Contents;
use whimbrel_migrate::engine::Runner;
use whimbrel_migrate::error::{Error, Kind};
use whimbrel_migrate::ledger::Outcome;
use whimbrel_migrate::migration::{Body, PluginFile};
use whimbrel_migrate::plan::Back;
use whimbrel_migrate::program::{Call, Failure, Lent, Program, Programs};

use super::Scene;
use crate::support::{Told, migrations, runner};

/// What the program does in each call: commands, and how it ends.
#[derive(Clone)]
struct Scripted {
    up: &'static [&'static str],
    validate: Result<(), &'static str>,
}

impl Programs for Scripted {
    fn load(&self, _: &PluginFile) -> Result<Box<dyn Program>, Error> {
        Ok(Box::new(self.clone()))
    }
}

impl Program for Scripted {
    fn call(&mut self, call: Call, mut lent: Box<dyn Lent>) -> (Box<dyn Lent>, Result<(), Failure>) {
        let mut done = Ok(());
        match call {
            Call::Up => {
                for (index, command) in self.up.iter().enumerate() {
                    if done.is_ok() {
                        done = lent.run(command).map(|answer| assert!(answer.contains("\"ok\":1"), "{answer}"));
                        lent.progress("orders", index as u64 + 1, Some(self.up.len() as u64));
                    }
                }
            }
            Call::Down => {
                done = lent
                    .run(r#"{"update": "orders", "updates": [{"q": {}, "u": {"$unset": {"s": ""}}, "multi": true}]}"#)
                    .map(drop)
            }
            Call::Validate => {
                done = self.validate.map_err(|why| Failure {
                    code: "missing".into(),
                    message: why.into(),
                    retryable: false,
                });
            }
        }
        (lent, done)
    }
}

const SET: &str = r#"{"update": "orders", "updates": [{"q": {}, "u": {"$set": {"s": 1}}, "multi": true}]}"#;
const WRONG: &str = r#"{"update": "orders", "updates": [{"q": {}, "u": {"$nonsense": {"s": 1}}, "multi": true}]}"#;
const INDEX: &str = r#"{"createIndexes": "orders", "indexes": [{"key": {"s": 1}, "name": "s_1"}]}"#;

fn scripted(scene: &Scene, program: Scripted) -> (Runner, Arc<Told>) {
    let body = Body::Plugin(PluginFile { path: "x.wasm".into(), config: Default::default() });
    let contents = Contents { name: None, up: body.clone(), down: Some(body), checks: Vec::new() };
    let (mut runner, told) = runner(scene.open(), migrations(vec![contents]), "one");
    runner.programs = Arc::new(program);
    (runner, told)
}

#[tokio::test]
async fn a_program_works_in_one_transaction_with_the_ledger_and_can_undo_it() {
    let scene = Scene::new("program").await;
    scene.fill("orders", 100).await;
    let (runner, told) = scripted(&scene, Scripted { up: &[SET, SET], validate: Ok(()) });
    let cancel = CancellationToken::new();
    runner.up(None, &cancel).await.unwrap();
    assert_eq!(scene.count("orders", doc! {"s": 1}).await, 100);
    let entry = &runner.database.ledger().await.unwrap()[0];
    assert_eq!((entry.outcome, entry.progress.total().done), (Outcome::Success, 2));
    assert!(told.has("Attempted") && told.has("Committed"), "{:?}", told.lines());
    runner.down(&Back::Steps(1), &cancel).await.unwrap();
    assert_eq!(scene.count("orders", doc! {"s": 1}).await, 0);
    assert!(runner.database.ledger().await.unwrap().is_empty());
    scene.close().await;
}

#[tokio::test]
async fn what_goes_wrong_in_a_program_leaves_nothing() {
    let cases: [(Scripted, Kind, &str); 4] = [
        (Scripted { up: &[SET], validate: Err("it is not there") }, Kind::CheckFailed, "validate"),
        (Scripted { up: &[SET, WRONG], validate: Ok(()) }, Kind::Database, "up"),
        (Scripted { up: &[SET, "no json"], validate: Ok(()) }, Kind::Database, "no JSON"),
        // Not in a transaction: the server says so, and the plugin hears it.
        (Scripted { up: &[SET, INDEX], validate: Ok(()) }, Kind::Database, "createIndexes"),
    ];
    for (program, kind, word) in cases {
        let scene = Scene::new("failing").await;
        scene.fill("orders", 10).await;
        let (runner, told) = scripted(&scene, program);
        let error = runner.up(None, &CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(scene.count("orders", doc! {"s": 1}).await, 0, "{error}");
        assert!(!told.has("Committed"));
        let entry = &runner.database.ledger().await.unwrap()[0];
        assert_eq!((entry.outcome, entry.progress.is_untouched()), (Outcome::Failed, true));
        scene.close().await;
    }
}
