//! What a rule is handed: series of points over a window, as plain data.

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it today.
    Warning,
    /// Somebody must act now.
    Critical,
}

/// One value at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: i64,
    /// The value, in the unit of the series.
    pub value: f64,
}

/// One quantity over time, oldest point first.
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
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The newest point.
    #[must_use]
    pub fn last(&self) -> Option<Point> {
        self.points.last().copied()
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
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |series| series.name == name)
    }

    /// The points of a series that lie in the window itself, without the look-back.
    #[must_use]
    pub fn inside<'a>(&self, series: &'a Series) -> &'a [Point] {
        series.since(self.end_ms, self.end_ms.saturating_sub(self.start_ms))
    }
}
