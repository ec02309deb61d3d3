//! The files of one migration as a [`Migration`]: which reader understands which file, and what belongs to its checksum.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::{self, File};
use super::names::{Kind, Part};
use super::{CatalogOptions, Form, checksum, dbmate, flyway, goose};
use crate::contents::{Contents, Fault};
use crate::database::System;
use crate::error::Finding;
use crate::migration::{Body, Check, Migration, PluginFile};
use crate::mongodb;
use crate::sql::{self, Dialect, Script};

/// The files of one migration.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) change: Option<File>,
    pub(super) undo: Option<File>,
    pub(super) checks: Option<File>,
    pub(super) settings: Option<File>,
}

/// A migration, the form it is written in, and what deserves a look.
pub(super) struct Parsed {
    pub(super) migration: Migration,
    pub(super) form: Form,
    pub(super) warnings: Vec<Finding>,
}

/// Reads the files of one migration.
pub(super) struct Parser<'a> {
    pub(super) directory: &'a Path,
    pub(super) system: System,
    pub(super) options: &'a CatalogOptions,
    /// What was found so far.
    pub(super) findings: Vec<Finding>,
}

impl Parser<'_> {
    /// Reads them; none: findings say why.
    pub(super) fn migration(&mut self, parts: &Parts) -> Option<Parsed> {
        let change = parts.change.as_ref()?;
        let settings = parts.settings.as_ref().map_or(Some(flyway::Settings::default()), |file| self.settings(file));
        let read = match change.named.kind {
            Kind::Wasm => self.component(change),
            Kind::Sql => settings.and_then(|settings| self.sql(change, settings)),
            Kind::Yaml => self.yaml(change),
            Kind::Json => self.commands(change).map(|(script, checksum)| {
                (Contents { name: None, up: script, down: None, checks: Vec::new() }, checksum, Form::Json)
            }),
        };
        let undo = parts.undo.as_ref().map(|file| (file, self.undo(file, settings)));
        let checks = parts.checks.as_ref().map(|file| (file, self.checks(file)));
        let (mut contents, checksum, form) = read?;
        if let Some((file, undo)) = undo {
            if contents.down.is_some() {
                let message = format!("{} says already how it is undone", change.path.display());
                self.error(file, None, message, "take one of the two out");
            }
            contents.down = Some(undo?);
        }
        if let Some((_, checks)) = checks {
            contents.checks.extend(checks?);
        }
        let title = contents.name.unwrap_or_else(|| change.named.title.clone());
        let warnings = self.warnings(change, &contents.up, contents.down.as_ref());
        Some(Parsed {
            migration: Migration {
                id: change.named.id.clone(),
                name: title,
                file: change.path.clone(),
                checksum,
                up: contents.up,
                down: contents.down,
                checks: contents.checks,
            },
            form,
            warnings,
        })
    }

    fn warnings(&self, file: &File, up: &Body, down: Option<&Body>) -> Vec<Finding> {
        let empty = |body: &Body, what: &str| {
            let message = format!("its way {what} does nothing");
            let finding = Finding::error(&file.path, None, message, "leave it so if that is meant");
            body.is_empty().then(|| finding.as_warning())
        };
        [empty(up, "up"), down.and_then(|down| empty(down, "down"))].into_iter().flatten().collect()
    }

    fn error(&mut self, file: &File, line: Option<usize>, message: impl Into<String>, remedy: impl Into<String>) {
        self.findings.push(Finding::error(&file.path, line, message, remedy));
    }

    fn take<T>(&mut self, file: &File, read: Result<T, Vec<Fault>>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(faults) => {
                for fault in faults {
                    self.error(file, fault.line, fault.message, fault.remedy);
                }
                None
            }
        }
    }

    fn text(&mut self, file: &File) -> Option<String> {
        match files::text(&file.path, &file.absolute) {
            Ok(text) => Some(text),
            Err(finding) => {
                self.findings.push(finding);
                None
            }
        }
    }

    /// How this system writes SQL; none, told: it does not.
    fn dialect(&mut self, file: &File) -> Option<Dialect> {
        match self.system {
            System::Postgresql => Some(Dialect::Postgresql),
            System::Mysql | System::Mariadb => Some(Dialect::Mysql),
            System::Sqlite => Some(Dialect::Sqlite),
            System::Mongodb => {
                let remedy = "write it as `.yaml` or `.up.json`, or name the SQL database it is for";
                self.error(file, None, "it is SQL, and the database is MongoDB", remedy);
                None
            }
        }
    }

    fn settings(&mut self, file: &File) -> Option<flyway::Settings> {
        let text = self.text(file)?;
        if file.diesel {
            // Diesel's metadata.toml has one setting, which is one line of TOML.
            let read = flyway::settings(&text.replace("run_in_transaction", "executeInTransaction"));
            return self.take(file, read);
        }
        self.take(file, flyway::settings(&text))
    }

    fn filled(&mut self, file: &File, text: &str, settings: flyway::Settings) -> Option<String> {
        if !file.named.flyway || !settings.placeholders {
            return Some(text.to_owned());
        }
        let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        self.take(file, flyway::fill(text, &self.options.placeholders, name))
    }

    fn sql(&mut self, file: &File, settings: flyway::Settings) -> Option<(Contents, String, Form)> {
        let dialect = self.dialect(file)?;
        let text = self.text(file)?;
        let checksum = checksum::of_text(&text, &[]);
        let text = self.filled(file, &text, settings)?;
        let sections = match file.named.part {
            Part::Whole if !file.named.flyway => dbmate::read(&text, dialect)
                .map(|read| (read, Form::Dbmate))
                .or_else(|| goose::read(&text, dialect).map(|read| (read, Form::Goose))),
            _ => None,
        };
        let (up, down, form) = match sections {
            Some((read, form)) => {
                let sections = self.take(file, read)?;
                (sections.up, sections.down, form)
            }
            None => {
                let form = match file.named.part {
                    _ if file.named.flyway => Form::Flyway,
                    _ if file.diesel => Form::Folder,
                    Part::Whole => Form::Single,
                    _ => Form::Pair,
                };
                (self.script(file, &text, dialect, settings)?, None, form)
            }
        };
        let contents = Contents { name: None, up: Body::Sql(up), down: down.map(Body::Sql), checks: Vec::new() };
        Some((contents, checksum, form))
    }

    fn script(&mut self, file: &File, text: &str, dialect: Dialect, settings: flyway::Settings) -> Option<Script> {
        let mut script = self.take(file, sql::script::parse(text, dialect))?;
        // The first line of sqlx's files that want none.
        let none =
            text.trim_start_matches('\u{feff}').lines().next().is_some_and(|line| line.trim() == "-- no-transaction");
        script.transaction &= settings.transaction && !none;
        Some(script)
    }

    fn undo(&mut self, file: &File, settings: Option<flyway::Settings>) -> Option<Body> {
        match file.named.kind {
            Kind::Json => self.commands(file).map(|(script, _)| script),
            _ => {
                let dialect = self.dialect(file)?;
                let text = self.text(file)?;
                let settings = settings?;
                let text = self.filled(file, &text, settings)?;
                self.script(file, &text, dialect, settings).map(Body::Sql)
            }
        }
    }

    fn component(&mut self, file: &File) -> Option<(Contents, String, Form)> {
        let bytes = self.bytes(file, &file.path, &file.absolute)?;
        let plugin = Body::Plugin(PluginFile { path: file.absolute.clone(), config: serde_json::Map::new() });
        let contents = Contents { name: None, up: plugin.clone(), down: Some(plugin), checks: Vec::new() };
        Some((contents, checksum::of_bytes(&bytes), Form::Plugin))
    }

    fn bytes(&mut self, file: &File, path: &Path, absolute: &Path) -> Option<Vec<u8>> {
        match files::component(path, absolute) {
            Ok(bytes) => Some(bytes),
            Err(finding) => {
                let by = |finding: Finding| Finding {
                    message: format!("the plugin {}: {}", path.display(), finding.message),
                    ..finding
                };
                let finding =
                    if path == file.path { finding } else { Finding { file: file.path.clone(), ..by(finding) } };
                self.findings.push(finding);
                None
            }
        }
    }

    /// Finds the plugins that a file names, and gives what is in them.
    fn plugins(&mut self, file: &File, bodies: [Option<&mut Body>; 2]) -> Option<Vec<Vec<u8>>> {
        let mut contents: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        for body in bodies.into_iter().flatten() {
            let Body::Plugin(plugin) = body else { continue };
            let beside = file.path.parent().unwrap_or(Path::new("")).join(&plugin.path);
            plugin.path = self.directory.join(&beside);
            let absolute = plugin.path.clone();
            contents.insert(beside.clone(), self.bytes(file, &beside, &absolute)?);
        }
        Some(contents.into_values().collect())
    }

    fn yaml(&mut self, file: &File) -> Option<(Contents, String, Form)> {
        let text = self.text(file)?;
        let read = match self.system {
            System::Mongodb => mongodb::file::parse(&text),
            _ => sql::file::parse(&text, self.dialect(file)?),
        };
        let mut contents = self.take(file, read)?;
        let plugins = self.plugins(file, [Some(&mut contents.up), contents.down.as_mut()])?;
        let plugins: Vec<&[u8]> = plugins.iter().map(Vec::as_slice).collect();
        Some((contents, checksum::of_text(&text, &plugins), Form::Yaml))
    }

    fn commands(&mut self, file: &File) -> Option<(Body, String)> {
        let text = self.text(file)?;
        if self.system != System::Mongodb {
            let message = format!("it is a file of MongoDB commands, and the database is {}", self.system.as_str());
            self.error(file, None, message, "write it as `.sql` or `.yaml`, or name the MongoDB it is for");
            return None;
        }
        let script = self.take(file, mongodb::commands::parse(&text))?;
        Some((Body::Mongodb(script), checksum::of_text(&text, &[])))
    }

    fn checks(&mut self, file: &File) -> Option<Vec<Check>> {
        if self.system == System::Mongodb {
            let remedy = "write the checks under `checks:` in a `.yaml` migration";
            self.error(file, None, "checks beside a file are for SQL", remedy);
            return None;
        }
        let dialect = self.dialect(file)?;
        let text = self.text(file)?;
        self.take(file, sql::file::parse_checks(&text, dialect))
    }
}
