//! What an operator may ask of a running agent over HTTP: load plugins again, promote a shadow, hand out the last batch of
//! a plugin. Carries the request to
//! whoever does it and the answer back; does nothing by itself.
//!
//! No password is asked for, so these pages exist on a loopback address only, and no web page can use them: they want a
//! header that a browser sends to another origin only after asking (which is never answered), and refuse whatever says
//! that it comes from a page at all.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::http::Surface;
use super::status::Problem;
use crate::stats::Conditions;

/// Requests that may wait. People and scripts ask one thing after another.
const QUEUE: usize = 16;

/// The header that requests must carry, with the value `1`.
pub const HEADER: &str = "x-whimbrel";

/// What is asked for.
#[derive(Debug)]
pub enum Order {
    /// Load everything whose file has other content than what works.
    Reload,
    /// Load what stands in these files.
    Changed(Vec<std::path::PathBuf>),
    /// Put a shadow in the place of the plugin at work.
    Promote {
        /// The pipeline.
        pipeline: String,
        /// The plugin's name in it.
        plugin: String,
        /// What must have been seen of it.
        wanted: Conditions,
    },
    /// Hand out the last batch of a plugin as a replay case.
    Record {
        /// The pipeline.
        pipeline: String,
        /// The plugin's name in it.
        plugin: String,
        /// Whose values are to be in it.
        show: Shown,
    },
}

/// Whose values a replay case is to have; the configuration has the last word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shown {
    /// Columns, with commas between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show: Option<String>,
    /// All columns.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub show_all: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Answer {
    /// Whether everything went as asked.
    pub done: bool,
    /// For the asker.
    pub body: Box<RawValue>,
}

/// An order and who waits for the answer.
#[derive(Debug)]
pub struct Request {
    /// The order.
    pub order: Order,
    /// Where the answer goes.
    pub reply: Option<oneshot::Sender<Answer>>,
}

/// Takes orders. Clones take them for the same.
#[derive(Debug, Clone)]
pub struct Control {
    sender: mpsc::Sender<Request>,
}

/// A control, and where its orders come out.
#[must_use]
pub fn control() -> (Control, mpsc::Receiver<Request>) {
    let (sender, orders) = mpsc::channel(QUEUE);
    (Control { sender }, orders)
}

impl Control {
    /// Gives an order and goes on; false when nobody takes orders any more. Waits while many do.
    pub async fn tell(&self, order: Order) -> bool {
        self.sender.send(Request { order, reply: None }).await.is_ok()
    }

    /// [`Control::tell`] for threads that may block.
    #[must_use]
    pub fn tell_blocking(&self, order: Order) -> bool {
        self.sender.blocking_send(Request { order, reply: None }).is_ok()
    }

    async fn ask(&self, order: Order) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(Request { order, reply: Some(reply) }).ok()?;
        answer.await.ok()
    }
}

/// Whether no web page can have sent this.
pub(super) fn check(headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.get(HEADER).is_none_or(|value| value != "1") {
        return Err("add the header `x-whimbrel: 1`");
    }
    let from_page = headers.contains_key(header::ORIGIN)
        || headers.get("sec-fetch-site").is_some_and(|site| site != "none" && site != "same-origin");
    if from_page {
        return Err("no web page may ask for this");
    }
    Ok(())
}

async fn answered(surface: &Surface, headers: &HeaderMap, order: Order) -> Response {
    if let Err(error) = check(headers) {
        return (StatusCode::FORBIDDEN, Json(Problem { error })).into_response();
    }
    let answer = match &surface.control {
        Some(control) => control.ask(order).await,
        None => None,
    };
    match answer {
        Some(Answer { done: true, body }) => Json(body).into_response(),
        Some(Answer { done: false, body }) => (StatusCode::CONFLICT, Json(body)).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, Json(Problem { error: "nobody takes orders now; try again" }))
            .into_response(),
    }
}

pub(crate) async fn reload(State(surface): State<Surface>, headers: HeaderMap) -> Response {
    answered(&surface, &headers, Order::Reload).await
}

pub(crate) async fn promote(
    State(surface): State<Surface>,
    Path((pipeline, plugin)): Path<(String, String)>,
    headers: HeaderMap,
    Json(wanted): Json<Conditions>,
) -> Response {
    answered(&surface, &headers, Order::Promote { pipeline, plugin, wanted }).await
}

pub(crate) async fn recorded(
    State(surface): State<Surface>,
    Path((pipeline, plugin)): Path<(String, String)>,
    Query(show): Query<Shown>,
    headers: HeaderMap,
) -> Response {
    answered(&surface, &headers, Order::Record { pipeline, plugin, show }).await
}

pub(crate) async fn refused() -> Response {
    let error = "this is done on a loopback address only; set `http.listen` to one";
    (StatusCode::FORBIDDEN, Json(Problem { error })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_web_page_can_send_is_taken() {
        for (headers, expect) in [
            (vec![("x-whimbrel", "1")], true),
            (vec![("x-whimbrel", "1"), ("sec-fetch-site", "none")], true),
            (vec![], false),
            (vec![("x-whimbrel", "yes")], false),
            (vec![("x-whimbrel", "1"), ("origin", "http://127.0.0.1:9464")], false),
            (vec![("x-whimbrel", "1"), ("origin", "null")], false),
            (vec![("x-whimbrel", "1"), ("sec-fetch-site", "cross-site")], false),
        ] {
            let map = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(check(&map).is_ok(), expect, "{headers:?}");
        }
    }
}
