//! What a plugin may ask the agent for besides what it was handed: log, state, series, clock; channels may send, migrations
//! have a database. Nothing is held here; each call goes to the host. What is not granted in the agent's configuration
//! keeps the plugin from loading, so no call has to ask whether it may.

use std::ops::Deref;

use crate::failure::Failure;
use crate::host::{self, Services};
use crate::http::{Request, Response};
use crate::mail::Mail;

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
pub struct Context {
    pub(crate) services: Services,
}

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
        host::log(&self.services, level, message, fields);
    }

    /// What the agent keeps for this plugin.
    ///
    /// ```
    /// use whimbrel_plugin::testing::context;
    ///
    /// let cx = context();
    /// cx.state().set("seen", b"12")?;
    /// assert_eq!(cx.state().get("seen").as_deref(), Some(&b"12"[..]));
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    #[must_use]
    pub fn state(&self) -> State<'_> {
        State(&self.services)
    }

    /// Series of this plugin's own.
    ///
    /// ```
    /// use whimbrel_plugin::testing::TestHost;
    ///
    /// let host = TestHost::new();
    /// host.context().metrics().add("rows_masked", 3.0);
    /// assert_eq!(host.counter("rows_masked"), 3.0);
    /// ```
    #[must_use]
    pub fn metrics(&self) -> Metrics<'_> {
        Metrics(&self.services)
    }

    /// The wall clock, in milliseconds since 1970-01-01T00:00:00Z. A replay sets it.
    ///
    /// ```
    /// use whimbrel_plugin::testing::TestHost;
    ///
    /// assert_eq!(TestHost::new().at(1_700_000_000_000).context().now_ms(), 1_700_000_000_000);
    /// ```
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        host::now_ms(&self.services)
    }
}

/// Bytes by key that outlive the instance; see [`Context::state`]. What a call writes stands only when the call ends well.
#[derive(Debug)]
pub struct State<'a>(&'a Services);

impl State<'_> {
    /// What is kept under this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        host::state_get(self.0, key)
    }

    /// Keeps a value.
    ///
    /// # Errors
    /// With "quota" when that is more than was granted, with "key" when the key is empty or longer than 256 bytes.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        host::state_set(self.0, key, value)
    }

    /// Forgets a key.
    pub fn delete(&self, key: &str) {
        host::state_delete(self.0, key);
    }
}

/// Series of the plugin's own, exported as `plugin_custom_*{plugin,name}`; see [`Context::metrics`]. A hundred names are
/// kept apart, the rest share one series.
#[derive(Debug)]
pub struct Metrics<'a>(&'a Services);

impl Metrics<'_> {
    /// Adds to a counter; what is negative or no number is dropped.
    pub fn add(&self, name: &str, by: f64) {
        host::metric_add(self.0, name, by);
    }

    /// Sets a gauge.
    pub fn set(&self, name: &str, value: f64) {
        host::metric_set(self.0, name, value);
    }

    /// Adds an observation to a histogram.
    pub fn observe(&self, name: &str, value: f64) {
        host::metric_observe(self.0, name, value);
    }
}

/// What a channel has: all of [`Context`], and the ways out.
#[derive(Debug)]
pub struct ChannelContext(pub(crate) Context);

impl Deref for ChannelContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.0
    }
}

impl ChannelContext {
    /// Sends a request to a granted origin. Any status is an answer, not an error.
    ///
    /// ```
    /// use whimbrel_plugin::http::{Request, Response};
    /// use whimbrel_plugin::testing::TestHost;
    ///
    /// let host = TestHost::new().answering(Response::new(204));
    /// let cx = host.channel_context();
    /// let answer = cx.send(&Request::post("https://hooks.example.org/x").json(r#"{"text":"hello"}"#))?;
    /// assert!(answer.is_success());
    /// assert_eq!(host.requests()[0].url, "https://hooks.example.org/x");
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// With "denied", "timeout", "too-large", "connect", "tls", "redirect" or "request"; those that may pass are retryable.
    pub fn send(&self, request: &Request) -> Result<Response, Failure> {
        host::send(&self.services, request)
    }

    /// Sends a mail to granted recipients, through the server the agent is configured with.
    ///
    /// # Errors
    /// With "denied", "address", "timeout", "connect", "tls", "auth" or "rejected".
    pub fn mail(&self, mail: &Mail) -> Result<(), Failure> {
        host::mail(&self.services, mail)
    }

    /// A text that stands for a secret: put it into a request's URL, header values or body, and the agent puts the secret
    /// there when the request leaves. Good until the call ends.
    ///
    /// # Errors
    /// With "denied" when no secret of this name is granted.
    pub fn secret(&self, name: &str) -> Result<String, Failure> {
        host::secret(&self.services, name)
    }

    /// HMAC-SHA-256 (RFC 2104) of a message with a secret as the key.
    ///
    /// # Errors
    /// With "denied" when no secret of this name is granted.
    pub fn sign(&self, name: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
        host::sign(&self.services, name, message)
    }
}

/// What a migration has: all of [`Context`], and the database, in the session and transaction of this call.
#[derive(Debug)]
pub struct MigrationContext(pub(crate) Context);

impl Deref for MigrationContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.0
    }
}

impl MigrationContext {
    /// Runs one command and gives its answer, both JSON. MongoDB: a database command as Extended JSON. SQL:
    /// `{"sql": "…", "parameters": […]}`, answered with `{"rows": […], "affected": n}`.
    ///
    /// ```
    /// use whimbrel_plugin::testing::TestHost;
    ///
    /// let host = TestHost::new().database(r#"{"n": 1}"#);
    /// let answer = host.migration_context().run(r#"{"count": "customers"}"#)?;
    /// assert_eq!(answer, r#"{"n": 1}"#);
    /// assert_eq!(host.commands(), [r#"{"count": "customers"}"#]);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// With the database's code and words.
    pub fn run(&self, command: &str) -> Result<String, Failure> {
        host::run(&self.services, command)
    }

    /// Tells how far the migration is in one collection or table.
    pub fn progress(&self, collection: &str, processed: u64, expected: Option<u64>) {
        host::progress(&self.services, collection, processed, expected);
    }
}
