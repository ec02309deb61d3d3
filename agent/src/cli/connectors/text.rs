//! Plans, results and reports as people read them.
//!
//! Only shown values come in here; there is nothing left to hide.

use std::io::{self, Write};

use super::RestartResult;
use crate::connect::{
    apply::Applied,
    diff::{Action, Change, Plan},
    health::Condition,
    progress::{Doubt, Progress, Proof},
    supervisor::{ConnectorReport, Report, RestartAction},
};

/// A plan as a diff.
pub(super) fn plan(out: &mut dyn Write, plan: &Plan) -> io::Result<()> {
    for entry in &plan.connectors {
        let (sign, word) = match entry.action {
            Action::Create => ('+', "create"),
            Action::Update => ('~', "update"),
            Action::Unchanged => ('=', "unchanged"),
        };
        writeln!(out, "{sign} {}  {word}", entry.name)?;
        for change in &entry.changes {
            self::change(out, change)?;
        }
        for over in &entry.overrides {
            writeln!(out, "    ! {}: `properties` sets {} over the managed {}", over.key, over.with, over.managed)?;
        }
    }
    for name in &plan.unmanaged {
        writeln!(out, "? {name}  not in the configuration, left alone")?;
    }
    writeln!(
        out,
        "{} to create, {} to update, {} unchanged, {} not in the configuration",
        plan.count(Action::Create),
        plan.count(Action::Update),
        plan.count(Action::Unchanged),
        plan.unmanaged.len()
    )
}

fn change(out: &mut dyn Write, change: &Change) -> io::Result<()> {
    let key = &change.key;
    match (&change.old, &change.new) {
        (Some(old), Some(new)) if old == new => writeln!(out, "    ~ {key}: {old} -> {new} (changed)"),
        (Some(old), Some(new)) => writeln!(out, "    ~ {key}: {old} -> {new}"),
        (Some(old), None) => writeln!(out, "    - {key}: {old}"),
        (None, new) => writeln!(out, "    + {key}: {}", new.as_deref().unwrap_or_default()),
    }
}

/// What became of each connector.
pub(super) fn applied(out: &mut dyn Write, applied: &[Applied]) -> io::Result<()> {
    for one in applied {
        let done = match one.action {
            Action::Create => "created",
            Action::Update => "updated",
            Action::Unchanged => "unchanged",
        };
        writeln!(out, "{}  {done}, {}", one.name, one.condition.as_str())?;
        if let Some(reason) = &one.reason {
            writeln!(out, "    {reason}")?;
        }
    }
    Ok(())
}

/// States, failures, progress, drift.
pub(super) fn status(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for one in &report.connectors {
        connector(out, one)?;
    }
    if let Some(error) = &report.error {
        writeln!(out, "! {error}")?;
    }
    let healthy = report.connectors.iter().filter(|one| one.healthy()).count();
    writeln!(out, "{healthy} of {} healthy", report.connectors.len())
}

/// What was restarted, and where everything stands.
pub(super) fn restarted(out: &mut dyn Write, result: &RestartResult) -> io::Result<()> {
    if result.restarted.is_empty() {
        writeln!(out, "nothing was restarted")?;
    }
    for name in &result.restarted {
        writeln!(out, "restarted {name}")?;
    }
    status(out, &result.report)
}

fn connector(out: &mut dyn Write, one: &ConnectorReport) -> io::Result<()> {
    let condition = one.condition.map_or("UNKNOWN", Condition::as_str);
    write!(out, "{}  {condition}", one.name)?;
    if let Some(worker) = one.worker.as_deref().filter(|worker| !worker.is_empty()) {
        write!(out, "  on {worker}")?;
    }
    writeln!(out)?;
    for task in &one.tasks {
        writeln!(out, "    task {}  {}  on {}", task.id, task.state.as_str(), task.worker)?;
        if let Some(failure) = &task.failure {
            writeln!(out, "        {failure}")?;
        }
    }
    if let Some(failure) =
        one.failure.as_deref().filter(|failure| !one.tasks.iter().any(|task| task.failure.as_deref() == Some(failure)))
    {
        writeln!(out, "    {failure}")?;
    }
    if one.condition == Some(Condition::Running) {
        let progress = match one.progress {
            Progress::NotChecked => "not checked",
            Progress::Watching => "no proof yet",
            Progress::Moving { proof: Proof::Offsets } => "moving: committed source offsets changed",
            Progress::Moving { proof: Proof::Heartbeat } => "moving: heartbeats arrive in kafka",
            Progress::Unproven { why: Doubt::Snapshot } => {
                "UNPROVEN: no offset of streaming is committed yet, a snapshot may be under way"
            }
            Progress::Unproven { why: Doubt::NoSignal } => {
                "UNPROVEN: offsets did not change, so the database is idle or the connector is stuck; \
                 a readable heartbeat topic (`progress.kafka`) or `heartbeat_query` would tell one from the other"
            }
            Progress::Stalled => "NOT PROGRESSING: it says RUNNING, but neither heartbeats nor offsets moved",
        };
        writeln!(out, "    progress  {progress}")?;
    }
    if one.drifted_properties > 0 {
        writeln!(
            out,
            "    drift  {} properties are not as configured; `whimbrel connectors plan` shows them",
            one.drifted_properties
        )?;
    }
    match one.restarts.action {
        RestartAction::Exhausted => {
            writeln!(out, "    restarts  budget spent: {} of {} in the window", one.restarts.used, one.restarts.max)
        }
        RestartAction::Waiting { seconds } => {
            writeln!(out, "    restarts  {} of {}, the next in {seconds} s", one.restarts.used, one.restarts.max)
        }
        RestartAction::None | RestartAction::Restarted | RestartAction::Refused => Ok(()),
    }
}
