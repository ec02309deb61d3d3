//! Labelled series on disk: CSV files below a folder, and a JSON file of windows in which something was wrong.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// One series.
#[derive(Debug)]
pub(crate) struct File {
    /// `CATEGORY/FILE.csv`
    pub(crate) name: String,
    /// Milliseconds since 1970, taken as UTC, and value; strictly ascending.
    pub(crate) rows: Vec<(i64, f64)>,
    /// First and last row of each window.
    pub(crate) windows: Vec<(usize, usize)>,
}

/// All series below a folder that are labelled.
pub(crate) fn read(directory: &Path, labels: Option<PathBuf>) -> Result<Vec<File>, Box<dyn Error>> {
    let beside = || {
        let places = [Some(directory), directory.parent()].into_iter().flatten();
        places.map(|place| place.join("labels.json")).find(|place| place.is_file())
    };
    let labels = labels.or_else(beside).ok_or("there is no labels.json in the folder or beside it; name one")?;
    let text = fs::read_to_string(&labels).map_err(|error| format!("{}: {error}", labels.display()))?;
    let labels: BTreeMap<String, Vec<(String, String)>> =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", labels.display()))?;
    let mut files = Vec::new();
    let mut missing = 0;
    for (name, windows) in labels {
        let path = directory.join(&name);
        if !path.is_file() {
            missing += 1;
            continue;
        }
        files.push(file(name, &path, &windows).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    if missing > 0 {
        eprintln!("anomaly: {missing} labelled files are not below {} and are left out", directory.display());
    }
    if files.is_empty() {
        return Err(format!("no labelled file below {}", directory.display()).into());
    }
    Ok(files)
}

fn file(name: String, path: &Path, windows: &[(String, String)]) -> Result<File, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let mut rows: Vec<(i64, f64)> = Vec::new();
    // Where each moment first comes: windows are named by it.
    let mut first: BTreeMap<i64, usize> = BTreeMap::new();
    for (index, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.is_empty()) {
        let wrong = || format!("line {}: expected a timestamp and a value", index + 1);
        let (timestamp, value) = line.split_once(',').ok_or_else(wrong)?;
        let at_ms = milliseconds(timestamp).ok_or_else(wrong)?;
        first.entry(at_ms).or_insert(rows.len());
        // Where a clock was set back, rows are told apart by a millisecond: a rule never sees a moment twice.
        let at_ms = rows.last().map_or(at_ms, |(last, _)| at_ms.max(last + 1));
        rows.push((at_ms, value.trim().parse().map_err(|_| wrong())?));
    }
    let row = |timestamp: &String| {
        let row = milliseconds(timestamp).and_then(|at_ms| first.get(&at_ms)).copied();
        row.ok_or_else(|| format!("a window begins or ends at {timestamp}, where there is no row"))
    };
    let windows = windows.iter().map(|(from, to)| Ok((row(from)?, row(to)?))).collect::<Result<_, String>>()?;
    Ok(File { name, rows, windows })
}

/// `2014-04-10 16:15:00`, with or without a fraction of a second.
fn milliseconds(timestamp: &str) -> Option<i64> {
    let mut numbers = timestamp.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<i64>().ok());
    let mut next = || numbers.next().flatten();
    let (year, month, day) = (next()?, next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    Some((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1_000)
}

/// Days from 1970-01-01 in the Gregorian calendar, counted from a year that begins in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}
