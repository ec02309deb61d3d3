//! Answers of an agent -> facts.

use std::collections::{BTreeMap, BTreeSet};

use super::super::baseline::{Baseline, Counters, errors_since, unsettled};
use super::super::facts::{Anomaly, Count, Data, Facts, Proof, Reading, Rows, severity, worst_proof};
use super::shapes::{Migration, Pipeline};
use super::{Answers, Seen, Wanted, millis};

/// Evaluations come every 30 s by default; the third that is missed says that nobody evaluates any more.
const UNEVALUATED_MS: i64 = 90_000;
/// A ledger is read again within seconds; one that is older than this is not read any more.
const UNREAD_MS: i64 = 120_000;

/// Scopes of the history of the migrations with this id.
pub(super) fn scopes_of_migrations(answers: &Answers, id: &str) -> Vec<String> {
    let all = answers.migrations.iter().flat_map(|all| &all.migrations);
    all.filter(|one| one.is(id)).map(Migration::scope).collect()
}

/// Reads the answers.
pub(super) fn seen(source: &str, wanted: &Wanted, answers: &Answers, baseline: Option<&Baseline>) -> Seen {
    let id = wanted.migration_id.as_str();
    let all = answers.migrations.iter().flat_map(|all| &all.migrations);
    let look = Look {
        wanted,
        answers,
        baseline,
        pipelines: answers.status.pipelines.iter().filter(|one| one.id() == id).collect(),
        migrations: all.clone().filter(|one| one.is(id)).collect(),
    };
    let ids: BTreeSet<String> =
        answers.status.pipelines.iter().map(|one| one.id().to_owned()).chain(all.map(Migration::name)).collect();
    let facts = Facts {
        source: source.to_owned(),
        data: look.data(&ids),
        proof: look.pipelines.iter().map(|one| proof(one)).reduce(worst_proof).unwrap_or_else(without_pipeline),
        lag_seconds: look.lag(),
        rows: look.rows(),
        dead_letters: look.dead_letters(),
        errors: look.errors(),
        anomalies: look.anomalies(),
    };
    Seen { facts, counters: look.counters(), ids: ids.into_iter().collect() }
}

struct Look<'a> {
    wanted: &'a Wanted,
    answers: &'a Answers,
    baseline: Option<&'a Baseline>,
    pipelines: Vec<&'a Pipeline>,
    migrations: Vec<&'a Migration>,
}

