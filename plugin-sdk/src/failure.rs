//! What a plugin answers when it cannot do its work: data for the agent's policy, never a trap.

use std::fmt;

/// Why an event or a call failed.
///
/// ```
/// use whimbrel_plugin::Failure;
///
/// let failure = Failure::new("value", "not a phone number");
/// assert_eq!(failure.to_string(), "value: not a phone number");
/// assert!(!failure.retryable);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Short and stable, for metrics: "value", "config", …
    pub code: String,
    /// For people. Leave row values out: the message is logged.
    pub message: String,
    /// The same call may succeed later.
    pub retryable: bool,
}

impl Failure {
    /// A failure that will not go away by itself.
    ///
    /// ```
    /// use whimbrel_plugin::Failure;
    ///
    /// let failure = Failure::new("config", "`columns` is empty");
    /// assert_eq!((failure.code.as_str(), failure.retryable), ("config", false));
    /// ```
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Failure { code: code.into(), message: message.into(), retryable: false }
    }

    /// What an HTTP status other than 2xx means: 408, 425, 429 and 5xx may pass.
    ///
    /// ```
    /// use whimbrel_plugin::Failure;
    ///
    /// assert!(Failure::status(429).retryable);
    /// assert!(!Failure::status(404).retryable);
    /// ```
    #[must_use]
    pub fn status(status: u16) -> Self {
        let retryable = matches!(status, 408 | 425 | 429 | 500..=599);
        Failure { retryable, ..Failure::new("status", format!("the server answered with {status}")) }
    }

    /// A failure that the same call may survive later.
    ///
    /// ```
    /// use whimbrel_plugin::Failure;
    ///
    /// let failure = Failure::retryable("busy", "the queue is full");
    /// assert!(failure.retryable);
    /// assert_eq!(failure.to_string(), "busy: the queue is full");
    /// ```
    pub fn retryable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Failure { retryable: true, ..Failure::new(code, message) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}
