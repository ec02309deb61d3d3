//! Migrations, wired to people: what [`whimbrel_migrate`] tells of becomes metrics, spans, log lines, a display and the status
//! API here, and its plugins run in the sandbox.
//!
//! Nothing here decides what is run, or in which order: that is the crate's business, and it is told only whom to tell.

pub mod assemble;
pub mod config;
pub mod display;
pub mod ledgers;
pub mod lint;
pub mod log;
pub mod meter;
pub mod programs;
pub mod spans;
pub mod start;

use std::sync::Arc;

use whimbrel_migrate::watch::{Watch, Watchers};

use crate::export::Traces;
use crate::stats::{Instruments, MigrationBoard};

/// All who are told of the migrations of a set, whatever else listens: metrics and board first, so that a display that comes
/// after them reads what is true now.
#[must_use]
pub fn watchers(
    set: &str,
    instruments: &Instruments,
    board: &Arc<MigrationBoard>,
    traces: &Traces,
    display: Option<Arc<dyn Watch>>,
) -> Watchers {
    let watchers = Watchers::new()
        .with(Arc::new(meter::Meter::new(set, instruments, board)))
        .with(Arc::new(spans::Spans::new(traces)))
        .with(Arc::new(log::Log::new()));
    match display {
        Some(display) => watchers.with(display),
        None => watchers,
    }
}

#[cfg(test)]
mod tests {
    use whimbrel_migrate::catalog::{self, CatalogOptions};
    use whimbrel_migrate::database::System;

    /// Whoever copies a file from the guide can run it.
    #[test]
    fn files_in_the_guide_can_be_read() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/migrations.md");
        let text = std::fs::read_to_string(page).unwrap();
        let mut systems = Vec::new();
        for block in text.split("```yaml\n# ").skip(1).filter_map(|rest| rest.split("```").next()) {
            let (title, file) = block.split_once('\n').unwrap();
            let (name, system) = title.split_once(' ').unwrap();
            let system = match system {
                "(postgresql)" => System::Postgresql,
                "(mongodb)" => System::Mongodb,
                other => panic!("{other} is no system"),
            };
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join(name), file).unwrap();
            let read = catalog::read(directory.path(), system, &CatalogOptions::default());
            assert_eq!(read.map(|catalog| catalog.migrations.len()), Ok(1), "{name}");
            systems.push(system);
        }
        assert!(systems.contains(&System::Mongodb) && systems.len() >= 3, "{systems:?}");
    }
}
