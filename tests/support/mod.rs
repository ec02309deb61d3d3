//! What tests against real servers share: where the servers are, an agent as a process, topics, the effects ledger.
//!
//! A server that is missing fails the test that needs it; nothing here skips.

pub(crate) mod agent;
pub(crate) mod connect;
pub(crate) mod kafka;
pub(crate) mod ledger;
pub(crate) mod services;
pub(crate) mod source;

use std::time::{Duration, Instant};

/// A value of the environment that `./x test` sets.
pub(crate) fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests by `./x test`, or source `./x services env`"))
}

/// A port on loopback.
pub(crate) fn port(name: &str) -> u16 {
    setting(name).parse().unwrap_or_else(|_| panic!("{name} is not a port"))
}

/// Address of Kafka.
pub(crate) fn brokers() -> String {
    format!("127.0.0.1:{}", port("KAFKA_PORT"))
}

/// Connection string of mongod.
pub(crate) fn mongodb() -> String {
    format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", port("MONGO_PORT"))
}

/// A name no other test of this or an earlier run uses.
pub(crate) fn unique(stem: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until `check` gives a value; fails with what it said last.
pub(crate) async fn eventually<T>(
    what: &str,
    within: Duration,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match check().await {
            Ok(value) => return value,
            Err(why) if Instant::now() >= deadline => panic!("{what}: not within {within:?}: {why}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
