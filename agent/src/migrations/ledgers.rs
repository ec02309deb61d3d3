//! Looks at ledgers now and then, so that a running agent shows what `whimbrel migrate` does elsewhere, in a CI job say.
//!
//! Only reads. A ledger that cannot be read, or files that cannot, are shown as such and looked at again.

use std::sync::Arc;
use std::time::Duration;

use whimbrel_migrate::database::Database;
use whimbrel_migrate::engine::lines;
use whimbrel_migrate::ledger::Direction;
use whimbrel_migrate::migration::Migration;

use super::assemble;
use super::config::MigrationsConfig;
use crate::stats::MigrationBoard;
use crate::stats::migrations::Recorded;

/// Between two looks: a person who watches sees it move, and a server does not notice.
pub const EVERY: Duration = Duration::from_secs(3);
/// A look that takes longer than this is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// A ledger that cannot be read is told in the log once in so many looks.
const TELL_EACH: u32 = 20;

/// Looks at the ledger of one set until it is dropped.
pub async fn watch(config: MigrationsConfig, board: Arc<MigrationBoard>, every: Duration) {
    board.set(&config.name, "");
    let mut failures = 0;
    let mut database = None;
    loop {
        match look(&config, &mut database, &board).await {
            Ok(()) => failures = 0,
            Err(why) => {
                board.unreadable(&config.name, &why);
                if failures % TELL_EACH == 0 {
                    tracing::warn!(set = config.name, error = why, "the ledger of migrations cannot be read");
                }
                failures += 1;
            }
        }
        tokio::time::sleep(every).await;
    }
}

async fn look(
    config: &MigrationsConfig,
    known: &mut Option<Box<dyn Database>>,
    board: &MigrationBoard,
) -> Result<(), String> {
    let database = match known {
        Some(database) => database,
        None => {
            let database = assemble::open(config).map_err(|error| error.to_string())?;
            board.set(&config.name, &database.address());
            known.insert(database)
        }
    };
    let system = database.system();
    // Files change while an agent runs: those of the next release are there before they are applied.
    let files = {
        let config = config.clone();
        let read = tokio::task::spawn_blocking(move || assemble::read(&config, system));
        read.await.map_err(|error| error.to_string())?.map_err(|findings| {
            let first = findings.iter().find(|finding| !finding.warning).map(ToString::to_string).unwrap_or_default();
            format!("the files cannot be used: {first}")
        })?
    };
    let ledger = match tokio::time::timeout(PATIENCE, database.ledger()).await {
        Ok(ledger) => ledger.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("the database does not answer within {} s", PATIENCE.as_secs())),
    };
    let steps = |migration: Option<&Migration>, direction: Direction| {
        migration.and_then(|migration| migration.body(direction)).map_or(0, |body| body.len())
    };
    let recorded = lines(&files.migrations, &ledger).into_iter().map(|line| {
        let file = files.migrations.iter().find(|one| one.id == line.id);
        let direction = line.entry.as_ref().map_or(Direction::Up, |entry| entry.direction);
        Recorded::new(system, line, steps(file, direction))
    });
    board.read(&config.name, recorded.collect());
    Ok(())
}
