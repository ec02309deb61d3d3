//! What a rule is handed: series of points over a window, as plain data.

/// How bad something is.
///
/// ```
/// use whimbrel_plugin::Severity;
///
/// let lag_seconds = 90.0;
/// let severity = if lag_seconds < 60.0 { Severity::Warning } else { Severity::Critical };
/// assert!(severity > Severity::Warning);
/// ```
///
/// In a configuration it is one of `info`, `warning` and `critical`:
///
/// ```
/// use whimbrel_plugin::prelude::*;
///
/// #[derive(Config)]
/// struct Lag { #[config(default = Severity::Warning)] severity: Severity }
///
/// let lag: Lag = whimbrel_plugin::config::parse(r#"{"severity": "critical"}"#)?;
/// assert_eq!(lag.severity, Severity::Critical);
/// # Ok::<(), whimbrel_plugin::config::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, whimbrel_plugin_macros::Config)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it today.
    Warning,
    /// Somebody must act now.
    Critical,
}

/// One value at one time.
///
/// ```
/// use whimbrel_plugin::Point;
///
/// let lag = [Point { at_ms: 0, value: 3.0 }, Point { at_ms: 1_000, value: 12.0 }];
/// let worst = lag.iter().map(|point| point.value).fold(0.0, f64::max);
/// assert_eq!(worst, 12.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: i64,
    /// The value, in the unit of the series.
    pub value: f64,
}

/// One quantity over time, oldest point first.
///
/// ```
/// use whimbrel_plugin::{Point, Series};
///
/// let lag = Series {
///     name: "lag_seconds".to_owned(),
///     labels: vec![("table".to_owned(), "shop.orders".to_owned())],
///     points: vec![Point { at_ms: 0, value: 2.0 }, Point { at_ms: 10_000, value: 7.0 }],
/// };
/// let grew = lag.points.windows(2).all(|pair| pair[0].value < pair[1].value);
/// assert!(grew, "{} of {:?} grows", lag.name, lag.label("table"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What is measured.
    pub name: String,
    /// What tells it from others of the same name.
    pub labels: Vec<(String, String)>,
    /// The points.
    pub points: Vec<Point>,
}

impl Series {
    /// A label's value.
    ///
    /// ```
    /// # use whimbrel_plugin::Series;
    /// let labels = vec![("table".to_owned(), "shop.orders".to_owned())];
    /// let lag = Series { name: "lag_seconds".to_owned(), labels, ..Series::default() };
    /// assert_eq!(lag.label("table"), Some("shop.orders"));
    /// assert_eq!(lag.label("partition"), None);
    /// ```
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The newest point.
    ///
    /// ```
    /// # use whimbrel_plugin::{Point, Series};
    /// let points = vec![Point { at_ms: 0, value: 2.0 }, Point { at_ms: 10_000, value: 7.0 }];
    /// let lag = Series { points, ..Series::default() };
    /// assert_eq!(lag.last().map(|point| point.value), Some(7.0));
    /// assert_eq!(Series::default().last(), None);
    /// ```
    #[must_use]
    pub fn last(&self) -> Option<Point> {
        self.points.last().copied()
    }

    /// The value at a time: that of the nearest point that is at most so many milliseconds away. Lines series up that are
    /// told together.
    ///
    /// ```
    /// # use whimbrel_plugin::{Point, Series};
    /// let points = vec![Point { at_ms: 0, value: 2.0 }, Point { at_ms: 30_000, value: 7.0 }];
    /// let lag = Series { points, ..Series::default() };
    /// assert_eq!(lag.at(30_010, 15_000), Some(7.0));
    /// assert_eq!(lag.at(60_000, 15_000), None, "it was not known then");
    /// ```
    #[must_use]
    pub fn at(&self, at_ms: i64, within_ms: i64) -> Option<f64> {
        let next = self.points.partition_point(|point| point.at_ms < at_ms);
        let around = [next.checked_sub(1), Some(next)].into_iter().flatten().filter_map(|index| self.points.get(index));
        let nearest = around.min_by_key(|point| point.at_ms.abs_diff(at_ms))?;
        (nearest.at_ms.abs_diff(at_ms) <= within_ms.unsigned_abs()).then_some(nearest.value)
    }

    /// The usual distance between neighbouring points, in milliseconds: the middle one. None below two points.
    ///
    /// ```
    /// # use whimbrel_plugin::{Point, Series};
    /// let points = [0, 30_000, 60_000, 240_000].map(|at_ms| Point { at_ms, value: 1.0 });
    /// let lag = Series { points: points.to_vec(), ..Series::default() };
    /// assert_eq!(lag.step_ms(), Some(30_000));
    /// assert_eq!(Series::default().step_ms(), None);
    /// ```
    #[must_use]
    pub fn step_ms(&self) -> Option<i64> {
        let next = self.points.iter().skip(1);
        let mut gaps: Vec<i64> = self.points.iter().zip(next).map(|(a, b)| b.at_ms.saturating_sub(a.at_ms)).collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied()
    }

    /// The points of the last so many milliseconds before `until_ms`, that moment included.
    ///
    /// ```
    /// use whimbrel_plugin::{Point, Series};
    ///
    /// let points = (0..10).map(|n| Point { at_ms: n * 1_000, value: n as f64 }).collect();
    /// let series = Series { points, ..Series::default() };
    /// assert_eq!(series.since(9_000, 2_000).len(), 3);
    /// ```
    #[must_use]
    pub fn since(&self, until_ms: i64, milliseconds: i64) -> &[Point] {
        let from = self.points.partition_point(|point| point.at_ms < until_ms.saturating_sub(milliseconds));
        let to = self.points.partition_point(|point| point.at_ms <= until_ms);
        self.points.get(from..to).unwrap_or_default()
    }
}

