//! The instruments: every metric of the agent, through the OpenTelemetry metrics API.
//!
//! Counters and gauges are *observable*: the code counts into plain tables, and a reader (scrape or push) asks for them.
//! So there is no reader-side state to keep in step, series end with what they describe, and a batch costs a few map
//! look-ups. Only histograms are fed directly. Who reads is `export/`'s business; without a provider behind the meter all
//! of this counts for the status API alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use opentelemetry::{InstrumentationScope, Key, KeyValue, StringValue, Value};

use super::connectors::{BoardLevel, ConnectorBoard};
use super::family::{Counters, Gauges, Join, Label, Labels, Spec};
use super::lag::LagState;
use super::migrations::{MigrationBoard, MigrationLevel};
use super::observer::Observer;
use super::places::PluginPlace;
use super::plugins::PluginMeter;
use super::state::PipelineState;
use super::timings::Timings;

/// Now, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Series per metric unless the configuration says otherwise: Prometheus copes with far more, people do not.
pub const DEFAULT_MAX_SERIES: usize = 2_000;

/// From a millisecond, the least a hop can take here, to half an hour, when any bucket would do.
const HOP_SECONDS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];
/// A call handles a batch: tens of microseconds to the call limit's default of one second.
const CALL_SECONDS: [f64; 12] =
    [0.000_01, 0.000_025, 0.000_1, 0.000_25, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 10.0];
/// The semantic conventions' advice for this metric.
const DB_SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// As `docs/design/observability.md` has them.
const DOCUMENT_MIGRATION_SECONDS: [f64; 6] = [1.0, 5.0, 15.0, 30.0, 60.0, 300.0];
/// As `docs/design/observability.md` has them.
const MIGRATION_SECONDS: [f64; 5] = [60.0, 300.0, 600.0, 1_800.0, 3_600.0];

/// Counters, in the order of [`COUNTERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Events,
    DeadLetters,
    Toast,
    Lossy,
    Rows,
    Bytes,
    Dropped,
    PluginCalls,
    PluginEvents,
    PluginTraps,
    ConnectorFailures,
    ConnectorRestarts,
    PluginReloads,
    PluginShadow,
    PluginBundles,
    Documents,
    DocumentsAttempted,
    DocumentErrors,
    MigratedRows,
    MigratedRowsAttempted,
    MigrationErrors,
    AlertDeliveries,
}

