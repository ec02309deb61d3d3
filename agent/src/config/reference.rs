//! Secrets by reference: `${env:NAME}` and `${file:PATH}` in values of the configuration.
//!
//! Works on the parsed tree, so that a secret's content is only ever text: it can open no list and add no field. Every
//! value that is resolved is remembered in [`Resolved`], which takes it out of whatever is said later.

use std::fmt;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::node::{Node, Place, Scalar, Value};
use super::secret::Secret;

/// Largest file that `${file:…}` reads: keys and certificates are far smaller.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Shortest run of characters of a secret that is taken out of messages; shorter ones are in every sentence by chance.
const MIN_RUN: usize = 5;

/// Where references are looked up.
pub(crate) struct Environment<'a> {
    /// Reads a variable; `Err` says why not, without its value.
    pub(crate) variable: &'a dyn Fn(&str) -> Result<String, &'static str>,
    /// Relative paths start here: the folder of the configuration file.
    pub(crate) base: PathBuf,
}

/// The process's own environment.
pub(crate) fn process_variable(name: &str) -> Result<String, &'static str> {
    match std::env::var(name) {
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Err("is not set"),
        Err(std::env::VarError::NotUnicode(_)) => Err("is not UTF-8"),
    }
}

/// The values that references were resolved to: what must not be printed.
#[derive(Default, Clone)]
pub(crate) struct Resolved {
    values: Vec<String>,
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolved({} values)", self.values.len())
    }
}

impl Resolved {
    /// `text` without any resolved value, and without any part of one that is long enough to tell something.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for value in &self.values {
            out = scrub_value(&out, value.trim());
        }
        out
    }
}

/// Takes whole occurrences of `value` out of `text`, then every run of [`MIN_RUN`] characters or more they share.
pub(crate) fn scrub_value(text: &str, value: &str) -> String {
    if value.is_empty() {
        return text.to_owned();
    }
    let text: Vec<char> = text.chars().collect();
    let value: Vec<char> = value.chars().collect();
    let needed = MIN_RUN.min(value.len());
    let mut out = String::new();
    let mut rest = text.as_slice();
    let mut before: Option<char> = None;
    while let Some((first, tail)) = rest.split_first() {
        let run = longest_run(rest, &value);
        // A short value is only taken for itself where it stands alone; `1` is also a part of `100`.
        let stands_alone =
            !before.is_some_and(char::is_alphanumeric) && !rest.get(run).is_some_and(|after| after.is_alphanumeric());
        if run >= needed && (run >= MIN_RUN || stands_alone) {
            out.push_str("***");
            before = None;
            rest = rest.get(run..).unwrap_or_default();
        } else {
            out.push(*first);
            before = Some(*first);
            rest = tail;
        }
    }
    out
}

/// How many characters at the front of `text` stand somewhere in `value`, letter case aside.
fn longest_run(text: &[char], value: &[char]) -> usize {
    let same = |a: &char, b: &char| a == b || a.to_lowercase().eq(b.to_lowercase());
    (0..value.len())
        .map(|start| {
            let tail = value.get(start..).unwrap_or_default();
            text.iter().zip(tail).take_while(|(a, b)| same(a, b)).count()
        })
        .max()
        .unwrap_or(0)
}

/// Resolves every reference below `root`. Findings name field and line; the values are in [`Resolved`].
pub(crate) fn resolve(root: &mut Node, environment: &Environment<'_>) -> (Resolved, Vec<Finding>) {
    let mut resolver = Resolver { environment, resolved: Resolved::default(), findings: Vec::new() };
    resolver.node(root);
    (resolver.resolved, resolver.findings)
}

struct Resolver<'a> {
    environment: &'a Environment<'a>,
    resolved: Resolved,
    findings: Vec<Finding>,
}

