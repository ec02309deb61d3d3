//! A tiny HTTP server whose pages a test sets. It stops when dropped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::oneshot;

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) token: Option<String>,
    pub(super) body: Value,
}

/// What a double answers: status, body, and how long it takes.
pub(super) type Page = (u16, String, Duration);

type Answer = Box<dyn FnMut(&Came) -> Page + Send>;

#[derive(Clone)]
struct Shared {
    answer: Arc<Mutex<Answer>>,
    came: Arc<Mutex<Vec<Came>>>,
}

/// The server.
pub(super) struct Double {
    pub(super) address: SocketAddr,
    shared: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Double {
    /// A server that answers by a function.
    pub(super) fn answering(answer: impl FnMut(&Came) -> Page + Send + 'static) -> Self {
        let shared = Shared { answer: Arc::new(Mutex::new(Box::new(answer))), came: Arc::default() };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let router = Router::new().fallback(answered).with_state(shared.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                // A connection that is kept open would hold up a graceful end.
                tokio::select! {
                    served = axum::serve(listener, router) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// A server with these pages; all others are 404.
    pub(super) fn with(pages: &[(&str, String)]) -> Self {
        let double = Self::answering(|_| unreachable!());
        double.set(pages);
        double
    }

    /// Other pages from now on.
    pub(super) fn set(&self, pages: &[(&str, String)]) {
        let pages: BTreeMap<String, String> =
            pages.iter().map(|(path, body)| ((*path).to_owned(), body.clone())).collect();
        *self.shared.answer.lock().unwrap() = Box::new(move |came| match pages.get(&came.path) {
            Some(body) => (200, body.clone(), Duration::ZERO),
            None => (404, r#"{"error":"no such page"}"#.to_owned(), Duration::ZERO),
        });
    }

    /// What came so far.
    pub(super) fn came(&self) -> Vec<Came> {
        self.shared.came.lock().unwrap().clone()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn answered(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let bytes = axum::body::to_bytes(request.into_body(), 4 << 20).await.unwrap_or_else(|_| Bytes::new());
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let came = Came {
        method: method.to_string(),
        path: uri.path().to_owned(),
        token: token.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    let (status, body, delay) = (shared.answer.lock().unwrap())(&came);
    shared.came.lock().unwrap().push(came);
    tokio::time::sleep(delay).await;
    let kind = if body.starts_with(['{', '[']) { "application/json" } else { "text/plain; version=0.0.4" };
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, kind)], body).into_response()
}
