//! The HTTP endpoint: the status page, `/metrics`, `/healthz`, `/readyz`, `/api/v1/*`. Without login, on loopback by default, and read-only
//! but for what [`control`] takes on loopback.
//!
//! A page in somebody's browser must not be able to read it: answers carry headers that forbid embedding, and on a
//! loopback address only requests that name an address or `localhost` are answered, so that a host name re-bound to
//! 127.0.0.1 gets nothing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::control::{self, Control};
use super::live::Live;
use super::prometheus::{CONTENT_TYPE, Scrape};
use super::status::Problem;
use super::{health, monitor, page, status};
use crate::monitor::View;
use crate::stats::Instruments;

/// Scrapes at the same time: one Prometheus, one person with curl. More are told to come again.
const MAX_SCRAPES: usize = 2;

/// The largest request: some numbers in JSON.
const MAX_BODY: usize = 16 << 10;

/// How long an answer may wait to be taken by whoever asked.
const UNREAD: Duration = Duration::from_secs(20);

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be had.
    #[error("cannot listen on {address}; is another agent running, or is the port taken?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What the endpoint shows.
#[derive(Debug, Clone)]
pub struct Surface {
    /// The agent's name.
    pub name: Arc<str>,
    /// When it started, milliseconds since 1970.
    pub started_at_ms: i64,
    /// The pipelines and their lag.
    pub instruments: Instruments,
    /// The metrics.
    pub scrape: Scrape,
    /// Who does what operators ask for; none: nobody.
    pub control: Option<Control>,
    /// The monitor, once it works.
    pub monitor: Arc<OnceLock<View>>,
}

impl Surface {
    /// The surface of a process that starts now and takes no orders.
    #[must_use]
    pub fn new(name: &str, instruments: &Instruments, scrape: &Scrape) -> Self {
        Self {
            name: name.into(),
            started_at_ms: instruments.now_ms(),
            instruments: instruments.clone(),
            scrape: scrape.clone(),
            control: None,
            monitor: Arc::default(),
        }
    }
}

/// A bound endpoint that does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    surface: Surface,
}

/// Binds the endpoint; port 0 takes a free one. Nothing is answered before [`Server::run`].
pub async fn serve(listen: SocketAddr, surface: Surface) -> Result<Server, HttpError> {
    let failed = |source| HttpError::Bind { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(%address, "http endpoint is open");
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "http endpoint is reachable from other machines and asks for no password");
    }
    Ok(Server { listener, address, surface })
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is done, then finishes the requests it has.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let live = Live::new(&self.surface);
        let router = router(self.surface, &live, self.address.ip().is_loopback());
        // Who does not take what they asked for is not waited for, by nobody: neither a seat of the stream nor the end.
        let listener = self.listener.tap_io(|stream| {
            if let Err(error) = SockRef::from(&*stream).set_tcp_user_timeout(Some(UNREAD)) {
                tracing::debug!(%error, "a time-out of a connection could not be set");
            }
        });
        let shutdown = async move {
            shutdown.await;
            live.end();
        };
        axum::serve(listener, router).with_graceful_shutdown(shutdown).await
    }
}

fn router(surface: Surface, live: &Live, loopback: bool) -> Router {
    let scrapes = Arc::new(Semaphore::new(MAX_SCRAPES));
    let scrape = surface.scrape.clone();
    let (reload, promote, recorded) = match loopback {
        true => (post(control::reload), post(control::promote), get(control::recorded)),
        false => (post(control::refused), post(control::refused), get(control::refused)),
    };
    let (silence, phase, expire) = match loopback {
        true => (post(monitor::silence), post(monitor::phase), post(monitor::expire)),
        false => (post(control::refused), post(control::refused), post(control::refused)),
    };
    let router = Router::new()
        .route("/metrics", get(move || metrics(scrape.clone(), Arc::clone(&scrapes))))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/pipelines/{pipeline}", get(status::pipeline))
        .route("/api/v1/plugins", get(status::plugins))
        .route("/api/v1/migrations", get(status::migrations))
        .route("/api/v1/migrations/{id}", get(status::migration))
        .route("/api/v1/incidents", get(monitor::incidents))
        .route("/api/v1/series", get(monitor::series))
        .route("/api/v1/channels", get(monitor::channels))
        .route("/api/v1/silences", silence.get(monitor::silences))
        .route("/api/v1/phases", phase)
        .route("/api/v1/silences/{id}/expire", expire)
        .route("/api/v1/plugins/reload", reload)
        .route("/api/v1/pipelines/{pipeline}/plugins/{plugin}/promote", promote)
        .route("/api/v1/pipelines/{pipeline}/plugins/{plugin}/recorded", recorded)
        .merge(live.routes())
        .merge(page::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .fallback(|| async { (StatusCode::NOT_FOUND, Json(Problem { error: "no such page" })) })
        .with_state(surface);
    let router = if loopback { router.layer(middleware::from_fn(named_by_address)) } else { router };
    router.layer(middleware::from_fn(safe_headers))
}

async fn metrics(scrape: Scrape, scrapes: Arc<Semaphore>) -> Response {
    let Ok(_permit) = scrapes.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once\n").into_response();
    };
    match tokio::task::spawn_blocking(move || scrape.text()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => {
            tracing::error!(error = crate::runtime::logging::chain(&error), "metrics could not be gathered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn safe_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The page has a policy of its own.
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    response
}

async fn named_by_address(headers: HeaderMap, request: Request, next: Next) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| !is_address_or_localhost(host)) {
        return (StatusCode::MISDIRECTED_REQUEST, Json(Problem { error: "ask by address or as localhost" }))
            .into_response();
    }
    next.run(request).await
}

fn is_address_or_localhost(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost") || inside.unwrap_or(name).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_hosts_of_a_loopback_endpoint() {
        for (host, expect) in [
            ("127.0.0.1:9464", true),
            ("127.0.0.1", true),
            ("[::1]:9464", true),
            ("[::1]", true),
            ("localhost:9464", true),
            ("LOCALHOST", true),
            ("evil.example:9464", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_address_or_localhost(host), expect, "{host}");
        }
    }
}
