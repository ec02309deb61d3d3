//! The agent as a test wants it.

use crate::context::{ChannelContext, Context, Level, MigrationContext};
use crate::failure::Failure;
use crate::http::{Request, Response};
use crate::mail::Mail;
use crate::native::{Bench, Services};

/// Answers as it was told to, and remembers what it was asked.
///
/// ```
/// use whimbrel_plugin::testing::TestHost;
///
/// let host = TestHost::new().at(42).state("runs", b"1").secret("token");
/// let cx = host.channel_context();
/// assert_eq!(cx.now_ms(), 42);
/// assert!(cx.secret("token").is_ok());
/// assert!(cx.secret("other").is_err());
/// cx.state().set("runs", b"2")?;
/// assert_eq!(host.kept("runs").as_deref(), Some(&b"2"[..]));
/// # Ok::<(), whimbrel_plugin::Failure>(())
/// ```
#[derive(Debug, Default)]
pub struct TestHost {
    services: Services,
}

impl TestHost {
    /// A host at the time 0 that keeps nothing, has no secrets and no answers.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// assert_eq!(host.context().now_ms(), 0);
    /// assert!(host.channel_context().secret("token").is_err());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with(self, change: impl FnOnce(&mut Bench)) -> Self {
        change(&mut self.services.0.borrow_mut());
        self
    }

    fn read<T>(&self, look: impl FnOnce(&Bench) -> T) -> T {
        look(&self.services.0.borrow())
    }

    /// The same host at this time.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let cx = TestHost::new().at(1_700_000_000_000).context();
    /// assert_eq!(cx.now_ms(), 1_700_000_000_000);
    /// ```
    #[must_use]
    pub fn at(self, now_ms: i64) -> Self {
        self.with(|bench| bench.now_ms = now_ms)
    }

    /// The same host, whose clock goes on by so much with every request: for plugins that mind their time.
    ///
    /// ```
    /// # use whimbrel_plugin::http::Request;
    /// # use whimbrel_plugin::testing::TestHost;
    /// let cx = TestHost::new().at(1_000).request_takes_ms(2_000).channel_context();
    /// let _no_answer = cx.send(&Request::post("https://chat.example.org/"));
    /// assert_eq!(cx.now_ms(), 3_000);
    /// ```
    #[must_use]
    pub fn request_takes_ms(self, request_ms: i64) -> Self {
        self.with(|bench| bench.request_ms = request_ms)
    }

    /// The same host, keeping this.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let cx = TestHost::new().state("last_id", b"1815").context();
    /// assert_eq!(cx.state().get("last_id").as_deref(), Some(&b"1815"[..]));
    /// ```
    #[must_use]
    pub fn state(self, key: &str, value: &[u8]) -> Self {
        self.with(|bench| {
            bench.state.insert(key.to_owned(), value.to_vec());
        })
    }

    /// The same host with a secret of this name.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let cx = TestHost::new().secret("token").channel_context();
    /// assert!(cx.secret("token").is_ok());
    /// assert_eq!(cx.secret("password").unwrap_err().code, "denied");
    /// ```
    #[must_use]
    pub fn secret(self, name: &str) -> Self {
        self.with(|bench| {
            bench.secrets.insert(name.to_owned(), String::new());
        })
    }

    /// The same host with one more answer to a request; answers are given in order.
    ///
    /// ```
    /// # use whimbrel_plugin::http::{Request, Response};
    /// # use whimbrel_plugin::testing::TestHost;
    /// let cx = TestHost::new().answering(Response::new(503)).answering(Response::new(200)).channel_context();
    /// let request = Request::post("https://chat.example.org/");
    /// assert_eq!((cx.send(&request)?.status, cx.send(&request)?.status), (503, 200));
    /// assert_eq!(cx.send(&request).unwrap_err().code, "denied", "there is no third answer");
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    #[must_use]
    pub fn answering(self, answer: Response) -> Self {
        self.with(|bench| bench.answers.push_back(Ok(answer)))
    }

    /// The same host with one more request that fails.
    ///
    /// ```
    /// # use whimbrel_plugin::http::Request;
    /// # use whimbrel_plugin::testing::TestHost;
    /// # use whimbrel_plugin::Failure;
    /// let host = TestHost::new().refusing(Failure::retryable("timeout", "no answer within 10 s"));
    /// let failure = host.channel_context().send(&Request::post("https://chat.example.org/")).unwrap_err();
    /// assert!(failure.retryable);
    /// ```
    #[must_use]
    pub fn refusing(self, failure: Failure) -> Self {
        self.with(|bench| bench.answers.push_back(Err(failure)))
    }

    /// The same host with one more answer of the database; answers are given in order.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new().database(r#"{"n": 2}"#).database(r#"{"n": 0}"#);
    /// let cx = host.migration_context();
    /// assert_eq!(cx.run(r#"{"count": "customers"}"#)?, r#"{"n": 2}"#);
    /// assert_eq!(cx.run(r#"{"count": "customers"}"#)?, r#"{"n": 0}"#);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    #[must_use]
    pub fn database(self, answer: &str) -> Self {
        self.with(|bench| bench.results.push_back(Ok(answer.to_owned())))
    }

    /// The same host with one more command that the database refuses.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// # use whimbrel_plugin::Failure;
    /// let host = TestHost::new().database_refusing(Failure::new("42P01", "relation \"customers\" does not exist"));
    /// let failure = host.migration_context().run(r#"{"sql": "select 1 from customers"}"#).unwrap_err();
    /// assert_eq!(failure.code, "42P01");
    /// ```
    #[must_use]
    pub fn database_refusing(self, failure: Failure) -> Self {
        self.with(|bench| bench.results.push_back(Err(failure)))
    }

    /// What a transform or rule gets.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// let (first, second) = (host.context(), host.context());
    /// first.state().set("last_id", b"1815")?;
    /// assert_eq!(second.state().get("last_id").as_deref(), Some(&b"1815"[..]), "of one host, one state");
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    #[must_use]
    pub fn context(&self) -> Context {
        Context { services: self.services.clone() }
    }

    /// What a channel gets.
    ///
    /// ```
    /// # use whimbrel_plugin::prelude::*;
    /// # use whimbrel_plugin::testing::TestHost;
    /// fn silent_at_night(cx: &ChannelContext) -> bool {
    ///     cx.now_ms() / 3_600_000 % 24 < 6
    /// }
    /// assert!(silent_at_night(&TestHost::new().at(3 * 3_600_000).channel_context()));
    /// ```
    #[must_use]
    pub fn channel_context(&self) -> ChannelContext {
        ChannelContext(self.context())
    }

    /// What a migration gets.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new().database(r#"{"ok": 1}"#);
    /// let cx = host.migration_context();
    /// assert!(cx.run(r#"{"ping": 1}"#).is_ok());
    /// ```
    #[must_use]
    pub fn migration_context(&self) -> MigrationContext {
        MigrationContext(self.context())
    }

    /// The log lines, with their fields.
    ///
    /// ```
    /// # use whimbrel_plugin::Level;
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// host.context().log(Level::Warn, "currency is not known", &[("currency", "XTS")]);
    /// assert_eq!(host.lines(), [(Level::Warn, r#"currency is not known currency="XTS""#.to_owned())]);
    /// ```
    #[must_use]
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.read(|bench| bench.lines.clone())
    }

    /// What is kept under this key.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// host.context().state().set("last_id", b"1815")?;
    /// assert_eq!(host.kept("last_id").as_deref(), Some(&b"1815"[..]));
    /// assert_eq!(host.kept("other"), None);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    #[must_use]
    pub fn kept(&self, key: &str) -> Option<Vec<u8>> {
        self.read(|bench| bench.state.get(key).cloned())
    }

    /// A counter's total; 0 when nothing was added.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// host.context().metrics().add("rows_masked", 3.0);
    /// assert_eq!((host.counter("rows_masked"), host.counter("other")), (3.0, 0.0));
    /// ```
    #[must_use]
    pub fn counter(&self, name: &str) -> f64 {
        self.read(|bench| bench.counters.get(name).copied().unwrap_or_default())
    }

    /// A gauge's value.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// host.context().metrics().set("known_tables", 7.0);
    /// assert_eq!((host.gauge("known_tables"), host.gauge("other")), (Some(7.0), None));
    /// ```
    #[must_use]
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.read(|bench| bench.gauges.get(name).copied())
    }

    /// A histogram's observations.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// host.context().metrics().observe("text_bytes", 340.0);
    /// assert_eq!(host.observations("text_bytes"), [340.0]);
    /// assert!(host.observations("other").is_empty());
    /// ```
    #[must_use]
    pub fn observations(&self, name: &str) -> Vec<f64> {
        self.read(|bench| bench.observations.get(name).cloned().unwrap_or_default())
    }

    /// The requests that were sent.
    ///
    /// ```
    /// # use whimbrel_plugin::http::{Request, Response};
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new().answering(Response::new(200));
    /// host.channel_context().send(&Request::post("https://chat.example.org/").json(r#"{"text":"hello"}"#))?;
    /// assert_eq!(host.requests()[0].body, br#"{"text":"hello"}"#);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.read(|bench| bench.requests.clone())
    }

    /// The mails that were sent.
    ///
    /// ```
    /// # use whimbrel_plugin::Mail;
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// host.channel_context().mail(&Mail { to: vec!["oncall@example.org".to_owned()], ..Mail::default() })?;
    /// assert_eq!(host.mails()[0].to, ["oncall@example.org"]);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.read(|bench| bench.mails.clone())
    }

    /// The commands that were run.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new().database(r#"{"ok": 1}"#);
    /// host.migration_context().run(r#"{"drop": "customers_old"}"#)?;
    /// assert_eq!(host.commands(), [r#"{"drop": "customers_old"}"#]);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.read(|bench| bench.commands.clone())
    }

    /// The progress that was told: collection, processed, expected.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// host.migration_context().progress("customers", 500, Some(2_000));
    /// assert_eq!(host.progress(), [("customers".to_owned(), 500, Some(2_000))]);
    /// ```
    #[must_use]
    pub fn progress(&self) -> Vec<(String, u64, Option<u64>)> {
        self.read(|bench| bench.progress.clone())
    }
}
