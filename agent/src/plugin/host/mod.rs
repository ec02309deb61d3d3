//! The functions a guest may call, one file per interface, over what an instance has on the host's side: [`State`].
//! Whatever a guest hands over is checked here, once: what the contract does not allow ends the instance, and
//! nothing of it stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::HasData;

use super::bindings::types;
use super::fault::TrapCause;
use super::limits::{Limits, LogRate, MemoryLimiter};
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
}

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
        }
    }

    /// A call begins: what the last one left behind is gone.
    pub(super) fn begin(&mut self, limits: &Limits) {
        self.deadline = Instant::now() + limits.call;
        self.secrets.forget();
    }

    /// How much time the running call has left for waiting in the host.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl<L: Send> types::Host for State<L> {}
