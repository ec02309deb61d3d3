//! Where the servers are: what `./x test` sets.

/// A value of the environment that `./x test` sets.
#[expect(dead_code, reason = "the first test against a server is to come")]
pub(crate) fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests by `./x test`, or source `./x services env`"))
}
