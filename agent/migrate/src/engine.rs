//! Runs plans: takes the lock, reads the ledger under it, runs one migration after another, keeps the lock alive meanwhile,
//! and begins again from the ledger when a connection breaks. What a migration does to a database it leaves to the
//! database's [`Session`].

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::database::{Attempt, Database, Job, Keeper, Prediction, Session};
use crate::error::{Error, Kind, Result};
use crate::failpoints::hit;
use crate::ledger::{Direction, Entry, Id, Outcome, Progress, now_ms};
use crate::migration::{Check, Migration, Options};
use crate::plan::{self, Back, Planned, Policy, Refusal};
use crate::program::Programs;
use crate::verify;
use crate::version::Version;
use crate::watch::{Event, Watch, Watchers};

/// How often a broken connection is taken up again without anything having come of it.
const RECONNECTS: u32 = 6;
/// Between two of those, doubled each time.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
/// How often somebody else's lock is looked at.
const LOCK_LOOK: Duration = Duration::from_millis(250);

/// Runs migrations on one database.
pub struct Runner {
    /// The database.
    pub database: Box<dyn Database>,
    /// What there is, in order.
    pub migrations: Vec<Migration>,
    /// What a plan lets pass.
    pub policy: Policy,
    /// How they are run.
    pub options: Options,
    /// Who runs plugins.
    pub programs: Arc<dyn Programs>,
    /// Who is told.
    pub watch: Watchers,
    /// Who this is, for lock and ledger: `user@host`, and the process.
    pub who: String,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was done, in order.
    pub done: Vec<String>,
    /// What was undone, because its check failed.
    pub undone: Vec<String>,
}

/// A version's state, files and ledger taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not applied.
    Pending,
    /// Applied.
    Applied,
    /// Applied, and its file has changed since: of a repeatable, it will be applied again.
    Changed,
    /// In the ledger, and its file is gone.
    Missing,
    /// Not applied, and something above it is.
    OutOfOrder,
    /// Somebody is at it, or was.
    Running,
    /// Given up; `up` tries again or goes on.
    Failed,
}

/// A line of the status.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Which.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// Whether it can be undone.
    pub has_down: bool,
    /// What the ledger says.
    pub entry: Option<Entry>,
}

/// How to mend a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// Take everything up to this version as applied, without running it.
    Baseline(Version),
    /// Take the file as it is now for what was applied.
    AcceptChecksum(Id),
    /// Take it as applied.
    MarkApplied(Id),
    /// Take it out of the ledger.
    Forget(Id),
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Of which migration.
    pub id: String,
    /// The check, in words.
    pub check: String,
    /// What is not as it should be.
    pub fault: Option<String>,
}