const COUNTERS: [Spec; 22] = [
    Spec {
        name: "cdc_events_processed_total",
        help: "Change events made durable at the target.",
        labels: &["source", "table", "operation"],
    },
    Spec { name: "cdc_dead_letters_total", help: "Events stored as dead letters.", labels: &["pipeline", "reason"] },
    Spec {
        name: "cdc_unchanged_toast_values_total",
        help: "Values the source did not send because they did not change; the target's column was left alone.",
        labels: &["pipeline"],
    },
    Spec {
        name: "cdc_lossy_conversions_total",
        help: "Values that lost information on their way into the target's type.",
        labels: &["pipeline", "table", "column"],
    },
    Spec {
        name: "cdc_rows_written_total",
        help: "Rows written or deleted at the target, after coalescing.",
        labels: &["pipeline"],
    },
    Spec {
        name: "cdc_read_bytes_total",
        help: "Bytes of record payload that were made durable.",
        labels: &["pipeline"],
    },
    Spec { name: "cdc_events_dropped_total", help: "Events a plugin dropped.", labels: &["pipeline"] },
    Spec { name: "plugin_calls_total", help: "Calls into plugins.", labels: &["plugin", "outcome"] },
    Spec { name: "plugin_events_total", help: "Events by the plugin's verdict.", labels: &["plugin", "verdict"] },
    Spec { name: "plugin_traps_total", help: "Calls that ended in a trap.", labels: &["plugin", "cause"] },
    Spec {
        name: "cdc_connector_task_failures_total",
        help: "Times that a connector or one of its tasks was found FAILED.",
        labels: &["connector"],
    },
    Spec {
        name: "cdc_connector_restarts_total",
        help: "Requests to restart what failed in a connector.",
        labels: &["connector", "outcome"],
    },
    Spec {
        name: "plugin_reloads_total",
        help: "Attempts to put a new version of the plugin into its place.",
        labels: &["plugin", "outcome"],
    },
    Spec {
        name: "plugin_shadow_events_total",
        help: "Events by how the answer of the version in the shadow compares with the one that counted.",
        labels: &["plugin", "outcome"],
    },
    Spec {
        name: "plugin_repro_bundles_total",
        help: "Replay cases of crashes, written or dropped.",
        labels: &["plugin", "outcome"],
    },
    Spec {
        name: "mongodb_migration_documents_total",
        help: "Documents that migrations changed, committed.",
        labels: &["version", "collection"],
    },
    Spec {
        name: "mongodb_migration_documents_attempted_total",
        help: "Documents that migrations tried to change, in transactions that were committed or not.",
        labels: &["version", "collection"],
    },
    Spec {
        name: "mongodb_migration_errors_total",
        help: "Errors of migrations by MongoDB's name for them, also of attempts that were made again.",
        labels: &["version", "error_type"],
    },
    Spec {
        name: "migration_rows_total",
        help: "Rows that migrations changed, committed.",
        labels: &["migration_id", "table_name"],
    },
    Spec {
        name: "migration_rows_attempted_total",
        help: "Rows that migrations tried to change, in transactions that were committed or not.",
        labels: &["migration_id", "table_name"],
    },
    Spec {
        name: "migration_errors_total",
        help: "Errors of migrations by the server's name for them, also of attempts that were made again.",
        labels: &["migration_id", "error_type"],
    },
    Spec {
        name: "alert_deliveries_total",
        help: "Attempts to have a channel deliver a notification.",
        labels: &["channel", "outcome"],
    },
];

/// Gauges, in the order of [`GAUGES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    ConsumerLag,
    ReplicationLag,
    LagState,
    ProofAge,
    CatchupEta,
    ClockSkew,
    DeadLetters,
    PipelineState,
    PipelineInfo,
    PluginMemory,
    PluginInfo,
    Connectors(BoardLevel),
    Migrations(MigrationLevel),
    DataLag,
    AlertsFiring,
}

impl Level {
    const ALL: [Self; 22] = [
        Self::ConsumerLag,
        Self::ReplicationLag,
        Self::LagState,
        Self::ProofAge,
        Self::CatchupEta,
        Self::ClockSkew,
        Self::DeadLetters,
        Self::PipelineState,
        Self::PipelineInfo,
        Self::PluginMemory,
        Self::PluginInfo,
        Self::Connectors(BoardLevel::Up),
        Self::Connectors(BoardLevel::State),
        Self::Connectors(BoardLevel::Progress),
        Self::Connectors(BoardLevel::Tasks),
        Self::Connectors(BoardLevel::Drift),
        Self::Connectors(BoardLevel::RestartsLeft),
        Self::Migrations(MigrationLevel::Progress),
        Self::Migrations(MigrationLevel::Eta),
        Self::Migrations(MigrationLevel::Info),
        Self::DataLag,
        Self::AlertsFiring,
    ];

