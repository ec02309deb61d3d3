//! Migrations that are plugins: loaded, judged and bounded like every plugin, and lent the session of their migration.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use whimbrel_migrate::error::{Error, Result};
use whimbrel_migrate::migration::PluginFile;
use whimbrel_migrate::program::{Call, Failure, Lent, Program, Programs};

use crate::config::written::Written;
use crate::plugin::services::MetricSink;
use crate::plugin::watch::read_file;
use crate::plugin::{
    CallError, Database, Failure as PluginFailure, Grants, Instance, Kind, Limits, Manifest, Migration, Plugin,
    Sandbox, Services, Setup, Step, digest,
};
use crate::runtime::logging::chain;
use crate::stats::{Instruments, PluginMeter};

/// Makes the sandbox; a run without plugins never asks.
type Make = Box<dyn FnOnce() -> std::result::Result<Sandbox, String> + Send>;

/// Runs plugins of one set of migrations.
pub struct Sandboxed {
    sandbox: LazyLock<std::result::Result<Sandbox, String>, Make>,
    set: String,
    grants: Grants,
    limits: Limits,
    instruments: Instruments,
}

impl Sandboxed {
    /// With what the configuration lets these plugins do and use.
    #[must_use]
    pub fn new(
        make: impl FnOnce() -> anyhow::Result<Sandbox> + Send + 'static,
        set: &str,
        (grants, limits): (Grants, Limits),
        instruments: &Instruments,
    ) -> Self {
        let make: Make = Box::new(|| make().map_err(|error| format!("{error:#}")));
        Self { sandbox: LazyLock::new(make), set: set.to_owned(), grants, limits, instruments: instruments.clone() }
    }
}

impl Programs for Sandboxed {
    fn load(&self, file: &PluginFile) -> Result<Box<dyn Program>> {
        let path = file.path.display().to_string();
        let refused = |why: String, remedy: &str| Error::refused(format!("plugin {path}: {why}"), remedy);
        let sandbox = self.sandbox.as_ref().map_err(|why| refused(why.clone(), "see what the error names"))?;
        let bytes = read_file(&file.path)
            .map_err(|error| refused(format!("cannot be read: {error}"), "check the path and who may read it"))?;
        let why = |error: &dyn std::error::Error| chain(error);
        sandbox
            .trust
            .admit(&path, &bytes)
            .map_err(|error| refused(format!("is not trusted here: {}", why(&error)), "see `plugins.trust`"))?;
        let manifest = Manifest::of(&bytes, Kind::Migration).map_err(|error| {
            refused(why(&error), "`whimbrel plugin check FILE` tells all that the agent wants of a plugin")
        })?;
        let meter = PluginMeter::new(&manifest.name, &manifest.version, &digest(&bytes), &self.instruments);
        let metrics: Arc<dyn MetricSink> = meter;
        let setup = Setup {
            owner: format!("migrations/{}/{}", self.set, manifest.name),
            name: manifest.name,
            config: serde_json::Value::Object(file.config.clone()).to_string(),
            written: Written::default(),
            limits: self.limits,
            grants: self.grants.clone(),
            services: Services { metrics: Some(metrics), ..sandbox.services.clone() },
        };
        let instance = Plugin::<Migration>::load(&sandbox.engine, &sandbox.cache, &bytes, setup)
            .and_then(|plugin| Arc::new(plugin).start())
            .map_err(|error| {
                refused(why(&error), "grant what it needs in `migrations[].grants`, or mend the plugin or its config")
            })?;
        Ok(Box::new(Sandboxee { instance }))
    }
}

struct Sandboxee {
    instance: Instance<Migration>,
}

impl Program for Sandboxee {
    fn call(&mut self, call: Call, lent: Box<dyn Lent>) -> (Box<dyn Lent>, std::result::Result<(), Failure>) {
        let step = match call {
            Call::Up => Step::Up,
            Call::Down => Step::Down,
            Call::Validate => Step::Validate,
        };
        let slot = Slot(Arc::new(Mutex::new(Some(lent))));
        let (database, outcome) = self.instance.run(step, Box::new(slot.clone()));
        drop(database);
        let lent = slot.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let outcome = outcome.map_err(failure);
        // The slot is filled above and emptied only here, so it is never empty.
        (lent.unwrap_or_else(|| Box::new(Nothing)), outcome)
    }
}

