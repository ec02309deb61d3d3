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
    #[must_use]
    pub fn at(self, now_ms: i64) -> Self {
        self.with(|bench| bench.now_ms = now_ms)
    }

    /// The same host, keeping this.
    #[must_use]
    pub fn state(self, key: &str, value: &[u8]) -> Self {
        self.with(|bench| {
            bench.state.insert(key.to_owned(), value.to_vec());
        })
    }

    /// The same host with a secret of this name.
    #[must_use]
    pub fn secret(self, name: &str) -> Self {
        self.with(|bench| {
            bench.secrets.insert(name.to_owned(), String::new());
        })
    }

    /// The same host with one more answer to a request; answers are given in order.
    #[must_use]
    pub fn answering(self, answer: Response) -> Self {
        self.with(|bench| bench.answers.push_back(Ok(answer)))
    }

    /// The same host with one more request that fails.
    #[must_use]
    pub fn refusing(self, failure: Failure) -> Self {
        self.with(|bench| bench.answers.push_back(Err(failure)))
    }

    /// The same host with one more answer of the database; answers are given in order.
    #[must_use]
    pub fn database(self, answer: &str) -> Self {
        self.with(|bench| bench.results.push_back(Ok(answer.to_owned())))
    }

    /// The same host with one more command that the database refuses.
    #[must_use]
    pub fn database_refusing(self, failure: Failure) -> Self {
        self.with(|bench| bench.results.push_back(Err(failure)))
    }

    /// What a transform or rule gets.
    #[must_use]
    pub fn context(&self) -> Context {
        Context { services: self.services.clone() }
    }

    /// What a channel gets.
    #[must_use]
    pub fn channel_context(&self) -> ChannelContext {
        ChannelContext(self.context())
    }

    /// What a migration gets.
    #[must_use]
    pub fn migration_context(&self) -> MigrationContext {
        MigrationContext(self.context())
    }

    /// The log lines, with their fields.
    #[must_use]
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.read(|bench| bench.lines.clone())
    }

    /// What is kept under this key.
    #[must_use]
    pub fn kept(&self, key: &str) -> Option<Vec<u8>> {
        self.read(|bench| bench.state.get(key).cloned())
    }

    /// A counter's total; 0 when nothing was added.
    #[must_use]
    pub fn counter(&self, name: &str) -> f64 {
        self.read(|bench| bench.counters.get(name).copied().unwrap_or_default())
    }

    /// A gauge's value.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.read(|bench| bench.gauges.get(name).copied())
    }

    /// A histogram's observations.
    #[must_use]
    pub fn observations(&self, name: &str) -> Vec<f64> {
        self.read(|bench| bench.observations.get(name).cloned().unwrap_or_default())
    }

    /// The requests that were sent.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.read(|bench| bench.requests.clone())
    }

    /// The mails that were sent.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.read(|bench| bench.mails.clone())
    }

    /// The commands that were run.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.read(|bench| bench.commands.clone())
    }

    /// The progress that was told: collection, processed, expected.
    #[must_use]
    pub fn progress(&self) -> Vec<(String, u64, Option<u64>)> {
        self.read(|bench| bench.progress.clone())
    }
}