    const fn spec(self) -> (Spec, Join) {
        let (name, help, labels, join): (_, _, &'static [&'static str], _) = match self {
            Self::ConsumerLag => (
                "cdc_consumer_lag_messages",
                "End offset minus what is durable at the target.",
                &["topic", "partition"],
                Join::Largest,
            ),
            Self::ReplicationLag => (
                "cdc_replication_lag_seconds",
                "From commit at the source to visible at the target: 0 only when proven, otherwise an upper bound.",
                &["source_table", "target_table"],
                Join::Largest,
            ),
            Self::LagState => {
                ("cdc_lag_state", "1 for the state the pipeline is in.", &["pipeline", "state"], Join::Largest)
            }
            Self::ProofAge => (
                "cdc_lag_proof_age_seconds",
                "Age of the moment until which everything committed is proven visible; absent before the first proof.",
                &["pipeline"],
                Join::Largest,
            ),
            Self::CatchupEta => (
                "cdc_catchup_eta_seconds",
                "Until the backlog is gone at present rates; absent while it is not shrinking or not known.",
                &["pipeline"],
                Join::Largest,
            ),
            Self::ClockSkew => (
                "cdc_clock_skew_seconds",
                "How far the source's clock is ahead of this agent's, at least.",
                &["pipeline"],
                Join::Largest,
            ),
            Self::DeadLetters => {
                ("cdc_dead_letters", "Dead letters stored and not yet settled.", &["pipeline"], Join::Largest)
            }
            Self::PipelineState => {
                ("cdc_pipeline_state", "1 for what the pipeline is doing.", &["pipeline", "state"], Join::Largest)
            }
            Self::PipelineInfo => (
                "cdc_pipeline_info",
                "Facts about the pipeline; always 1.",
                &["pipeline", "source", "target", "group", "migration_id"],
                Join::Largest,
            ),
            Self::PluginMemory => {
                ("plugin_memory_bytes", "Linear memory of the plugin's instances.", &["plugin"], Join::Sum)
            }
            Self::PluginInfo => {
                ("plugin_info", "Facts about the plugin; always 1.", &["plugin", "version", "digest"], Join::Largest)
            }
            Self::Connectors(BoardLevel::Up) => {
                ("cdc_connect_up", "1 if Kafka Connect answered the last look.", &[], Join::Largest)
            }
            Self::Connectors(BoardLevel::State) => (
                "cdc_connector_state",
                "1 for what the states of the connector and its tasks amount to.",
                &["connector", "state"],
                Join::Largest,
            ),
            Self::Connectors(BoardLevel::Progress) => (
                "cdc_connector_progress",
                "1 for whether the connector moves.",
                &["connector", "progress"],
                Join::Largest,
            ),
            Self::Connectors(BoardLevel::Tasks) => {
                ("cdc_connector_tasks", "Tasks of the connector by state.", &["connector", "state"], Join::Largest)
            }
            Self::Connectors(BoardLevel::Drift) => (
                "cdc_connector_drifted_properties",
                "Properties of the connector that are not as configured.",
                &["connector"],
                Join::Largest,
            ),
            Self::Connectors(BoardLevel::RestartsLeft) => (
                "cdc_connector_restarts_left",
                "Restarts of the connector that the budget still allows in its window.",
                &["connector"],
                Join::Largest,
            ),
            Self::Migrations(MigrationLevel::Progress) => (
                "migration_progress_ratio",
                "How much of the migration that runs is done, from 0 to 1; absent where nobody can tell.",
                &["migration_id"],
                Join::Smallest,
            ),
            Self::Migrations(MigrationLevel::Eta) => (
                "migration_eta_seconds",
                "Until the step that runs is done, at the present pace; absent while that is not known.",
                &["migration_id"],
                Join::Largest,
            ),
            Self::Migrations(MigrationLevel::Info) => (
                "migration_info",
                "Facts about the migration that runs; always 1.",
                &["migration_id", "name", "set", "system", "direction"],
                Join::Largest,
            ),
            Self::DataLag => (
                "migration_data_lag_seconds",
                "From commit at the source to visible at the target, of the pipelines of a migration: 0 only when proven, \
                 otherwise an upper bound; absent while there is none.",
                &["migration_id"],
                Join::Largest,
            ),
            Self::AlertsFiring => {
                ("alerts_firing", "Incidents that fire, silenced or not.", &["severity"], Join::Largest)
            }
        };
        (Spec { name, help, labels }, join)
    }
}

