//! `/healthz` and `/readyz`.
//!
//! Healthy: the process answers; restarting it would help nothing else. Ready: every pipeline runs and no component of it
//! is down; being behind is not being unready, that is what lag is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::http::Surface;
use crate::stats::Readiness;

#[derive(Debug, Serialize)]
pub(crate) struct Ready {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    pipelines: BTreeMap<Arc<str>, Readiness>,
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
    let reason = pipelines.is_empty().then_some("no pipeline has started");
    let ready = !pipelines.is_empty() && pipelines.values().all(|pipeline| pipeline.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, reason, pipelines }))
}
