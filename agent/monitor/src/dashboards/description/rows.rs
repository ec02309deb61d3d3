//! The rows, from top to bottom.

use super::{Alert, Row, figures, lines};

/// From when the lag is yellow and people are warned, and red and people are called: seconds.
const LAG: (f64, f64) = (60.0, 300.0);

/// Everything that is watched.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![migrations(), lag(), dead_letters(), plugins(), alerts(), mongodb()]
}

fn migrations() -> Row {
    let lag = |(above, severity): (f64, &'static str)| Alert {
        name: "MigrationDataLag",
        expr: format!("max by (migration_id) (migration_data_lag_seconds) > {above}"),
        holds: "5m",
        severity,
        summary: "The target of migration {{ $labels.migration_id }} is {{ $value | humanizeDuration }} behind",
        action: "See in which hop the time goes (cdc_hop_duration_seconds), and whether the pipeline is stalled (cdc_lag_state)",
    };
    let (warning, critical) = LAG;
    let panels = vec![
        lines(
            "Migration Progress",
            "Rows a second that migrations have committed.",
            "suffix: rows/s",
            &[("rate(migration_rows_total[5m])", "{{migration_id}} - {{table_name}}")],
        )
        .wide(12),
        figures(
            "Data Lag",
            "From commit at the source to visible at the target: 0 only when proven, else an upper bound; absent while there is none.",
            "s",
            &[("migration_data_lag_seconds", "{{migration_id}}")],
        )
        .wide(6)
        .steps(&[(0.0, "green"), (warning, "yellow"), (critical, "red")])
        .alert(lag((warning, "warning")))
        .alert(lag((critical, "critical"))),
        figures(
            "Done",
            "How much of each migration that runs is done.",
            "percentunit",
            &[("migration_progress_ratio", "{{migration_id}}")],
        )
        .wide(6),
        lines(
            "Error Rate",
            "Errors a second, also of attempts that were made again.",
            "suffix: errors/s",
            &[("rate(migration_errors_total[5m])", "{{migration_id}} - {{error_type}}")],
        )
        .wide(12)
        .alert(Alert {
            name: "MigrationErrors",
            expr: "sum by (migration_id, error_type) (rate(migration_errors_total[5m])) > 0".to_owned(),
            holds: "5m",
            severity: "warning",
            summary: "Migration {{ $labels.migration_id }} meets {{ $labels.error_type }} again and again",
            action: "See who holds the locks: `whimbrel migrate status`, or /api/v1/migrations",
        }),
        figures(
            "Time left",
            "Until the step that runs is done, at the pace of the last 30 s.",
            "s",
            &[("migration_eta_seconds", "{{migration_id}}")],
        )
        .wide(6),
        figures(
            "Duration",
            "Of the runs that ended, on average.",
            "s",
            &[("migration_duration_seconds_sum / migration_duration_seconds_count", "{{migration_id}}")],
        )
        .wide(6),
    ];
    Row { title: "Migrations", panels }
}

fn lag() -> Row {
    let state = |name, state: &str, holds, severity, summary, action| Alert {
        name,
        expr: format!("max by (pipeline) (cdc_lag_state{{state=\"{state}\"}}) == 1"),
        holds,
        severity,
        summary,
        action,
    };
    let panels = vec![
        figures(
            "Pipelines by lag state",
            "caught_up is proven; unknown means that nobody can tell, and is not good news.",
            "none",
            &[("sum by (state) (cdc_lag_state)", "{{state}}")],
        )
        .wide(6)
        .alert(state(
            "PipelineStalled",
            "stalled",
            "2m",
            "critical",
            "Pipeline {{ $labels.pipeline }} has something to do and gets nothing done",
            "See its state and last error in /api/v1/status and in the agent's log",
        ))
        .alert(state(
            "PipelineLagUnknown",
            "unknown",
            "5m",
            "warning",
            "Nothing is proven about the lag of pipeline {{ $labels.pipeline }}",
            "/api/v1/status says why (doubts); a connector without heartbeats is the usual cause",
        )),
        lines(
            "Lag state",
            "The state each pipeline is in.",
            "none",
            &[("cdc_lag_state == 1", "{{pipeline}} - {{state}}")],
        )
        .wide(9),
        lines(
            "Replication lag",
            "By table: 0 only when proven, else an upper bound.",
            "s",
            &[(
                "max by (source_table, target_table) (cdc_replication_lag_seconds)",
                "{{source_table}} - {{target_table}}",
            )],
        )
        .wide(9)
        .steps(&[(0.0, "green"), (LAG.0, "yellow"), (LAG.1, "red")]),
        lines(
            "Hops",
            "Where the time goes: 95 of 100 take no longer.",
            "s",
            &[("histogram_quantile(0.95, sum by (le, hop) (rate(cdc_hop_duration_seconds_bucket[5m])))", "{{hop}}")],
        ),
        lines(
            "Messages behind",
            "End offset minus what is durable at the target.",
            "short",
            &[("sum by (topic) (cdc_consumer_lag_messages)", "{{topic}}")],
        ),
        lines(
            "Events",
            "Change events a second made durable.",
            "suffix: events/s",
            &[("sum by (source, table) (rate(cdc_events_processed_total[5m]))", "{{source}} - {{table}}")],
        ),
        lines(
            "Age of the proof",
            "How long ago everything committed is known to have been visible.",
            "s",
            &[("cdc_lag_proof_age_seconds", "{{pipeline}}")],
        )
        .wide(12),
        lines(
            "Time to catch up",
            "Until the backlog is gone; absent while it is not shrinking.",
            "s",
            &[("cdc_catchup_eta_seconds", "{{pipeline}}")],
        )
        .wide(12),
    ];
    Row { title: "CDC lag by state and hop", panels }
}