pub(crate) struct Inner {
    pub(crate) clock: Clock,
    budget: usize,
    counters: Vec<Counters>,
    gauges: Vec<(Level, Gauges)>,
    group_lag: Gauges,
    observers: Mutex<Vec<Weak<Observer>>>,
    plugins: Mutex<Vec<Weak<PluginMeter>>>,
    connectors: Mutex<Weak<ConnectorBoard>>,
    migrations: Mutex<Weak<MigrationBoard>>,
    places: Mutex<Vec<Weak<PluginPlace>>>,
    /// Incidents that fire by severity, where somebody watches.
    alerts: Mutex<Option<[(&'static str, u64); 3]>>,
    pub(crate) hop: Histogram<f64>,
    pub(crate) call: Histogram<f64>,
    pub(crate) document_migration: Timings,
    pub(crate) migration: Timings,
    pub(crate) db: Option<Histogram<f64>>,
    pub(crate) custom: Custom,
}

/// The series that plugins have of their own, told apart by labels: their names are not trusted to be metric names.
pub(crate) struct Custom {
    pub(crate) total: Counter<f64>,
    pub(crate) value: Gauge<f64>,
    pub(crate) observations: Histogram<f64>,
}

impl Custom {
    fn new(meter: &Meter) -> Self {
        Self {
            total: meter
                .f64_counter("plugin_custom_total")
                .with_description("What plugins count on their own account.")
                .build(),
            value: meter
                .f64_gauge("plugin_custom_value")
                .with_description("What plugins measure on their own account.")
                .build(),
            observations: meter
                .f64_histogram("plugin_custom_observations")
                .with_description("What plugins observe on their own account.")
                .build(),
        }
    }
}

/// The instruments; a handle, passed down by value.
#[derive(Clone)]
pub struct Instruments {
    pub(crate) inner: Arc<Inner>,
}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instruments").field("budget", &self.inner.budget).finish_non_exhaustive()
    }
}

impl Instruments {
    /// Registers every metric with `meter`. `conventions` is the meter for the names of the OpenTelemetry collector and the
    /// semantic conventions; `None` leaves them out.
    #[must_use]
    pub fn new(meter: &Meter, conventions: Option<&Meter>, max_series: usize, clock: Clock) -> Self {
        let budget = max_series.max(1);
        let inner = Arc::new(Inner {
            clock,
            budget,
            counters: COUNTERS.iter().map(|spec| Counters::new(*spec, budget)).collect(),
            gauges: Level::ALL
                .iter()
                .map(|level| {
                    let (spec, join) = level.spec();
                    (*level, Gauges::new(spec, join, budget))
                })
                .collect(),
            group_lag: Gauges::new(GROUP_LAG, Join::Largest, budget),
            observers: Mutex::default(),
            plugins: Mutex::default(),
            connectors: Mutex::default(),
            migrations: Mutex::default(),
            places: Mutex::default(),
            alerts: Mutex::default(),
            hop: meter
                .f64_histogram("cdc_hop_duration_seconds")
                .with_description("How long a part of the way took; a sample of at most eight events a batch.")
                .with_unit("s")
                .with_boundaries(HOP_SECONDS.to_vec())
                .build(),
            call: meter
                .f64_histogram("plugin_call_duration_seconds")
                .with_description("How long a call into a plugin took.")
                .with_unit("s")
                .with_boundaries(CALL_SECONDS.to_vec())
                .build(),
            document_migration: Timings::new(
                meter,
                ("mongodb_migration_duration_seconds", "How long a run of a migration of MongoDB took."),
                "version",
                &DOCUMENT_MIGRATION_SECONDS,
                budget,
            ),
            migration: Timings::new(
                meter,
                (
                    "migration_duration_seconds",
                    "How long a run of a migration of a SQL database, or an observed one, took.",
                ),
                "migration_id",
                &MIGRATION_SECONDS,
                budget,
            ),
            custom: Custom::new(meter),
            db: conventions.map(|meter| {
                meter
                    .f64_histogram("db.client.operation.duration")
                    .with_unit("s")
                    .with_description("Duration of database client operations.")
                    .with_boundaries(DB_SECONDS.to_vec())
                    .build()
            }),
        });
        register(&inner, meter, conventions);
        Self { inner }
    }

    /// Instruments nobody reads.
    #[must_use]
    pub fn detached(clock: Clock) -> Self {
        use opentelemetry::metrics::MeterProvider as _;
        let provider = opentelemetry::metrics::noop::NoopMeterProvider::new();
        let meter = provider.meter_with_scope(InstrumentationScope::builder("whimbrel").build());
        Self::new(&meter, None, DEFAULT_MAX_SERIES, clock)
    }