/// Which way a run goes.
enum Way<'a> {
    Up(Option<&'a Version>),
    /// Only these, where they are named.
    Down(&'a Back, Option<Vec<Id>>),
}

impl Runner {
    /// Files and ledger side by side.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn status(&self) -> Result<Vec<Line>> {
        Ok(lines(&self.migrations, &self.database.ledger().await?))
    }

    /// What `up` would run. Writes nothing.
    ///
    /// # Errors
    /// [`Kind::Refused`] with everything in the way; or the ledger cannot be read.
    pub async fn pending(&self, to: Option<&Version>) -> Result<Vec<Id>> {
        let ledger = self.database.ledger().await?;
        Ok(self.plan(&ledger, &Way::Up(to))?.iter().map(|one| one.migration.id.clone()).collect())
    }

    /// What `down` would undo. Writes nothing.
    ///
    /// # Errors
    /// As [`Runner::pending`].
    pub async fn undoable(&self, back: &Back) -> Result<Vec<Id>> {
        let ledger = self.database.ledger().await?;
        Ok(self.plan(&ledger, &Way::Down(back, None))?.iter().map(|one| one.migration.id.clone()).collect())
    }

    /// What running these would do, without running them. Writes nothing.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn predict(&self, ids: &[Id], direction: Direction) -> Result<Vec<(Id, Vec<Prediction>)>> {
        let mut predicted = Vec::new();
        for id in ids {
            let body = self.migrations.iter().find(|one| one.id == *id).and_then(|one| one.body(direction));
            if let Some(body) = body {
                predicted.push((id.clone(), self.database.predict(body, &self.options).await?));
            }
        }
        Ok(predicted)
    }

    /// Applies what is pending, up to and with `to`.
    ///
    /// # Errors
    /// What stopped it; what was applied before stays applied.
    pub async fn up(&self, to: Option<&Version>, cancel: &CancellationToken) -> Result<Report> {
        self.parsed(to).await?;
        self.run(&Way::Up(to), cancel).await
    }

    /// Refuses what the server could not even parse before anything is written, also the ledger.
    async fn parsed(&self, to: Option<&Version>) -> Result<()> {
        let ledger = self.database.ledger().await?;
        // What the plan refuses is told under the lock, where it is known for sure.
        let Ok(planned) = self.plan(&ledger, &Way::Up(to)) else { return Ok(()) };
        let mut wrong = Vec::new();
        for one in planned.iter().filter(|one| one.direction == Direction::Up) {
            for (line, why) in self.database.unparsed(&one.migration.up).await? {
                wrong.push(format!("{}, line {line}: {why}", one.migration.id));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::refused(wrong.join("\n"), "mend the statement; nothing was written"))
    }

    /// Undoes what is applied.
    ///
    /// # Errors
    /// What stopped it; what was undone before stays undone.
    pub async fn down(&self, back: &Back, cancel: &CancellationToken) -> Result<Report> {
        // Steps are counted once: after a broken connection what is undone already must not be counted again.
        let ids = match back {
            Back::Steps(_) => Some(self.undoable(back).await?),
            Back::To(_) => None,
        };
        self.run(&Way::Down(back, ids), cancel).await
    }

    fn plan<'a>(&'a self, ledger: &'a [Entry], way: &Way<'_>) -> Result<Vec<Planned<'a>>> {
        let planned = match way {
            Way::Up(to) => plan::up(&self.migrations, ledger, *to, self.policy),
            Way::Down(back, ids) => plan::down(&self.migrations, ledger, back).map(|mut planned| {
                planned.retain(|one| ids.as_ref().is_none_or(|ids| ids.contains(&one.migration.id)));
                planned
            }),
        };
        planned.map_err(|all| refused(&all))
    }

    /// What is wrong between files and ledger, and what the checks of applied migrations find now. Writes nothing.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn validate(&self) -> Result<(Vec<Refusal>, Vec<Checked>)> {
        let ledger = self.database.ledger().await?;
        let faults = plan::faults(&self.migrations, &ledger, self.policy);
        let applied = |migration: &&Migration| ledger.iter().any(|one| one.id == migration.id && one.is_applied());
        let mut checked = Vec::new();
        for migration in self.migrations.iter().filter(applied) {
            for check in &migration.checks {
                let fault = match check {
                    Check::Copy(_) if self.options.copies.is_none() => continue,
                    Check::Copy(copy) => verify::fault(self.options.copies.as_ref(), copy).await?,
                    check => self.database.check(check).await?,
                };
                let (id, check) = (migration.id.to_text(), check.to_string());
                self.watch.tell(&Event::Checked { id: &id, check: &check, fault: fault.as_deref() });
                checked.push(Checked { id, check, fault });
            }
        }
        Ok((faults, checked))
    }

    /// Mends the ledger, under the lock. Gives what was changed, a sentence each.
    ///
    /// # Errors
    /// When there is no such version, or the ledger cannot be written.
    pub async fn repair(&self, repairs: &[Repair], cancel: &CancellationToken) -> Result<Vec<String>> {
        let mut session = self.lock(cancel, Instant::now()).await?;
        let keeper = session.keeper();
        let done = kept(&*keeper, self.options.lease, async {
            let ledger = session.ledger().await?;
            let mut done = Vec::new();
            for repair in repairs {
                self.mend(&mut *session, &ledger, repair, &mut done).await?;
            }
            Ok(done)
        })
        .await;
        session.release().await?;
        done
    }

    async fn mend(
        &self,
        session: &mut dyn Session,
        ledger: &[Entry],
        repair: &Repair,
        done: &mut Vec<String>,
    ) -> Result<()> {
        let entry = |id: &Id| ledger.iter().find(|one| one.id == *id);
        let file = |id: &Id| {
            let missing =
                || Error::refused(format!("there is no file of version {id}"), "`migrate status` lists the versions");
            self.migrations.iter().find(|one| one.id == *id).ok_or_else(missing)
        };
        match repair {
            Repair::Baseline(version) => {
                let id = Id::Version(version.clone());
                for migration in self.migrations.iter().filter(|one| one.id <= id && entry(&one.id).is_none()) {
                    session.write(&self.taken_over(migration)).await?;
                    done.push(format!("{} is taken as applied", migration.id));
                }
            }
            Repair::MarkApplied(id) => {
                session.write(&self.taken_over(file(id)?)).await?;
                done.push(format!("{id} is taken as applied"));
            }
            Repair::AcceptChecksum(id) => {
                let checksum = file(id)?.checksum.clone();
                let unknown = || {
                    Error::refused(
                        format!("{id} is not in the ledger"),
                        "only what was applied has a checksum to change",
                    )
                };
                let entry = entry(id).ok_or_else(unknown)?;
                session.write(&Entry { checksum, ..entry.clone() }).await?;
                done.push(format!("the file of {id} is taken as it is"));
            }
            Repair::Forget(id) => {
                if entry(id).is_none() {
                    return Err(Error::refused(format!("{id} is not in the ledger"), "`migrate status` lists what is"));
                }
                session.erase(id).await?;
                done.push(format!("{id} is out of the ledger; the database is left as it is"));
            }
        }
        Ok(())
    }

    fn taken_over(&self, migration: &Migration) -> Entry {
        Entry { attempts: 0, ..self.begun(migration, Direction::Up, None) }.ended(Outcome::Success, now_ms())
    }

    /// The entry of a migration that begins now, or goes on.
    fn begun(&self, migration: &Migration, direction: Direction, before: Option<&Entry>) -> Entry {
        Entry {
            id: migration.id.clone(),
            name: migration.name.clone(),
            checksum: migration.checksum.clone(),
            direction,
            outcome: Outcome::Running,
            by: self.who.clone(),
            started_at_ms: now_ms(),
            finished_at_ms: None,
            duration_ms: before.map_or(0, |entry| entry.duration_ms),
            attempts: before.map_or(0, |entry| entry.attempts) + 1,
            progress: before.map(|entry| entry.progress.clone()).unwrap_or_default(),
            error: None,
        }
    }

    /// Runs what the plan says, from the ledger anew whenever the connection broke.
    async fn run(&self, way: &Way<'_>, cancel: &CancellationToken) -> Result<Report> {
        let mut report = Report::default();
        let mut broken = 0;
        loop {
            let done = report.done.len();
            let since = Instant::now();
            let outcome = match self.lock(cancel, since).await {
                Ok(session) => self.under_lock(session, way, cancel, &mut report).await,
                // The first time nobody is there the settings are wrong, most of the time; later it is an outage.
                Err(error) if broken == 0 => return Err(error),
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if passes(&error) && !cancel.is_cancelled() => {
                    broken = if report.done.len() > done { 1 } else { broken + 1 };
                    if broken > RECONNECTS {
                        return Err(error);
                    }
                    let wait = RECONNECT_AFTER * 2_u32.pow(broken - 1);
                    tracing::warn!(code = &*error.code, wait = ?wait, "the connection broke, the ledger is looked at again");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = cancel.cancelled() => return Err(error),
                    }
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(report),
            }
        }
    }

    async fn under_lock(
        &self,
        mut session: Box<dyn Session>,
        way: &Way<'_>,
        cancel: &CancellationToken,
        report: &mut Report,
    ) -> Result<()> {
        let keeper = session.keeper();
        let outcome = kept(&*keeper, self.options.lease, async {
            let ledger = session.ledger().await?;
            for one in self.plan(&ledger, way)? {
                if cancel.is_cancelled() {
                    return Err(Error::stopped());
                }
                self.one(&mut *session, one.migration, one.direction, one.entry, cancel, report).await?;
            }
            Ok(())
        })
        .await;
        // The lock is another's, or nobody can be told that it is free: it is outlived.
        if outcome.as_ref().is_err_and(|error| error.kind == Kind::LockLost || passes(error)) {
            return outcome;
        }
        hit("migrate_before_release");
        if let Err(error) = session.release().await {
            tracing::warn!(code = &*error.code, "the lock could not be given back, it will be outlived");
        }
        outcome
    }

    async fn one(
        &self,
        session: &mut dyn Session,
        migration: &Migration,
        direction: Direction,
        before: Option<&Entry>,
        cancel: &CancellationToken,
        report: &mut Report,
    ) -> Result<()> {
        let (error, left) = match self.attempt(session, migration, direction, before, cancel).await {
            Ok(()) => {
                report.done.push(migration.id.to_text());
                return Ok(());
            }
            Err((error, _)) if error.kind == Kind::LockLost || passes(&error) => return Err(error),
            Err((error, left)) => {
                let failed = failed(direction, &left, &error);
                if let Err(unwritten) = session.write(&failed).await {
                    tracing::warn!(code = &*unwritten.code, "the ledger could not be told of the failure");
                }
                if !(error.kind == Kind::CheckFailed && direction == Direction::Up) {
                    return Err(error);
                }
                (error, left)
            }
        };
        Err(self.undo(session, migration, &left, error, cancel, report).await)
    }

    /// What can be done about a failed check: gives the error, with what was done.
    async fn undo(
        &self,
        session: &mut dyn Session,
        migration: &Migration,
        left: &Entry,
        error: Error,
        cancel: &CancellationToken,
        report: &mut Report,
    ) -> Error {
        if left.progress.is_untouched() {
            return error.with_remedy("everything was rolled back");
        }
        if migration.down.is_none() {
            return error
                .with_remedy("the change stays: it was made in several transactions, and there is no down to undo it");
        }
        match self.attempt(session, migration, Direction::Down, None, cancel).await {
            Ok(()) => {
                report.undone.push(migration.id.to_text());
                error.with_remedy("the change was undone by its down")
            }
            Err((why, left)) => {
                let _ = session.write(&failed(Direction::Down, &left, &why)).await;
                error.with_remedy(format!("its down was run to undo the change and failed: {why}"))
            }
        }
    }

    /// One attempt. An error comes with the entry as the database leaves it.
    async fn attempt(
        &self,
        session: &mut dyn Session,
        migration: &Migration,
        direction: Direction,
        before: Option<&Entry>,
        cancel: &CancellationToken,
    ) -> Result<(), (Error, Entry)> {
        let entry = self.begun(migration, direction, before);
        let Some(body) = migration.body(direction) else {
            return Err((refused(&[Refusal::NoDown(migration.id.clone())]), entry));
        };
        let (id, started) = (migration.id.to_text(), SystemTime::now());
        if let Err(error) = session.write(&entry).await {
            return Err((error, entry));
        }
        hit("migrate_entry_written");
        self.watch.tell(&Event::Started {
            id: &id,
            name: &migration.name,
            system: Some(self.database.system()),
            direction,
            steps: body.len(),
            progress: &entry.progress,
        });
        let checks: Vec<Check> = match direction {
            Direction::Up => {
                let costly = |check: &&Check| self.options.copies.is_some() || !matches!(check, Check::Copy(_));
                migration.checks.iter().filter(costly).cloned().collect()
            }
            Direction::Down => Vec::new(),
        };
        let mut job = Job {
            migration,
            direction,
            body,
            checks: &checks,
            entry,
            options: &self.options,
            programs: &self.programs,
            watch: &self.watch,
            cancel,
        };
        let outcome = session.run(&mut job).await;
        let told = outcome.as_ref().err().map(|error| (error.code.to_string(), error.to_string()));
        self.watch.tell(&Event::Ended {
            id: &id,
            direction,
            started,
            error: told.as_ref().map(|(code, message)| (code.as_str(), message.as_str())),
            progress: &job.entry.progress,
        });
        outcome.map_err(|error| (error, job.entry))
    }

    /// Waits for the lock.
    async fn lock(&self, cancel: &CancellationToken, since: Instant) -> Result<Box<dyn Session>> {
        let mut told: Option<Instant> = None;
        loop {
            let holder = match self.database.lock(&self.who, self.options.lease).await? {
                Attempt::Locked(session) => return Ok(session),
                Attempt::Held { by, outlived_in } => {
                    let waited = since.elapsed();
                    if waited >= self.options.wait {
                        let message = format!("{by} holds the lock, for longer than {} s", self.options.wait.as_secs());
                        let remedy = format!(
                            "wait for it, or longer (`--wait`); if it is gone, the lock is free in {} s by itself",
                            outlived_in.as_secs().max(1)
                        );
                        return Err(Error::new(Kind::Locked, "locked", message).with_remedy(remedy));
                    }
                    by
                }
            };
            if told.is_none_or(|told| told.elapsed() >= Duration::from_secs(1)) {
                told = Some(Instant::now());
                self.watch.tell(&Event::WaitingForLock { holder: &holder, since: since.elapsed() });
            }
            tokio::select! {
                () = tokio::time::sleep(LOCK_LOOK) => {}
                () = cancel.cancelled() => return Err(Error::stopped()),
            }
        }
    }
}

