//! The trait of a rule plugin, and what a rule finds.

use crate::config::Config;
use crate::context::Context;
use crate::failure::Failure;
use crate::stats::{Severity, Window};
use crate::value::Value;

/// Judges statistics: says what is wrong, as long as it is.
///
/// The type is its configuration. Fields marked `#[config(skip)]` may hold what a rule remembers, but an instance ends with
/// every trap and after a while: what must not be forgotten belongs into [`Context::state`].
///
/// ```
/// use whimbrel_plugin::prelude::*;
///
/// /// Warns when nothing moves.
/// #[derive(Config)]
/// struct Quiet { #[config(default = 1.0)] least: f64 }
///
/// #[rule]
/// impl Rule for Quiet {
///     fn evaluate(&mut self, window: &Window, _cx: &Context) -> Result<Vec<Finding>, Failure> {
///         let rates = window.named("rate").filter_map(|series| series.last());
///         let low = rates.filter(|point| point.value < self.least);
///         Ok(low.map(|_| Finding::new("rate", "low_throughput", Severity::Warning, "almost nothing moves")).collect())
///     }
/// }
///
/// use whimbrel_plugin::testing::context;
///
/// let mut quiet: Quiet = whimbrel_plugin::config::parse("{}").unwrap();
/// let rate = Series { name: "rate".to_owned(), points: vec![Point { at_ms: 0, value: 0.5 }], ..Series::default() };
/// let window = Window { scope: "pipeline/shop".to_owned(), series: vec![rate], ..Window::default() };
/// assert_eq!(quiet.evaluate(&window, &context()).unwrap()[0].kind, "low_throughput");
/// ```
pub trait Rule: Config {
    /// Once, after the configuration was read: check what the schema cannot say.
    ///
    /// ```
    /// # use whimbrel_plugin::prelude::*;
    /// # #[derive(Config)]
    /// # struct Lag { most_seconds: f64 }
    /// #[rule]
    /// impl Rule for Lag {
    ///     fn start(&mut self, _cx: &Context) -> Result<(), Failure> {
    ///         if self.most_seconds > 0.0 { Ok(()) } else { Err(Failure::new("config", "`most_seconds` must be above 0")) }
    ///     }
    /// #   fn evaluate(&mut self, _window: &Window, _cx: &Context) -> Result<Vec<Finding>, Failure> { Ok(Vec::new()) }
    /// }
    ///
    /// # let cx = whimbrel_plugin::testing::context();
    /// assert_eq!(Lag { most_seconds: 0.0 }.start(&cx).unwrap_err().code, "config");
    /// ```
    ///
    /// # Errors
    /// When the configuration makes no sense.
    fn start(&mut self, cx: &Context) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// What is wrong in this window. A finding fires as long as each evaluation reports it, and is resolved by the first
    /// that does not.
    ///
    /// ```
    /// # use whimbrel_plugin::prelude::*;
    /// # #[derive(Config)]
    /// # struct Lag { most_seconds: f64 }
    /// #[rule]
    /// impl Rule for Lag {
    ///     fn evaluate(&mut self, window: &Window, _cx: &Context) -> Result<Vec<Finding>, Failure> {
    ///         let behind = window.named("lag_seconds").filter(|lag| {
    ///             let points = window.inside(lag);
    ///             !points.is_empty() && points.iter().all(|point| point.value > self.most_seconds)
    ///         });
    ///         Ok(behind.map(|_| Finding::new("lag", "lag", Severity::Warning, "the target is behind")).collect())
    ///     }
    /// }
    ///
    /// # let cx = whimbrel_plugin::testing::context();
    /// # let points = |value| vec![Point { at_ms: 50_000, value }];
    /// # let lag = |value| Series { name: "lag_seconds".to_owned(), points: points(value), ..Series::default() };
    /// # let window = |value| Window { start_ms: 30_000, end_ms: 60_000, series: vec![lag(value)], ..Window::default() };
    /// let mut rule = Lag { most_seconds: 30.0 };
    /// assert_eq!(rule.evaluate(&window(90.0), &cx)?.len(), 1);
    /// assert_eq!(rule.evaluate(&window(2.0), &cx)?.len(), 0);
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// When the window cannot be judged; nothing fires or is resolved by that.
    fn evaluate(&mut self, window: &Window, cx: &Context) -> Result<Vec<Finding>, Failure>;
}

/// Something worth telling.
///
/// ```
/// use whimbrel_plugin::{Finding, Severity};
///
/// let found = |table: &str| Finding::new(format!("lag/{table}"), "lag", Severity::Warning, format!("{table} is behind"));
/// assert_ne!(found("orders").key, found("items").key, "two tables are two incidents");
/// let finding = Finding { since_ms: Some(1_700_000_000_000), score: Some(0.8), ..found("orders") };
/// assert_eq!(finding.title, "orders is behind");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is wrong where, the same from one evaluation to the next: findings with one key are one incident.
    pub key: String,
    /// A short word for the kind of trouble: "low_throughput", "stall", …
    pub kind: String,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// The figures behind it.
    pub detail: String,
    /// What to do about it.
    pub action: String,
    /// Since when, where that is known better than "since it was first reported"; milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// How sure or how far off, from 0 to 1.
    pub score: Option<f64>,
    /// Facts beside it, in the order they are to be shown.
    pub attributes: Vec<(String, Value)>,
}

impl Finding {
    /// A finding with nothing but what it needs.
    ///
    /// ```
    /// # use whimbrel_plugin::{Finding, Severity};
    /// let finding = Finding::new("rate", "low_throughput", Severity::Warning, "almost nothing moves");
    /// assert_eq!((finding.key.as_str(), finding.kind.as_str()), ("rate", "low_throughput"));
    /// assert!(finding.detail.is_empty());
    /// ```
    #[must_use]
    pub fn new(key: impl Into<String>, kind: impl Into<String>, severity: Severity, title: impl Into<String>) -> Self {
        Finding {
            key: key.into(),
            kind: kind.into(),
            severity,
            title: title.into(),
            detail: String::new(),
            action: String::new(),
            since_ms: None,
            score: None,
            attributes: Vec::new(),
        }
    }

    /// The same finding with the figures behind it.
    ///
    /// ```
    /// # use whimbrel_plugin::{Finding, Severity};
    /// let finding = Finding::new("rate", "low_throughput", Severity::Warning, "almost nothing moves")
    ///     .detail(format!("{} rows/s, expected {}", 0.5, 100));
    /// assert_eq!(finding.detail, "0.5 rows/s, expected 100");
    /// ```
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Finding { detail: detail.into(), ..self }
    }

    /// The same finding with what to do about it.
    ///
    /// ```
    /// # use whimbrel_plugin::{Finding, Severity};
    /// let finding = Finding::new("rate", "low_throughput", Severity::Warning, "almost nothing moves")
    ///     .action("look at the target's load");
    /// assert_eq!(finding.action, "look at the target's load");
    /// ```
    #[must_use]
    pub fn action(self, action: impl Into<String>) -> Self {
        Finding { action: action.into(), ..self }
    }

    /// The same finding with one more fact.
    ///
    /// ```
    /// # use whimbrel_plugin::{Finding, Severity, Value};
    /// let finding = Finding::new("lag", "lag", Severity::Warning, "the target is behind")
    ///     .attribute("table", Value::Text("orders".to_owned()))
    ///     .attribute("seconds", Value::Float(90.0));
    /// assert_eq!(finding.attributes[1], ("seconds".to_owned(), Value::Float(90.0)));
    /// ```
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: Value) -> Self {
        self.attributes.push((name.into(), value));
        self
    }
}
