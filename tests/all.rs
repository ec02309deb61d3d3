//! All tests against real servers, in one binary. A server that is missing fails the test that needs it.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "the agent's task tree is not for tests: what they spawn ends with them"
    )
)]

#[cfg(test)]
mod e2e;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod monitor;
#[cfg(test)]
mod observability;
#[cfg(test)]
mod secure;
#[cfg(test)]
mod support;
#[cfg(test)]
mod targets;
