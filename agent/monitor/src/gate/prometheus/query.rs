//! The questions: one per figure, each for the series of one migration.

use std::time::Duration;

/// Which series are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The migration.
    pub migration_id: String,
    /// Further labels that all series must have, for one Prometheus that scrapes several environments.
    pub matchers: Vec<(String, String)>,
    /// For how long errors count.
    pub window: Duration,
}

impl Selection {
    /// A selector of a metric.
    fn of(&self, metric: &str, labels: &[(&str, &str, &str)]) -> String {
        let mut all: Vec<String> =
            labels.iter().map(|(name, op, value)| format!("{name}{op}{}", quoted(value))).collect();
        all.extend(self.matchers.iter().map(|(name, value)| format!("{name}={}", quoted(value))));
        format!("{metric}{{{}}}", all.join(","))
    }

    fn by_id(&self, metric: &str) -> String {
        self.of(metric, &[("migration_id", "=", &self.migration_id)])
    }

    fn by_version(&self, metric: &str) -> String {
        self.of(metric, &[("version", "=", &self.migration_id)])
    }
}

/// A string of PromQL.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n"))
}

/// For how long an agent that is down is missed: one that went away for good leaves Prometheus's targets, and then is not.
const MISSED: &str = "1h";

/// All questions, by the name of the answer.
pub(super) fn all(selection: &Selection) -> Vec<(&'static str, String)> {
    let window = format!("{}s", selection.window.as_secs().max(1));
    let of = |metric: &str| selection.of(metric, &[]);
    let lag = selection.by_id("migration_data_lag_seconds");
    // By the label; and by name in agents that do not have the label, where a pipeline's name is its migration's id.
    let marked = selection.by_id("cdc_pipeline_info");
    let named =
        selection.of("cdc_pipeline_info", &[("migration_id", "=", ""), ("pipeline", "=", &selection.migration_id)]);
    let pipelines = format!("({marked} or {named})");
    // `timestamp` tells the time of a sample for a plain selector only; of any other expression, that of the question.
    let age = |selectors: &[&str]| {
        let ages: Vec<String> = selectors.iter().map(|one| format!("(time() - timestamp({one}))")).collect();
        ages.join(" or ")
    };
    let theirs = |series: &str| format!("{series} and on(job,instance,pipeline) {pipelines}");
    let errors = |range: &str| {
        format!(
            "{}{range} or {}{range}",
            selection.by_id("migration_errors_total"),
            selection.by_version("mongodb_migration_errors_total")
        )
    };
    let increase = |metric: String| format!("increase({metric}[{window}])");
    let (moved, changed) =
        (selection.by_id("migration_rows_total"), selection.by_version("mongodb_migration_documents_total"));
    let rows = format!("{moved} or {changed}");
    let ended = format!(
        "{} or {}",
        selection.by_id("migration_duration_seconds_count"),
        selection.by_version("mongodb_migration_duration_seconds_count")
    );
    let agents = format!("({lag} or {pipelines} or {rows} or {ended} or {})", selection.by_id("migration_info"));
    let seen =
        |metric: &str| format!("count by(job,instance) (count_over_time({}[{MISSED}]))", selection.by_id(metric));
    let troubled = selection.of("cdc_pipeline_state", &[("state", "=~", "retrying|paused")]);
    let firing = |labels: &[(&str, &str, &str)]| selection.of("ALERTS", labels);
    vec![
        ("lag", lag.clone()),
        ("lag_age", age(&[&lag])),
        ("pipelines", pipelines.clone()),
        ("pipelines_age", age(&[&marked, &named])),
        (
            "unmarked",
            format!("{} and on(job,instance) {lag}", selection.of("cdc_pipeline_info", &[("migration_id", "=", "")])),
        ),
        ("states", theirs(&format!("({} == 1)", of("cdc_lag_state")))),
        ("states_age", theirs(&age(&[&of("cdc_lag_state")]))),
        ("proof_age", theirs(&of("cdc_lag_proof_age_seconds"))),
        ("doing", theirs(&format!("({} == 1)", of("cdc_pipeline_state")))),
        ("dead_letters", theirs(&of("cdc_dead_letters"))),
        ("dead_letters_total", theirs(&format!("sum without(reason) ({})", of("cdc_dead_letters_total")))),
        ("rows", rows.clone()),
        ("rows_age", age(&[&moved, &changed])),
        ("ended", ended),
        ("running", selection.by_id("migration_info")),
        ("running_age", age(&[&selection.by_id("migration_info")])),
        ("progress", selection.by_id("migration_progress_ratio")),
        ("errors", errors("")),
        ("errors_before", errors(&format!(" offset {window}"))),
        (
            "errors_increase",
            format!(
                "{} or {}",
                increase(selection.by_id("migration_errors_total")),
                increase(selection.by_version("mongodb_migration_errors_total"))
            ),
        ),
        ("troubles", theirs(&format!("(max_over_time({troubled}[{window}]) == 1)"))),
        ("started", format!("{} and on(job,instance) {agents}", of("process_start_time_seconds"))),
        ("monitored", format!("{} and on(job,instance) {agents}", of("alerts_firing"))),
        (
            "alerts",
            format!(
                "{} or ({} and on(pipeline) {pipelines})",
                firing(&[("alertstate", "=", "firing"), ("migration_id", "=", &selection.migration_id)]),
                firing(&[("alertstate", "=", "firing"), ("migration_id", "=", ""), ("pipeline", "!=", "")]),
            ),
        ),
        (
            "down",
            format!(
                "({} == 0) and on(job,instance) ({} or {} or {})",
                of("up"),
                seen("migration_data_lag_seconds"),
                seen("cdc_pipeline_info"),
                seen("migration_rows_total")
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_string() {
        let selection = Selection {
            migration_id: "a\"} or vector(0) #\\\n".into(),
            matchers: vec![("env".into(), "pr\"od".into())],
            window: Duration::from_secs(300),
        };
        let lag = &all(&selection)[0].1;
        assert_eq!(lag, "migration_data_lag_seconds{migration_id=\"a\\\"} or vector(0) #\\\\\\n\",env=\"pr\\\"od\"}");
    }
}
