//! Runs directories of migrations as the agent does, and writes down what is told.

mod commands;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use whimbrel_migrate::catalog::{self, CatalogOptions};
use whimbrel_migrate::database::Database;
use whimbrel_migrate::engine::{Report, Runner};
use whimbrel_migrate::error::Error;
use whimbrel_migrate::ledger::Progress;
use whimbrel_migrate::migration::{Migration, Options};
use whimbrel_migrate::plan::{Back, Policy};
use whimbrel_migrate::version::Version;
use whimbrel_migrate::watch::{Event, Watch, Watchers};

pub(crate) use commands::Commands;

use crate::support::NoPrograms;

/// A directory of these files.
pub(crate) fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// A directory of another tool's convention, as it is.
pub(crate) fn convention(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conventions").join(name)
}

/// Called with what is told.
type Then = Box<dyn FnMut(&str) + Send>;

/// What was told, in words.
#[derive(Default)]
pub(crate) struct Heard {
    lines: Mutex<Vec<String>>,
    /// Rows committed.
    committed: Mutex<u64>,
    /// Called with each event's word.
    on: Mutex<Option<Then>>,
}

impl Heard {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        self.lines().iter().any(|line| line.contains(part))
    }

    pub(crate) fn committed(&self) -> u64 {
        *self.committed.lock().unwrap()
    }

    pub(crate) fn on(&self, then: impl FnMut(&str) + Send + 'static) {
        *self.on.lock().unwrap() = Some(Box::new(then));
    }
}

fn at(progress: &Progress) -> String {
    format!("step {} of counts {}", progress.step, progress.total().done)
}

impl Watch for Heard {
    fn tell(&self, event: &Event<'_>) {
        let line = match event {
            Event::WaitingForLock { holder, .. } => format!("waiting for {holder}"),
            Event::Started { id, progress, .. } => format!("started {id} at {}", at(progress)),
            Event::StepStarted { what, .. } => format!("step started: {what}"),
            Event::Attempted { place, count, .. } => format!("attempted {count} of {place}"),
            Event::Committed { place, count, progress, .. } => {
                *self.committed.lock().unwrap() += count;
                format!("committed {count} of {place}, {}", at(progress))
            }
            Event::Measured { phase, .. } => format!("measured {phase}"),
            Event::Blocked { sessions, .. } => {
                let by_us = sessions.iter().any(|session| session.by_us);
                format!("blocked {}{}", sessions.len(), if by_us { " by us" } else { "" })
            }
            Event::Throttled { .. } => "throttled".to_owned(),
            Event::Retried { code, attempt, .. } => format!("retried {code} {attempt}"),
            Event::StepEnded { what, error, .. } => format!("step ended: {what} {}", error.unwrap_or("well")),
            Event::Checked { check, fault, .. } => format!("checked {check}: {}", fault.unwrap_or("well")),
            Event::Ended { id, error, .. } => format!("ended {id} {}", error.map_or("well", |(code, _)| code)),
        };
        if let Some(then) = self.on.lock().unwrap().as_mut() {
            then(&line);
        }
        self.lines.lock().unwrap().push(line);
    }
}

/// A runner, and what it tells.
pub(crate) struct Stage {
    pub(crate) runner: Runner,
    pub(crate) heard: Arc<Heard>,
    pub(crate) cancel: CancellationToken,
}

/// Short leases and waits: nobody here is far away.
pub(crate) fn options() -> Options {
    Options {
        lease: Duration::from_secs(2),
        wait: Duration::from_secs(20),
        lock_timeout: Duration::from_millis(300),
        chunk: 100,
        ..Options::default()
    }
}

impl Stage {
    /// For the migrations of a directory.
    pub(crate) fn new(database: Box<dyn Database>, directory: &Path) -> Self {
        Self::with(database, directory, &CatalogOptions::default())
    }

    pub(crate) fn with(database: Box<dyn Database>, directory: &Path, options: &CatalogOptions) -> Self {
        let read = catalog::read(directory, database.system(), options);
        let catalog = read.unwrap_or_else(|findings| panic!("{}: {findings:?}", directory.display()));
        Self::of(database, catalog.migrations)
    }

    pub(crate) fn of(database: Box<dyn Database>, migrations: Vec<Migration>) -> Self {
        let heard = Arc::new(Heard::default());
        let runner = Runner {
            database,
            migrations,
            policy: Policy { gaps: true, ..Policy::default() },
            options: options(),
            programs: Arc::new(NoPrograms),
            watch: Watchers::new().with(Arc::clone(&heard) as Arc<dyn Watch>),
            who: "tester@here (1)".to_owned(),
        };
        Self { runner, heard, cancel: CancellationToken::new() }
    }

    pub(crate) async fn up(&self) -> Result<Report, Error> {
        self.runner.up(None, &self.cancel).await
    }

    /// Up, which must go well; what was done.
    pub(crate) async fn must_up(&self) -> Vec<String> {
        self.up().await.unwrap_or_else(|error| panic!("{error:?}: {:#?}", self.heard.lines())).done
    }

    /// Everything down, which must go well.
    pub(crate) async fn must_down(&self) -> Vec<String> {
        let down = self.runner.down(&Back::To(Version::from(0)), &self.cancel).await;
        down.unwrap_or_else(|error| panic!("{error:?}: {:#?}", self.heard.lines())).done
    }
}
