//! The gate and the dashboards as their users have them: against a real Prometheus, and doubles of an agent and of Grafana.
//! What needs Prometheus fails where it is not: `./x test` starts it.

#[cfg(test)]
mod action;
#[cfg(test)]
mod dashboards;
#[cfg(test)]
mod double;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod prometheus;

/// A variable that `./x test` sets.
#[cfg(test)]
fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the services first (`./x services up`)"))
}
