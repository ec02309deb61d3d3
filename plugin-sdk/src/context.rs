//! What a plugin may ask the agent for besides its batch: a log. It holds no state; each call goes to the host.

use crate::host;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every step.
    Trace,
    /// For finding a fault.
    Debug,
    /// Worth knowing.
    Info,
    /// Odd, and handled.
    Warn,
    /// Somebody must act.
    Error,
}

/// The agent's services for the call that is running.
#[derive(Debug)]
pub struct Context(pub(crate) ());

impl Context {
    /// Writes a line to the agent's log. Never log row values: the log is read by people who may not see them.
    ///
    /// ```
    /// use whimbrel_plugin::testing::context;
    /// use whimbrel_plugin::Level;
    ///
    /// context().log(Level::Warn, "currency is not known", &[("currency", "XTS")]);
    /// ```
    pub fn log(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        host::log(level, message, fields);
    }
}
