//! YAML text to a tree of nodes, within budgets.
//!
//! Uses the parser and the budgets of `serde-saphyr`; aliases and merge keys are followed here, within a budget of their
//! own, so that a file of a few lines cannot grow to gigabytes. Says nothing about which fields exist.

use std::collections::HashMap;

use serde_saphyr::budget::{EnforcingPolicy, check_yaml_budget};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::finding::Finding;
use super::node::{Entry, Node, Place, Scalar, Value};

/// Largest file that is read: a thousand pipelines fit, a mistaken path to a data file does not.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// Most nodes, aliases followed: ten times what fits a file of [`MAX_BYTES`] with usual lines is no configuration.
const MAX_NODES: usize = 100_000;
/// Deepest nesting; the deepest field of the configuration is 8 levels down, plugin configuration may add some.
const MAX_DEPTH: usize = 48;

/// The file's single document. Findings beside the tree are errors that did not stop the reading (duplicate keys).
///
/// # Errors
/// The finding that stopped the reading: no YAML, or over budget.
pub(crate) fn parse(text: &str) -> Result<(Node, Vec<Finding>), Finding> {
    check_budget(text)?;
    let mut builder = Builder { open: Vec::new(), anchors: HashMap::new(), findings: Vec::new(), nodes: 0 };
    let mut document: Option<Node> = None;
    for item in Parser::new_from_str(text) {
        let (event, span) = item.map_err(|error| scan_finding(&error))?;
        let at = place(&span);
        let finished = match event {
            Event::DocumentStart(..) if document.is_some() => {
                return Err(Finding::error("", at, "a second document", "keep one document: remove the `---`"));
            }
            Event::Scalar(value, style, anchor, tag) => {
                let is_string = tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                if tag.is_some() && !is_string {
                    return Err(tag_finding(at));
                }
                let plain = matches!(style, ScalarStyle::Plain) && !is_string;
                let scalar =
                    Scalar { text: value.into_owned(), plain, resolved_from: None, written: None, secrets: Vec::new() };
                builder.complete(Node::new(Value::Scalar(scalar), at), anchor)?
            }
            Event::SequenceStart(_, anchor, tag) => {
                builder.start(Value::Sequence(Vec::new()), at, anchor, tag.is_some())?;
                None
            }
            Event::MappingStart(_, anchor, tag) => {
                builder.start(Value::Mapping(Vec::new()), at, anchor, tag.is_some())?;
                None
            }
            Event::SequenceEnd | Event::MappingEnd => match builder.open.pop() {
                Some(open) => builder.complete(Node::new(open.value, open.at), open.anchor)?,
                None => None,
            },
            Event::Alias(anchor) => {
                let Some(node) = builder.anchors.get(&anchor).cloned() else {
                    return Err(Finding::error("", at, "an alias inside its own anchor", "write the value out"));
                };
                node.walk(&mut |_| builder.nodes += 1);
                builder.complete(node, 0)?
            }
            _ => None,
        };
        document = document.or(finished);
    }
    let nothing = Scalar { text: String::new(), plain: true, resolved_from: None, written: None, secrets: Vec::new() };
    let mut root = document.unwrap_or_else(|| Node::new(Value::Scalar(nothing), Place { line: 1, column: 1, len: 1 }));
    root.number();
    Ok((root, builder.findings))
}

fn check_budget(text: &str) -> Result<(), Finding> {
    let whole = Place { line: 1, column: 1, len: 1 };
    let budget = serde_saphyr::budget! {
        max_nodes: MAX_NODES,
        max_events: MAX_NODES * 3,
        max_depth: MAX_DEPTH,
        max_documents: 1,
        max_aliases: 1_000,
        max_anchors: 1_000,
        max_total_scalar_bytes: MAX_BYTES,
    };
    let report = check_yaml_budget(text, budget.unwrap_or_default(), EnforcingPolicy::AllContent)
        .map_err(|error| scan_finding(&error))?;
    match report.breached {
        None => Ok(()),
        Some(serde_saphyr::budget::BudgetBreach::Documents { .. }) => {
            Err(Finding::error("", whole, "more than one document", "keep one document: remove the `---`"))
        }
        Some(breach) => Err(Finding::error(
            "",
            whole,
            format!("the file is over the limits of a configuration file: {breach:?}"),
            "is this the right file? write repeated parts out instead of nesting anchors",
        )),
    }
}

fn scan_finding(error: &ScanError) -> Finding {
    let marker = error.marker();
    let at = Place { line: marker.line().max(1), column: marker.col() + 1, len: 1 };
    let hint = match error.info() {
        text if text.contains("tab") => "indent with spaces",
        _ => "check indentation, quotes and brackets here and in the line before",
    };
    Finding::error("", at, format!("not valid YAML: {}", error.info()), hint)
}

fn tag_finding(at: Place) -> Finding {
    Finding::error(
        "",
        at,
        "tags are not supported",
        "remove the `!…`; secrets are written `${env:NAME}` or `${file:PATH}`",
    )
}

fn place(span: &Span) -> Place {
    let (start, end) = (span.start, span.end);
    let len = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    Place { line: start.line(), column: start.col() + 1, len: len.max(1) }
}

/// A list or mapping whose end has not come yet.
struct Open {
    value: Value,
    at: Place,
    anchor: usize,
    /// The key read last, while its value is awaited.
    key: Option<(String, Place)>,
}

struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    findings: Vec<Finding>,
    nodes: usize,
}

