//! Facts from a Prometheus alone: what it has scraped of agents, by the names of docs/metrics.md.
//!
//! Everything is asked for one moment of Prometheus's own clock, so that ours does not matter. A series that is there may be
//! old, so its age is asked for too; one that is gone says that nobody measures any more.

mod query;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use super::baseline::{Baseline, Counters};
use super::facts::Facts;
use crate::ask::{AskError, Asked};

pub use query::Selection;

/// A series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value, which may be no number.
    pub value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn is_of(&self, other: &Self) -> bool {
        ["job", "instance", "pipeline"].iter().all(|name| self.label(name) == other.label(name))
    }
}

/// What Prometheus answered, by the names of the questions.
pub type Answers = BTreeMap<&'static str, Vec<Sample>>;

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The facts.
    pub facts: Facts,
    /// The counters, for a baseline.
    pub counters: Counters,
}

/// Asks Prometheus.
///
/// # Errors
/// When it does not answer, or refuses.
pub async fn look(prometheus: &Asked, selection: &Selection, baseline: Option<&Baseline>) -> Result<Seen, AskError> {
    let moment = moment(prometheus).await?;
    let mut answers = Answers::new();
    for (name, query) in query::all(selection) {
        answers.insert(name, ask(prometheus, &query, &moment).await?);
    }
    Ok(reading::seen(&format!("Prometheus at {}", prometheus.address()), selection, &answers, baseline))
}

/// Now, by Prometheus's clock.
async fn moment(prometheus: &Asked) -> Result<String, AskError> {
    let data = data(prometheus, &[("query", "time()")]).await?;
    let moment = data.pointer("/result/1").and_then(Value::as_str).map(str::to_owned);
    moment.ok_or_else(|| prometheus.wrong("it does not tell the time; is this a Prometheus?".to_owned()))
}

async fn ask(prometheus: &Asked, query: &str, moment: &str) -> Result<Vec<Sample>, AskError> {
    let data = data(prometheus, &[("query", query), ("time", moment)]).await?;
    samples(&data).ok_or_else(|| prometheus.wrong("its answer is no vector".to_owned()))
}

/// The series of an answer; none when it is no vector.
fn samples(data: &Value) -> Option<Vec<Sample>> {
    if data.get("resultType")?.as_str()? != "vector" {
        return None;
    }
    let sample = |series: &Value| {
        let labels = series.get("metric")?.as_object()?.iter();
        let labels = labels.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        // Rust reads all that Prometheus writes: `NaN`, `+Inf`, `1e+06`.
        let value = series.pointer("/value/1")?.as_str()?.parse().ok()?;
        Some(Sample { labels: labels.collect::<Option<_>>()?, value })
    };
    data.get("result")?.as_array()?.iter().map(sample).collect()
}

async fn data(prometheus: &Asked, query: &[(&str, &str)]) -> Result<Value, AskError> {
    let mut answer = prometheus.get("api/v1/query", query).await?;
    let said = answer.body.get("error").and_then(Value::as_str).unwrap_or_default();
    match answer.status {
        200 if answer.body.get("status").and_then(Value::as_str) == Some("success") => {}
        401 | 403 => return Err(prometheus.wrong("it wants credentials: set WHIMBREL_PROMETHEUS_TOKEN".to_owned())),
        status => return Err(prometheus.wrong(format!("status {status} {said}").trim_end().to_owned())),
    }
    // A federation that reached only some of its parts says so here, and half of the series is no answer.
    if let Some(warning) = answer.body.pointer("/warnings/0").and_then(Value::as_str) {
        return Err(prometheus.wrong(format!("it warns: {warning}")));
    }
    Ok(answer.body.get_mut("data").map(Value::take).unwrap_or_default())
}
