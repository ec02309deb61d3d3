//! Packs the SDK for `whimbrel plugin new`: its sources with what they take from this workspace written out, the versions
//! they were tried with, and the templates. Writes `sdk.rs` into OUT_DIR: lists of paths and contents.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Writes the lists `SDK` and `TEMPLATES`, and the text `LOCK`.
pub(crate) fn embed(root: &Path, out: &Path) -> Result<()> {
    let workspace = fs::read_to_string(root.join("Cargo.toml"))?;
    let mut code = String::from("/// The SDK's files.\npub(super) const SDK: &[(&str, &str)] = &[\n");
    for manifest in ["plugin-sdk/Cargo.toml", "plugin-sdk/macros/Cargo.toml"] {
        let text = standalone(&fs::read_to_string(root.join(manifest))?, &workspace)
            .map_err(|why| format!("{manifest}: {why}"))?;
        writeln!(code, "    ({manifest:?}, {text:?}),")?;
    }
    for folder in ["plugin-sdk/src", "plugin-sdk/macros/src", "wit"] {
        list(root, folder, folder, &mut code)?;
    }
    code.push_str("];\n\n/// The templates' files.\npub(super) const TEMPLATES: &[(&str, &str)] = &[\n");
    list(root, "plugin-sdk/template", "", &mut code)?;
    let lock = locked(&fs::read_to_string(root.join("Cargo.lock"))?);
    write!(code, "];\n\n/// The versions the SDK was tried with.\npub(super) const LOCK: &str = {lock:?};\n")?;
    let toolchain = fs::read_to_string(root.join("rust-toolchain.toml"))?;
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).ok_or("no channel")?;
    writeln!(code, "\n/// The compiler the SDK was tried with.\npub(super) const CHANNEL: &str = {channel};")?;
    fs::write(out.join("sdk.rs"), code)?;
    Ok(())
}

/// One line for each file below a folder, in order.
fn list(root: &Path, folder: &str, name: &str, code: &mut String) -> Result<()> {
    let mut entries = fs::read_dir(root.join(folder))?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file = entry.file_name().into_string().map_err(|name| format!("{} is not text", name.display()))?;
        let slash = if name.is_empty() { "" } else { "/" };
        let (path, name) = (format!("{folder}/{file}"), format!("{name}{slash}{file}"));
        if entry.file_type()?.is_dir() {
            list(root, &path, &name, code)?;
        } else {
            writeln!(code, "    ({name:?}, include_str!({:?})),", root.join(path))?;
        }
    }
    Ok(())
}

/// A manifest that needs no workspace: inherited fields and versions are written out, inherited lints are left out.
fn standalone(manifest: &str, workspace: &str) -> Result<String> {
    let (package, dependencies) =
        (table(workspace, "[workspace.package]"), table(workspace, "[workspace.dependencies]"));
    let mut text = String::new();
    for line in manifest.lines() {
        let inherited = |values: &BTreeMap<&str, &str>, name: &str| {
            values.get(name).map(|value| (*value).to_owned()).ok_or(format!("the workspace says no {name}"))
        };
        if let Some(name) = line.strip_suffix(".workspace = true") {
            let values = if package.contains_key(name) { &package } else { &dependencies };
            writeln!(text, "{name} = {}", inherited(values, name)?)?;
        } else if let Some((name, rest)) = line.split_once(" = { workspace = true") {
            let value = inherited(&dependencies, name)?;
            let value = match value.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
                Some(inner) => inner.trim().to_owned(),
                None => format!("version = {value}"),
            };
            writeln!(text, "{name} = {{ {value}{rest}")?;
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    let text = text.replace("[lints]\nworkspace = true\n", "");
    match text.contains("workspace = true") {
        true => Err("a field is taken from the workspace in a way build/sdk.rs does not know".into()),
        false => Ok(text),
    }
}

/// The single-line entries of a table.
fn table<'a>(manifest: &'a str, header: &str) -> BTreeMap<&'a str, &'a str> {
    let lines = manifest.lines().skip_while(move |line| *line != header).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = ")).collect()
}

/// The lock file's entries for the SDK and what it depends on, directly or not.
fn locked(lock: &str) -> String {
    let entries: Vec<&str> = lock.split("\n\n").filter(|entry| entry.starts_with("[[package]]")).collect();
    let field = |entry: &str, name: &str| {
        let value = entry.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")))?;
        Some(value.trim_end_matches('"').to_owned())
    };
    // A dependency is written as `name`, or as `name version` where several versions are locked.
    let is = |entry: &str, wanted: &str| {
        let (name, version) = wanted.split_once(' ').map_or((wanted, None), |(name, version)| (name, Some(version)));
        field(entry, "name").as_deref() == Some(name)
            && version.is_none_or(|version| field(entry, "version").as_deref() == Some(version))
    };
    let mut kept = BTreeSet::new();
    let mut open = vec!["whimbrel-plugin".to_owned()];
    while let Some(wanted) = open.pop() {
        for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| is(entry, &wanted)) {
            if kept.insert(at) {
                let listed = entry.lines().skip_while(|line| *line != "dependencies = [").skip(1);
                let names = listed.take_while(|line| *line != "]");
                open.extend(names.map(|line| line.trim().trim_end_matches(',').trim_matches('"').to_owned()));
            }
        }
    }
    let kept: Vec<&str> =
        entries.iter().enumerate().filter(|(at, _)| kept.contains(at)).map(|(_, e)| e.trim_end()).collect();
    format!("version = 4\n\n{}\n", kept.join("\n\n"))
}
