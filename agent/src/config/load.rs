//! From a file to the validated configuration, or to everything that is wrong with it.
//!
//! Order: text, tree, references, raw structs, validated types. A value that came by reference is in no finding: findings
//! at such a value are replaced by a sentence that withholds it, and all others are scrubbed of it and of parts of it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::finding::{Finding, Report, Severity};
use super::invalid::Invalid;
use super::node::{Node, Place, Scalar, Value};
use super::reference::{self, Environment, Resolved, withheld};
use super::validated::{AgentConfig, Positions, validate};
use super::{as_written, raw, read, yaml};

/// A configuration that can be used, and what is odd about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: AgentConfig,
    /// Warnings.
    pub report: Report,
}

/// Reads and checks a file.
///
/// # Errors
/// The report of everything that is wrong.
pub fn load(file: &Path) -> Result<Loaded, Report> {
    let text = read_text(file).map_err(|(message, hint)| {
        let finding = Finding { severity: Severity::Error, path: String::new(), message, hint: hint.into(), at: None };
        Report::new(file, "", vec![finding])
    })?;
    let base = file.parent().map(Path::to_path_buf).unwrap_or_default();
    load_text(file, &text, &Environment { variable: &reference::process_variable, base })
}

fn read_text(file: &Path) -> Result<String, (String, &'static str)> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(yaml::MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| (format!("cannot be read: {error}"), "check path and permissions"))?;
    if bytes.len() > yaml::MAX_BYTES {
        return Err((format!("larger than {} MiB", yaml::MAX_BYTES >> 20), "is this the right file?"));
    }
    String::from_utf8(bytes).map_err(|_| ("not UTF-8".to_owned(), "save the file as UTF-8"))
}

/// Checks a text.
pub(crate) fn load_text(file: &Path, text: &str, environment: &Environment<'_>) -> Result<Loaded, Report> {
    let (mut root, mut findings) = match yaml::parse(text) {
        Ok(parsed) => parsed,
        Err(finding) => return Err(Report::new(file, text, vec![finding])),
    };
    let (resolved, unresolved) = reference::resolve(&mut root, environment);
    let places = Places::of(&root);
    let reading = read::read::<raw::Config>(&root);
    findings.extend(reading.findings);

    let mut config = None;
    if let Some(raw) = &reading.value {
        let unreadable = unreadable(&root, &reading.pruned);
        let written = |list: &str| {
            root.get(list).is_some_and(|node| match &node.value {
                Value::Sequence(items) => !items.is_empty(),
                Value::Scalar(_) | Value::Mapping(_) => !node.is_null(),
            })
        };
        let positions = Positions {
            pipelines: positions(&root, "pipelines", &reading.pruned),
            migrations: positions(&root, "migrations", &reading.pruned),
            written: written("pipelines") || written("migrations"),
        };
        let (validated, checked) = validate(raw, &positions);
        config = validated;
        let news = checked.findings.into_iter().filter(|(_, invalid)| {
            let path = plain_path(&invalid.path);
            !unreadable.iter().any(|gone| touches(gone, &path))
        });
        findings.extend(news.map(|(severity, invalid)| places.finding(severity, invalid)));
    }
    findings.retain(|finding| !unresolved.iter().any(|first| first.path == finding.path));
    findings.extend(unresolved);
    for finding in &mut findings {
        finding.message = scrubbed(&resolved, &finding.message);
        finding.hint = scrubbed(&resolved, &finding.hint);
    }
    let report = Report::new(file, text, findings);
    match config {
        Some(mut config) if !report.has_errors() => {
            as_written::note(&root, &mut config);
            Ok(Loaded { config, report })
        }
        _ => Err(report),
    }
}

/// References themselves may be named, even where a secret happens to hold the same letters.
fn scrubbed(resolved: &Resolved, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("`${") {
        let (before, tail) = rest.split_at(start);
        let end = tail.find("}`").map_or(tail.len(), |end| end + 2);
        let (reference, after) = tail.split_at(end);
        out.push_str(&resolved.scrub(before));
        out.push_str(reference);
        rest = after;
    }
    out.push_str(&resolved.scrub(rest));
    out
}

/// For each entry of this list that could be read: its index in the file.
fn positions(root: &Node, list: &str, pruned: &HashSet<usize>) -> Vec<usize> {
    let Some(Node { value: Value::Sequence(items), .. }) = root.get(list) else { return Vec::new() };
    items.iter().enumerate().filter(|(_, item)| !pruned.contains(&item.id)).map(|(index, _)| index).collect()
}

/// Paths of what could not be read: a check that misses it there, above or below says nothing new.
fn unreadable(root: &Node, pruned: &HashSet<usize>) -> Vec<String> {
    let mut paths = Vec::new();
    root.walk(&mut |node| {
        if pruned.contains(&node.id) {
            paths.push(plain_path(&node.path));
        }
    });
    paths
}

/// True when one path is the other, or a part of it.
fn touches(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Where each field stands, and which hold resolved values.
struct Places {
    by_path: HashMap<String, (Place, Place, Option<String>)>,
}

impl Places {
    fn of(root: &Node) -> Self {
        let mut by_path = HashMap::new();
        root.walk(&mut |node| {
            let reference = match &node.value {
                Value::Scalar(Scalar { resolved_from, .. }) => resolved_from.clone(),
                Value::Sequence(_) | Value::Mapping(_) => None,
            };
            by_path.insert(plain_path(&node.path), (node.at, node.anchor, reference));
        });
        Self { by_path }
    }

    /// A stage's finding with its place. What a stage says about a resolved value is not repeated: it may quote it.
    fn finding(&self, severity: Severity, invalid: Invalid) -> Finding {
        let mut path = plain_path(&invalid.path);
        let exact = self.by_path.get(&path);
        if let Some((at, _, Some(reference))) = exact {
            return Finding { severity, ..withheld(reference, &invalid.path, *at, "") };
        }
        let at = exact.map(|(at, _, _)| *at).or_else(|| {
            // A field that is not in the file: point at the nearest section around it.
            while let Some(end) = path.rfind(['.', '[']) {
                path.truncate(end);
                if let Some((_, anchor, _)) = self.by_path.get(&path) {
                    return Some(*anchor);
                }
            }
            None
        });
        Finding { severity, path: invalid.path, message: invalid.message, hint: invalid.hint, at }
    }
}

/// Stages write `types.a.b` where the tree says `types["a.b"]`: both become the same.
fn plain_path(path: &str) -> String {
    path.replace("[\"", ".").replace("\"]", "")
}
