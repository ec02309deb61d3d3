//! The files of a directory: what is there, by [`names`], and what is in it, within bounds. Understanding them is `parse`'s
//! business.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::names::{self, Kind, Name, Named, Part};
use crate::error::Finding;
use crate::ledger::Id;

/// Nobody writes 16 MiB of SQL by hand; a dump is not a migration.
const LARGEST_TEXT: u64 = 16 << 20;
/// A component with a language's runtime in it is some MiB.
const LARGEST_COMPONENT: u64 = 64 << 20;
/// Folders below folders.
const DEEPEST: usize = 16;

/// A file of a migration.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Below the directory.
    pub(super) path: PathBuf,
    /// A path that can be opened.
    pub(super) absolute: PathBuf,
    /// What its name says.
    pub(super) named: Named,
    /// It is in a folder of diesel's.
    pub(super) diesel: bool,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Parts of migrations, by their paths.
    pub(super) files: Vec<File>,
    /// What is wrong or deserves a look.
    pub(super) findings: Vec<Finding>,
}

/// Lists a directory.
pub(super) fn list(directory: &Path) -> Listing {
    let mut listing = Listing::default();
    match fs::canonicalize(directory) {
        Ok(root) => Walk { root: &root, directory, listing: &mut listing }.folder(Path::new(""), 0),
        Err(error) => listing.findings.push(Finding::error(
            directory,
            None,
            format!("the directory of the migrations cannot be read: {error}"),
            "name an existing directory (`--dir`), or make one with `migrate new`",
        )),
    }
    listing.files.sort_by(|one, other| one.path.cmp(&other.path));
    listing
}

struct Walk<'a> {
    root: &'a Path,
    directory: &'a Path,
    listing: &'a mut Listing,
}

impl Walk<'_> {
    fn error(&mut self, path: &Path, message: impl Into<String>, remedy: &str) {
        self.listing.findings.push(Finding::error(path, None, message, remedy));
    }

    fn warn(&mut self, path: &Path, message: &str, remedy: &str) {
        self.listing.findings.push(Finding::error(path, None, message, remedy).as_warning());
    }

    /// The names in a folder, sorted: findings come in the same order everywhere.
    fn names(&mut self, folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(self.directory.join(folder)) {
            Ok(entries) => entries,
            Err(error) => {
                self.error(
                    folder,
                    format!("the folder cannot be read: {error}"),
                    "let the user of this process read it",
                );
                return names;
            }
        };
        for entry in entries {
            match entry.map(|entry| entry.file_name().into_string()) {
                Ok(Ok(name)) => names.push(name),
                Ok(Err(name)) => {
                    let path = folder.join(name);
                    self.warn(&path, "its name is not UTF-8, it is passed over", "rename it");
                }
                Err(error) => self.error(folder, format!("the folder cannot be read: {error}"), "try again"),
            }
        }
        names.sort();
        names
    }

    fn folder(&mut self, folder: &Path, depth: usize) {
        if depth > DEEPEST {
            self.error(folder, "folders lie too deep in each other", "move it up");
            return;
        }
        for name in self.names(folder) {
            if name.starts_with('.') {
                continue;
            }
            let path = folder.join(&name);
            match self.is_folder(&path) {
                Some(true) => self.subfolder(&path, &name, depth),
                Some(false) => self.file(path, &name, depth),
                None => {}
            }
        }
    }

    /// Whether it is a folder; none: it is told already that it cannot be taken.
    fn is_folder(&mut self, path: &Path) -> Option<bool> {
        let absolute = self.directory.join(path);
        let kind = match fs::symlink_metadata(&absolute) {
            Ok(metadata) => metadata.file_type(),
            Err(error) => {
                self.error(path, format!("it cannot be looked at: {error}"), "try again");
                return None;
            }
        };
        if !kind.is_symlink() {
            return Some(kind.is_dir());
        }
        match fs::canonicalize(&absolute) {
            Ok(target) if !target.starts_with(self.root) => {
                self.error(path, "it is a link that leads out of the directory", "put the file itself there");
                None
            }
            Ok(target) if target.is_dir() => {
                self.warn(path, "it is a link to a folder, which is read where it is", "take the link out");
                None
            }
            Ok(_) => Some(false),
            Err(error) => {
                self.error(path, format!("it is a link that leads nowhere: {error}"), "put the file itself there");
                None
            }
        }
    }

    /// Diesel's folders are one migration each; in others only Flyway looks for its files.
    fn subfolder(&mut self, path: &Path, name: &str, depth: usize) {
        match names::folder(name) {
            Some((version, title)) if depth == 0 => {
                let inside = self.names(path);
                if inside.iter().any(|file| file == "up.sql" || file == "down.sql") {
                    for file in inside {
                        self.diesel(path, &file, Id::Version(version.clone()), &title);
                    }
                } else {
                    self.folder(path, depth + 1);
                }
            }
            _ => self.folder(path, depth + 1),
        }
    }

    fn diesel(&mut self, folder: &Path, file: &str, id: Id, title: &str) {
        let path = folder.join(file);
        let (part, kind) = match file {
            "up.sql" => (Part::Up, Kind::Sql),
            "down.sql" => (Part::Down, Kind::Sql),
            "metadata.toml" => (Part::Settings, Kind::Sql),
            "checks.yaml" | "checks.yml" => (Part::Checks, Kind::Yaml),
            other => {
                if names::read(other) != Name::PassedOver {
                    self.warn(
                        &path,
                        "it is passed over",
                        "in such a folder there are up.sql, down.sql and checks.yaml",
                    );
                }
                return;
            }
        };
        if self.is_folder(&path) == Some(false) {
            let named = Named { id, title: title.to_owned(), part, kind, flyway: false };
            self.push(path, named, true);
        }
    }

    fn file(&mut self, path: PathBuf, name: &str, depth: usize) {
        match names::read(name) {
            Name::Part(named) if depth == 0 || named.flyway => self.push(path, named, false),
            Name::Part(_) => {
                self.warn(
                    &path,
                    "it is in a folder and is passed over",
                    "move it up: only Flyway's files are looked for in folders",
                );
            }
            Name::Unusable(why) if depth == 0 => {
                self.error(
                    &path,
                    format!("it cannot be run: {why}"),
                    "write it as SQL, YAML or a plugin, or move it elsewhere",
                );
            }
            Name::Unknown | Name::Unusable(_) => {
                self.warn(
                    &path,
                    "it is no migration, it is passed over",
                    "rename it (`0007_name.up.sql`), or move it elsewhere",
                );
            }
            Name::PassedOver => {}
        }
    }

    fn push(&mut self, path: PathBuf, named: Named, diesel: bool) {
        let absolute = self.directory.join(&path);
        self.listing.files.push(File { path, absolute, named, diesel });
    }
}