fn failure(error: CallError) -> Failure {
    match error {
        CallError::Refused(PluginFailure { code, message, retryable }) => Failure { code, message, retryable },
        CallError::Trapped(trap) => Failure {
            code: format!("plugin_{}", trap.cause.as_str()),
            message: format!("the plugin trapped: {trap}"),
            retryable: false,
        },
        CallError::Quarantined => {
            Failure { code: "plugin_quarantined".to_owned(), message: error.to_string(), retryable: false }
        }
    }
}

/// What the guest is lent: the session, which stays here whatever becomes of the guest.
#[derive(Clone)]
struct Slot(Arc<Mutex<Option<Box<dyn Lent>>>>);

impl Database for Slot {
    fn run(&mut self, command: &str) -> std::result::Result<String, PluginFailure> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match slot.as_mut() {
            Some(lent) => lent.run(command),
            None => Nothing.run(command),
        };
        answer.map_err(|Failure { code, message, retryable }| PluginFailure { code, message, retryable })
    }

    fn progress(&mut self, collection: &str, processed: u64, expected: Option<u64>) {
        if let Some(lent) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            lent.progress(collection, processed, expected);
        }
    }
}

/// No session.
struct Nothing;

impl Lent for Nothing {
    fn run(&mut self, _: &str) -> std::result::Result<String, Failure> {
        Err(Failure { code: "no_session".to_owned(), message: "there is no session".to_owned(), retryable: false })
    }

    fn progress(&mut self, _: &str, _: u64, _: Option<u64>) {}

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_util::sync::CancellationToken;
    use whimbrel_migrate::watch::Watchers;

    use super::*;
    use crate::config::secret::Secret;
    use crate::migrations::assemble;
    use crate::migrations::config::{DatabaseConfig, MigrationsConfig};
    use crate::plugin::fixture::kinds::{Sin, sinner};
    use crate::plugin::trust::Trust;
    use crate::plugin::{Cache, Engine};

    /// A session that notes what it is asked and answers always the same.
    struct Noted {
        commands: Vec<String>,
        answer: std::result::Result<String, Failure>,
    }

    impl Lent for Noted {
        fn run(&mut self, command: &str) -> std::result::Result<String, Failure> {
            self.commands.push(command.to_owned());
            self.answer.clone()
        }

        fn progress(&mut self, _: &str, _: u64, _: Option<u64>) {}

        fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send> {
            self
        }
    }

    fn programs(grants: Grants, trust: Trust) -> Sandboxed {
        let make = move || {
            // The guests do what they are made for when their clock says 0.
            let services = Services { clock: Arc::new(|| 0), ..Services::default() };
            Ok(Sandbox { engine: Engine::new()?, cache: Cache::none(), services, trust, repro: None })
        };
        let instruments = Instruments::detached(Arc::new(|| 0));
        Sandboxed::new(make, "shop", (grants, Limits::default()), &instruments)
    }

