//! `/healthz` and `/readyz`.
//!
//! Healthy: the process answers; restarting it would help nothing else. Ready: every pipeline runs and no component of it
//! is down, and Kafka Connect runs every connector that is configured; being behind is not being unready, that is what lag
//! is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::http::Surface;
use crate::stats::{ConnectorsReadiness, PluginPlace, Readiness};

#[derive(Debug, Serialize)]
pub(crate) struct Ready {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    pipelines: BTreeMap<Arc<str>, Readiness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connectors: Option<ConnectorsReadiness>,
    /// Plugins whose last reload failed, by pipeline and name. The version before works, so this is no reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_reloaded: BTreeMap<String, String>,
}

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

pub(crate) async fn readyz(State(surface): State<Surface>) -> (StatusCode, Json<Ready>) {
    let pipelines: BTreeMap<_, _> = surface
        .instruments
        .observers()
        .iter()
        .map(|observer| (Arc::clone(observer.pipeline()), observer.readiness()))
        .collect();
    let connectors = surface.instruments.connectors().map(|board| board.readiness());
    // An agent that only watches migrations is ready for that.
    let nothing = pipelines.is_empty() && connectors.is_none() && surface.instruments.migrations().is_none();
    let reason = nothing.then_some("no pipeline has started");
    let ready = !nothing
        && pipelines.values().all(|pipeline| pipeline.ready)
        && connectors.as_ref().is_none_or(|connectors| connectors.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let failed = |place: &Arc<PluginPlace>| {
        let status = place.status();
        Some((format!("{}/{}", status.pipeline, status.plugin), status.last_reload?.why?))
    };
    let not_reloaded = surface.instruments.places().iter().filter_map(failed).collect();
    (status, Json(Ready { ready, reason, pipelines, connectors, not_reloaded }))
}
