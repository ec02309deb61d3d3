//! `/api/v1/stream`: the state, each second, to everybody who listens, as server-sent events; and `/api/v1/state`: once.
//!
//! While nobody listens nothing is made. While many do, a state is made and written as JSON once for all of them. Whoever
//! does not read as fast is cut off, and nothing is kept for them; a browser connects again by itself.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::http::Surface;
use super::status::{Detail, Problem, Status};
use crate::stats::migrations::MigrationsStatus;

/// People and their open pages, with room for a wall or two.
const MAX_LISTENERS: usize = 16;
/// As fast as people read figures.
const EVERY: Duration = Duration::from_secs(1);
/// States that a listener may be late.
const LATE: usize = 4;
/// The event's name.
const NAME: &str = "state";

/// Everything that people look at, without what is told of each partition and table.
#[derive(Debug, Serialize)]
struct Whole {
    status: Status,
    /// `null` where no migrations are configured.
    migrations: Option<MigrationsStatus>,
    /// `null` where nothing is monitored.
    incidents: Option<Value>,
}

impl Whole {
    fn of(surface: &Surface) -> Self {
        Self {
            status: Status::of(surface, Detail::Compact),
            migrations: surface.instruments.migrations().map(|board| board.status()),
            incidents: surface.monitor.get().map(crate::monitor::View::incidents),
        }
    }
}

/// The stream and who listens to it; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Live {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    surface: Surface,
    seats: Arc<Semaphore>,
    states: broadcast::Sender<Event>,
    /// Whether somebody makes states now.
    made: Mutex<bool>,
    over: CancellationToken,
}

impl Live {
    pub(super) fn new(surface: &Surface) -> Self {
        let inner = Inner {
            surface: surface.clone(),
            seats: Arc::new(Semaphore::new(MAX_LISTENERS)),
            states: broadcast::Sender::new(LATE),
            made: Mutex::new(false),
            over: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new().route("/api/v1/stream", get(stream)).route("/api/v1/state", get(state)).with_state(self.clone())
    }

    /// Ends every stream.
    pub(super) fn end(&self) {
        self.inner.over.cancel();
    }

    /// A seat, if one is free, and what will be said from now on.
    fn listen(&self) -> Option<(OwnedSemaphorePermit, broadcast::Receiver<Event>)> {
        let seat = Arc::clone(&self.inner.seats).try_acquire_owned().ok()?;
        // First the seat at the table, then the question whether somebody serves: who serves leaves only an empty table.
        let states = self.inner.states.subscribe();
        let mut made = self.inner.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *made, true) {
            let live = self.clone();
            #[expect(clippy::disallowed_methods, reason = "ends by itself with the last listener or the endpoint")]
            tokio::spawn(async move { live.make().await });
        }
        Some((seat, states))
    }

    /// Whether there is anybody to make states for; when not, nobody makes them.
    fn is_wanted(&self) -> bool {
        let mut made = self.inner.made.lock().unwrap_or_else(PoisonError::into_inner);
        *made = self.inner.states.receiver_count() > 0;
        *made
    }

    async fn make(self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.inner.over.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if !self.is_wanted() {
                return;
            }
            let surface = self.inner.surface.clone();
            let event =
                tokio::task::spawn_blocking(move || Event::default().event(NAME).json_data(Whole::of(&surface)));
            match event.await {
                Ok(Ok(event)) => drop(self.inner.states.send(event)),
                Ok(Err(error)) => tracing::error!(%error, "state could not be written as json"),
                // The runtime ends, or there is a mistake in the code, which has been told.
                Err(_) => {}
            }
        }
    }
}

/// What one listener hears, until they are late or the endpoint ends.
fn heard(
    seat: OwnedSemaphorePermit,
    states: broadcast::Receiver<Event>,
    over: CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((seat, states, over), |(seat, mut states, over)| async move {
        let state = tokio::select! {
            () = over.cancelled() => return None,
            state = states.recv() => state,
        };
        match state {
            Ok(event) => Some((Ok(event), (seat, states, over))),
            Err(RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "a listener of the stream does not keep up and is cut off");
                None
            }
            Err(RecvError::Closed) => None,
        }
    })
}

async fn stream(State(live): State<Live>, headers: HeaderMap) -> Response {
    if is_foreign(&headers) {
        return (StatusCode::FORBIDDEN, Json(Problem { error: "not for pages of other sites" })).into_response();
    }
    let Some((seat, states)) = live.listen() else {
        let problem = Problem { error: "as many listen as may; close a page, or poll /api/v1/state" };
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")], Json(problem)).into_response();
    };
    Sse::new(heard(seat, states, live.inner.over.clone())).into_response()
}

async fn state(State(live): State<Live>) -> Response {
    let surface = live.inner.surface.clone();
    match tokio::task::spawn_blocking(move || Json(Whole::of(&surface)).into_response()).await {
        Ok(response) => response,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A page of another site could not read the stream, but could take every seat.
fn is_foreign(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::StreamExt as _;

    use super::*;
    use crate::export::Scrape;
    use crate::stats::Instruments;

    fn live() -> Live {
        let instruments = Instruments::detached(Arc::new(|| 1_767_225_600_000));
        Live::new(&Surface::new("agent-1", &instruments, &Scrape::new().unwrap().0))
    }

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), future).await.unwrap()
    }

    #[tokio::test]
    async fn who_does_not_keep_up_is_cut_off_and_nothing_is_kept_for_them() {
        let live = live();
        let (seat, states) = live.listen().unwrap();
        let mut late = Box::pin(heard(seat, states, live.inner.over.clone()));
        let _ = soon(late.next()).await.unwrap().unwrap();
        for _ in 0..=LATE {
            live.inner.states.send(Event::default().data("x")).unwrap();
        }
        assert!(soon(late.next()).await.is_none());
        drop(late);
        assert_eq!(live.inner.seats.available_permits(), MAX_LISTENERS);
    }

    #[tokio::test]
    async fn nobody_makes_states_once_the_last_listener_is_gone() {
        let live = live();
        assert!(!*live.inner.made.lock().unwrap(), "nobody asked yet");
        let (seat, states) = live.listen().unwrap();
        let mut one = Box::pin(heard(seat, states, live.inner.over.clone()));
        let _ = soon(one.next()).await.unwrap().unwrap();
        assert!(*live.inner.made.lock().unwrap());
        drop(one);
        let begin = Instant::now();
        while *live.inner.made.lock().unwrap() {
            assert!(begin.elapsed() < Duration::from_secs(10), "still made");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (seat, states) = live.listen().unwrap();
        let mut next = Box::pin(heard(seat, states, live.inner.over.clone()));
        let _ = soon(next.next()).await.unwrap().unwrap();
    }

    #[test]
    fn pages_of_other_sites_take_no_seat() {
        for (site, foreign) in [
            (None, false),
            (Some("same-origin"), false),
            (Some("none"), false),
            (Some("same-site"), true),
            (Some("cross-site"), true),
        ] {
            let headers = site.map(|site| (header::HeaderName::from_static("sec-fetch-site"), site.parse().unwrap()));
            assert_eq!(is_foreign(&headers.into_iter().collect()), foreign, "{site:?}");
        }
    }
}
