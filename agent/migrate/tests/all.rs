//! The databases against real servers. A server that is missing fails the test that needs it.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "the agent's task tree is not for tests: what they spawn ends with them"
    )
)]

#[cfg(test)]
mod directories;
#[cfg(test)]
mod mongodb;
#[cfg(test)]
mod mysql;
#[cfg(test)]
mod postgresql;
#[cfg(test)]
mod runner;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod support;
#[cfg(test)]
mod verify;
