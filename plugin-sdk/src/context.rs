//! What a plugin may ask the agent for besides what it was handed: log, state, series, clock; channels may send, migrations
//! have a database. Nothing is held here; each call goes to the host. What is not granted in the agent's configuration
//! keeps the plugin from loading, so no call has to ask whether it may.

use std::ops::Deref;

use crate::failure::Failure;
use crate::host::{self, Services};
use crate::http::{Request, Response};
use crate::mail::Mail;
use crate::metrics::Metrics;
use crate::state::State;

/// How much a log line matters.
///
/// ```
/// use whimbrel_plugin::Level;
/// use whimbrel_plugin::testing::TestHost;
///
/// let host = TestHost::new();
/// host.context().log(Level::Info, "the list of columns is empty", &[]);
/// assert_eq!(host.lines(), [(Level::Info, "the list of columns is empty".to_owned())]);
/// ```
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
///
/// ```
/// use whimbrel_plugin::testing::TestHost;
/// use whimbrel_plugin::{Context, Failure};
///
/// /// Counts the calls, also over restarts.
/// fn count(cx: &Context) -> Result<u8, Failure> {
///     let calls = cx.state().get("calls").and_then(|bytes| bytes.first().copied()).unwrap_or(0);
///     cx.state().set("calls", &[calls.saturating_add(1)])?;
///     Ok(calls.saturating_add(1))
/// }
///
/// let cx = TestHost::new().state("calls", &[41]).context();
/// assert_eq!(count(&cx)?, 42);
/// # Ok::<(), Failure>(())
/// ```
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

/// What a channel has: all of [`Context`], and the ways out.
///
/// ```
/// use whimbrel_plugin::http::{Request, Response};
/// use whimbrel_plugin::testing::TestHost;
///
/// let host = TestHost::new().secret("token").answering(Response::new(200));
/// let cx = host.channel_context();
/// let token = cx.secret("token")?;
/// cx.send(&Request::post("https://chat.example.org/").header("authorization", format!("Bearer {token}")))?;
/// cx.metrics().add("messages", 1.0);
/// assert_eq!((host.requests().len(), host.counter("messages")), (1, 1.0));
/// # Ok::<(), whimbrel_plugin::Failure>(())
/// ```
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
    /// ```
    /// use whimbrel_plugin::Mail;
    /// use whimbrel_plugin::testing::TestHost;
    ///
    /// let host = TestHost::new();
    /// let to = vec!["oncall@example.org".to_owned()];
    /// host.channel_context().mail(&Mail { to, subject: "pipeline shop is slow".to_owned(), ..Mail::default() })?;
    /// assert_eq!(host.mails()[0].subject, "pipeline shop is slow");
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// With "denied", "address", "timeout", "connect", "tls", "auth" or "rejected".
    pub fn mail(&self, mail: &Mail) -> Result<(), Failure> {
        host::mail(&self.services, mail)
    }

    /// A text that stands for a secret: put it into a request's URL, header values or body, and the agent puts the secret
    /// there when the request leaves. Good until the call ends.
    ///
    /// ```
    /// use whimbrel_plugin::http::Request;
    /// use whimbrel_plugin::testing::TestHost;
    ///
    /// let cx = TestHost::new().secret("token").channel_context();
    /// let token = cx.secret("token")?;
    /// let request = Request::post("https://chat.example.org/").header("authorization", format!("Bearer {token}"));
    /// assert!(request.headers[0].1.ends_with(&token));
    /// assert_eq!(cx.secret("password").unwrap_err().code, "denied");
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// With "denied" when no secret of this name is granted.
    pub fn secret(&self, name: &str) -> Result<String, Failure> {
        host::secret(&self.services, name)
    }

    /// HMAC-SHA-256 (RFC 2104) of a message with a secret as the key.
    ///
    /// ```
    /// use whimbrel_plugin::testing::TestHost;
    ///
    /// let cx = TestHost::new().secret("key").channel_context();
    /// // The test host names what was signed; the agent answers with 32 bytes.
    /// assert_eq!(cx.sign("key", b"hello")?, b"signed with key: hello");
    /// assert_eq!(cx.sign("other", b"hello").unwrap_err().code, "denied");
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// With "denied" when no secret of this name is granted.
    pub fn sign(&self, name: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
        host::sign(&self.services, name, message)
    }
}

/// What a migration has: all of [`Context`], and the database, in the session and transaction of this call.
///
/// ```
/// use whimbrel_plugin::testing::TestHost;
///
/// let host = TestHost::new().database(r#"{"rows": [], "affected": 3}"#);
/// let cx = host.migration_context();
/// cx.run(r#"{"sql": "update customers set status = 'active' where status is null"}"#)?;
/// cx.progress("customers", 3, Some(3));
/// assert_eq!(host.progress(), [("customers".to_owned(), 3, Some(3))]);
/// # Ok::<(), whimbrel_plugin::Failure>(())
/// ```
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
    ///
    /// ```
    /// use whimbrel_plugin::testing::TestHost;
    ///
    /// let host = TestHost::new();
    /// let cx = host.migration_context();
    /// for processed in [1_000, 2_000] {
    ///     cx.progress("customers", processed, None);
    /// }
    /// assert_eq!(host.progress().last(), Some(&("customers".to_owned(), 2_000, None)));
    /// ```
    pub fn progress(&self, collection: &str, processed: u64, expected: Option<u64>) {
        host::progress(&self.services, collection, processed, expected);
    }
}
