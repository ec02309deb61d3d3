//! What the tests share: where the servers are (as `./x test` sets it), runners, watchers that remember.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use whimbrel_migrate::contents::Contents;
use whimbrel_migrate::engine::Runner;
use whimbrel_migrate::error::{Error, Kind};
use whimbrel_migrate::ledger::Id;
use whimbrel_migrate::migration::{Migration, Options, PluginFile};
use whimbrel_migrate::plan::Policy;
use whimbrel_migrate::program::{Program, Programs};
use whimbrel_migrate::watch::{Event, Watch, Watchers};

/// A value of the environment that `./x test` sets.
pub(crate) fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests by `./x test`, or source `./x services env`"))
}

/// A name no other test of this or an earlier run uses.
pub(crate) fn unique(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Everything that was told, a line each.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Told {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.lines().iter().any(|line| line.contains(word))
    }
}

impl Watch for Told {
    fn tell(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

/// No plugins.
pub(crate) struct NoPrograms;

impl Programs for NoPrograms {
    fn load(&self, file: &PluginFile) -> Result<Box<dyn Program>, Error> {
        Err(Error::new(Kind::Database, "plugin", format!("no plugin {}", file.path.display())))
    }
}

/// Migrations of these contents, versions 1, 2, …
pub(crate) fn migrations(contents: Vec<Contents>) -> Vec<Migration> {
    let number = |(index, contents): (usize, Contents)| Migration {
        id: Id::from_text(&(index + 1).to_string()).unwrap(),
        name: contents.name.unwrap_or_else(|| format!("m{}", index + 1)),
        file: PathBuf::from(format!("{}.yaml", index + 1)),
        checksum: format!("sum{}", index + 1),
        up: contents.up,
        down: contents.down,
        checks: contents.checks,
    };
    contents.into_iter().enumerate().map(number).collect()
}

/// A runner with short times, and what it tells.
pub(crate) fn runner(
    database: Box<dyn whimbrel_migrate::database::Database>,
    migrations: Vec<Migration>,
    who: &str,
) -> (Runner, Arc<Told>) {
    let told = Arc::new(Told::default());
    let runner = Runner {
        database,
        migrations,
        policy: Policy::default(),
        options: Options { lease: Duration::from_secs(2), wait: Duration::from_secs(20), ..Options::default() },
        programs: Arc::new(NoPrograms),
        watch: Watchers::new().with(Arc::clone(&told) as Arc<dyn Watch>),
        who: who.to_owned(),
    };
    (runner, told)
}
