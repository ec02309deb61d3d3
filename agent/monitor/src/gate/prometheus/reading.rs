//! Answers -> facts.

use std::collections::BTreeSet;

use super::super::baseline::{Baseline, Counters};
use super::super::facts::{Anomaly, Count, Data, Facts, Proof, Reading, Rows, severity, worst_proof};
use super::{Answers, Sample, Seen, Selection};

/// Reads the answers.
pub(super) fn seen(source: &str, selection: &Selection, answers: &Answers, baseline: Option<&Baseline>) -> Seen {
    let look = Look { selection, answers, baseline };
    let facts = Facts {
        source: source.to_owned(),
        data: look.data(),
        proof: look.proof(),
        lag_seconds: look.lag(),
        rows: look.rows(),
        dead_letters: look.dead_letters(),
        errors: look.errors(),
        anomalies: look.anomalies(),
    };
    Seen { facts, counters: look.counters() }
}

struct Look<'a> {
    selection: &'a Selection,
    answers: &'a Answers,
    baseline: Option<&'a Baseline>,
}

impl Look<'_> {
    fn get(&self, name: &str) -> &[Sample] {
        self.answers.get(name).map_or(&[], Vec::as_slice)
    }

    fn is_migration(&self) -> bool {
        ["rows", "ended", "running"].iter().any(|name| !self.get(name).is_empty())
    }

    fn has_pipelines(&self) -> bool {
        !self.get("pipelines").is_empty()
    }

    fn data(&self) -> Reading<Data> {
        if let Some(down) = self.get("down").first() {
            return Reading::Unknown(format!(
                "the agent at {} carried this id and does not answer Prometheus any more (up is 0)",
                down.label("instance")
            ));
        }
        let mut subjects: BTreeSet<String> =
            self.get("pipelines").iter().map(|one| format!("pipeline {}", one.label("pipeline"))).collect();
        if self.is_migration() {
            subjects.insert(format!("migration {}", self.selection.migration_id));
        }
        if subjects.is_empty() && !self.get("lag").is_empty() {
            subjects.insert("migration_data_lag_seconds".to_owned());
        }
        if subjects.is_empty() {
            return Reading::Unknown(format!(
                "Prometheus has no series of an agent with migration_id \"{}\": is the id right, and is the agent scraped?",
                self.selection.migration_id
            ));
        }
        let mut names = vec!["lag_age", "pipelines_age", "states_age", "running_age"];
        if self.get("lag").is_empty() && !self.has_pipelines() {
            names.push("rows_age");
        }
        let ages: Vec<f64> = names.iter().flat_map(|name| self.get(name)).map(|age| age.value).collect();
        match ages.iter().copied().reduce(worse) {
            Some(age_seconds) => Reading::Known(Data { subjects: subjects.into_iter().collect(), age_seconds }),
            None => Reading::Unknown("Prometheus does not tell how old its figures are".to_owned()),
        }
    }

    fn proof(&self) -> Reading<(Proof, String)> {
        if !self.has_pipelines() {
            return match (self.get("lag").is_empty(), self.get("unmarked").is_empty()) {
                (true, _) => Reading::Without("no pipeline has this id".to_owned()),
                // An agent tells which pipelines belong to an id; one that does not leaves no way to find them.
                (false, false) => Reading::Unknown(
                    "the agent does not tell which pipelines have this id (cdc_pipeline_info without migration_id)".to_owned(),
                ),
                (false, true) => Reading::Known((
                    Proof::Behind,
                    "no state is exported; migration_data_lag_seconds is an upper bound, and absent while there is none".to_owned(),
                )),
            };
        }
        self.get("pipelines").iter().map(|pipeline| self.proof_of(pipeline)).reduce(worst_proof).unwrap_or_else(nothing)
    }

    fn proof_of(&self, pipeline: &Sample) -> Reading<(Proof, String)> {
        let name = pipeline.label("pipeline");
        let of_it =
            |answer: &str| -> Vec<&Sample> { self.get(answer).iter().filter(|one| one.is_of(pipeline)).collect() };
        let doing: Vec<&str> = of_it("doing").iter().map(|one| one.label("state")).collect();
        if let [doing] = doing.as_slice()
            && *doing != "running"
        {
            return Reading::Unknown(format!("pipeline {name} is {doing}"));
        }
        let states: Vec<&str> = of_it("states").iter().map(|one| one.label("state")).collect();
        let proven = of_it("proof_age").first().is_some_and(|age| age.value.is_finite());
        match states.as_slice() {
            ["stalled"] => {
                Reading::Known((Proof::Stalled, format!("pipeline {name}: something to do, and nothing gets done")))
            }
            [_] if !proven => Reading::Unknown(format!("pipeline {name}: not every partition has had a proof yet")),
            ["caught_up"] => Reading::Known((Proof::CaughtUp, String::new())),
            ["behind"] => Reading::Known((Proof::Behind, String::new())),
            ["unknown"] => {
                Reading::Unknown(format!("pipeline {name}: nothing is proven; the agent's status says why (doubts)"))
            }
            [] => Reading::Unknown(format!("pipeline {name}: there is no cdc_lag_state of it")),
            _ => Reading::Unknown(format!("pipeline {name}: its cdc_lag_state is {}", states.join(" and "))),
        }
    }

    fn lag(&self) -> Reading<f64> {
        let lags = self.get("lag").iter().map(|one| one.value);
        match (lags.reduce(worse), self.has_pipelines()) {
            (Some(lag), _) => Reading::Known(lag),
            (None, true) => {
                Reading::Unknown("migration_data_lag_seconds is absent: the agent knows no upper bound".to_owned())
            }
            (None, false) => Reading::Without("no pipeline has this id".to_owned()),
        }
    }

    fn rows(&self) -> Reading<Rows> {
        let ratio = self.get("progress").iter().map(|one| one.value).reduce(f64::min);
        if ratio.is_some_and(|ratio| ratio < 1.0) || !self.get("running").is_empty() {
            let done = ratio.map_or_else(
                || "the migration runs".to_owned(),
                |ratio| format!("the migration runs, {:.1} % done", ratio * 100.0),
            );
            return Reading::Known(Rows { equal: false, detail: done });
        }
        let runs = |status: &str| {
            self.get("ended").iter().filter(|one| one.label("status") == status).map(|one| one.value).sum::<f64>()
        };
        let (success, failed) = (runs("success"), runs("failed"));
        if success > 0.0 {
            return Reading::Known(Rows { equal: true, detail: "the migration is applied".to_owned() });
        }
        if failed > 0.0 {
            return Reading::Known(Rows { equal: false, detail: "the migration failed".to_owned() });
        }
        let pipelines = self.has_pipelines() || !self.get("lag").is_empty();
        match (pipelines, self.is_migration()) {
            (false, true) => Reading::Unknown(
                "metrics do not tell whether the migration was applied; ask the agent (--agent-url), or compare with --table".to_owned(),
            ),
            _ => Reading::Without("not compared; --table and --source-url compare them".to_owned()),
        }
    }

    fn dead_letters(&self) -> Reading<Count> {
        let pipelines = self.get("pipelines");
        let stored = |pipeline: &Sample| {
            let found = self.get("dead_letters").iter().find(|one| one.is_of(pipeline));
            found.map(|one| one.value).ok_or_else(|| pipeline.label("pipeline").to_owned())
        };
        match pipelines.iter().map(stored).sum::<Result<f64, String>>() {
            _ if pipelines.is_empty() => Reading::Without("no pipeline has this id".to_owned()),
            Ok(stored) => Reading::Known(super::super::baseline::unsettled(stored, &self.counters(), self.baseline)),
            Err(pipeline) => {
                Reading::Unknown(format!("pipeline {pipeline}: its target was not asked for dead letters yet"))
            }
        }
    }

    fn errors(&self) -> Reading<Count> {
        let troubles = self.get("troubles").len();
        if !self.has_pipelines()
            && !self.is_migration()
            && self.get("errors").is_empty()
            && self.get("errors_increase").is_empty()
        {
            return match self.get("lag").is_empty() {
                true => Reading::Without("no migration and no pipeline has this id".to_owned()),
                false => Reading::Known(Count { value: 0.0, of: "counted".to_owned() }),
            };
        }
        // A counter that was born with its first error has had no increase as Prometheus counts; one that is gone or began
        // anew has no difference. So the larger of both.
        let grown = |now: &Sample| {
            let before =
                self.get("errors_before").iter().find(|one| one.labels == now.labels).map_or(0.0, |one| one.value);
            if now.value < before { now.value } else { now.value - before }
        };
        let difference: f64 = self.get("errors").iter().map(grown).sum();
        let increase: f64 = self.get("errors_increase").iter().map(|one| one.value).sum();
        #[expect(clippy::cast_precision_loss, reason = "a number of pipelines")]
        let value = worse(difference, increase.floor()) + troubles as f64;
        let of = format!("in the last {} s", self.selection.window.as_secs());
        let of =
            if troubles == 0 { of } else { format!("{of}, {troubles} of them a pipeline that retries or is paused") };
        Reading::Known(super::super::baseline::errors_since(
            Count { value, of },
            &self.counters(),
            self.baseline,
            troubles,
        ))
    }

    fn anomalies(&self) -> Reading<Vec<Anomaly>> {
        let alert = |one: &Sample| Anomaly {
            severity: severity(one.label("severity")),
            title: format!("alert {}", one.label("alertname")),
        };
        let firing = self.get("monitored").iter().filter(|one| one.value != 0.0);
        let own = firing.map(|one| Anomaly {
            severity: severity(one.label("severity")),
            title: format!("{} {} of the agent at {}", one.value, one.label("severity"), one.label("instance")),
        });
        let all: Vec<Anomaly> = self.get("alerts").iter().map(alert).chain(own).collect();
        match all.is_empty() && self.get("monitored").is_empty() {
            true => Reading::Without(
                "the agent does not watch for anomalies (no alerts_firing), and no alert fires".to_owned(),
            ),
            false => Reading::Known(all),
        }
    }

    fn counters(&self) -> Counters {
        // Counters begin anew with the process: those of another start are others.
        let start = |one: &Sample| {
            let same = |other: &&Sample| ["job", "instance"].iter().all(|name| one.label(name) == other.label(name));
            self.get("started").iter().find(same).map_or(0.0, |start| start.value)
        };
        let key = |one: &Sample| {
            let labels: Vec<String> = one.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} of {}", labels.join(","), start(one))
        };
        let named = |answer: &str| self.get(answer).iter().map(|one| (key(one), one.value)).collect();
        Counters { dead_letters: named("dead_letters_total"), errors: named("errors"), events: named("rows") }
    }
}

fn nothing<T>() -> Reading<T> {
    Reading::Unknown("nothing is known".to_owned())
}

/// The larger; no number outranks every number.
fn worse(one: f64, other: f64) -> f64 {
    if one.is_nan() || other.is_nan() { f64::NAN } else { one.max(other) }
}