/// What is in a file of text.
pub(super) fn text(file: &Path, absolute: &Path) -> Result<String, Finding> {
    let bytes = bytes(file, absolute, LARGEST_TEXT)?;
    let error = |line, message: &str| Finding::error(file, line, message, "write it as text in UTF-8");
    let line = |at: usize| bytes.get(..at).map(|before| before.split(|byte| *byte == b'\n').count());
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(error(line(at), "it is no text: it contains NUL"));
    }
    match String::from_utf8(bytes.clone()) {
        Ok(text) => Ok(text),
        Err(wrong) => Err(error(line(wrong.utf8_error().valid_up_to()), "it is not UTF-8")),
    }
}

/// What is in a component.
pub(super) fn component(file: &Path, absolute: &Path) -> Result<Vec<u8>, Finding> {
    let bytes = bytes(file, absolute, LARGEST_COMPONENT)?;
    let wrong = |message| Finding::error(file, None, message, "build it as `whimbrel plugin build` does");
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(bytes),
        Some([0, b'a', b's', b'm', ..]) => Err(wrong("it is a WebAssembly module, and no component")),
        _ => Err(wrong("it is no WebAssembly component")),
    }
}

fn bytes(file: &Path, absolute: &Path, largest: u64) -> Result<Vec<u8>, Finding> {
    let unreadable = |error: std::io::Error| {
        Finding::error(file, None, format!("it cannot be read: {error}"), "let the user of this process read it")
    };
    let opened = fs::File::open(absolute).map_err(unreadable)?;
    if !opened.metadata().map_err(unreadable)?.is_file() {
        return Err(Finding::error(file, None, "it is no file", "put a file there"));
    }
    let mut bytes = Vec::new();
    opened.take(largest + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > largest {
        let message = format!("it is larger than {} MiB", largest >> 20);
        return Err(Finding::error(file, None, message, "split it, or load the data in another way"));
    }
    Ok(bytes)
}