impl Resolver<'_> {
    fn node(&mut self, node: &mut Node) {
        let (path, at) = (&node.path, node.at);
        match &mut node.value {
            Value::Scalar(scalar) => match self.scalar(scalar) {
                Ok(()) => {}
                Err((message, hint)) => {
                    // What stands there now is no value; nothing else shall be said about it.
                    scalar.resolved_from = Some(scalar.text.clone());
                    self.findings.push(Finding::error(path.clone(), at, message, hint));
                }
            },
            Value::Sequence(items) => items.iter_mut().for_each(|item| self.node(item)),
            Value::Mapping(entries) => entries.iter_mut().for_each(|entry| self.node(&mut entry.value)),
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar) -> Result<(), (String, String)> {
        if !scalar.text.contains("${") {
            return Ok(());
        }
        let (mut out, mut written) = (String::new(), String::new());
        let mut names: Vec<String> = Vec::new();
        let text = scalar.text.clone();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("${") {
            let (before, tail) = rest.split_at(at);
            if let Some(literal) = before.strip_suffix('$') {
                for text in [&mut out, &mut written] {
                    text.push_str(literal);
                    text.push_str("${");
                }
                rest = tail.get(2..).unwrap_or_default();
                continue;
            }
            out.push_str(before);
            written.push_str(before);
            let Some(end) = tail.find('}') else {
                return Err((
                    "a reference without its `}`".into(),
                    "write `${env:NAME}`; a literal `${` is `$${`".into(),
                ));
            };
            let (reference, after) = tail.split_at(end + 1);
            let value = self.look_up(reference)?;
            out.push_str(&value);
            written.push_str(reference);
            names.push(reference.to_owned());
            scalar.secrets.push((reference.to_owned(), Secret::new(value)));
            rest = after;
        }
        out.push_str(rest);
        written.push_str(rest);
        if !names.is_empty() {
            scalar.resolved_from = Some(names.concat());
            scalar.written = Some(written);
            self.resolved.values.push(out.clone());
        }
        scalar.text = out;
        Ok(())
    }

    fn look_up(&mut self, reference: &str) -> Result<String, (String, String)> {
        let inside = reference.strip_prefix("${").and_then(|r| r.strip_suffix('}')).unwrap_or_default();
        let value = match inside.split_once(':') {
            Some(("env", name)) => self.variable(name)?,
            Some(("file", path)) if !path.is_empty() => self.file(path)?,
            _ => {
                return Err((
                    format!("`{reference}` is no reference"),
                    "write `${env:NAME}` or `${file:PATH}`; a literal `${` is `$${`".into(),
                ));
            }
        };
        self.resolved.values.push(value.clone());
        Ok(value)
    }

    fn variable(&self, name: &str) -> Result<String, (String, String)> {
        let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            return Err((
                format!("`{name}` is no name of a variable"),
                "write `${env:NAME}` with letters, digits and `_`".into(),
            ));
        }
        (self.environment.variable)(name).map_err(|why| {
            (
                format!("the environment variable `{name}` {why}"),
                format!("set it where the agent starts: `{name}=… whimbrel …`"),
            )
        })
    }

    fn file(&self, path: &str) -> Result<String, (String, String)> {
        use std::io::Read as _;

        let full = self.environment.base.join(Path::new(path));
        let failed = |what: String| (format!("the file `{path}` {what}"), "check path and permissions".to_owned());
        // A pipe or a device could keep the agent waiting, or never end.
        let metadata = std::fs::metadata(&full).map_err(|error| failed(format!("cannot be read: {}", error.kind())))?;
        if !metadata.is_file() {
            return Err(failed("is not a regular file".into()));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(&full)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| failed(format!("cannot be read: {}", error.kind())))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err((
                format!("the file `{path}` is larger than {} KiB", MAX_FILE_BYTES >> 10),
                "a secret is one short text; name the file that holds only it".into(),
            ));
        }
        let mut text = String::from_utf8(bytes).map_err(|_| failed("is not UTF-8".into()))?;
        // Editors and `echo` end a file with a line break that is no part of the secret.
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

