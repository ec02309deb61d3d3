//! `/api/v1/*`: the status as JSON. Fields are added, never renamed or removed, within `v1`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::http::Surface;
use crate::stats::{ConnectorsStatus, PipelineStatus, PluginMeter, PluginStatus};

/// The status of the agent.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    name: Arc<str>,
    version: &'static str,
    started_at_ms: i64,
    now_ms: i64,
    pipelines: Vec<PipelineStatus>,
    /// Only where connectors are configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    connectors: Option<ConnectorsStatus>,
    plugins: Vec<Place>,
}

/// How much is told of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Everything.
    Full,
    /// All but its partitions and tables.
    Compact,
}

/// A plugin in its place.
#[derive(Debug, Serialize)]
struct Place {
    #[serde(flatten)]
    status: PluginStatus,
    /// What the version at work cost since it was loaded; `null` where that is not counted.
    cost: Option<Cost>,
}

#[derive(Debug, Serialize)]
struct Cost {
    calls: u64,
    errors: u64,
    events: u64,
    seconds: f64,
    memory_bytes: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    pub(crate) error: &'static str,
}

impl Status {
    pub(crate) fn of(surface: &Surface, detail: Detail) -> Self {
        let observers = surface.instruments.observers();
        let pipelines = observers.iter().map(|observer| {
            let mut status = observer.status();
            if detail == Detail::Compact {
                (status.lag.partitions, status.lag.tables) = (Vec::new(), Vec::new());
            }
            status
        });
        Self {
            name: Arc::clone(&surface.name),
            version: env!("CARGO_PKG_VERSION"),
            started_at_ms: surface.started_at_ms,
            now_ms: surface.instruments.now_ms(),
            pipelines: pipelines.collect(),
            connectors: surface.instruments.connectors().map(|board| board.status()),
            plugins: places(surface),
        }
    }
}

pub(crate) async fn status(State(surface): State<Surface>) -> Response {
    Json(Status::of(&surface, Detail::Full)).into_response()
}

fn places(surface: &Surface) -> Vec<Place> {
    let meters = surface.instruments.plugins();
    let cost = |status: &PluginStatus| {
        let at_work = |meter: &&Arc<PluginMeter>| {
            let here = meter.pipeline().is_some_and(|pipeline| **pipeline == *status.pipeline);
            here && **meter.name() == *status.plugin && **meter.digest() == *status.edition.digest
        };
        meters.iter().find(at_work).map(|meter| {
            let totals = meter.totals();
            Cost {
                calls: totals.calls,
                errors: totals.errors,
                events: totals.events,
                seconds: totals.seconds,
                memory_bytes: meter.memory(),
            }
        })
    };
    let places = surface.instruments.places();
    places.iter().map(|place| place.status()).map(|status| Place { cost: cost(&status), status }).collect()
}

pub(crate) async fn plugins(State(surface): State<Surface>) -> Response {
    Json(places(&surface)).into_response()
}

pub(crate) async fn pipeline(State(surface): State<Surface>, Path(name): Path<String>) -> Response {
    match surface.instruments.observers().iter().find(|observer| **observer.pipeline() == *name) {
        Some(observer) => Json(observer.status()).into_response(),
        None => (StatusCode::NOT_FOUND, Json(Problem { error: "no such pipeline" })).into_response(),
    }
}

/// Which of several sets a migration is looked for in.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct OfSet {
    set: Option<String>,
}

pub(crate) async fn migrations(State(surface): State<Surface>) -> Response {
    match surface.instruments.migrations() {
        Some(board) => Json(board.status()).into_response(),
        None => (StatusCode::NOT_FOUND, Json(Problem { error: "no migrations are configured" })).into_response(),
    }
}

pub(crate) async fn migration(
    State(surface): State<Surface>,
    Path(id): Path<String>,
    Query(of): Query<OfSet>,
) -> Response {
    let all = surface.instruments.migrations().map(|board| board.status().migrations).unwrap_or_default();
    let mut found = all.into_iter().filter(|one| one.id == id && of.set.as_ref().is_none_or(|set| one.set == *set));
    match (found.next(), found.next()) {
        (Some(one), None) => Json(one).into_response(),
        (Some(_), Some(_)) => {
            (StatusCode::CONFLICT, Json(Problem { error: "several sets have one; add ?set=NAME" })).into_response()
        }
        (None, _) => (StatusCode::NOT_FOUND, Json(Problem { error: "no such migration" })).into_response(),
    }
}