/// Does `work` while the lock is kept alive; gives up on it when the lock is lost.
async fn kept<T>(keeper: &dyn Keeper, lease: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        done = work => done,
        lost = keep(keeper, lease) => Err(lost),
    }
}

/// Renews the lease until it is lost.
async fn keep(keeper: &dyn Keeper, lease: Duration) -> Error {
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(lease / 3).await;
        let asked = Instant::now();
        match keeper.renew().await {
            Ok(()) => renewed = asked,
            Err(error) if error.kind == Kind::LockLost => return error,
            Err(error) if renewed.elapsed() >= lease => {
                let message = "the lock could not be kept alive, and is outlived by now";
                return Error::new(Kind::LockLost, "lock_lost", message)
                    .with_remedy("run the same command again: it goes on where this one stopped")
                    .caused_by(error);
            }
            Err(error) => tracing::warn!(code = &*error.code, "the lock could not be renewed, trying again"),
        }
    }
}

/// Whether a new connection may do what this one could not.
fn passes(error: &Error) -> bool {
    matches!(error.kind, Kind::Connection | Kind::CommitUnknown)
}

/// What the ledger says of a failure. An undoing that left nothing behind leaves the migration applied.
fn failed(direction: Direction, left: &Entry, error: &Error) -> Entry {
    let said = Entry { error: Some(error.to_string()), ..left.clone() };
    match direction {
        Direction::Down if left.progress.is_untouched() => {
            let applied = Entry { direction: Direction::Up, progress: Progress::default(), ..said };
            applied.ended(Outcome::Success, now_ms())
        }
        _ => said.ended(Outcome::Failed, now_ms()),
    }
}

