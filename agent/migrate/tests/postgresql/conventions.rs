//! Directories of other tools, run as they are: up, down, and up again.

use tokio_util::sync::CancellationToken;
use whimbrel_migrate::catalog::{self, CatalogOptions};
use whimbrel_migrate::database::System;
use whimbrel_migrate::ledger::Direction;
use whimbrel_migrate::plan::Back;
use whimbrel_migrate::version::Version;

use super::Scene;
use crate::runner::convention;
use crate::support::runner;

/// Tables, views, indexes and functions of people's.
const SCHEMA: &str = "SELECT string_agg(what, ', ' ORDER BY what) FROM (
    SELECT relkind::text || ' ' || oid::regclass::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'whimbrel%' AND relkind IN ('r', 'v', 'i')
    UNION ALL SELECT 'f ' || oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace) AS all_of_it(what)";

#[tokio::test]
async fn directories_of_other_tools_run_as_they_are() {
    let mut undone = Vec::new();
    for tool in ["flyway", "golang-migrate", "dbmate", "goose", "sqlx", "diesel"] {
        let directory = convention(&format!("{tool}/postgresql"));
        let options = CatalogOptions { placeholders: [("schema".to_owned(), "public".to_owned())].into() };
        let catalog =
            catalog::read(&directory, System::Postgresql, &options).unwrap_or_else(|all| panic!("{tool}: {all:#?}"));
        // Of Flyway's the view that is a repeatable has no undoing, and needs what the others would take away.
        let undoable = catalog.migrations.iter().all(|one| one.down.is_some());
        let scene = Scene::new("tool").await;
        let count = catalog.migrations.len();
        let (mut runner, told) = runner(scene.open(), catalog.migrations, "one");
        // Flyway knows no gaps: after 1, 1.1 and 2.0.1 comes 10.
        runner.policy.gaps = tool == "flyway";
        let cancel = CancellationToken::new();
        let before = scene.value(SCHEMA).await;
        let ids = runner.pending(None).await.unwrap();
        let predicted = runner.predict(&ids, Direction::Up).await.unwrap();
        assert_eq!((predicted.len(), scene.value(SCHEMA).await), (count, before.clone()), "{tool}: a dry run");

        let report =
            runner.up(None, &cancel).await.unwrap_or_else(|failed| panic!("{tool}: {failed} {:#?}", told.lines()));
        assert_eq!(report.done.len(), count, "{tool}");
        let up = scene.value(SCHEMA).await;
        assert!(up.contains("r orders") && up.contains("i orders"), "{tool}: {up}");
        assert!(runner.up(None, &cancel).await.unwrap().done.is_empty(), "{tool}: nothing is left");
        if undoable {
            runner.down(&Back::To(Version::from(0)), &cancel).await.unwrap_or_else(|failed| panic!("{tool}: {failed}"));
            assert!(!scene.value(SCHEMA).await.contains("orders"), "{tool}: {}", scene.value(SCHEMA).await);
            runner.up(None, &cancel).await.unwrap_or_else(|failed| panic!("{tool}, again: {failed}"));
            assert_eq!(scene.value(SCHEMA).await, up, "{tool}: again");
            undone.push(tool);
        }
        scene.close().await;
    }
    assert_eq!(undone, ["golang-migrate", "dbmate", "goose", "diesel"], "sqlx's form has no down");
}