fn without_pipeline<T>() -> Reading<T> {
    Reading::Without("no pipeline has this id".to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds and counts as figures for people")]
const fn figure(value: i64) -> f64 {
    value as f64
}

fn sum(counts: &BTreeMap<String, u64>) -> f64 {
    figure(i64::try_from(counts.values().sum::<u64>()).unwrap_or(i64::MAX))
}

fn proof(pipeline: &Pipeline) -> Reading<(Proof, String)> {
    let name = &pipeline.pipeline;
    let lag = &pipeline.lag;
    let doubts = if lag.doubts.is_empty() { String::new() } else { format!(": {}", lag.doubts.join(", ")) };
    match (pipeline.state.as_str(), lag.state.as_str()) {
        (_, "stalled") => {
            Reading::Known((Proof::Stalled, format!("pipeline {name}: something to do, and nothing gets done")))
        }
        ("running", "caught_up" | "behind") if lag.proof_age_ms.is_none() => {
            Reading::Unknown(format!("pipeline {name}: not every partition has had a proof yet"))
        }
        ("running", "caught_up") => Reading::Known((Proof::CaughtUp, String::new())),
        ("running", "behind") => Reading::Known((Proof::Behind, String::new())),
        ("running", state) => Reading::Unknown(format!("pipeline {name}: the lag is {state}{doubts}")),
        (state, _) => Reading::Unknown(format!("pipeline {name} is {state}")),
    }
}

/// The pipeline's upper bound, where every partition has one: the worst of some is no bound for all.
fn lag(pipeline: &Pipeline) -> Reading<f64> {
    let mut own = pipeline.lag.partitions.iter().filter(|partition| !partition.heartbeat);
    let blind = own.find(|partition| partition.time_lag_ms.is_none());
    match (pipeline.lag.time_lag_ms, blind) {
        (Some(lag), None) => Reading::Known(figure(lag) / 1000.0),
        (_, Some(blind)) => Reading::Unknown(format!(
            "pipeline {}: none is known of {}/{}",
            pipeline.pipeline, blind.topic, blind.partition
        )),
        (None, None) => Reading::Unknown(format!("pipeline {}: none is known", pipeline.pipeline)),
    }
}

impl Look<'_> {
    fn data(&self, ids: &BTreeSet<String>) -> Reading<Data> {
        let pipelines = self.pipelines.iter().map(|one| format!("pipeline {}", one.pipeline));
        let migrations = self.migrations.iter().map(|one| format!("migration {}", one.name()));
        let subjects: Vec<String> = pipelines.chain(migrations).collect();
        if subjects.is_empty() {
            let known: Vec<&str> = ids.iter().map(String::as_str).take(20).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Reading::Unknown(format!(
                "the agent knows no migration_id \"{}\"; it knows: {known}",
                self.wanted.migration_id
            ));
        }
        // An answer out of a cache, or a process that stands still, shows in its clock. So does a clock that is wrong.
        let apart = self.wanted.now_ms.abs_diff(self.answers.status.now_ms);
        let age = i64::try_from(apart).unwrap_or(i64::MAX);
        Reading::Known(Data { subjects, age_seconds: figure(age) / 1000.0 })
    }

    fn lag(&self) -> Reading<f64> {
        let all = self.pipelines.iter().map(|one| lag(one));
        all.reduce(|one, other| one.and(other, f64::max)).unwrap_or_else(without_pipeline)
    }

    fn rows(&self) -> Reading<Rows> {
        let all = self.migrations.iter().map(|one| self.rows_of(one));
        let join = |one: Rows, other: Rows| match (one.equal, other.equal) {
            (false, _) => one,
            (true, false) => other,
            (true, true) => Rows { equal: true, detail: format!("{}; {}", one.detail, other.detail) },
        };
        all.reduce(|one, other| one.and(other, join))
            .unwrap_or_else(|| Reading::Without("not compared; --table and --source-url compare them".to_owned()))
    }

    fn rows_of(&self, migration: &Migration) -> Reading<Rows> {
        let name = migration.name();
        let all = self.answers.migrations.as_ref();
        if let (Some(all), false) = (all, migration.set.is_empty()) {
            let set = all.sets.iter().find(|set| set.name == migration.set);
            let read = set.and_then(|set| set.read_at_ms);
            if let Some(error) = set.and_then(|set| set.error.as_deref()) {
                return Reading::Unknown(format!("{name}: its ledger cannot be read: {error}"));
            }
            if read.is_none_or(|read| all.now_ms.saturating_sub(read) > UNREAD_MS) {
                return Reading::Unknown(format!("{name}: its ledger was not read lately"));
            }
        }
        let short = migration.places.iter().find(|place| place.expected.is_some_and(|expected| place.done < expected));
        Reading::Known(match (migration.state.as_str(), short) {
            ("applied", None) => Rows { equal: true, detail: format!("{name} is applied") },
            (state, Some(place)) => Rows {
                equal: false,
                detail: format!(
                    "{name} is {state}: {} of {} in {}",
                    place.done,
                    place.expected.unwrap_or(0),
                    place.name
                ),
            },
            (state, None) => Rows { equal: false, detail: format!("{name} is {state}") },
        })
    }

    fn dead_letters(&self) -> Reading<Count> {
        if self.pipelines.is_empty() {
            return without_pipeline();
        }
        let stored = |one: &&Pipeline| one.dead_letters_stored.ok_or_else(|| one.pipeline.clone());
        match self.pipelines.iter().map(stored).sum::<Result<u64, String>>() {
            Ok(stored) => {
                let stored = figure(i64::try_from(stored).unwrap_or(i64::MAX));
                Reading::Known(unsettled(stored, &self.counters(), self.baseline))
            }
            Err(pipeline) => {
                Reading::Unknown(format!("pipeline {pipeline}: its target was not asked for dead letters yet"))
            }
        }
    }

    fn errors(&self) -> Reading<Count> {
        let counted: f64 = self.migrations.iter().map(|one| errors_of(one)).sum();
        let counted = match self.in_the_window() {
            Some(errors) if errors < counted => {
                Count { value: errors, of: format!("in the last {} s", self.wanted.window.as_secs()) }
            }
            _ => Count { value: counted, of: "since the agent's start".to_owned() },
        };
        let mut count = errors_since(counted, &self.counters(), self.baseline, 0);
        // These last until somebody mends them, whenever they began.
        let troubled = self.pipelines.iter().filter(|one| matches!(one.state.as_str(), "retrying" | "paused"));
        let troubled = troubled.map(|one| format!("pipeline {} is {}", one.pipeline, one.state));
        let failed = self.migrations.iter().filter(|one| one.state == "failed");
        let code =
            |one: &Migration| one.last_error.as_ref().map(|error| format!(" ({})", error.code)).unwrap_or_default();
        let failed = failed.map(|one| format!("migration {} failed{}", one.name(), code(one)));
        for lasting in troubled.chain(failed) {
            count.value += 1.0;
            count.of = format!("{}; {lasting}", count.of);
        }
        Reading::Known(count)
    }

    /// Errors of the window as the history has them; none where it does not reach back so far.
    fn in_the_window(&self) -> Option<f64> {
        let since = self.answers.status.now_ms.saturating_sub(millis(self.wanted.window));
        let lines: Vec<_> = self.answers.errors.iter().flat_map(|series| &series.series).collect();
        // A second of slack: a point is of the second before it.
        let whole = |points: &[(i64, f64)]| points.first().is_some_and(|(at, _)| *at <= since.saturating_add(2_000));
        if lines.len() != self.migrations.len() || !lines.iter().all(|line| whole(&line.points)) {
            return None;
        }
        // Each rate held since the point before it: where points are missing that is too much rather than too little.
        let of_line = |points: &[(i64, f64)]| -> f64 {
            let steps = points.iter().zip(points.iter().skip(1));
            steps.map(|((before, _), (at, per_second))| figure(at - before) / 1000.0 * per_second).sum()
        };
        Some(lines.iter().map(|line| of_line(&line.points)).sum::<f64>().ceil())
    }

    fn anomalies(&self) -> Reading<Vec<Anomaly>> {
        let Some(board) = &self.answers.incidents else {
            return Reading::Without("the agent does not watch for anomalies (no section `monitor`)".to_owned());
        };
        match board.evaluated_at_ms {
            None => return Reading::Unknown("the agent has not evaluated its rules yet".to_owned()),
            Some(at) if board.now_ms.saturating_sub(at) > UNEVALUATED_MS => {
                return Reading::Unknown("the agent has not evaluated its rules lately".to_owned());
            }
            Some(_) => {}
        }
        let pipelines = self.pipelines.iter().map(|one| format!("pipeline/{}", one.pipeline));
        let scopes: BTreeSet<String> = pipelines.chain(self.migrations.iter().map(|one| one.scope())).collect();
        let fires = board.incidents.iter().filter(|one| one.status == "firing" && scopes.contains(&one.scope));
        let anomaly = |severity, title: &str| Anomaly { severity, title: title.to_owned() };
        Reading::Known(fires.map(|one| anomaly(severity(&one.severity), &one.title)).collect())
    }

    fn counters(&self) -> Counters {
        // Counters begin anew with the agent: those of another start are others.
        let start = self.answers.status.started_at_ms;
        let of_pipelines = |count: fn(&Pipeline) -> f64| {
            self.pipelines
                .iter()
                .map(|one| (format!("pipeline {} of {start}", one.pipeline), count(one)))
                .collect::<BTreeMap<_, _>>()
        };
        let errors = self.migrations.iter().map(|one| (format!("migration {} of {start}", one.name()), errors_of(one)));
        Counters {
            dead_letters: of_pipelines(|one| sum(&one.totals.dead_letters)),
            errors: errors.collect(),
            events: of_pipelines(|one| sum(&one.totals.events)),
        }
    }
}

/// Attempts that failed and were made again.
fn errors_of(migration: &Migration) -> f64 {
    figure(i64::try_from(migration.retries).unwrap_or(i64::MAX))
}