    fn written(directory: &Path, body: &str, data: &str) -> PluginFile {
        let extra = format!(r#"(data (i32.const 3072) "{data}")"#);
        let sin = Sin { extra, body: body.to_owned(), ..Sin::default() };
        let path = directory.join("0006_guest.wasm");
        std::fs::write(&path, sinner(Kind::Migration, &sin)).unwrap();
        PluginFile { path, config: serde_json::Map::new() }
    }

    /// `up` runs the six bytes at 3072 as a command, and gives back what `finish` says.
    fn call(
        finish: &str,
        answer: std::result::Result<String, Failure>,
    ) -> (Vec<String>, std::result::Result<(), Failure>) {
        let directory = tempfile::tempdir().unwrap();
        let body = format!("(call $run (i32.const 3072) (i32.const 6) (i32.const 1536)) {finish}");
        let file = written(directory.path(), &body, "drop x");
        let mut program = programs(Grants::harmless(), Trust::default()).load(&file).unwrap();
        let lent = Box::new(Noted { commands: Vec::new(), answer });
        let (lent, outcome) = program.call(Call::Up, lent);
        (lent.into_any().downcast::<Noted>().unwrap().commands, outcome)
    }

    #[test]
    fn a_plugin_works_in_the_session_it_is_lent_and_the_session_comes_back() {
        assert_eq!(call("", Ok("{}".into())), (vec!["drop x".to_owned()], Ok(())));
    }

    #[test]
    fn a_session_comes_back_from_a_plugin_that_crashed_and_the_crash_has_a_code() {
        let (commands, outcome) = call("unreachable", Ok("{}".into()));
        let failure = outcome.unwrap_err();
        assert_eq!((commands.len(), failure.code.as_str(), failure.retryable), (1, "plugin_fault", false));
    }

    #[test]
    fn down_and_validate_are_calls_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let file = written(directory.path(), "unreachable", "");
        let mut program = programs(Grants::harmless(), Trust::default()).load(&file).unwrap();
        for (which, expect) in [(Call::Down, true), (Call::Validate, true), (Call::Up, false)] {
            let lent = Box::new(Noted { commands: Vec::new(), answer: Ok(String::new()) });
            assert_eq!(program.call(which, lent).1.is_ok(), expect, "{which:?}");
        }
    }

    /// A migration of SQLite whose `up` makes a table and then ends like this: how it ended, and whether the table is there.
    async fn migrated(finish: &str) -> (Result<Vec<String>, String>, bool) {
        let directory = tempfile::tempdir().unwrap();
        let command = r#"{"sql":"CREATE TABLE made (a int)"}"#;
        let length = command.len();
        let body = format!("(call $run (i32.const 3072) (i32.const {length}) (i32.const 1536)) {finish}");
        let migrations = directory.path().join("migrations");
        std::fs::create_dir(&migrations).unwrap();
        let written = written(&migrations, &body, &command.replace('"', "\\22"));
        std::fs::rename(&written.path, migrations.join("0001_make.wasm")).unwrap();
        let file = directory.path().join("shop.db");
        let url = Secret::new(format!("sqlite:{}", file.display()));
        let config = MigrationsConfig::bare("shop", migrations, DatabaseConfig::of_url(url));
        let database = assemble::open(&config).unwrap();
        let catalog = assemble::read(&config, database.system()).unwrap();
        let programs = Arc::new(programs(Grants::harmless(), Trust::default()));
        let runner = assemble::runner(&config, database, catalog, programs, Watchers::new());
        let outcome = runner.up(None, &CancellationToken::new()).await;
        let connection = rusqlite::Connection::open(&file).unwrap();
        let is_there = connection.prepare("SELECT a FROM made").is_ok();
        (outcome.map(|report| report.done).map_err(|error| error.to_string()), is_there)
    }

    #[tokio::test]
    async fn a_plugin_migrates_a_database_and_what_it_did_before_it_crashed_is_gone() {
        assert_eq!(migrated("").await, (Ok(vec!["1".to_owned()]), true));
        let (outcome, is_there) = migrated("unreachable").await;
        assert!(outcome.as_ref().is_err_and(|error| error.contains("trapped")), "{outcome:?}");
        assert!(!is_there, "its transaction was rolled back");
    }

    #[test]
    fn what_may_not_run_is_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let file = written(directory.path(), "", "");
        let lock = directory.path().join("whimbrel.lock");
        std::fs::write(&lock, "{\"version\":1,\"plugins\":[]}").unwrap();
        let locked = Trust { lock: Some(lock), ..Trust::default() };
        let text = directory.path().join("0001_text.wasm");
        std::fs::write(&text, "select 1").unwrap();
        let other = |path: &Path| PluginFile { path: path.to_owned(), config: serde_json::Map::new() };
        for (programs, file, expect) in [
            (programs(Grants::default(), Trust::default()), &file, "state"),
            (programs(Grants::harmless(), locked), &file, "is not trusted here"),
            (programs(Grants::harmless(), Trust::default()), &other(&text), "0001_text.wasm: "),
            (programs(Grants::harmless(), Trust::default()), &other(Path::new("/nowhere.wasm")), "cannot be read"),
        ] {
            let error = programs.load(file).err().expect(expect);
            assert!(error.to_string().contains(expect), "{expect}: {error}");
        }
    }
}
