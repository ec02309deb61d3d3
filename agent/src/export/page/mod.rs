//! The status page at `/`: its files, as they stand beside this one. They fetch nothing from elsewhere, and the policy that
//! they are sent with would not let them.
//!
//! What the page shows comes from `/api/v1/*`; nothing is made here.

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::status::Problem;

/// Scripts, styles, pictures and requests of this origin, none of them inline; text is never made markup.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                                 base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                                 require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = include_str!("index.html");

/// The files beneath `/page/`: name, kind, what is in them.
const FILES: [(&str, &str, &str); 14] = [
    ("page.css", CSS, include_str!("page.css")),
    ("icon.svg", SVG, include_str!("icon.svg")),
    ("main.js", SCRIPT, include_str!("main.js")),
    ("stream.js", SCRIPT, include_str!("stream.js")),
    ("history.js", SCRIPT, include_str!("history.js")),
    ("charts.js", SCRIPT, include_str!("charts.js")),
    ("pipelines.js", SCRIPT, include_str!("pipelines.js")),
    ("incidents.js", SCRIPT, include_str!("incidents.js")),
    ("migrations.js", SCRIPT, include_str!("migrations.js")),
    ("plugins.js", SCRIPT, include_str!("plugins.js")),
    ("words.js", SCRIPT, include_str!("words.js")),
    ("dom.js", SCRIPT, include_str!("dom.js")),
    ("uPlot.iife.min.js", SCRIPT, include_str!("vendor/uPlot.iife.min.js")),
    ("uPlot.min.css", CSS, include_str!("vendor/uPlot.min.css")),
];

/// The licence that the charts come with.
const LICENCE: (&str, &str) = ("uPlot.LICENSE", include_str!("vendor/uPlot.LICENSE"));

/// The page and its files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(async || answer(HTML, INDEX))).route("/page/{file}", get(file))
}

async fn file(Path(name): Path<String>) -> Response {
    if name == LICENCE.0 {
        return answer(TEXT, LICENCE.1);
    }
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => answer(kind, content),
        None => (StatusCode::NOT_FOUND, axum::Json(Problem { error: "no such page" })).into_response(),
    }
}

fn answer(kind: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)], content).into_response()
}

#[cfg(test)]
mod tests;
