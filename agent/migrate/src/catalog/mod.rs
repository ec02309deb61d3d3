//! The catalog: a directory of files as migrations in order, or everything that is wrong with them, at once.
//!
//! Directories that other tools have made are read as they are; which file means what is [`names`]' business. The catalog
//! looks at no database: whether versions are missing or late is the plan's business.

use std::collections::BTreeMap;
use std::path::Path;

use self::files::File;
use self::names::{Kind, Part};
use self::parse::{Parsed, Parser, Parts};
use crate::database::System;
use crate::error::Finding;
use crate::ledger::Id;
use crate::migration::Migration;

pub mod checksum;
mod dbmate;
mod files;
mod flyway;
mod goose;
pub mod names;
pub mod new;
mod parse;
mod sections;

/// How files are read.
#[derive(Debug, Clone, Default)]
pub struct CatalogOptions {
    /// What `${name}` stands for in files named as Flyway names them.
    pub placeholders: BTreeMap<String, String>,
}

/// A directory, understood.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// By version; repeatables last, by name.
    pub migrations: Vec<Migration>,
    /// What deserves a look and keeps nothing from running.
    pub warnings: Vec<Finding>,
    /// The form of the newest version; none: there is no version yet.
    pub form: Option<Form>,
}

/// In which form a migration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `0001_x.up.sql` and `0001_x.down.sql`: golang-migrate, sqlx's reversible ones, our own.
    Pair,
    /// `20260131120000_x.sql`, the way up only: sqlx.
    Single,
    /// `V1__x.sql` and `U1__x.sql`: Flyway.
    Flyway,
    /// Both ways behind `-- migrate:up` and `-- migrate:down`: dbmate.
    Dbmate,
    /// Both ways behind `-- +goose Up` and `-- +goose Down`.
    Goose,
    /// A folder with `up.sql` and `down.sql`: diesel.
    Folder,
    /// Steps in YAML: our own.
    Yaml,
    /// `0001_x.up.json` and `0001_x.down.json`, MongoDB commands: golang-migrate.
    Json,
    /// A component: our own.
    Plugin,
}

impl Form {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Single => "single",
            Self::Flyway => "flyway",
            Self::Dbmate => "dbmate",
            Self::Goose => "goose",
            Self::Folder => "folder",
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Plugin => "plugin",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [
            Self::Pair,
            Self::Single,
            Self::Flyway,
            Self::Dbmate,
            Self::Goose,
            Self::Folder,
            Self::Yaml,
            Self::Json,
            Self::Plugin,
        ];
        all.into_iter().find(|form| form.as_str() == word)
    }
}

/// Reads a directory for a database of this kind.
///
/// # Errors
/// All that keeps its migrations from being run, warnings with it.
pub fn read(directory: &Path, system: System, options: &CatalogOptions) -> Result<Catalog, Vec<Finding>> {
    let files::Listing { files, mut findings } = files::list(directory);
    let mut parser = Parser { directory, system, options, findings: Vec::new() };
    let (mut migrations, mut form) = (Vec::new(), None);
    for (id, parts) in group(files, &mut findings) {
        if let Some(Parsed { migration, form: written, warnings }) = parser.migration(&parts) {
            if matches!(id, Id::Version(_)) {
                form = Some(written);
            }
            findings.extend(warnings);
            migrations.push(migration);
        }
    }
    findings.append(&mut parser.findings);
    findings.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    if findings.iter().all(|finding| finding.warning) {
        Ok(Catalog { migrations, warnings: findings, form })
    } else {
        Err(findings)
    }
}

/// Puts the files of each migration together; by version, repeatables last.
fn group(files: Vec<File>, findings: &mut Vec<Finding>) -> BTreeMap<Id, Parts> {
    let mut groups: BTreeMap<Id, Parts> = BTreeMap::new();
    for file in files {
        let parts = groups.entry(file.named.id.clone()).or_default();
        let place = match file.named.part {
            Part::Whole | Part::Up => &mut parts.change,
            Part::Down => &mut parts.undo,
            Part::Checks => &mut parts.checks,
            Part::Settings => &mut parts.settings,
        };
        match place {
            None => *place = Some(file),
            Some(first) => {
                let message = format!("{} is {} already", first.path.display(), meaning(&file));
                findings.push(Finding::error(
                    &file.path,
                    None,
                    message,
                    "give one of the two another version, or take it out",
                ));
            }
        }
    }
    for (id, parts) in &groups {
        alone(id, parts, findings);
    }
    groups
}

fn meaning(file: &File) -> String {
    let id = &file.named.id;
    match (file.named.part, id) {
        (Part::Whole | Part::Up, Id::Version(_)) => format!("version {id}"),
        (Part::Whole | Part::Up, Id::Repeatable(_)) => format!("{id}"),
        (Part::Down, _) => format!("how {id} is undone"),
        (Part::Checks, _) => format!("the checks of {id}"),
        (Part::Settings, _) => format!("the settings of {id}"),
    }
}

/// What is nothing without its change, or does not go with it.
fn alone(id: &Id, parts: &Parts, findings: &mut Vec<Finding>) {
    let Parts { change, undo, checks, settings } = parts;
    let Some(change) = change else {
        for file in [undo, checks, settings].into_iter().flatten() {
            let message = format!("it is {}, and there is no file of the change itself", meaning(file));
            let remedy = format!("add the file of version {id}, or take this one out");
            findings.push(Finding::error(&file.path, None, message, remedy));
        }
        return;
    };
    if let Some(undo) = undo {
        let fits = match change.named.kind {
            Kind::Yaml | Kind::Wasm => false,
            kind => kind == undo.named.kind && change.named.flyway == undo.named.flyway && change.diesel == undo.diesel,
        };
        if !fits {
            let message = format!("it does not go with {}, the change that it undoes", change.path.display());
            let remedy = "write both in the same form (YAML and plugins hold both ways in one file)";
            findings.push(Finding::error(&undo.path, None, message, remedy));
        }
    }
    if let Some(settings) = settings
        && change.named.kind != Kind::Sql
    {
        let message = format!("it does not go with {}", change.path.display());
        findings.push(Finding::error(&settings.path, None, message, "take it out"));
    }
}

#[cfg(test)]
mod tests;