impl Builder {
    fn start(&mut self, value: Value, at: Place, anchor: usize, tagged: bool) -> Result<(), Finding> {
        if tagged {
            return Err(tag_finding(at));
        }
        self.open.push(Open { value, at, anchor, key: None });
        Ok(())
    }

    /// Puts a finished node where it belongs; gives it back when it is the document.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, Finding> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Finding::error(
                "",
                node.at,
                format!("aliases grow the file to more than {MAX_NODES} values"),
                "write repeated parts out instead of nesting anchors",
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            return Ok(Some(node));
        };
        match (&mut open.value, open.key.take()) {
            (Value::Sequence(items), _) => items.push(node),
            (Value::Mapping(entries), Some((key, key_at))) if key == "<<" => merge(entries, node, key_at)?,
            (Value::Mapping(entries), Some((key, key_at))) => {
                if entries.iter().any(|entry| entry.key == key && !entry.value.path.is_empty()) {
                    // Came by a merge: what is written out wins.
                    entries.retain(|entry| entry.key != key);
                }
                if entries.iter().any(|entry| entry.key == key) {
                    let message = format!("`{key}` stands here twice");
                    self.findings.push(Finding::error(key, key_at, message, "keep one of them"));
                } else {
                    entries.push(Entry { key, key_at, value: node });
                }
            }
            (Value::Mapping(_), None) => match node.value {
                Value::Scalar(scalar) => open.key = Some((scalar.text, node.at)),
                Value::Sequence(_) | Value::Mapping(_) => {
                    return Err(Finding::error("", node.at, "a key must be a word", "check brackets and braces"));
                }
            },
            (Value::Scalar(_), _) => {}
        }
        Ok(None)
    }
}

/// Marks entries that a merge key brought, until paths are given: what is written out wins over them.
const MERGED: &str = "<<";

fn merge(entries: &mut Vec<Entry>, node: Node, at: Place) -> Result<(), Finding> {
    let sources = match node.value {
        Value::Mapping(merged) => vec![merged],
        Value::Sequence(items) => items
            .into_iter()
            .map(|item| match item.value {
                Value::Mapping(merged) => Some(merged),
                Value::Scalar(_) | Value::Sequence(_) => None,
            })
            .collect::<Option<_>>()
            .unwrap_or_default(),
        Value::Scalar(_) => Vec::new(),
    };
    if sources.is_empty() {
        return Err(Finding::error(
            "<<",
            at,
            "only a mapping can be merged",
            "write `<<: *name` of an anchored mapping",
        ));
    }
    for mut entry in sources.into_iter().flatten() {
        if !entries.iter().any(|known| known.key == entry.key) {
            MERGED.clone_into(&mut entry.value.path);
            entries.push(entry);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(node: &'a Node, path: &[&str]) -> &'a str {
        let found = path.iter().fold(node, |node, key| node.get(key).unwrap());
        match &found.value {
            Value::Scalar(scalar) => &scalar.text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nodes_know_their_places_and_paths() {
        let (root, findings) = parse("a:\n  - x\n  - {b: 'y z'}\n").unwrap();
        assert!(findings.is_empty());
        let mut seen = Vec::new();
        root.walk(&mut |node| seen.push((node.path.clone(), node.at.line, node.at.column)));
        let expect = [("", 1, 1), ("a", 2, 3), ("a[0]", 2, 5), ("a[1]", 3, 5), ("a[1].b", 3, 9)];
        assert_eq!(seen, expect.map(|(path, line, column)| (path.to_owned(), line, column)));
    }

    #[test]
    fn aliases_and_merge_keys_are_followed_and_what_is_written_out_wins() {
        let (root, findings) =
            parse("base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\ntwo:\n  y: 4\n  <<: [*b]\nthree: *b\n").unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!((text(&root, &["one", "x"]), text(&root, &["one", "y"])), ("1", "3"));
        assert_eq!((text(&root, &["two", "x"]), text(&root, &["two", "y"])), ("1", "4"));
        assert_eq!(text(&root, &["three", "y"]), "2");
    }

    #[test]
    fn broken_and_hostile_files_are_refused_with_a_place() {
        let bomb = {
            let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
            for level in 1..9 {
                let inner = format!("*a{}", level - 1);
                text.push_str(&format!("a{level}: &a{level} [{}]\n", [inner.as_str(); 10].join(",")));
            }
            text
        };
        let deep = "[".repeat(100) + &"]".repeat(100);
        for (text, line, message) in [
            ("a: [1,\nb: 2\n", 1, "not valid YAML"),
            ("a: 1\n---\nb: 2\n", 1, "more than one document"),
            ("a: !secret x\n", 1, "tags are not supported"),
            ("a: *nothing\n", 1, "not valid YAML"),
            ("? [x]\n: y\n", 1, "a key must be a word"),
            (bomb.as_str(), 4, "aliases grow the file"),
            (deep.as_str(), 1, "over the limits"),
        ] {
            let finding = parse(text).unwrap_err();
            assert!(finding.message.contains(message), "{text:.40}: {finding:?}");
            assert_eq!(finding.at.unwrap().line, line, "{finding:?}");
        }
    }

    #[test]
    fn duplicate_keys_are_findings_and_the_reading_goes_on() {
        let (root, findings) = parse("a: 1\nb: 2\na: 3\n").unwrap();
        assert_eq!(text(&root, &["a"]), "1");
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].at.unwrap().line, 3);
    }

    #[test]
    fn an_empty_file_is_an_empty_configuration() {
        assert!(parse("").unwrap().0.is_null());
        assert!(parse("# only a comment\n").unwrap().0.is_null());
    }
}
