//! Series of a plugin's own. Nothing is held here; each call goes to the host.

use crate::host::{self, Services};

/// Series of the plugin's own, exported as `plugin_custom_*{plugin,name}`; see [`crate::Context::metrics`]. A hundred names are
/// kept apart, the rest share one series.
///
/// ```
/// use whimbrel_plugin::testing::TestHost;
///
/// let host = TestHost::new();
/// let cx = host.context();
/// cx.metrics().add("rows_masked", 12.0);
/// cx.metrics().set("columns", 2.0);
/// cx.metrics().observe("text_bytes", 340.0);
/// assert_eq!((host.counter("rows_masked"), host.gauge("columns")), (12.0, Some(2.0)));
/// ```
#[derive(Debug)]
pub struct Metrics<'a>(pub(crate) &'a Services);

impl Metrics<'_> {
    /// Adds to a counter; what is negative or no number is dropped.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// let cx = host.context();
    /// cx.metrics().add("rows_masked", 2.0);
    /// cx.metrics().add("rows_masked", 3.0);
    /// cx.metrics().add("rows_masked", -1.0);
    /// assert_eq!(host.counter("rows_masked"), 5.0);
    /// ```
    pub fn add(&self, name: &str, by: f64) {
        host::metric_add(self.0, name, by);
    }

    /// Sets a gauge.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// let cx = host.context();
    /// cx.metrics().set("known_tables", 7.0);
    /// cx.metrics().set("known_tables", 6.0);
    /// assert_eq!(host.gauge("known_tables"), Some(6.0));
    /// ```
    pub fn set(&self, name: &str, value: f64) {
        host::metric_set(self.0, name, value);
    }

    /// Adds an observation to a histogram.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::TestHost;
    /// let host = TestHost::new();
    /// let cx = host.context();
    /// for text in ["ada", "grace"] {
    ///     cx.metrics().observe("text_bytes", text.len() as f64);
    /// }
    /// assert_eq!(host.observations("text_bytes"), [3.0, 5.0]);
    /// ```
    pub fn observe(&self, name: &str, value: f64) {
        host::metric_observe(self.0, name, value);
    }
}
