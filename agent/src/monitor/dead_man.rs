//! The dead man's switch: somebody outside hears from the agent as long as it watches, and raises an alarm when not.

use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::config::secret::Secret;
use crate::runtime::tls;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// So many steps without a judgement, and the agent is not watching, whatever else it does.
const STEPS: u32 = 3;

/// Pings until it is over.
pub(super) fn run(shared: &Shared, url: &Secret, every: Duration) {
    tls::install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
    let (Ok(runtime), Ok(client)) = (runtime, client) else {
        tracing::error!("the dead man's switch cannot start; nobody will hear when this agent stops");
        return;
    };
    let started = Instant::now();
    let mut next = Instant::now();
    loop {
        if is_watching(shared, started) {
            let outcome = runtime.block_on(async { client.post(url.expose()).send().await });
            // The URL may hold a token, and the error would print it.
            match outcome.and_then(reqwest::Response::error_for_status) {
                Ok(_) => tracing::debug!("dead man's switch told"),
                Err(error) => tracing::warn!(error = %error.without_url(), "dead man's switch not told"),
            }
        } else {
            tracing::error!("rules have not been asked in time; the dead man's switch is not told");
        }
        next += every;
        next = next.max(Instant::now());
        if !shared.rest(next) {
            return;
        }
    }
}

/// Whether rules were asked lately, or could not have been yet.
fn is_watching(shared: &Shared, started: Instant) -> bool {
    let most = shared.step.saturating_mul(STEPS);
    if started.elapsed() < most {
        return true;
    }
    let age_ms = shared.board().evaluated_at_ms.map(|at_ms| shared.instruments.now_ms().saturating_sub(at_ms));
    age_ms.and_then(|age_ms| u64::try_from(age_ms).ok()).is_some_and(|age_ms| Duration::from_millis(age_ms) < most)
}
