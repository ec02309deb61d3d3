//! The conditions: facts and limits -> a report. Pure; what is not known does not pass.

use super::facts::{Anomaly, Count, Data, Facts, Proof, Reading, Rows};
use super::report::{Condition, Report, State, Subject};
use crate::incident::Severity;

/// What is asked for. `None` where the option was not written: then a default holds for what there is, and what there is not is
/// left out. What was written must be answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// The largest lag, seconds.
    pub max_lag_seconds: Option<f64>,
    /// The oldest figure, seconds.
    pub max_stale_seconds: Option<f64>,
    /// Unsettled dead letters.
    pub max_dead_letters: Option<u64>,
    /// Errors.
    pub max_errors: Option<u64>,
    /// Anomalies from this severity on.
    pub anomalies: Tolerance,
}

/// Which anomalies fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tolerance {
    /// Warnings and what is worse, where anomalies are looked for at all.
    #[default]
    Unsaid,
    /// These and what is worse, and somebody must be looking.
    From(Severity),
    /// None: they are not looked at.
    Any,
}

/// 300 s: where the dashboard turns red.
pub const MAX_LAG_SECONDS: f64 = 300.0;
/// 60 s: four scrapes at the usual 15 s.
pub const MAX_STALE_SECONDS: f64 = 60.0;

/// Judges.
#[must_use]
pub fn judge(migration_id: &str, facts: &Facts, limits: &Limits) -> Report {
    let max_stale = limits.max_stale_seconds.unwrap_or(MAX_STALE_SECONDS);
    let data = data(&facts.data, max_stale);
    let mut conditions = vec![
        proof(&facts.proof, limits.max_lag_seconds.is_some()),
        lag(&facts.lag_seconds, limits.max_lag_seconds),
        rows(&facts.rows),
        count(
            Subject::DeadLetters,
            &facts.dead_letters,
            limits.max_dead_letters,
            "see `whimbrel dead-letters list`; mend the cause and send them through again",
        ),
        count(Subject::Errors, &facts.errors, limits.max_errors, "see the log, and the last error in the status"),
        anomalies(&facts.anomalies, limits.anomalies),
    ];
    if data.state != State::Pass {
        // Figures that are old or of nobody prove nothing, neither good nor bad.
        for condition in conditions.iter_mut().filter(|condition| condition.state != State::Skipped) {
            *condition = Condition { state: State::Unknown, ..condition.clone() };
            condition.why = "there is no fresh data to tell it from".to_owned();
        }
    }
    conditions.insert(0, data);
    let mut report =
        Report { migration_id: migration_id.to_owned(), source: facts.source.clone(), notes: Vec::new(), conditions };
    report.require_a_proof();
    report
}

fn data(data: &Reading<Data>, max_stale: f64) -> Condition {
    let limit = format!("at most {} old", seconds(max_stale));
    let condition = |state, measured: String, why: &str| Condition {
        subject: Subject::Data,
        state,
        measured,
        limit: limit.clone(),
        why: why.to_owned(),
    };
    match data {
        Reading::Known(Data { subjects, .. }) if subjects.is_empty() => {
            condition(State::Unknown, "nothing".into(), "nothing carries this id")
        }
        Reading::Known(Data { subjects, age_seconds }) => {
            let measured = format!("{}, {} old", subjects.join(", "), seconds(*age_seconds));
            // Also false where the age is no number.
            match *age_seconds <= max_stale && *age_seconds >= 0.0 {
                true => condition(State::Pass, measured, ""),
                false => condition(
                    State::Unknown,
                    measured,
                    "the figures are stale: whoever measures has stopped, or is not scraped",
                ),
            }
        }
        Reading::Unknown(why) | Reading::Without(why) => condition(State::Unknown, "nothing".into(), why),
    }
}

fn proof(proof: &Reading<(Proof, String)>, asked: bool) -> Condition {
    let condition = |state, measured: &str, why: String| Condition {
        subject: Subject::Proof,
        state,
        measured: measured.to_owned(),
        limit: "caught_up or behind".to_owned(),
        why,
    };
    match proof {
        Reading::Known((Proof::CaughtUp, detail)) => condition(State::Pass, "caught_up", detail.clone()),
        Reading::Known((Proof::Behind, detail)) => condition(State::Pass, "behind", detail.clone()),
        Reading::Known((Proof::Stalled, detail)) => condition(
            State::Fail,
            "stalled",
            if detail.is_empty() {
                "there is something to do and nothing gets done".to_owned()
            } else {
                detail.clone()
            },
        ),
        Reading::Unknown(why) => condition(State::Unknown, "-", why.clone()),
        Reading::Without(why) => condition(without(asked), "-", why.clone()),
    }
}