fn dead_letters() -> Row {
    let panels = vec![
        figures("Dead letters", "Stored and not settled.", "none", &[("cdc_dead_letters", "{{pipeline}}")])
            .wide(6)
            .steps(&[(0.0, "green"), (1.0, "red")]),
        lines(
            "New dead letters",
            "In five minutes, by reason.",
            "none",
            &[("sum by (pipeline, reason) (increase(cdc_dead_letters_total[5m]))", "{{pipeline}} - {{reason}}")],
        )
        .wide(18)
        .alert(Alert {
            name: "DeadLetters",
            expr: "sum by (pipeline, reason) (increase(cdc_dead_letters_total[10m])) > 0".to_owned(),
            holds: "0s",
            severity: "warning",
            summary: "Pipeline {{ $labels.pipeline }} put records aside: {{ $labels.reason }}",
            action: "`whimbrel dead-letters list`; mend the cause, then `whimbrel dead-letters redrive`",
        }),
    ];
    Row { title: "Dead letters", panels }
}

fn plugins() -> Row {
    let panels = vec![
        lines(
            "Time per event",
            "In the plugin, crossing into it included.",
            "s",
            &[(
                "sum by (plugin) (rate(plugin_call_duration_seconds_sum[5m])) / (sum by (plugin) (rate(plugin_events_total[5m])) > 0)",
                "{{plugin}}",
            )],
        ),
        lines(
            "Events by verdict",
            "A second.",
            "suffix: events/s",
            &[("sum by (plugin, verdict) (rate(plugin_events_total[5m]))", "{{plugin}} - {{verdict}}")],
        ),
        lines(
            "Calls",
            "A second, by how they ended.",
            "suffix: calls/s",
            &[("sum by (plugin, outcome) (rate(plugin_calls_total[5m]))", "{{plugin}} - {{outcome}}")],
        ),
        lines(
            "Traps",
            "Calls that ended in a trap, in five minutes.",
            "none",
            &[("sum by (plugin, cause) (increase(plugin_traps_total[5m]))", "{{plugin}} - {{cause}}")],
        )
        .wide(12)
        .alert(Alert {
            name: "PluginTraps",
            expr: "sum by (plugin, cause) (increase(plugin_traps_total[10m])) > 0".to_owned(),
            holds: "0s",
            severity: "warning",
            summary: "Plugin {{ $labels.plugin }} trapped: {{ $labels.cause }}",
            action: "See /api/v1/plugins and the repro bundles of `plugins.repro_dir`",
        }),
        lines("Memory", "Linear memory of the plugin's instances.", "bytes", &[("plugin_memory_bytes", "{{plugin}}")])
            .wide(12),
    ];
    Row { title: "Plugins", panels }
}

fn alerts() -> Row {
    let panels = vec![
        figures(
            "Alerts firing",
            "Incidents that fire, silenced or not.",
            "none",
            &[("sum by (severity) (alerts_firing)", "{{severity}}")],
        )
        .wide(6)
        .steps(&[(0.0, "green"), (1.0, "red")]),
        lines(
            "Deliveries",
            "A second, by channel and how they ended.",
            "suffix: /s",
            &[("sum by (channel, outcome) (rate(alert_deliveries_total[5m]))", "{{channel}} - {{outcome}}")],
        )
        .wide(18)
        .alert(Alert {
            name: "AlertsNotDelivered",
            expr: "sum by (channel) (increase(alert_deliveries_total{outcome=\"given_up\"}[15m])) > 0".to_owned(),
            holds: "0s",
            severity: "critical",
            summary: "Channel {{ $labels.channel }} did not deliver, and it was given up",
            action: "`whimbrel alerts test --channel {{ $labels.channel }}` says what is wrong",
        })
        .alert(Alert {
            name: "AgentAbsent",
            expr: "absent(target_info{service_name=\"whimbrel\"})".to_owned(),
            holds: "5m",
            severity: "critical",
            summary: "No Whimbrel agent is scraped",
            action: "See whether it runs (/healthz), and whether Prometheus reaches it (/targets)",
        }),
    ];
    Row { title: "Alerts", panels }
}

fn mongodb() -> Row {
    let panels = vec![
        lines(
            "Documents",
            "Documents a second that migrations have committed.",
            "suffix: documents/s",
            &[("rate(mongodb_migration_documents_total[5m])", "{{version}} - {{collection}}")],
        ),
        lines(
            "Errors",
            "Errors a second, also of attempts that were made again.",
            "suffix: errors/s",
            &[("rate(mongodb_migration_errors_total[5m])", "{{version}} - {{error_type}}")],
        ),
        figures(
            "Runs",
            "That ended, by how.",
            "none",
            &[("sum by (version, status) (mongodb_migration_duration_seconds_count)", "{{version}} - {{status}}")],
        )
        .alert(Alert {
            name: "MongodbMigrationFailed",
            expr: "sum by (version) (increase(mongodb_migration_duration_seconds_count{status=\"failed\"}[10m])) > 0"
                .to_owned(),
            holds: "0s",
            severity: "critical",
            summary: "Migration {{ $labels.version }} of MongoDB failed",
            action: "`whimbrel migrate status` says why; the same command goes on where it stopped",
        }),
        figures(
            "Mean duration",
            "Of the runs that ended.",
            "s",
            &[(
                "mongodb_migration_duration_seconds_sum / mongodb_migration_duration_seconds_count",
                "{{version}} - {{status}}",
            )],
        ),
    ];
    Row { title: "MongoDB migrations", panels }
}