/// Why a message about a resolved value is not shown, in the message's place.
pub(crate) fn withheld(reference: &str, path: &str, at: Place, expected: &str) -> Finding {
    let hint = if expected.is_empty() { String::new() } else { format!("what belongs here: {expected}") };
    Finding::error(
        path,
        at,
        format!("what `{reference}` resolves to does not fit here (it is not shown, as it may be a secret)"),
        hint,
    )
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn resolved(text: &str, base: &Path) -> (Node, Resolved, Vec<Finding>) {
        let variable = |name: &str| match name {
            "A" => Ok("one".to_owned()),
            "EVIL" => Ok("x\nadmin: true # ${env:A} ]}".to_owned()),
            _ => Err("is not set"),
        };
        let (mut root, _) = yaml::parse(text).unwrap();
        let (resolved, findings) = resolve(&mut root, &Environment { variable: &variable, base: base.to_owned() });
        (root, resolved, findings)
    }

    fn value(root: &Node, key: &str) -> String {
        match &root.get(key).unwrap().value {
            Value::Scalar(scalar) => scalar.text.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn references_are_put_in_and_escapes_are_undone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pw"), "p4ss\r\n").unwrap();
        std::fs::write(dir.path().join("two"), "a\n\n").unwrap();
        for (written, expect) in [
            ("${env:A}", "one"),
            ("x-${env:A}-${env:A}", "x-one-one"),
            ("$${env:A}", "${env:A}"),
            ("$$${env:A}", "$${env:A}"),
            ("plain $ text", "plain $ text"),
            ("${file:pw}", "p4ss"),
            ("${file:two}", "a\n"),
        ] {
            let (root, _, findings) = resolved(&format!("k: \"{written}\""), dir.path());
            assert_eq!((findings, value(&root, "k").as_str()), (vec![], expect), "{written}");
        }
    }

    #[test]
    fn the_content_of_a_secret_is_never_yaml_and_never_a_reference() {
        let (root, _, findings) = resolved("k: ${env:EVIL}\nother: 1\n", Path::new("."));
        assert!(findings.is_empty());
        assert_eq!(value(&root, "k"), "x\nadmin: true # ${env:A} ]}");
        assert!(root.get("admin").is_none());
        let mut nodes = 0;
        root.walk(&mut |_| nodes += 1);
        assert_eq!(nodes, 3);
    }

    #[test]
    fn what_cannot_be_resolved_names_field_and_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("big"), vec![b'x'; 70_000]).unwrap();
        std::fs::write(dir.path().join("bin"), [0xff, 0xfe]).unwrap();
        for (written, message) in [
            ("${env:NOPE}", "the environment variable `NOPE` is not set"),
            ("${env:A B}", "is no name of a variable"),
            ("${file:nope}", "the file `nope` cannot be read"),
            ("${file:big}", "is larger than 64 KiB"),
            ("${file:bin}", "is not UTF-8"),
            ("${file:.}", "is not a regular file"),
            ("${vault:x}", "is no reference"),
            ("${env:A", "without its `}`"),
        ] {
            let (_, _, findings) = resolved(&format!("a: 1\nk: \"{written}\""), dir.path());
            assert_eq!(findings.len(), 1, "{written}");
            assert!(findings[0].message.contains(message), "{:?}", findings[0]);
            assert_eq!((findings[0].path.as_str(), findings[0].at.unwrap().line), ("k", 2));
        }
    }

    #[test]
    fn resolved_values_and_their_parts_are_taken_out_of_messages() {
        let resolved = Resolved { values: vec!["hunter2secret".into(), "7".into()] };
        for (message, expect) in [
            ("bad value `hunter2secret`", "bad value `***`"),
            ("bad port `HUNTER2`", "bad port `***`"),
            ("7 of 17 are 7", "*** of 17 are ***"),
            ("nothing to hide", "nothing to hide"),
        ] {
            assert_eq!(resolved.scrub(message), expect);
        }
    }
}
