//! Lines that tell how far a command is.
//!
//! A pattern is a regular expression with named groups: `done` and `total` are numbers (`,` and `_` between digits do not
//! count), `percent` is one with or without a fraction, `table` is what is worked on. It needs `done` or `percent`. Control
//! sequences of terminals are taken out before a line is looked at, and a line ends with a line feed or carriage return.
//!
//! Without a pattern of the user's these forms are known, the first that fits counting:
//!
//! | Line | Read as |
//! |---|---|
//! | ``Copying `shop`.`orders`:  30% 00:45 remain`` | shop.orders, 30 % |
//! | `Copy: 1200/5000 24.0%; Applied: 0` | 1200 of 5000 |
//! | `table orders: 1,200 of 5,000 rows` | orders, 1200 of 5000 |
//! | `[####....]  shop.orders  101/1000  (10.1%)` | 101 of 1000 |
//! | `Backfilling ... 42.5 %` | 42.5 % |
//!
//! Dates and fractions in words (`2026/01/31`, `1/2/3`) are none of these.

use std::sync::LazyLock;

use regex::{Captures, Regex, RegexBuilder};

/// How far something is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Measure {
    /// What is worked on, if the line says so.
    pub table: Option<String>,
    /// Units done; of a percentage, hundredths of a percent.
    pub done: u64,
    /// Units in all; of a percentage, 10000.
    pub total: Option<u64>,
}

/// What to look for in the output.
#[derive(Debug, Clone)]
pub struct Patterns(Vec<Regex>);

/// Why a pattern is none.
#[derive(Debug, thiserror::Error)]
pub enum BadPattern {
    /// No regular expression.
    #[error("the progress pattern is no regular expression")]
    Syntax(#[source] Box<regex::Error>),
    /// It has no number in it.
    #[error(
        "the progress pattern has neither a group named `done` nor one named `percent`: write for example `(?<done>\\d+)/(?<total>\\d+)`"
    )]
    NoNumber,
    /// A group that means nothing.
    #[error("the progress pattern has a group named `{0}`: known are done, total, percent and table")]
    UnknownGroup(String),
}

/// Longer lines are not progress.
const LONGEST: usize = 1000;
/// As large as a compiled pattern of a person's may be.
const LARGEST: usize = 1 << 20;

const NUMBER: &str = r"[0-9](?:[0-9,_]*[0-9])?";

static KNOWN: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let name = r#"(?<table>[\w.$`"]*[\w`"])"#;
    // Nothing that could be a part of a date, a path or a version stands around the numbers.
    let pair = format!(
        r"(?:^|[\s(\[:=])(?<done>{NUMBER}) ?(?:/|\bof\b|\bout of\b) ?(?<total>{NUMBER})(?:$|[\s)\],;:]|\.(?:$|\s))"
    );
    let percent = r"(?:^|[\s(\[:=])(?<percent>[0-9]{1,3}(?:\.[0-9]+)?) ?%";
    [
        format!(r"(?i)(?:\b(?:table|collection)\s+|\bcopying\s+){name}.*?{pair}"),
        format!(r"(?i)(?:\b(?:table|collection)\s+|\bcopying\s+){name}.*?{percent}"),
        format!("(?i){pair}"),
        percent.to_owned(),
    ]
    .iter()
    .filter_map(|pattern| Regex::new(pattern).ok())
    .collect()
});

static CONTROL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*\x07?|.)").ok());

impl Default for Patterns {
    /// The forms that are known.
    fn default() -> Self {
        Self(KNOWN.clone())
    }
}

impl Patterns {
    /// These, instead of the known ones.
    ///
    /// # Errors
    /// When one is no pattern.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        patterns.into_iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// What a line tells.
    #[must_use]
    pub fn read(&self, line: &str) -> Option<Measure> {
        if line.len() > LONGEST {
            return None;
        }
        let plain = match &*CONTROL {
            Some(control) if line.contains('\x1b') => control.replace_all(line, ""),
            _ => line.into(),
        };
        self.0.iter().find_map(|pattern| pattern.captures(&plain).and_then(|found| measure(&found)))
    }
}

fn compile(pattern: &str) -> Result<Regex, BadPattern> {
    let compiled = RegexBuilder::new(pattern).size_limit(LARGEST).build();
    let compiled = compiled.map_err(|error| BadPattern::Syntax(Box::new(error)))?;
    let names: Vec<_> = compiled.capture_names().flatten().collect();
    if let Some(unknown) = names.iter().find(|name| !["done", "total", "percent", "table"].contains(name)) {
        return Err(BadPattern::UnknownGroup((*unknown).to_owned()));
    }
    if !names.contains(&"done") && !names.contains(&"percent") {
        return Err(BadPattern::NoNumber);
    }
    Ok(compiled)
}