fn refused(refusals: &[Refusal]) -> Error {
    let line = |one: &Refusal| format!("{one}: {}", one.remedy());
    let message = match refusals {
        [one] => return Error::new(Kind::Refused, "refused", one.to_string()).with_remedy(one.remedy()),
        all => all.iter().map(line).collect::<Vec<_>>().join("\n"),
    };
    Error::new(Kind::Refused, "refused", message)
}

/// Files and ledger side by side, by id.
#[must_use]
pub fn lines(files: &[Migration], ledger: &[Entry]) -> Vec<Line> {
    let highest =
        ledger.iter().filter(|one| one.is_applied() && matches!(one.id, Id::Version(_))).map(|one| &one.id).max();
    let mut lines: Vec<Line> = files
        .iter()
        .map(|file| {
            let entry = ledger.iter().find(|one| one.id == file.id);
            let state = match entry {
                None if highest.is_some_and(|highest| file.id < *highest) => State::OutOfOrder,
                None => State::Pending,
                Some(entry) if entry.is_applied() => match entry.checksum.is_empty() || entry.checksum == file.checksum
                {
                    true => State::Applied,
                    false => State::Changed,
                },
                Some(entry) if entry.outcome == Outcome::Running => State::Running,
                Some(_) => State::Failed,
            };
            Line {
                id: file.id.clone(),
                name: file.name.clone(),
                state,
                has_down: file.down.is_some(),
                entry: entry.cloned(),
            }
        })
        .collect();
    let gone = ledger.iter().filter(|entry| !files.iter().any(|file| file.id == entry.id));
    lines.extend(gone.map(|entry| Line {
        id: entry.id.clone(),
        name: entry.name.clone(),
        state: State::Missing,
        has_down: false,
        entry: Some(entry.clone()),
    }));
    lines.sort_by(|one, other| one.id.cmp(&other.id));
    lines
}
