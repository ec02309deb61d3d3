//! Replays: one call of a plugin with everything around it written down, compared with what came out when its author
//! last said "so it shall be". The real engine with the real limits; only the world outside comes from the case. What a
//! call executes is counted, not timed, so a budget holds on every machine.

#[cfg(test)]
mod bundled;
pub mod case;
pub mod channel;
mod diff;
pub mod rule;
pub(crate) mod stage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use self::case::{Case, StepWord};
use self::stage::{OWNER, Stage};
use super::subject::Subject;
use crate::plugin::{
    Cache, CallError, Channel, Engine, Failure, Instance, Kind, LoadError, Migration, Plugin, Rule, Services, Setup,
    Step, Transform, Value, World,
};
use crate::transform::{Sample, View};

pub use diff::differences;

/// Why a case could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It says something that makes no sense.
    #[error("{0}")]
    Case(String),
    /// It has nothing for a plugin of this kind.
    #[error("a {kind} is replayed with `{member}`, which the case does not have")]
    NoInput {
        /// The plugin's kind.
        kind: Kind,
        /// The member that is missing.
        member: &'static str,
    },
    /// The plugin cannot be loaded with what the case grants.
    #[error("{}", with_cause(.0))]
    Load(LoadError),
}

fn with_cause(error: &LoadError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// What one call did and cost.
#[derive(Debug)]
pub struct Run {
    /// What came out, as a golden part has it.
    pub got: Json,
    /// What it executed.
    pub fuel: u64,
    /// Linear memory after it, in bytes; 0 after a trap.
    pub memory: usize,
    /// How long it took.
    pub took: Duration,
}

/// Replays a case once.
///
/// # Errors
/// When the plugin could not be called at all; whatever the call did is a [`Run`].
pub fn replay(engine: &Engine, subject: &Subject, case: &Case) -> Result<Run, ReplayError> {
    let no_input = |member| ReplayError::NoInput { kind: subject.kind, member };
    match subject.kind {
        Kind::Transform => {
            let samples = case.events.as_ref().ok_or_else(|| no_input("events"))?;
            let mut batch = Some(Sample::batch(samples).map_err(ReplayError::Case)?);
            run::<Transform<View>>(engine, subject, case, |instance, _| {
                let (view, outcome) = instance.apply(View::new(batch.take().unwrap_or_default()));
                (outcome, Some(("events", Json::from(Sample::outcomes(&view.into_batch())))))
            })
        }
        Kind::Rule => {
            let window = case.window.as_ref().ok_or_else(|| no_input("window"))?.window();
            run::<Rule>(engine, subject, case, |instance, _| match instance.evaluate(&window) {
                Ok(findings) => (Ok(()), Some(("findings", findings.iter().map(rule::finding).collect()))),
                Err(error) => (Err(error), None),
            })
        }
        Kind::Channel => {
            let given = case.alerts.as_ref().ok_or_else(|| no_input("alerts"))?;
            let alerts: Vec<_> = given.iter().map(channel::Given::alert).collect();
            run::<Channel>(engine, subject, case, |instance, _| (instance.deliver(&alerts), None))
        }
        Kind::Migration => {
            let step = step(case.step.ok_or_else(|| no_input("step"))?);
            run::<Migration>(engine, subject, case, |instance, stage| (instance.run(step, stage.database()).1, None))
        }
    }
}

pub(super) fn step(word: StepWord) -> Step {
    match word {
        StepWord::Up => Step::Up,
        StepWord::Down => Step::Down,
        StepWord::Validate => Step::Validate,
    }
}

/// A plugin, loaded as the case says.
pub(super) fn load<W: World>(
    engine: &Engine,
    subject: &Subject,
    case: &Case,
    services: Services,
) -> Result<Arc<Plugin<W>>, ReplayError> {
    let config = if case.config.is_null() { json!({}) } else { case.config.clone() };
    let setup = Setup {
        owner: OWNER.to_owned(),
        limits: case.limits.all(),
        grants: case.granted().map_err(ReplayError::Case)?,
        services,
        ..Setup::new(&subject.manifest.name, &config.to_string())
    };
    Plugin::load(engine, &Cache::none(), &subject.bytes, setup).map(Arc::new).map_err(ReplayError::Load)
}

type Answer = (Result<(), CallError>, Option<(&'static str, Json)>);

fn run<W: World>(
    engine: &Engine,
    subject: &Subject,
    case: &Case,
    call: impl FnOnce(&mut Instance<W>, &Stage) -> Answer,
) -> Result<Run, ReplayError> {
    let stage = Stage::set(case);
    let services = stage.services(case).map_err(ReplayError::Case)?;
    let plugin = load::<W>(engine, subject, case, services.clone())?;
    let mut got = Map::new();
    let (mut fuel, mut memory, mut took) = (0, 0, Duration::ZERO);
    let result = match plugin.start() {
        Err(LoadError::Config { message, .. }) => json!({ "config": message }),
        Err(LoadError::Start { trap, .. }) => {
            json!({ "trap": { "cause": trap.cause.as_str(), "message": trap.message } })
        }
        Err(error) => return Err(ReplayError::Load(error)),
        Ok(mut instance) => {
            let start = Instant::now();
            let (outcome, output) = call(&mut instance, &stage);
            took = start.elapsed();
            (fuel, memory) = (instance.fuel(), instance.memory());
            if let (Some((name, output)), Ok(())) = (output, &outcome) {
                got.insert(name.to_owned(), output);
            }
            result_of(outcome)
        }
    };
    got.shift_insert(0, "result".to_owned(), result);
    stage.told(&services, &mut got);
    Ok(Run { got: got.into(), fuel, memory, took })
}

fn result_of(outcome: Result<(), CallError>) -> Json {
    match outcome {
        Ok(()) => Json::from("ok"),
        Err(CallError::Refused(Failure { code, message, retryable })) => {
            json!({ "failure": { "code": code, "message": message, "retryable": retryable } })
        }
        Err(CallError::Trapped(trap)) => json!({ "trap": { "cause": trap.cause.as_str(), "message": trap.message } }),
        Err(CallError::Quarantined) => Json::from("quarantined"),
    }
}

/// A value of the contract as JSON.
fn value(fact: &Value) -> Json {
    match fact {
        Value::Null => Json::Null,
        Value::Boolean(flag) => Json::from(*flag),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Text(text) => Json::from(text.as_str()),
        Value::Bytes(bytes) => case::Bytes::show(bytes),
        Value::Tagged((name, text)) => json!({ (name.as_str()): text }),
    }
}

/// What a run did wrong by its case: differences from what is expected, and budgets that were not kept.
#[must_use]
pub fn faults(case: &Case, run: &Run) -> Vec<String> {
    let mut faults = match &case.expect {
        Some(expect) => differences(expect, &run.got),
        None => vec![match &case.trap {
            Some(trap) => crashed(trap, &run.got),
            None => {
                "the case says nothing about what is expected; look at the output of --bless and keep it".to_owned()
            }
        }],
    };
    if let Some(most) = case.budget.fuel.filter(|most| run.fuel > *most) {
        faults.push(format!("budget.fuel: it executed {} and may {most}", run.fuel));
    }
    if let Some(most) = case.budget.memory.filter(|most| run.memory as u64 > *most) {
        faults.push(format!("budget.memory: it has {} bytes and may have {most}", run.memory));
    }
    faults
}

/// How a replay compares with the crash that left the case.
fn crashed(then: &Json, got: &Json) -> String {
    let word = |trap: &Json, name: &str| trap.get(name).and_then(Json::as_str).unwrap_or("unknown").to_owned();
    let words = |trap: &Json| format!("{}: {}", word(trap, "cause"), word(trap, "message"));
    let told = words(then);
    match got.pointer("/result/trap").map(words) {
        Some(now) if same(&told, &now) => format!("it traps as it did in the agent: {now}"),
        Some(now) => format!("it traps otherwise than in the agent: {now}; there: {told}"),
        None => format!("it does not trap as it did in the agent ({told}); if it is mended, keep what --bless writes"),
    }
}

/// Whether a plugin said the same; stars stand for secrets that the agent took out.
fn same(then: &str, now: &str) -> bool {
    let parts: Vec<String> = then.split("***").map(regex::escape).collect();
    regex::Regex::new(&format!("(?s)^{}$", parts.join(".*"))).is_ok_and(|pattern| pattern.is_match(now))
}