    /// Now.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.inner.clock)()
    }

    pub(crate) fn add(&self, which: Count, labels: Labels, count: u64) {
        if let Some(counters) = self.inner.counters.get(which as usize) {
            counters.add(labels, count);
        }
    }

    pub(crate) fn watch(&self, observer: &Arc<Observer>) {
        let mut observers = self.inner.observers.lock().unwrap_or_else(PoisonError::into_inner);
        observers.retain(|known| known.strong_count() > 0);
        observers.push(Arc::downgrade(observer));
    }

    pub(crate) fn watch_plugin(&self, plugin: &Arc<PluginMeter>) {
        let mut plugins = self.inner.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.retain(|known| known.strong_count() > 0);
        plugins.push(Arc::downgrade(plugin));
    }

    pub(crate) fn watch_connectors(&self, board: &Arc<ConnectorBoard>) {
        *self.inner.connectors.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(board);
    }

    /// The board of the connectors, if there is one.
    #[must_use]
    pub fn connectors(&self) -> Option<Arc<ConnectorBoard>> {
        self.inner.connectors.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    pub(crate) fn watch_migrations(&self, board: &Arc<MigrationBoard>) {
        *self.inner.migrations.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(board);
    }

    /// The board of the migrations, if there is one.
    #[must_use]
    pub fn migrations(&self) -> Option<Arc<MigrationBoard>> {
        self.inner.migrations.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    #[cfg(test)]
    pub(crate) fn total(&self, which: Count, labels: &Labels) -> u64 {
        let mut found = 0;
        if let Some(counters) = self.inner.counters.get(which as usize) {
            counters.each(|known, total| {
                if known == labels {
                    found = total;
                }
            });
        }
        found
    }

    pub(crate) fn watch_place(&self, place: &Arc<PluginPlace>) {
        let mut places = self.inner.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|known| known.strong_count() > 0);
        places.push(Arc::downgrade(place));
    }

    /// The places of plugins, in the order in which they were made.
    #[must_use]
    pub fn places(&self) -> Vec<Arc<PluginPlace>> {
        let places = self.inner.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().filter_map(Weak::upgrade).collect()
    }

    /// Incidents that fire now, by severity.
    pub fn alerts_firing(&self, counts: [(&'static str, u64); 3]) {
        *self.inner.alerts.lock().unwrap_or_else(PoisonError::into_inner) = Some(counts);
    }

    /// The meters of the plugins that are loaded.
    #[must_use]
    pub fn plugins(&self) -> Vec<Arc<PluginMeter>> {
        let plugins = self.inner.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.iter().filter_map(Weak::upgrade).collect()
    }

    /// A channel was asked to deliver: `outcome` is `delivered`, `failed`, `given_up` or `passed_on`.
    pub fn alert_delivery(&self, channel: &str, outcome: &'static str) {
        self.add(Count::AlertDeliveries, vec![Label::Name(channel.into()), Label::Word(outcome)], 1);
    }

    /// The observers that are alive, by name.
    #[must_use]
    pub fn observers(&self) -> Vec<Arc<Observer>> {
        let mut all = self.inner.observers();
        all.sort_by(|a, b| a.pipeline().cmp(b.pipeline()));
        all
    }
}

const GROUP_LAG: Spec = Spec {
    name: "kafka.consumer_group.lag",
    help: "Current approximate lag of consumer group at partition of topic",
    labels: &["group", "topic", "partition"],
};

fn register(inner: &Arc<Inner>, meter: &Meter, conventions: Option<&Meter>) {
    for (index, spec) in COUNTERS.iter().enumerate() {
        let weak = Arc::downgrade(inner);
        meter
            .u64_observable_counter(spec.name)
            .with_description(spec.help)
            .with_unit(unit(spec.name))
            .with_callback(move |observe| {
                let Some(inner) = weak.upgrade() else { return };
                if let Some(counters) = inner.counters.get(index) {
                    counters.each(|labels, total| observe.observe(total, &attributes(&counters.spec, labels)));
                }
            })
            .build();
    }
    let weak = Arc::downgrade(inner);
    meter
        .u64_observable_counter("series_overflow_total")
        .with_description("Label sets beyond the metric's budget of series, counted in its overflow series.")
        .with_callback(move |observe| {
            let Some(inner) = weak.upgrade() else { return };
            let counters = inner.counters.iter().map(|counters| (counters.spec.name, counters.refused()));
            let gauges = inner.gauges.iter().map(|(_, gauges)| (gauges.spec.name, gauges.refused()));
            let timings = [&inner.document_migration, &inner.migration].map(|one| (one.name, one.refused()));
            for (metric, refused) in counters.chain(gauges).chain(timings) {
                observe.observe(refused, &[KeyValue::new("metric", metric)]);
            }
        })
        .build();
    for (index, (_, gauges)) in inner.gauges.iter().enumerate() {
        let weak = Arc::downgrade(inner);
        meter
            .f64_observable_gauge(gauges.spec.name)
            .with_description(gauges.spec.help)
            .with_unit(unit(gauges.spec.name))
            .with_callback(move |observe| {
                let Some(inner) = weak.upgrade() else { return };
                if let Some((level, gauges)) = inner.gauges.get(index) {
                    for (labels, value) in gauges.settle(inner.level(*level)) {
                        observe.observe(value, &attributes(&gauges.spec, &labels));
                    }
                }
            })
            .build();
    }
    if let Some(meter) = conventions {
        let weak = Arc::downgrade(inner);
        meter
            .i64_observable_gauge(GROUP_LAG.name)
            .with_unit("1")
            .with_description(GROUP_LAG.help)
            .with_callback(move |observe| {
                let Some(inner) = weak.upgrade() else { return };
                for (labels, value) in inner.group_lag.settle(inner.group_lags()) {
                    #[expect(clippy::cast_possible_truncation, reason = "a difference of offsets")]
                    observe.observe(value as i64, &group_attributes(&labels));
                }
            })
            .build();
    }
}

/// Names follow Prometheus and end with the unit; over OTLP the unit is told as well.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("messages") => "{message}",
        _ => "",
    }
}

