//! All tests against real servers, in one binary. A server that is missing fails the test that needs it.

#[cfg(test)]
mod e2e;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod observability;
#[cfg(test)]
mod support;
#[cfg(test)]
mod targets;
