//! Where counters stood when the migration began, so that what was there before is not held against it.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::facts::Count;

/// Form of the file.
const VERSION: u32 = 1;

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An agent's status API.
    Agent,
    /// A Prometheus.
    Prometheus,
}

/// Counters by what they count for: an agent's pipeline, a series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Events stored as dead letters.
    pub dead_letters: BTreeMap<String, f64>,
    /// Errors of migrations.
    pub errors: BTreeMap<String, f64>,
    /// Events or rows, for people.
    pub events: BTreeMap<String, f64>,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    version: u32,
    /// The migration.
    pub migration_id: String,
    /// When it was noted, milliseconds since 1970.
    pub at_ms: i64,
    /// Who was asked.
    pub kind: Kind,
    /// Where; `check` asks there too unless told otherwise. Without user and password.
    pub url: String,
    /// The counters.
    pub counters: Counters,
}

/// Why a baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// There is no directory to keep it in.
    #[error("there is no directory for the baseline: neither XDG_STATE_HOME nor HOME is set; write --baseline FILE")]
    NoDirectory,
    /// The file cannot be read or written.
    #[error("the baseline {path} cannot be {doing}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no baseline, or another migration's.
    #[error("the baseline {path} cannot be used: {why}; delete it, or run `whimbrel start` again")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Baseline {
    /// A baseline of now.
    #[must_use]
    pub fn new(migration_id: &str, at_ms: i64, kind: Kind, url: String, counters: Counters) -> Self {
        Self { version: VERSION, migration_id: migration_id.to_owned(), at_ms, kind, url, counters }
    }

    /// Reads a file; none when there is none.
    ///
    /// # Errors
    /// When there is one and it cannot be used.
    pub fn read(path: &Path, migration_id: &str) -> Result<Option<Self>, BaselineError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BaselineError::File { path: path.to_owned(), doing: "read", source }),
        };
        let wrong = |why: String| BaselineError::Content { path: path.to_owned(), why };
        let found: Self = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        match found {
            found if found.version != VERSION => Err(wrong(format!("it is of version {}", found.version))),
            found if found.migration_id != migration_id => Err(wrong("it is of another migration".to_owned())),
            found => Ok(Some(found)),
        }
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        let write = || -> io::Result<()> {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            if let Some(directory) = directory {
                std::fs::create_dir_all(directory)?;
            }
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}.new", std::process::id()));
            let new = path.with_file_name(name);
            let mut file = std::fs::File::create(&new)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&new, path)
        };
        write().map_err(|source| BaselineError::File { path: path.to_owned(), doing: "written", source })
    }
}

/// Where the baseline of a migration is unless said otherwise: `$XDG_STATE_HOME/whimbrel/gate/ID.json`.
///
/// # Errors
/// When there is no such directory to be had.
pub fn default_path(migration_id: &str, variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, BaselineError> {
    let set = |name: &str| variable(name).filter(|value| Path::new(value).is_absolute()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    let file = format!("{}.json", file_name(migration_id));
    Ok(state.ok_or(BaselineError::NoDirectory)?.join("whimbrel").join("gate").join(file))
}

/// An id as the name of a file, one for each: what is not plain is written as its bytes.
fn file_name(id: &str) -> String {
    use std::fmt::Write as _;
    let mut name = String::new();
    for byte in id.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if !name.is_empty() => name.push('.'),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(name, "%{byte:02x}");
            }
        }
    }
    name
}

/// How much counters have grown; none where one of them began anew, since what it lost is not known.
fn grown(now: &BTreeMap<String, f64>, then: &BTreeMap<String, f64>) -> Option<f64> {
    let lost = then.iter().any(|(key, before)| now.get(key).is_none_or(|value| value < before));
    let each = |(key, value): (&String, &f64)| value - then.get(key).copied().unwrap_or(0.0);
    (!lost).then(|| now.iter().map(each).sum())
}

/// Dead letters that nobody has settled: those stored now, but no more than came since the baseline.
pub(super) fn unsettled(stored: f64, now: &Counters, baseline: Option<&Baseline>) -> Count {
    let come = baseline.and_then(|baseline| grown(&now.dead_letters, &baseline.counters.dead_letters));
    match come {
        Some(come) if come < stored => Count { value: come, of: format!("since the start, {stored} stored in all") },
        _ => Count { value: stored, of: "stored and not settled".to_owned() },
    }
}

/// Errors of the window, but no more than came since the baseline. `ongoing` of them are no counter's and stay.
pub(super) fn errors_since(window: Count, now: &Counters, baseline: Option<&Baseline>, ongoing: usize) -> Count {
    let come = baseline.and_then(|baseline| grown(&now.errors, &baseline.counters.errors));
    #[expect(clippy::cast_precision_loss, reason = "a number of pipelines")]
    match come.map(|come| come + ongoing as f64) {
        Some(come) if come < window.value => Count { value: come, of: "since the start".to_owned() },
        _ => window,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(dead_letters: &[(&str, f64)]) -> Counters {
        let dead_letters = dead_letters.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        Counters { dead_letters, ..Counters::default() }
    }

    #[test]
    fn only_dead_letters_that_came_since_the_start_count_and_a_restart_hides_none() {
        let then = Baseline::new("m", 0, Kind::Agent, String::new(), counters(&[("shop", 10.0)]));
        for (stored, now, expect) in [
            // Three old ones were there before and are there now.
            (3.0, 10.0, 0.0),
            (5.0, 12.0, 2.0),
            // Of five new ones all but one are settled: one at most is left.
            (1.0, 15.0, 1.0),
            // The agent began anew: what it counted before is lost, so all that are stored count.
            (7.0, 2.0, 7.0),
        ] {
            assert_eq!(unsettled(stored, &counters(&[("shop", now)]), Some(&then)).value, expect, "{stored} {now}");
        }
        assert_eq!(unsettled(3.0, &counters(&[]), Some(&then)).value, 3.0, "the series is gone");
        assert_eq!(unsettled(3.0, &counters(&[("shop", 10.0)]), None).value, 3.0, "without a baseline");
    }

    #[test]
    fn a_baseline_comes_back_as_it_was_and_no_other_is_taken_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gate/a.json");
        assert_eq!(Baseline::read(&path, "a").unwrap(), None);
        let baseline = Baseline::new("a", 7, Kind::Prometheus, "http://p".into(), counters(&[("shop", 1.0)]));
        baseline.write(&path).unwrap();
        assert_eq!(Baseline::read(&path, "a").unwrap().as_ref(), Some(&baseline));
        assert!(Baseline::read(&path, "b").unwrap_err().to_string().contains("another migration"));
        std::fs::write(&path, "{").unwrap();
        assert!(Baseline::read(&path, "a").is_err());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing half-written stays");
    }

    #[test]
    fn every_id_has_a_file_of_its_own_inside_the_directory() {
        let home = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
        for (id, expect) in [
            ("42", "/home/me/.local/state/whimbrel/gate/42.json"),
            ("../../x", "/home/me/.local/state/whimbrel/gate/%2e.%2f..%2fx.json"),
            ("set/1.2", "/home/me/.local/state/whimbrel/gate/set%2f1.2.json"),
        ] {
            assert_eq!(default_path(id, home).unwrap(), Path::new(expect));
        }
        assert!(default_path("x", |_| None).is_err());
        let relative = |name: &str| (name == "XDG_STATE_HOME").then(|| "state".to_owned());
        assert!(default_path("x", relative).is_err(), "the standard says to ignore what is relative");
    }
}
