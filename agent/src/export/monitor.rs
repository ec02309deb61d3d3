//! `/api/v1/incidents`, `/series`, `/silences`, `/channels`: what the monitor shows, and the little it may be asked for.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::control::check;
use super::http::Surface;
use super::status::Problem;
use crate::monitor::{Announced, NewPhase, NewSilence, View};
use crate::runtime::logging::chain;

/// A part of the history.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    scope: String,
    name: Option<String>,
    #[serde(default)]
    since_ms: i64,
    /// 1: by the second.
    #[serde(default)]
    fine: u8,
}

fn problem(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(json!({ "error": error.into() }))).into_response()
}

/// Asks the monitor off the async workers: it may read its file.
async fn asked(surface: &Surface, ask: impl FnOnce(&View) -> Response + Send + 'static) -> Response {
    let Some(view) = surface.monitor.get().cloned() else {
        return problem(StatusCode::NOT_FOUND, "nothing is monitored; add `monitor: {}` to the configuration");
    };
    match tokio::task::spawn_blocking(move || ask(&view)).await {
        Ok(response) => response,
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the monitor did not answer"),
    }
}

pub(crate) async fn incidents(State(surface): State<Surface>) -> Response {
    asked(&surface, |view| Json(view.incidents()).into_response()).await
}

pub(crate) async fn series(State(surface): State<Surface>, Query(wanted): Query<Wanted>) -> Response {
    asked(&surface, move |view| {
        match view.series(&wanted.scope, wanted.name.as_deref(), wanted.since_ms, wanted.fine == 1) {
            Ok(series) => Json(series).into_response(),
            Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, chain(&error)),
        }
    })
    .await
}

pub(crate) async fn silences(State(surface): State<Surface>) -> Response {
    asked(&surface, |view| Json(view.silences()).into_response()).await
}

pub(crate) async fn channels(State(surface): State<Surface>) -> Response {
    asked(&surface, |view| match view.channels() {
        Ok(channels) => Json(channels).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, chain(&error)),
    })
    .await
}

fn announced(outcome: Result<Announced, String>) -> Response {
    match outcome {
        Ok(announced) => (StatusCode::CREATED, Json(announced)).into_response(),
        Err(error) => problem(StatusCode::UNPROCESSABLE_ENTITY, error),
    }
}

async fn ordered(
    surface: &Surface,
    headers: &HeaderMap,
    ask: impl FnOnce(&View) -> Response + Send + 'static,
) -> Response {
    match check(headers) {
        Ok(()) => asked(surface, ask).await,
        Err(error) => (StatusCode::FORBIDDEN, Json(Problem { error })).into_response(),
    }
}

pub(crate) async fn silence(
    State(surface): State<Surface>,
    headers: HeaderMap,
    Json(new): Json<NewSilence>,
) -> Response {
    ordered(&surface, &headers, move |view| announced(view.silence(new))).await
}

pub(crate) async fn phase(State(surface): State<Surface>, headers: HeaderMap, Json(new): Json<NewPhase>) -> Response {
    ordered(&surface, &headers, move |view| announced(view.announce(new))).await
}

pub(crate) async fn expire(State(surface): State<Surface>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    ordered(&surface, &headers, move |view| match view.expire(&id) {
        Ok(true) => Json(Value::from("expired")).into_response(),
        Ok(false) => problem(StatusCode::NOT_FOUND, format!("no silence or phase `{id}` holds")),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, error),
    })
    .await
}