fn value_of(label: &Label) -> StringValue {
    match label {
        Label::Word(word) => StringValue::from(*word),
        Label::Name(name) => StringValue::from(Arc::clone(name)),
    }
}

fn attributes(spec: &Spec, labels: &Labels) -> Vec<KeyValue> {
    spec.labels.iter().zip(labels).map(|(name, value)| KeyValue::new(*name, value_of(value))).collect()
}

/// The collector's receiver gives the partition as a number.
fn group_attributes(labels: &Labels) -> Vec<KeyValue> {
    GROUP_LAG
        .labels
        .iter()
        .zip(labels)
        .map(|(name, value)| {
            let number = (*name == "partition").then(|| value.as_str().parse::<i64>().ok()).flatten();
            KeyValue::new(Key::from(*name), number.map_or_else(|| Value::from(value_of(value)), Value::I64))
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds and counts as metric values")]
const fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

impl Inner {
    fn observers(&self) -> Vec<Arc<Observer>> {
        let observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner);
        observers.iter().filter_map(Weak::upgrade).collect()
    }

    fn level(&self, level: Level) -> Vec<(Labels, f64)> {
        match level {
            Level::PluginMemory | Level::PluginInfo => return self.plugin_level(level),
            Level::AlertsFiring => {
                let alerts = *self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
                #[expect(clippy::cast_precision_loss, reason = "a count as a metric value")]
                let value = |(severity, count): (&'static str, u64)| (vec![Label::Word(severity)], count as f64);
                return alerts.map_or_else(Vec::new, |counts| counts.map(value).to_vec());
            }
            Level::Connectors(level) => {
                let board = self.connectors.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
                return board.map_or_else(Vec::new, |board| board.level(level));
            }
            Level::Migrations(level) => {
                let board = self.migrations.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
                return board.map_or_else(Vec::new, |board| board.level(level));
            }
            _ => {}
        }
        let now_ms = (self.clock)();
        let mut values = Vec::new();
        for observer in self.observers() {
            observer_level(&observer, level, now_ms, &mut values);
        }
        values
    }

    fn plugin_level(&self, level: Level) -> Vec<(Labels, f64)> {
        let plugins: Vec<_> = {
            let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
            plugins.iter().filter_map(Weak::upgrade).collect()
        };
        let value = |plugin: &Arc<PluginMeter>| {
            let name = Label::from(plugin.name());
            match level {
                Level::PluginMemory => (vec![name], plugin.memory()),
                _ => (vec![name, Label::from(plugin.version()), Label::from(plugin.digest())], 1.0),
            }
        };
        plugins.iter().map(value).collect()
    }

    fn group_lags(&self) -> Vec<(Labels, f64)> {
        let now_ms = (self.clock)();
        let mut values = Vec::new();
        for observer in self.observers() {
            let group = Label::Name(observer.consumer_group());
            for (labels, lag) in partition_lags(&observer, now_ms) {
                values.push((std::iter::once(group.clone()).chain(labels).collect(), lag));
            }
        }
        values
    }
}

fn partition_lags(observer: &Observer, now_ms: i64) -> Vec<(Labels, f64)> {
    let report = observer.recent_lag(now_ms);
    let mut numbers: HashMap<i32, Arc<str>> = HashMap::new();
    report
        .partitions
        .iter()
        .filter_map(|partition| {
            let number = numbers.entry(partition.partition).or_insert_with(|| partition.partition.to_string().into());
            #[expect(clippy::cast_precision_loss, reason = "a count as a metric value")]
            let messages = partition.messages? as f64;
            Some((vec![Label::from(&partition.topic), Label::from(&*number)], messages))
        })
        .collect()
}

fn observer_level(observer: &Observer, level: Level, now_ms: i64, values: &mut Vec<(Labels, f64)>) {
    let name = || Label::from(observer.pipeline());
    let one_of = |yes: bool| if yes { 1.0 } else { 0.0 };
    match level {
        Level::ConsumerLag => values.extend(partition_lags(observer, now_ms)),
        Level::ReplicationLag => {
            let report = observer.recent_lag(now_ms);
            values.extend(report.tables.iter().map(|table| {
                (vec![Label::from(&table.source_table), Label::from(&table.target_table)], seconds(table.time_lag_ms))
            }));
        }
        Level::LagState => {
            let state = observer.recent_lag(now_ms).state;
            values.extend(LagState::ALL.map(|one| (vec![name(), Label::Word(one.as_str())], one_of(one == state))));
        }
        Level::DataLag => {
            let report = observer.recent_lag(now_ms);
            // The worst of some is no bound for all.
            let mut own = report.partitions.iter().filter(|partition| !partition.heartbeat);
            if own.all(|partition| partition.time_lag_ms.is_some()) {
                let id = || vec![Label::Name(observer.migration())];
                values.extend(report.time_lag_ms.map(|lag| (id(), seconds(lag))));
            }
        }
        Level::ProofAge => {
            values.extend(observer.recent_lag(now_ms).proof_age_ms.map(|age| (vec![name()], seconds(age))));
        }
        Level::CatchupEta => {
            values.extend(observer.recent_lag(now_ms).catchup_eta_seconds.map(|eta| (vec![name()], eta)));
        }
        Level::ClockSkew => values.push((vec![name()], seconds(observer.recent_lag(now_ms).clock_skew_ms))),
        Level::DeadLetters => {
            #[expect(clippy::cast_precision_loss, reason = "a count as a metric value")]
            values.extend(observer.dead_letters().map(|count| (vec![name()], count as f64)));
        }
        Level::PipelineState => {
            let word = observer.state_word();
            values.extend(PipelineState::WORDS.map(|one| (vec![name(), Label::Word(one)], one_of(one == word))));
        }
        Level::PipelineInfo => values.push((
            vec![
                name(),
                Label::from(observer.source_kind()),
                Label::from(observer.target_kind()),
                Label::Name(observer.consumer_group()),
                Label::Name(observer.migration()),
            ],
            1.0,
        )),
        Level::PluginMemory | Level::PluginInfo | Level::Connectors(_) | Level::Migrations(_) | Level::AlertsFiring => {
        }
    }
}
