//! The lock in hand: the connection that does the work, on a thread that may block, and the word from there to whoever
//! watches.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::error::error;
use super::ledger::Tables;
use super::lock::{LeaseKeeper, expires};
use super::run::Run;
use super::{blocking, file};
use crate::database::{Job, Keeper, Session};
use crate::error::{Error, Kind, Result};
use crate::failpoints::hit;
use crate::ledger::{Entry, Id, Progress};
use crate::migration::Body;
use crate::watch::Event;

/// What the thread at work has to say.
#[derive(Debug)]
pub(super) enum Told {
    StepStarted { index: usize, what: String, place: Option<String>, expected: Option<u64> },
    Attempted { place: String, count: u64 },
    Committed { place: String, count: u64, started: SystemTime, progress: Box<Progress> },
    Retried { code: String, attempt: u32, wait: Duration },
    StepEnded { index: usize, what: String, started: SystemTime, error: Option<String> },
    Checked { check: String, fault: Option<String> },
}

/// The connection of whoever has the lock.
#[derive(Clone)]
pub(super) struct Hold {
    connection: Arc<Mutex<Connection>>,
    pub(super) tables: Tables,
    token: i64,
    lease: Duration,
    writing: Arc<AtomicBool>,
}

impl Hold {
    /// The connection. Whoever panicked with it left a transaction at most, which the next one's beginning finds.
    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a transaction that is fenced: nobody else writes before its end, and the lock is ours.
    pub(super) fn begin(&self, connection: &Connection) -> Result<()> {
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        connection.execute_batch("BEGIN IMMEDIATE").map_err(|cause| error("cannot begin a transaction", &cause))?;
        self.writing.store(true, Ordering::SeqCst);
        self.renew(connection).inspect_err(|_| self.roll_back(connection))
    }

    fn renew(&self, connection: &Connection) -> Result<()> {
        self.tables.renew(connection, self.token, expires(self.lease))
    }

    /// Commits, with the lease extended. After an error nothing of the transaction is there.
    pub(super) fn commit(&self, connection: &Connection) -> Result<()> {
        hit("migrate_before_commit");
        let committed = self
            .renew(connection)
            .and_then(|()| connection.execute_batch("COMMIT").map_err(|cause| error("cannot commit", &cause)));
        hit("migrate_after_commit");
        match committed {
            Ok(()) => self.writing.store(false, Ordering::SeqCst),
            Err(_) => self.roll_back(connection),
        }
        committed
    }

    pub(super) fn roll_back(&self, connection: &Connection) {
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        self.writing.store(false, Ordering::SeqCst);
    }

    /// Has `work` done in a transaction of its own.
    fn transaction<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let connection = self.connection();
        self.begin(&connection)?;
        match work(&connection) {
            Ok(done) => self.commit(&connection).map(|()| done),
            Err(error) => {
                self.roll_back(&connection);
                Err(error)
            }
        }
    }
}

/// The lock, and the connection that it fences.
pub(super) struct SqliteSession {
    hold: Hold,
    path: PathBuf,
}

impl SqliteSession {
    pub(super) fn new(connection: Connection, path: PathBuf, tables: Tables, token: i64, lease: Duration) -> Self {
        let connection = Arc::new(Mutex::new(connection));
        Self { hold: Hold { connection, tables, token, lease, writing: Arc::default() }, path }
    }

    async fn fenced<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Tables) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let hold = self.hold.clone();
        blocking(move || hold.transaction(|connection| work(connection, &hold.tables))).await
    }
}

/// Stops the statement at work when whoever waits for it is gone.
struct Interrupt(rusqlite::InterruptHandle);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

#[async_trait]
impl Session for SqliteSession {
    fn keeper(&self) -> Box<dyn Keeper> {
        let Hold { tables, token, lease, writing, .. } = self.hold.clone();
        Box::new(LeaseKeeper { path: self.path.clone(), tables, token, lease, writing })
    }

    async fn ledger(&mut self) -> Result<Vec<Entry>> {
        self.fenced(|connection, tables| tables.read(connection)).await
    }

    async fn write(&mut self, entry: &Entry) -> Result<()> {
        let entry = entry.clone();
        self.fenced(move |connection, tables| tables.write(connection, &entry)).await
    }

    async fn erase(&mut self, id: &Id) -> Result<()> {
        let id = id.clone();
        self.fenced(move |connection, tables| tables.erase(connection, &id)).await
    }

    async fn run(&mut self, job: &mut Job<'_>) -> Result<()> {
        let program = match job.body {
            Body::Plugin(plugin) => {
                let (programs, plugin) = (Arc::clone(job.programs), plugin.clone());
                Some(blocking(move || programs.load(&plugin)).await?)
            }
            _ => None,
        };
        let (tell, mut told) = mpsc::unbounded_channel();
        let hold = self.hold.clone();
        let interrupt = Interrupt(hold.connection().get_interrupt_handle());
        let mut run = Run {
            hold,
            direction: job.direction,
            body: job.body.clone(),
            checks: job.checks.to_vec(),
            entry: job.entry.clone(),
            options: job.options.clone(),
            cancel: job.cancel.clone(),
            tell,
            runtime: tokio::runtime::Handle::current(),
        };
        let mut working = tokio::task::spawn_blocking(move || {
            let done = run.run(program);
            (done, run.entry)
        });
        let id = job.entry.id.to_text();
        let mut asked = false;
        let finished = loop {
            tokio::select! {
                biased;
                Some(one) = told.recv() => pass_on(job, &id, &one),
                finished = &mut working => break finished,
                () = job.cancel.cancelled(), if !asked => {
                    asked = true;
                    interrupt.0.interrupt();
                }
            }
        };
        while let Ok(one) = told.try_recv() {
            pass_on(job, &id, &one);
        }
        let gone = |_| Error::new(Kind::Database, "thread", "the thread at work ended unexpectedly");
        let (done, entry) = finished.map_err(gone)?;
        job.entry = entry;
        done
    }

    async fn release(self: Box<Self>) -> Result<()> {
        let hold = self.hold.clone();
        blocking(move || hold.tables.release(&hold.connection(), hold.token)).await
    }
}

fn pass_on(job: &Job<'_>, id: &str, told: &Told) {
    job.watch.tell(&match told {
        Told::StepStarted { index, what, place, expected } => {
            Event::StepStarted { id, index: *index, what, place: place.as_deref(), expected: *expected }
        }
        Told::Attempted { place, count } => Event::Attempted { id, place, count: *count },
        Told::Committed { place, count, started, progress } => {
            Event::Committed { id, place, count: *count, started: *started, progress }
        }
        Told::Retried { code, attempt, wait } => Event::Retried { id, code, attempt: *attempt, wait: *wait },
        Told::StepEnded { index, what, started, error } => {
            Event::StepEnded { id, index: *index, what, started: *started, error: error.as_deref() }
        }
        Told::Checked { check, fault } => Event::Checked { id, check, fault: fault.as_deref() },
    });
}

/// A connection as every migration finds it.
pub(super) fn fresh(connection: &Connection, patience: Duration) -> Result<()> {
    let set = connection.busy_timeout(patience).and_then(|()| file::defaults(connection));
    set.map_err(|cause| error("cannot set up the connection", &cause))
}
