//! What is wrong with a configuration file, and how it is shown: file, line, column, field path, the source line, a hint.
//!
//! A finding never holds a value that a reference was resolved to; the loader sees to that before it makes one.

use std::fmt;
use std::path::{Path, PathBuf};

use super::node::Place;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably should not.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Field path from the root; empty for the file as a whole.
    pub path: String,
    /// What is wrong, lower case.
    pub message: String,
    /// How to mend it; may be empty.
    pub hint: String,
    /// Where, when it has a place.
    pub at: Option<Place>,
}

impl Finding {
    /// An error at a place.
    pub(crate) fn error(
        path: impl Into<String>,
        at: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Error, path: path.into(), message: message.into(), hint: hint.into(), at: Some(at) }
    }
}

/// All findings of one file.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    file: PathBuf,
    source: String,
    findings: Vec<Finding>,
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("file", &self.file).field("findings", &self.findings).finish_non_exhaustive()
    }
}

impl Report {
    /// Findings in the order of the file, each once.
    pub(crate) fn new(file: &Path, source: impl Into<String>, mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| (a.at, a.severity, &a.path, &a.message).cmp(&(b.at, b.severity, &b.path, &b.message)));
        findings.dedup();
        Self { file: file.to_owned(), source: source.into(), findings }
    }

    /// The findings.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Number of errors and warnings.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.findings.iter().filter(|f| f.severity == Severity::Error).count();
        (errors, self.findings.len() - errors)
    }

    /// True when the configuration cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.counts().0 > 0
    }

    fn write_finding(&self, f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{word}: {}", Printable(&finding.message))?;
        let field = if finding.path.is_empty() { String::new() } else { format!(" ({})", Printable(&finding.path)) };
        let file = self.file.display().to_string();
        let file = Printable(&file);
        let Some(at) = finding.at else {
            writeln!(f, "  --> {file}{field}")?;
            return write_hint(f, 1, &finding.hint);
        };
        let number = at.line.to_string();
        let margin = number.len();
        writeln!(f, "{:margin$}--> {file}:{}:{}{field}", "", at.line, at.column)?;
        if let Some(line) = at.line.checked_sub(1).and_then(|index| self.source.lines().nth(index)) {
            let shown = hide_literal_secret(line);
            writeln!(f, "{:margin$} |", "")?;
            writeln!(f, "{number} | {}", Printable(&shown))?;
            // A tab is printed as two characters (`\t`), so the underline is moved as far as the text before it.
            let before: String = shown.chars().take(at.column.saturating_sub(1)).collect();
            let indent = Printable(&before).to_string().chars().count();
            let room = shown.chars().count().saturating_sub(at.column.saturating_sub(1)).max(1);
            writeln!(f, "{:margin$} | {:indent$}{}", "", "", "^".repeat(at.len.clamp(1, room)))?;
        }
        write_hint(f, margin, &finding.hint)
    }
}

impl fmt::Display for Report {
    /// The findings as a compiler would print them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            self.write_finding(f, finding)?;
            writeln!(f)?;
        }
        let (errors, warnings) = self.counts();
        let file = self.file.display().to_string();
        match (errors, warnings) {
            (0, 0) => write!(f, "{}: no findings", Printable(&file)),
            _ => write!(f, "{}: {}, {}", Printable(&file), count(errors, "error"), count(warnings, "warning")),
        }
    }
}

impl std::error::Error for Report {}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

fn write_hint(f: &mut fmt::Formatter<'_>, margin: usize, hint: &str) -> fmt::Result {
    if hint.is_empty() { Ok(()) } else { writeln!(f, "{:margin$} = help: {}", "", Printable(hint)) }
}

/// Text with control characters escaped: a file must not be able to drive the terminal.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

/// True for names of fields whose value is nobody's business.
pub(crate) fn is_sensitive_name(name: &str) -> bool {
    const WORDS: [&str; 8] =
        ["password", "passwd", "secret", "token", "authorization", "cookie", "credential", "api-key"];
    let name = name.to_ascii_lowercase().replace('_', "-");
    WORDS.iter().any(|word| name.contains(word))
}

/// A source line without what looks like a password in the clear: it is refused elsewhere, and not repeated here.
fn hide_literal_secret(line: &str) -> String {
    let key_end = line.find(": ").or_else(|| line.strip_suffix(':').map(str::len));
    let (head, value) = match key_end {
        Some(end) => line.split_at(end),
        None => ("", line),
    };
    let written = without_references(value.trim_start_matches(':'));
    let written = written.trim().trim_matches(['"', '\'']);
    let user = written.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
    let in_uri = user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty());
    let pair = written.to_ascii_lowercase().find("password=").and_then(|at| written.get(at + 9..));
    let in_pairs = pair.is_some_and(|rest| !rest.starts_with(char::is_whitespace) && !rest.is_empty());
    let by_name = is_sensitive_name(head) && !written.is_empty();
    if !(by_name || in_uri || in_pairs) {
        return line.to_owned();
    }
    format!("{head}: ***")
}

/// The text without `${…}`.
fn without_references(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("${") {
        out.push_str(before);
        rest = tail.split_once('}').map_or("", |(_, after)| after);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_points_at_the_place() {
        let at = Place { line: 2, column: 3, len: 4 };
        let report = Report::new(
            Path::new("w.yaml"),
            "a: 1\n  bork: 2\n",
            vec![Finding::error("bork", at, "unknown field `bork`", "did you mean `fork`?")],
        );
        let expect = "error: unknown field `bork`\n --> w.yaml:2:3 (bork)\n  |\n2 |   bork: 2\n  |   ^^^^\n  = help: did you \
                      mean `fork`?\n\nw.yaml: 1 error, 0 warnings";
        assert_eq!(report.to_string(), expect);
    }

    #[test]
    fn control_characters_are_escaped_and_passwords_in_the_clear_are_not_repeated() {
        let at = Place { line: 1, column: 1, len: 1 };
        for (line, shown) in [
            ("x: \u{1b}[31m", "1 | x: \\u{1b}[31m"),
            ("password: hunter2", "1 | password: ***"),
            ("password: ${env:P}", "1 | password: ${env:P}"),
            ("uri: mongodb://u:hunter2@h/", "1 | uri: ***"),
            ("uri: mongodb://u:${env:P}@h/", "1 | uri: mongodb://u:${env:P}@h/"),
            ("uri: host=h password=${env:P} user=u", "1 | uri: host=h password=${env:P} user=u"),
            ("uri: mongodb://u:${env:P}hunter2@h/", "1 | uri: ***"),
            ("uri: host=h password=hunter2", "1 | uri: ***"),
        ] {
            let report = Report::new(Path::new("w"), line, vec![Finding::error("x", at, "m", "")]);
            assert!(report.to_string().contains(shown), "{report}");
            assert!(!report.to_string().contains("hunter2"));
        }
    }
}