/// What happened to one pipeline or migration from `start_ms` to `end_ms`, with points before that as look-back.
///
/// ```
/// use whimbrel_plugin::{Point, Series, Window};
///
/// let points = vec![Point { at_ms: 20_000, value: 0.4 }, Point { at_ms: 50_000, value: 0.2 }];
/// let window = Window {
///     scope: "pipeline/shop".to_owned(),
///     start_ms: 30_000,
///     end_ms: 60_000,
///     series: vec![Series { name: "rate".to_owned(), points, ..Series::default() }],
/// };
/// let now = window.inside(&window.series[0]);
/// assert_eq!(now, [Point { at_ms: 50_000, value: 0.2 }]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// "pipeline/shop", "migration/42"
    pub scope: String,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub start_ms: i64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub end_ms: i64,
    /// The series.
    pub series: Vec<Series>,
}

impl Window {
    /// The series of this name.
    ///
    /// ```
    /// # use whimbrel_plugin::{Series, Window};
    /// let series = |name: &str, table: &str| Series {
    ///     name: name.to_owned(),
    ///     labels: vec![("table".to_owned(), table.to_owned())],
    ///     ..Series::default()
    /// };
    /// let series = vec![series("lag_seconds", "orders"), series("rate", "orders"), series("lag_seconds", "items")];
    /// let window = Window { series, ..Window::default() };
    /// let tables: Vec<_> = window.named("lag_seconds").filter_map(|lag| lag.label("table")).collect();
    /// assert_eq!(tables, ["orders", "items"]);
    /// ```
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |series| series.name == name)
    }

    /// The points of a series that lie in the window itself, without the look-back.
    ///
    /// ```
    /// # use whimbrel_plugin::{Point, Series, Window};
    /// let points = (0..6).map(|n| Point { at_ms: n * 10_000, value: n as f64 }).collect();
    /// let rate = Series { name: "rate".to_owned(), points, ..Series::default() };
    /// let window = Window { start_ms: 30_000, end_ms: 50_000, ..Window::default() };
    /// let values: Vec<f64> = window.inside(&rate).iter().map(|point| point.value).collect();
    /// assert_eq!(values, [3.0, 4.0, 5.0]);
    /// ```
    #[must_use]
    pub fn inside<'a>(&self, series: &'a Series) -> &'a [Point] {
        series.since(self.end_ms, self.end_ms.saturating_sub(self.start_ms))
    }

    /// The points of a series up to the window's end, newest first, as long as no two steps in a row are missing between
    /// them. What is no number counts as missing.
    ///
    /// ```
    /// # use whimbrel_plugin::{Point, Series, Window};
    /// let points = [0, 60_000, 90_000, 120_000].map(|at_ms| Point { at_ms, value: at_ms as f64 / 1_000.0 });
    /// let lag = Series { name: "lag_seconds".to_owned(), points: points.to_vec(), ..Series::default() };
    /// let window = Window { start_ms: 120_000, end_ms: 150_000, ..Window::default() };
    /// let newest: Vec<f64> = window.newest(&lag).take(2).map(|point| point.value).collect();
    /// assert_eq!(newest, [120.0, 90.0]);
    /// ```
    pub fn newest<'a>(&self, series: &'a Series) -> impl Iterator<Item = Point> + use<'a> {
        let step_ms = series.step_ms().unwrap_or(self.end_ms.saturating_sub(self.start_ms)).max(1);
        let (end_ms, apart) = (self.end_ms, step_ms.saturating_mul(5) / 2);
        let mut next = end_ms;
        let known = series.points.iter().rev().copied().filter(|point| point.value.is_finite());
        known.skip_while(move |point| point.at_ms > end_ms).take_while(move |point| {
            let near = next.saturating_sub(point.at_ms) <= apart;
            next = point.at_ms;
            near
        })
    }

    /// Since when something holds of a series, when it holds of its newest points, at least so many, of which the last lies in
    /// the window itself.
    ///
    /// ```
    /// # use whimbrel_plugin::{Point, Series, Window};
    /// let points = [(0, 3.0), (30_000, 70.0), (60_000, 80.0), (90_000, 75.0)];
    /// let points = points.map(|(at_ms, value)| Point { at_ms, value }).to_vec();
    /// let lag = Series { name: "lag_seconds".to_owned(), points, ..Series::default() };
    /// let window = Window { start_ms: 90_000, end_ms: 120_000, ..Window::default() };
    /// assert_eq!(window.lasting(&lag, 2, |point| point.value > 60.0), Some(30_000));
    /// assert_eq!(window.lasting(&lag, 4, |point| point.value > 60.0), None, "it has held for three");
    /// ```
    pub fn lasting(&self, series: &Series, steps: usize, holds: impl Fn(Point) -> bool) -> Option<i64> {
        let run: Vec<Point> = self.newest(series).take_while(|point| holds(*point)).collect();
        let (newest, oldest) = (run.first()?, run.last()?);
        (run.len() >= steps && newest.at_ms >= self.start_ms).then_some(oldest.at_ms)
    }
}
