//! Looks at the database at its own pace: never two at a time, less often the longer they take, and never in the way of
//! the command.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::growth::Growth;
use crate::database::{Database, Sample};
use crate::error::{Error, Result};

/// A sample may take a twentieth of the database's time.
const SHARE: u32 = 20;
/// A sample that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// However slow or broken the database is, it is looked at once in this time.
const SLOWEST: Duration = Duration::from_secs(60);

type Pending = Pin<Box<dyn Future<Output = Result<Sample>> + Send>>;

pub(super) struct Sampling {
    database: Option<Arc<dyn Database>>,
    interval: Duration,
    pending: Option<(Instant, Pending)>,
    due: tokio::time::Instant,
    failures: u32,
    /// How often the database was looked at.
    pub(super) samples: u64,
    /// How often that failed.
    pub(super) failed: u64,
    pub(super) growth: Growth,
}

impl Sampling {
    pub(super) fn new(database: Option<Arc<dyn Database>>, interval: Duration) -> Self {
        // Zero would be a busy loop.
        let interval = interval.max(Duration::from_millis(10));
        let due = tokio::time::Instant::now();
        Self { database, interval, pending: None, due, failures: 0, samples: 0, failed: 0, growth: Growth::default() }
    }

    /// The next sample, when it is time for it; never returns without a database. May be dropped and called again: the
    /// sample that is under way goes on.
    pub(super) async fn next(&mut self) -> Option<Sample> {
        if self.database.is_none() {
            return std::future::pending().await;
        }
        if self.pending.is_none() {
            tokio::time::sleep_until(self.due).await;
        }
        self.sample().await
    }

    /// A sample now, or the one that is under way. May be dropped and called again.
    pub(super) async fn sample(&mut self) -> Option<Sample> {
        let database = self.database.as_ref()?;
        let (began, pending) = self.pending.get_or_insert_with(|| {
            let database = Arc::clone(database);
            let sample = async move {
                match tokio::time::timeout(PATIENCE, database.sample()).await {
                    Ok(sample) => sample,
                    Err(_) => Err(Error::new(
                        crate::error::Kind::Connection,
                        "timeout",
                        format!("no answer within {PATIENCE:?}"),
                    )),
                }
            };
            (Instant::now(), Box::pin(sample) as Pending)
        });
        let began = *began;
        let sample = pending.as_mut().await;
        self.pending = None;
        self.done(began.elapsed(), sample)
    }

    /// A sample that begins now.
    pub(super) async fn last(&mut self) -> Option<Sample> {
        if self.pending.is_some() {
            self.sample().await;
        }
        self.sample().await
    }

    fn done(&mut self, took: Duration, sample: Result<Sample>) -> Option<Sample> {
        self.samples += 1;
        let wait = match &sample {
            Ok(_) => {
                self.failures = 0;
                self.interval.max(took * SHARE)
            }
            Err(error) => {
                if self.failed == 0 {
                    tracing::warn!(error = %error, code = %error.code, "database cannot be observed; the command goes on");
                } else {
                    tracing::debug!(error = %error, code = %error.code, "database cannot be observed");
                }
                self.failed += 1;
                self.failures += 1;
                self.interval.saturating_mul(2u32.saturating_pow(self.failures.min(16)))
            }
        };
        self.due = tokio::time::Instant::now() + wait.min(SLOWEST.max(self.interval));
        sample.ok()
    }
}
