//! Why a plugin could not be loaded, and why a call ended badly. Causes are a closed set, since they are metric labels;
//! the words for people come with them.

use std::fmt;

use super::batch::Failure;

/// What ended an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrapCause {
    /// The call took longer than its budget.
    Deadline,
    /// It wanted more memory than its limit.
    Memory,
    /// It called itself too deeply.
    Stack,
    /// The plugin's code panicked.
    Panic,
    /// It handed over more than the output limit.
    Output,
    /// It answered what the contract does not allow: lengths that do not fit, rows that do not exist.
    Contract,
    /// Any other fault: unreachable code, division by zero, an access out of bounds.
    Fault,
}

impl TrapCause {
    /// All of them, for registering metrics.
    pub const ALL: [TrapCause; 7] = [
        TrapCause::Deadline,
        TrapCause::Memory,
        TrapCause::Stack,
        TrapCause::Panic,
        TrapCause::Output,
        TrapCause::Contract,
        TrapCause::Fault,
    ];

    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TrapCause::Deadline => "deadline",
            TrapCause::Memory => "memory",
            TrapCause::Stack => "stack",
            TrapCause::Panic => "panic",
            TrapCause::Output => "output",
            TrapCause::Contract => "contract",
            TrapCause::Fault => "fault",
        }
    }
}

/// A trap with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Which kind.
    pub cause: TrapCause,
    /// What happened, in one line; a panic's message and source line when there is one.
    pub message: String,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.as_str(), self.message)
    }
}

/// How a call may end badly.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The plugin answered with an error: data, and the instance lives on.
    #[error("the plugin refused: {}: {}", .0.code, .0.message)]
    Refused(Failure),
    /// The instance is gone.
    #[error("the plugin trapped: {0}")]
    Trapped(Trap),
    /// It trapped so often that it is not called any more.
    #[error(
        "the plugin is in quarantine: it trapped too often; mend or replace it, then reload it or resume the pipeline"
    )]
    Quarantined,
}

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not what it should be; the message says what to do.
    #[error(transparent)]
    Refused(#[from] super::manifest::Refusal),
    /// The engine cannot be built with these settings.
    #[error("cannot set up the plugin engine")]
    Engine(#[source] wasmtime::Error),
    /// The component does not compile.
    #[error("cannot compile plugin {plugin}")]
    Compile {
        /// Its name.
        plugin: String,
        /// The compiler's words.
        #[source]
        source: wasmtime::Error,
    },
    /// The component wants something that is not there, or offers something else than its world.
    #[error("plugin {plugin} does not fit its world {world}")]
    Link {
        /// Its name.
        plugin: String,
        /// The world.
        world: &'static str,
        /// The linker's words.
        #[source]
        source: wasmtime::Error,
    },
    /// It could not be started, or trapped while it was configured.
    #[error("plugin {plugin} cannot be started: {trap}")]
    Start {
        /// Its name.
        plugin: String,
        /// How.
        trap: Trap,
    },
    /// What it kept cannot be read.
    #[error("plugin {plugin} cannot have its state")]
    State {
        /// Its name.
        plugin: String,
        /// Why.
        #[source]
        source: super::store::StateError,
    },
    /// It does not accept its configuration.
    #[error("plugin {plugin} refuses its configuration: {message}")]
    Config {
        /// Its name.
        plugin: String,
        /// Its words.
        message: String,
    },
}
