//! The functions a guest may call, one file per interface, over what an instance has on the host's side: [`State`].
//! Whatever a guest hands over is checked here, once: what the contract does not allow ends the instance, and
//! nothing of it stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::HasData;

use super::bindings::types;
use super::fault::TrapCause;
use super::limits::{Limits, LogRate, MemoryLimiter, TICK};
use super::rights::Grants;
use super::services::Services;
use super::store::Pending;

mod clock;
mod database;
mod egress;
mod events;
pub(super) mod log;
mod metrics;
mod state;

use egress::SecretReferences;

/// Stands for the batch in handles. There is one batch per call, so the handle carries no number.
#[derive(Debug)]
pub enum BatchHandle {}

/// Tells the generated linker code what host functions work on.
pub(super) struct Access<L>(std::marker::PhantomData<L>);

impl<L: Send + 'static> HasData for Access<L> {
    type Data<'a> = &'a mut State<L>;
}

/// What one instance has on the host's side; `L` is what is lent for a call.
pub struct State<L> {
    plugin: Arc<str>,
    /// There while a call runs.
    pub(super) loan: Option<L>,
    pub(super) memory: MemoryLimiter,
    log: LogRate,
    /// The panic that is about to become a trap.
    pub(super) panic: Option<String>,
    /// When the running call must be over, host waits included.
    pub(super) deadline: Instant,
    pub(super) rights: Arc<Grants>,
    services: Services,
    pub(super) kept: Pending,
    secrets: SecretReferences,
    /// How many bytes of the agent's memory the running call may still fill with what it writes.
    writable: usize,
}

/// How many times the output limit all writes of a call may come to: several columns of the largest batch.
const WRITES: usize = 4;

/// The guest broke the contract; becomes a trap.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Violation {
    pub(super) cause: TrapCause,
    pub(super) message: &'static str,
}

fn violation(message: &'static str) -> wasmtime::Error {
    Violation { cause: TrapCause::Contract, message }.into()
}

fn failure(code: &str, message: impl Into<String>) -> types::Failure {
    types::Failure { code: code.to_owned(), message: message.into(), retryable: false }
}

impl<L> State<L> {
    pub(super) fn new(
        plugin: Arc<str>,
        limits: &Limits,
        rights: Arc<Grants>,
        services: Services,
        kept: Pending,
    ) -> Self {
        let now = Instant::now();
        State {
            plugin,
            loan: None,
            memory: MemoryLimiter::new(limits.memory),
            log: LogRate::new(limits.log_lines, now),
            panic: None,
            deadline: now + limits.call,
            rights,
            services,
            kept,
            secrets: SecretReferences::default(),
            writable: limits.output.saturating_mul(WRITES),
        }
    }

    /// A call begins: what the last one left behind is gone.
    pub(super) fn begin(&mut self, now: Instant, limits: &Limits) {
        self.deadline = now + limits.call;
        self.secrets.forget();
        self.writable = limits.output.saturating_mul(WRITES);
        // What the guest survived in an earlier call does not explain how this one ends.
        self.panic = None;
        self.memory.refused = false;
    }

    /// To be asked after a wait in the host: time that is over ends the call here. The engine's clock may be late on a busy
    /// machine, and a guest does not hear of an answer that came too late.
    fn in_time(&self) -> wasmtime::Result<()> {
        if Instant::now() <= self.deadline {
            return Ok(());
        }
        Err(Violation { cause: TrapCause::Deadline, message: "the call took longer than its budget" }.into())
    }

    /// Takes note that the guest makes the agent keep so many bytes. The output limit holds for each host call; without a
    /// sum a guest could write the same column until the machine has no memory left.
    fn charge(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.writable = self.writable.checked_sub(bytes).ok_or(Violation {
            cause: TrapCause::Output,
            message: "it wrote more in one call than the output limit allows",
        })?;
        Ok(())
    }

    /// How long the running call may wait in the host: what is left of its budget, but for a little that lets the plugin
    /// hear that it was too long. Waiting to the end would end in a trap.
    fn wait(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).saturating_sub(TICK * 3)
    }
}

impl<L: Send> types::Host for State<L> {}
