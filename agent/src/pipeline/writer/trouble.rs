//! What the writer does while the target has trouble: waits, says so, reconnects, finds out what became of a commit.

use std::time::Duration;

use super::{Prepared, Writer};
use crate::pipeline::retry::{Action, action};
use crate::pipeline::shared::Part;
use crate::runtime::logging::chain;
use crate::source::kafka::watch::now_ms;
use crate::stats::PipelineState;
use crate::target::{Advance, DeliveryMode, ErrorKind, TargetError};

/// How long a paused pipeline waits before it looks again whether it has been mended.
const PAUSE_CHECK: Duration = Duration::from_secs(5);

/// The pipeline is told to end before this could be done.
pub(super) struct Abandoned;

/// What became of a commit.
pub(super) enum Resolved {
    Committed,
    NotCommitted,
    MovedOn,
}

impl Writer {
    /// Waits as the table says of this kind of error.
    pub(super) async fn wait_after(&mut self, error: &TargetError) -> Result<(), Abandoned> {
        self.wait(action(error.kind), error).await
    }

    /// Waits as `action` demands; ends early when an operator resumes or the pipeline must end.
    pub(super) async fn wait(&mut self, action: Action, error: &TargetError) -> Result<(), Abandoned> {
        let wait = self.backoff.next(rand::random::<f64>());
        let wait = match action {
            Action::Pause | Action::Isolate => {
                self.report_pause(error);
                wait.max(PAUSE_CHECK)
            }
            _ => {
                // Conflicts that a second attempt settles are everyday; do not call the pipeline unready for them.
                if error.kind != ErrorKind::Conflict || self.backoff.attempts() > 3 {
                    self.report_retry(error);
                } else {
                    tracing::debug!(pipeline = %self.pipeline, %error, "target conflict, trying again");
                }
                wait
            }
        };
        self.sleep(wait).await
    }

    async fn sleep(&self, wait: Duration) -> Result<(), Abandoned> {
        let resumes = self.shared.resumes();
        let generation = self.shared.generation();
        let until = tokio::time::Instant::now() + wait;
        loop {
            if self.shared.abandoned() {
                return Err(Abandoned);
            }
            if self.shared.resumes() != resumes || self.shared.generation() != generation {
                return Ok(());
            }
            tokio::select! {
                () = self.shared.wake_writer.notified() => {}
                () = tokio::time::sleep_until(until) => return Ok(()),
            }
        }
    }

    pub(super) fn report_retry(&self, error: &TargetError) {
        tracing::warn!(
            pipeline = %self.pipeline,
            kind = ?error.kind,
            attempt = self.backoff.attempts(),
            error = %chain(error),
            "target failed, trying again"
        );
        let what = format!("target: {}", chain(error));
        self.shared.health(Part::Writer, Some(PipelineState::Retrying { what, since_ms: now_ms() }));
    }

    fn report_pause(&self, error: &TargetError) {
        tracing::error!(pipeline = %self.pipeline, kind = ?error.kind, error = %chain(error), "pipeline paused");
        let what = match error.kind {
            ErrorKind::Authentication => "check user and password in the target's `uri`, and the user at the server",
            ErrorKind::Authorization => "grant the target's user what it lacks",
            _ => "mend it at the target",
        };
        let remedy = format!("{what}; the pipeline looks again by itself, or at once on SIGHUP");
        self.shared.health(Part::Writer, Some(PipelineState::Paused { why: chain(error), remedy }));
    }

    pub(super) async fn pause_for_poison(&self, why: String, prepared: &Prepared) -> Result<(), Abandoned> {
        tracing::error!(pipeline = %self.pipeline, detail = why, "pipeline paused: too many dead letters");
        let remedy =
            "look at the reasons in the log; mend the plugin, mapping or source and restart, or accept them by SIGHUP";
        self.shared.health(
            Part::Writer,
            Some(PipelineState::Paused { why: format!("poison budget: {why}"), remedy: remedy.into() }),
        );
        let resumes = self.shared.resumes();
        while self.shared.resumes() == resumes {
            if self.stale(prepared.generation) {
                return Err(Abandoned);
            }
            self.shared.wake_writer.notified().await;
        }
        tracing::info!(pipeline = %self.pipeline, "resumed: this batch's dead letters are accepted");
        Ok(())
    }

    pub(super) async fn reopen_if_lost(&mut self, error: &TargetError) -> Result<(), Abandoned> {
        match error.kind {
            ErrorKind::Network | ErrorKind::NotPrimary => self.reopen().await,
            _ => Ok(()),
        }
    }

    /// Connects, however long it takes.
    pub(super) async fn reopen(&mut self) -> Result<(), Abandoned> {
        loop {
            match self.target.open().await {
                Ok(()) => return Ok(()),
                Err(error) => self.wait_after(&error).await?,
            }
        }
    }

    /// The commit was sent and its answer is lost: the state rows know.
    pub(super) async fn resolve(&mut self, error: &TargetError, advances: &[Advance]) -> Result<Resolved, Abandoned> {
        tracing::warn!(pipeline = %self.pipeline, error = %chain(error), "outcome of a commit unknown, reading the state");
        let names: Vec<(String, i32)> = advances.iter().map(|a| (a.topic.to_string(), a.partition)).collect();
        loop {
            self.reopen().await?;
            match self.target.offsets(&self.pipeline, &names).await {
                Ok(found) if self.mode == DeliveryMode::AtLeastOnce => {
                    // Rows are guarded by their version: writing them again is harmless.
                    drop(found);
                    return Ok(Resolved::NotCommitted);
                }
                Ok(found) => {
                    let all =
                        |of: fn(&Advance) -> Option<i64>| advances.iter().zip(&found).all(|(a, s)| s.next == of(a));
                    return Ok(if all(|a| Some(a.next)) {
                        Resolved::Committed
                    } else if all(|a| a.expected) {
                        Resolved::NotCommitted
                    } else {
                        Resolved::MovedOn
                    });
                }
                Err(error) => self.wait_after(&error).await?,
            }
        }
    }
}
