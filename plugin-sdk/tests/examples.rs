//! Every public item of the SDK shows how it is used: in an example that `cargo test --doc` compiles and runs. Reads the
//! sources as text; whether the examples say what is true is their own assertions' business.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// What an author cannot call: the glue to the sandbox, and the host behind `testing`.
const NOT_FOR_AUTHORS: [&str; 2] = ["guest", "native"];

#[test]
fn every_public_item_has_an_example() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut seen, mut bare) = (0, Vec::new());
    for file in files(&source).unwrap() {
        let text = fs::read_to_string(&file).unwrap();
        for item in items(&text) {
            seen += 1;
            let shown = item.module.map_or(item.example, |name| example(&inner_docs(&module(&file, name).unwrap())));
            if !shown {
                bare.push(format!("{}:{}: {}", file.display(), item.line, item.text));
            }
        }
    }
    assert!(bare.is_empty(), "{} public items have no example that runs:\n{}", bare.len(), bare.join("\n"));
    // Fewer means that this test no longer finds them.
    assert!(seen > 150, "only {seen} public items were found");
}

#[test]
fn an_item_without_an_example_is_found_whatever_it_is() {
    let text = "
/// Nothing to see.
#[must_use]
pub const fn bare() {}
/// ```ignore
/// is_never_run();
/// ```
pub struct Ignored;
/// ```
/// assert!(true);
/// ```
#[derive(Debug)]
pub enum Shown {}
/// ```
/// ```
pub trait Plugin {
    /// Once.
    fn start(&self);
}
#[doc(hidden)]
pub fn hidden() {}
pub(crate) fn own() {}
pub use macros::derive;
#[cfg(test)]
mod tests { pub fn helper() {} }
";
    let bare: Vec<&str> = items(text).iter().filter(|item| !item.example).map(|item| item.text).collect();
    assert_eq!(bare, ["pub const fn bare() {}", "pub struct Ignored;", "fn start(&self);", "pub use macros::derive;"]);
}

/// Something an author can name.
struct Item<'a> {
    line: usize,
    text: &'a str,
    example: bool,
    /// For `pub mod name;`: its documentation is in another file.
    module: Option<&'a str>,
}

/// The public items of one file, up to its tests.
fn items(text: &str) -> Vec<Item<'_>> {
    let (mut items, mut docs, mut hidden, mut public_trait) = (Vec::new(), Vec::new(), false, false);
    for (index, line) in text.lines().enumerate() {
        if line == "#[cfg(test)]" {
            break;
        }
        let text = line.trim();
        if let Some(doc) = text.strip_prefix("///") {
            docs.push(doc.trim());
        } else if text.starts_with("#[") {
            hidden |= text == "#[doc(hidden)]";
        } else if !text.starts_with("//") {
            public_trait = (public_trait && line != "}") || text.starts_with("pub trait ");
            if !hidden && is_public(text, public_trait) {
                let module = text.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'));
                items.push(Item { line: index + 1, text, example: example(&docs), module });
            }
            docs.clear();
            hidden = false;
        }
    }
    items
}

fn is_public(text: &str, in_trait: bool) -> bool {
    const KINDS: [&str; 7] = ["fn ", "const ", "struct ", "enum ", "trait ", "mod ", "macro_rules! "];
    match text.strip_prefix("pub ") {
        // Re-exports are documented where they are made, the macros' excepted: there nothing of the SDK can be named.
        Some(rest) => KINDS.iter().any(|kind| rest.starts_with(kind)) || rest.contains("macros::"),
        None => in_trait && ["fn ", "const "].iter().any(|kind| text.starts_with(kind)),
    }
}

/// Whether there is a block of code that is compiled and run.
fn example(docs: &[&str]) -> bool {
    let fences = docs.iter().filter_map(|line| line.strip_prefix("```"));
    fences.step_by(2).any(str::is_empty)
}

fn inner_docs(text: &str) -> Vec<&str> {
    text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect()
}

/// The text of a module's file.
fn module(file: &Path, name: &str) -> io::Result<String> {
    fs::read_to_string(file.with_file_name(format!("{name}.rs")))
        .or_else(|_| fs::read_to_string(file.with_file_name(name).join("mod.rs")))
}

/// All sources for authors, in order.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            found.push(path);
        } else if !NOT_FOR_AUTHORS.iter().any(|name| path.ends_with(name)) {
            found.extend(files(&path)?);
        }
    }
    found.sort();
    Ok(found)
}