const fn without(asked: bool) -> State {
    if asked { State::Unknown } else { State::Skipped }
}

fn lag(lag: &Reading<f64>, asked: Option<f64>) -> Condition {
    let max = asked.unwrap_or(MAX_LAG_SECONDS);
    let condition = |state, measured: String, why: &str| Condition {
        subject: Subject::Lag,
        state,
        measured,
        limit: format!("at most {}", seconds(max)),
        why: why.to_owned(),
    };
    match lag {
        Reading::Known(lag) if lag.is_nan() || *lag < 0.0 => {
            condition(State::Unknown, lag.to_string(), "this is no lag: it was not measured, or clocks disagree")
        }
        Reading::Known(lag) if *lag <= max => condition(State::Pass, seconds(*lag), ""),
        Reading::Known(lag) => condition(State::Fail, seconds(*lag), "the target is further behind than it may be"),
        Reading::Unknown(why) => condition(State::Unknown, "-".into(), why),
        Reading::Without(why) => condition(without(asked.is_some()), "-".into(), why),
    }
}

fn rows(rows: &Reading<Rows>) -> Condition {
    let condition = |state, measured: &str, why: &str| Condition {
        subject: Subject::Rows,
        state,
        measured: measured.to_owned(),
        limit: "all, and equal".to_owned(),
        why: why.to_owned(),
    };
    match rows {
        Reading::Known(Rows { equal: true, detail }) => condition(State::Pass, detail, ""),
        Reading::Known(Rows { equal: false, detail }) => condition(State::Fail, detail, "rows are missing or differ"),
        Reading::Unknown(why) => condition(State::Unknown, "-", why),
        Reading::Without(why) => condition(State::Skipped, "-", why),
    }
}

fn count(subject: Subject, count: &Reading<Count>, asked: Option<u64>, remedy: &str) -> Condition {
    let max = asked.unwrap_or(0);
    // The sum of no numbers is -0.
    let shown = |count: &Count| format!("{} {}", count.value + 0.0, count.of);
    let condition = |state, measured: String, why: &str| Condition {
        subject,
        state,
        measured,
        limit: format!("at most {max}"),
        why: why.to_owned(),
    };
    match count {
        Reading::Known(known) if known.value.is_nan() || known.value < 0.0 => {
            condition(State::Unknown, shown(known), "this is no count")
        }
        #[expect(clippy::cast_precision_loss, reason = "limits people write are small")]
        Reading::Known(known) if known.value <= max as f64 => condition(State::Pass, shown(known), ""),
        Reading::Known(known) => condition(State::Fail, shown(known), remedy),
        Reading::Unknown(why) => condition(State::Unknown, "-".into(), why),
        Reading::Without(why) => condition(without(asked.is_some()), "-".into(), why),
    }
}

fn anomalies(anomalies: &Reading<Vec<Anomaly>>, tolerance: Tolerance) -> Condition {
    let from = match tolerance {
        Tolerance::Unsaid => Severity::Warning,
        Tolerance::From(severity) => severity,
        Tolerance::Any => Severity::Critical,
    };
    let condition = |state, measured: String, why: &str| Condition {
        subject: Subject::Anomalies,
        state,
        measured,
        limit: match from {
            Severity::Info => "none",
            Severity::Warning => "none of warning or worse",
            Severity::Critical => "none that is critical",
        }
        .to_owned(),
        why: why.to_owned(),
    };
    if tolerance == Tolerance::Any {
        return Condition { limit: "any".into(), ..condition(State::Skipped, "-".into(), "not asked for") };
    }
    match anomalies {
        Reading::Known(found) => {
            let bad: Vec<&str> =
                found.iter().filter(|one| one.severity >= from).map(|one| one.title.as_str()).collect();
            match bad.is_empty() {
                true => condition(State::Pass, "none".into(), ""),
                false => condition(State::Fail, format!("{} firing", bad.len()), &bad.join("; ")),
            }
        }
        Reading::Unknown(why) => condition(State::Unknown, "-".into(), why),
        Reading::Without(why) => condition(without(tolerance != Tolerance::Unsaid), "-".into(), why),
    }
}

/// Seconds for people.
fn seconds(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => s.to_string(),
        s if s.fract() == 0.0 || s >= 100.0 => format!("{s:.0} s"),
        s => format!("{s:.1} s"),
    }
}
