//! What the agent sees without a rule: pipelines that are paused or retry for long, migrations that failed, deliveries that
//! do not get through; and the phases in which some trouble is to be expected.

use std::collections::BTreeMap;
use std::time::Duration;

use whimbrel_monitor::incident::{Finding, Pattern, Phase, Severity};

use crate::stats::{Instruments, PipelineState};

/// The name of this rule.
pub(super) const RULE: &str = "whimbrel";
/// The scope of what concerns the agent itself.
const AGENT: &str = "agent";
/// A pipeline may be starting or waiting for so long before somebody should know.
const STANDING: Duration = Duration::from_secs(300);
/// A pipeline may retry for so long before somebody should know.
const RETRYING_MS: i64 = 300_000;
/// What is to be expected of a pipeline that is paused.
const BY_A_PAUSE: [&str; 9] =
    ["low_throughput", "lag", "lag_growing", "stall", "stop", "anomaly", "flat_line", "slow_drift", "high_error_rate"];
/// What is to be expected while a migration fills or changes tables.
const BY_A_MIGRATION: [&str; 5] = ["low_throughput", "lag_growing", "anomaly", "flat_line", "slow_drift"];

/// What was seen.
pub(super) struct Seen {
    /// By scope; a scope with nothing is there too, so that what was found there before ends.
    pub(super) findings: BTreeMap<String, Vec<Finding>>,
    pub(super) phases: Vec<Phase>,
}

/// How many steps make the time after which somebody should know that a pipeline does not run.
pub(super) fn steps_of_standing(step: Duration) -> usize {
    usize::try_from(STANDING.as_millis() / step.as_millis().max(1)).unwrap_or(usize::MAX).max(3)
}

/// Looks around. `stands` says whether a pipeline has not run for long. `waiting` is what is queued for channels, with the last error; `failed` what rules could not do.
pub(super) fn look(
    instruments: &Instruments,
    stands: impl Fn(&str) -> bool,
    waiting: &[(String, u64, Option<String>)],
    failed: Vec<Finding>,
) -> Seen {
    let mut seen = Seen { findings: BTreeMap::from([(AGENT.to_owned(), failed)]), phases: Vec::new() };
    let now_ms = instruments.now_ms();
    let mut pipelines: Vec<(String, String)> = Vec::new();
    for observer in instruments.observers() {
        let status = observer.status();
        let scope = format!("pipeline/{}", status.pipeline);
        let found = seen.findings.entry(scope.clone()).or_default();
        found.extend(pipeline(&status.pipeline, &status.state, stands(&scope), now_ms));
        if matches!(status.state, PipelineState::Paused { .. }) {
            seen.phases.push(phase("paused", &scope, &BY_A_PAUSE));
        }
        pipelines.push((scope, status.migration_id.to_string()));
    }
    let migrations = instruments.migrations().map(|board| board.status().migrations).unwrap_or_default();
    for migration in &migrations {
        let label = migration.label();
        let found = seen.findings.entry(format!("migration/{label}")).or_default();
        if migration.state == "failed" {
            let error = migration.last_error.as_ref();
            found.push(Finding {
                detail: error.map(|error| format!("{}: {}", error.code, error.message)).unwrap_or_default(),
                ..finding(
                    "failed",
                    "migration_failed",
                    Severity::Critical,
                    format!("migration {label} failed"),
                    "mend the cause, then `whimbrel migrate up` goes on; `whimbrel migrate status` shows the ledger",
                )
            });
        }
        if migration.state == "running" {
            let of = |id: &str| id == migration.id || id == migration.set || id == label;
            let of_it = pipelines.iter().filter(|(_, id)| of(id));
            seen.phases.extend(of_it.map(|(scope, _)| phase(&format!("migration {label}"), scope, &BY_A_MIGRATION)));
        }
    }
    for (channel, count, error) in waiting {
        let Some(error) = error else { continue };
        let found = seen.findings.entry(AGENT.to_owned()).or_default();
        found.push(Finding {
            detail: format!("{count} wait; the last try: {error}"),
            ..finding(
                &format!("channel/{channel}"),
                "delivery_failing",
                Severity::Warning,
                format!("channel {channel} does not get through"),
                "`whimbrel alerts test --channel NAME` tries it by hand; what is queued is tried again by itself",
            )
        });
    }
    seen
}

fn pipeline(name: &str, state: &PipelineState, stands: bool, now_ms: i64) -> Option<Finding> {
    match state {
        PipelineState::Paused { why, remedy } => Some(Finding {
            detail: why.clone(),
            ..finding("paused", "paused", Severity::Critical, format!("pipeline {name} is paused"), remedy)
        }),
        PipelineState::Retrying { what, since_ms } if now_ms - since_ms >= RETRYING_MS => Some(Finding {
            detail: what.clone(),
            since_ms: Some(*since_ms),
            ..finding(
                "retrying",
                "retrying",
                Severity::Warning,
                format!("pipeline {name} tries again and again"),
                "see whether the part named in the details is reachable; the pipeline goes on by itself then",
            )
        }),
        PipelineState::Starting | PipelineState::Waiting { .. } if stands => Some(Finding {
            detail: state.unready().unwrap_or_default(),
            ..finding(
                "not_running",
                "not_running",
                Severity::Warning,
                format!("pipeline {name} does not run"),
                "`whimbrel doctor --config FILE` looks at all that it depends on",
            )
        }),
        _ => None,
    }
}

fn finding(key: &str, kind: &str, severity: Severity, title: String, action: &str) -> Finding {
    Finding {
        key: key.to_owned(),
        kind: kind.to_owned(),
        severity,
        title,
        detail: String::new(),
        action: action.to_owned(),
        since_ms: None,
        score: None,
        attributes: Vec::new(),
    }
}

fn phase(name: &str, scope: &str, explains: &[&str]) -> Phase {
    Phase {
        name: name.to_owned(),
        scope: Pattern::new(scope),
        explains: explains.iter().map(|kind| (*kind).to_owned()).collect(),
        ends_ms: None,
    }
}
