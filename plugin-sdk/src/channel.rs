//! The trait of a channel plugin, and the alerts it is handed.

use crate::config::Config;
use crate::context::ChannelContext;
use crate::failure::Failure;
use crate::stats::Severity;
use crate::value::Value;

/// Tells people.
///
/// ```
/// use whimbrel_plugin::http::Request;
/// use whimbrel_plugin::prelude::*;
///
/// /// Posts the titles as plain text.
/// #[derive(Config)]
/// struct Post { url: String }
///
/// #[channel]
/// impl Channel for Post {
///     fn deliver(&mut self, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure> {
///         let titles: Vec<&str> = alerts.iter().map(|alert| alert.title.as_str()).collect();
///         let mut request = Request::post(&self.url);
///         request.body = titles.join("\n").into_bytes();
///         let answer = cx.send(&request)?;
///         if answer.is_success() { Ok(()) } else { Err(Failure::status(answer.status)) }
///     }
/// }
///
/// use whimbrel_plugin::http::Response;
/// use whimbrel_plugin::testing::TestHost;
///
/// let host = TestHost::new().answering(Response::new(503));
/// let mut post: Post = whimbrel_plugin::config::parse(r#"{"url": "https://example.org/"}"#).unwrap();
/// let failure = post.deliver(&[Alert::sample()], &host.channel_context()).unwrap_err();
/// assert!(failure.retryable);
/// ```
pub trait Channel: Config {
    /// Once, after the configuration was read: check what the schema cannot say.
    ///
    /// ```
    /// # use whimbrel_plugin::prelude::*;
    /// # #[derive(Config)]
    /// # struct Post { url: String }
    /// #[channel]
    /// impl Channel for Post {
    ///     fn start(&mut self, _cx: &ChannelContext) -> Result<(), Failure> {
    ///         match self.url.starts_with("https://") {
    ///             true => Ok(()),
    ///             false => Err(Failure::new("config", "`url` must begin with https://")),
    ///         }
    ///     }
    /// #   fn deliver(&mut self, _alerts: &[Alert], _cx: &ChannelContext) -> Result<(), Failure> { Ok(()) }
    /// }
    ///
    /// # let cx = whimbrel_plugin::testing::TestHost::new().channel_context();
    /// let mut post = Post { url: "http://example.org".to_owned() };
    /// assert_eq!(post.start(&cx).unwrap_err().code, "config");
    /// ```
    ///
    /// # Errors
    /// When the configuration makes no sense.
    fn start(&mut self, cx: &ChannelContext) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// Delivers one notification for a group of alerts. Delivery is at least once: the same alerts may come again.
    ///
    /// ```
    /// # use whimbrel_plugin::http::{Request, Response};
    /// # use whimbrel_plugin::json::Json;
    /// # use whimbrel_plugin::prelude::*;
    /// # use whimbrel_plugin::testing::TestHost;
    /// # #[derive(Config)]
    /// # struct Chat {}
    /// #[channel]
    /// impl Channel for Chat {
    ///     fn deliver(&mut self, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure> {
    ///         let lines: Vec<String> = alerts.iter().map(|alert| format!("{}: {}", alert.scope, alert.detail)).collect();
    ///         let body = Json::Object(vec![("text".to_owned(), Json::Text(lines.join("\n")))]);
    ///         let answer = cx.send(&Request::post("https://chat.example.org/hook").json(body.to_string()))?;
    ///         if answer.is_success() { Ok(()) } else { Err(Failure::status(answer.status)) }
    ///     }
    /// }
    ///
    /// let host = TestHost::new().answering(Response::new(200));
    /// Chat {}.deliver(&[Alert::sample()], &host.channel_context())?;
    /// assert_eq!(host.requests()[0].body, br#"{"text":"pipeline/shop: 12 rows/s, expected 100"}"#);
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// A retryable failure makes the agent try again later, any other goes to the fallback channel at once.
    fn deliver(&mut self, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure>;
}

/// Where an incident stands.
///
/// ```
/// use whimbrel_plugin::{Alert, Status};
///
/// fn word(alert: &Alert) -> &'static str {
///     match alert.status {
///         Status::Firing => "trouble",
///         Status::Acknowledged => "being looked at",
///         Status::Resolved => "over",
///     }
/// }
///
/// assert_eq!(word(&Alert { status: Status::Resolved, ..Alert::sample() }), "over");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It goes on.
    Firing,
    /// Somebody is at it.
    Acknowledged,
    /// It is over.
    Resolved,
}

/// One incident, to be told. It holds no row values and no secrets.
///
/// ```
/// use whimbrel_plugin::{Alert, Severity};
///
/// let alert = Alert { severity: Severity::Critical, ..Alert::sample() };
/// let subject = format!("[{:?}] {}: {}", alert.severity, alert.scope, alert.title);
/// assert_eq!(subject, "[Critical] pipeline/shop: pipeline shop is slow");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Stable over the incident's life: what a receiver deduplicates by.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// How bad it is.
    pub severity: Severity,
    /// The rule that found it.
    pub rule: String,
    /// The kind of trouble, as the rule calls it.
    pub kind: String,
    /// One line.
    pub title: String,
    /// The figures behind it.
    pub detail: String,
    /// What to do about it; may be empty.
    pub action: String,
    /// Where: "pipeline/shop", "migration/42".
    pub scope: String,
    /// Since when, in milliseconds since 1970-01-01T00:00:00Z.
    pub since_ms: i64,
    /// When it was resolved.
    pub until_ms: Option<i64>,
    /// How many evaluations reported it so far.
    pub count: u32,
    /// Where a person can look.
    pub url: Option<String>,
    /// Facts beside it, in the order they are to be shown.
    pub attributes: Vec<(String, Value)>,
}

impl Alert {
    /// A firing alert for tests and `whimbrel alerts test`.
    ///
    /// ```
    /// use whimbrel_plugin::{Alert, Status};
    ///
    /// let resolved = Alert { status: Status::Resolved, until_ms: Some(1_700_000_060_000), ..Alert::sample() };
    /// assert_eq!(resolved.until_ms.map(|until| until - resolved.since_ms), Some(60_000));
    /// ```
    #[must_use]
    pub fn sample() -> Self {
        Alert {
            id: "sample".to_owned(),
            status: Status::Firing,
            severity: Severity::Warning,
            rule: "sample-rule".to_owned(),
            kind: "low_throughput".to_owned(),
            title: "pipeline shop is slow".to_owned(),
            detail: "12 rows/s, expected 100".to_owned(),
            action: "look at the target's load".to_owned(),
            scope: "pipeline/shop".to_owned(),
            since_ms: 1_700_000_000_000,
            until_ms: None,
            count: 1,
            url: None,
            attributes: Vec::new(),
        }
    }
}
