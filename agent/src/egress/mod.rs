//! What plugins send, sent: HTTP and mail for whoever was granted it.
//!
//! Implements [`plugin::egress::Egress`](crate::plugin::egress::Egress). The host has checked origin and recipients before;
//! here the *address* is checked, when it is dialled, so that a name cannot change its mind in between. Guests run on plain
//! threads and wait there; the sockets live on a small runtime of its own, so that a plugin's slow server cannot hold up
//! the agent's HTTP endpoint or a pipeline. Never prints a URL beyond its origin, a header or a body: secrets are in them.

mod address;
mod http;
mod mail;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::server;

use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::Runtime;

pub use address::{Lookup, Reach, system_lookup};
pub use mail::{MailSettings, MailTls};

use self::http::Http;
use self::mail::Mailer;
use crate::plugin::Failure;
use crate::plugin::egress::{Egress, Mail, Request, Response};
use crate::plugin::rights::{HttpRights, MailRights};

/// No request waits longer, whatever the call's budget: a server that needs more time is down for our purposes.
const LONGEST: Duration = Duration::from_secs(10);
/// How much later than its deadline an answer may be handed over before the wait is given up.
const HANDOVER: Duration = Duration::from_millis(100);

/// Where plugins get out.
pub struct Outbound {
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    http: Http,
    mail: Option<Mailer>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("mail", &self.mail.is_some()).finish_non_exhaustive()
    }
}

/// How requests and mail leave.
#[derive(Clone)]
pub struct OutboundSettings {
    /// The server that takes mail; none: plugins send no mail.
    pub mail: Option<MailSettings>,
    /// Authorities to trust beside the system's, in PEM.
    pub authorities: Vec<Vec<u8>>,
    /// Resolves host names.
    pub lookup: Lookup,
}

impl Default for OutboundSettings {
    /// No mail, the system's authorities, the system's resolver.
    fn default() -> Self {
        OutboundSettings { mail: None, authorities: Vec::new(), lookup: system_lookup() }
    }
}

impl std::fmt::Debug for OutboundSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboundSettings").field("mail", &self.mail).finish_non_exhaustive()
    }
}

/// There is no way out for plugins.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No threads for the runtime.
    #[error("the runtime for plugins' requests could not be started")]
    Runtime(#[source] std::io::Error),
    /// An authority cannot be read, or the system has none.
    #[error("HTTP for plugins could not be set up")]
    Http(#[source] reqwest::Error),
    /// The mail server's settings make no sense.
    #[error("mail for plugins could not be set up: {what}")]
    Mail {
        /// What is wrong, and what to write.
        what: String,
    },
}

impl Outbound {
    /// Ready to send; connects to nothing yet.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(settings: OutboundSettings) -> Result<Self, SetupError> {
        crate::runtime::tls::install();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // Requests of plugins are few, and they wait rather than compute.
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("plugin-egress")
            .enable_all()
            .build()
            .map_err(SetupError::Runtime)?;
        Ok(Outbound {
            runtime: Some(runtime),
            http: Http::new(&settings.authorities, settings.lookup)?,
            mail: settings.mail.map(|mail| Mailer::new(mail, &settings.authorities)).transpose()?,
        })
    }

    /// Has the runtime do something and waits for it, but not longer than that.
    fn wait<T: Send + 'static>(
        &self,
        within: Duration,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let Some(runtime) = &self.runtime else { return Err(late()) };
        let within = within.min(LONGEST);
        let (tell, hear) = mpsc::sync_channel(1);
        let task = runtime.spawn(async move {
            let outcome = tokio::time::timeout(within, work).await.unwrap_or_else(|_| Err(late()));
            // Nobody listens any more only when the wait below was given up.
            let _ = tell.send(outcome);
        });
        hear.recv_timeout(within + HANDOVER).unwrap_or_else(|_| {
            task.abort();
            Err(late())
        })
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not the plain drop: that waits, and panics on an async worker.
            runtime.shutdown_background();
        }
    }
}

fn failure(code: &str, message: impl Into<String>) -> Failure {
    Failure { code: code.to_owned(), message: message.into(), retryable: false }
}

fn for_now(code: &str, message: impl Into<String>) -> Failure {
    Failure { retryable: true, ..failure(code, message) }
}

/// What of this type is among the causes of an error. I/O errors hide what they wrap from `source`, so they are opened.
fn cause<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn late() -> Failure {
    for_now("timeout", "no answer in time")
}

impl Egress for Outbound {
    fn http(&self, rights: &HttpRights, request: Request, within: Duration) -> Result<Response, Failure> {
        let work = self.http.send(rights, request)?;
        self.wait(within, work)
    }

    fn mail(&self, rights: &MailRights, mail: Mail, within: Duration) -> Result<(), Failure> {
        let Some(mailer) = &self.mail else {
            return Err(failure("denied", "the agent is configured with no mail server"));
        };
        let work = mailer.send(rights, mail, within.min(LONGEST))?;
        self.wait(within, work)
    }
}