fn measure(found: &Captures<'_>) -> Option<Measure> {
    let text = |name| found.name(name).map(|group| group.as_str());
    let number = |name| text(name).and_then(|text| text.replace([',', '_'], "").parse::<u64>().ok());
    let table = text("table").map(|table| table.replace(['`', '"'], "").trim_matches('.').to_owned());
    let table = table.filter(|table| !table.is_empty());
    if let Some(done) = number("done") {
        let total = number("total");
        // 2026 of 1 is something else.
        return total.is_none_or(|total| done <= total).then_some(Measure { table, done, total });
    }
    let percent = text("percent")?.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10000")]
    let done = (percent * 100.0).round() as u64;
    Some(Measure { table, done, total: Some(10_000) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_many_tools_are_read_and_others_are_not() {
        let patterns = Patterns::default();
        for (line, expect) in [
            ("Copying `shop`.`orders`:  30% 00:45 remain", Some((Some("shop.orders"), 3_000, Some(10_000)))),
            ("Copy: 1200/5000 24.0%; Applied: 0; Backlog: 0/1000", Some((None, 1_200, Some(5_000)))),
            ("table orders: 1,200 of 5,000 rows", Some((Some("orders"), 1_200, Some(5_000)))),
            ("migrating collection shop.orders 17 / 100", Some((Some("shop.orders"), 17, Some(100)))),
            (
                "2026-01-31T10:20:30.000+0000\t[####....]  shop.orders  101/1000  (10.1%)",
                Some((None, 101, Some(1_000))),
            ),
            ("\x1b[2K\x1b[32mProgress:\x1b[0m 1_000_000 out of 2_000_000.", Some((None, 1_000_000, Some(2_000_000)))),
            ("Backfilling ... 42.5 %", Some((None, 4_250, Some(10_000)))),
            ("100%", Some((None, 10_000, Some(10_000)))),
            ("(3/10)", Some((None, 3, Some(10)))),
            ("Step 3 of 10: create index", Some((None, 3, Some(10)))),
            ("0/0", Some((None, 0, Some(0)))),
            ("2026/01/31 10:20:30 starting", None),
            ("31/01/2026", None),
            ("/var/lib/1/2", None),
            ("5/3", None),
            ("150% sure", None),
            ("version 1.2/3", None),
            ("Successfully applied 3 migrations to schema `shop` (execution time 00:00.123s)", None),
            ("INFO  [alembic.runtime.migration] Running upgrade 1975ea83b712 -> ae1027a6acf, add table", None),
            ("== 20260131 CreateOrders: migrated (0.0019s) ====", None),
            ("99999999999999999999999/99999999999999999999999", None),
            ("", None),
        ] {
            let expect = expect.map(|(table, done, total)| Measure { table: table.map(str::to_owned), done, total });
            assert_eq!(patterns.read(line), expect, "{line}");
        }
    }

    #[test]
    fn a_pattern_of_the_users_stands_alone() {
        let patterns = Patterns::new([r"rows=(?<done>\d+)(?: table=(?<table>\w+))?"]).unwrap();
        assert_eq!(
            patterns.read("t=1 rows=77 table=a"),
            Some(Measure { table: Some("a".into()), done: 77, total: None })
        );
        assert_eq!(patterns.read("3/10"), None);
    }

    #[test]
    fn patterns_that_cannot_work_are_refused() {
        for (pattern, words) in [
            ("(", "no regular expression"),
            ("x", "neither"),
            (r"(?<done>\d)(?<rows>\d)", "`rows`"),
            (r"(?<table>x)", "neither"),
            (r"(?<done>(\w{1000}){1000})", "no regular"),
        ] {
            let error = Patterns::new([pattern]).unwrap_err().to_string();
            assert!(error.contains(words), "{pattern}: {error}");
        }
    }

    #[test]
    fn all_known_patterns_compile() {
        assert_eq!((KNOWN.len(), CONTROL.is_some()), (4, true));
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in ".*") {
            if let Some(measure) = Patterns::default().read(&line) {
                prop_assert!(measure.total.is_none_or(|total| measure.done <= total));
            }
        }
    }
}
