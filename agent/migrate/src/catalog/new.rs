//! Makes the files of a new migration, in the form and with the kind of version that the directory has already.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Form;
use super::files::{self, File};
use super::names::{Kind, Part};
use crate::database::System;
use crate::error::{Error, Kind as ErrorClass, Result};
use crate::ledger::Id;
use crate::version::Version;

/// Numbers have so many digits at least, so that file managers list them in order.
const DIGITS: usize = 4;

/// Makes the files of a migration called `title`, in the form of the newest migration there or in `form`, and gives their
/// names.
///
/// # Errors
/// When the title makes no name, the system has no such form, or the files cannot be written; an existing file is never
/// overwritten.
pub fn create(
    directory: &Path,
    system: System,
    title: &str,
    form: Option<Form>,
    now: SystemTime,
) -> Result<Vec<PathBuf>> {
    let slug = slug(title)?;
    fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    let newest = newest(directory)?;
    let form = form.or_else(|| newest.as_ref().and_then(|newest| newest.form(system))).unwrap_or(match system {
        System::Mongodb => Form::Yaml,
        _ => Form::Pair,
    });
    let fits = match form {
        Form::Yaml => true,
        Form::Json => system == System::Mongodb,
        // A component is built, not written.
        Form::Plugin => false,
        _ => system != System::Mongodb,
    };
    if !fits {
        return Err(Error::refused(
            format!("a new migration of {} cannot be made in the form {}", system.as_str(), form.as_str()),
            "choose another form; a plugin is made by `whimbrel plugin new`",
        ));
    }
    let version = version(newest.as_ref().map(|newest| &newest.version), form, now);
    let made = content(form, system, &version, &slug);
    let mut written = Vec::new();
    for (path, text) in made {
        if let Err(error) = write(&directory.join(&path), text) {
            // Half a migration is none.
            for path in written {
                let _ = fs::remove_file(directory.join(path));
            }
            return Err(error);
        }
        written.push(path);
    }
    Ok(written)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    let message = format!("{} cannot be written: {error}", path.display());
    let remedy = match error.kind() {
        ErrorKind::AlreadyExists => "it is there already: choose another title",
        _ => "let the user of this process write there",
    };
    Error::new(ErrorClass::Refused, "unwritable", message).with_remedy(remedy)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let written = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    written().map_err(|error| unwritable(path, &error))
}

/// A title as part of a file's name: `add_total`.
fn slug(title: &str) -> Result<String> {
    let plain: String =
        title.to_lowercase().chars().map(|sign| if sign.is_alphanumeric() { sign } else { '_' }).collect();
    let slug = plain.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    if slug.is_empty() || slug.len() > 100 {
        return Err(Error::refused(
            "the title makes no name of a file",
            "give one of letters and numbers, up to 100 of them: `migrate new \"add total to orders\"`",
        ));
    }
    Ok(slug)
}

/// The newest version of a directory.
struct Newest {
    version: Version,
    file: File,
}

impl Newest {
    fn form(&self, system: System) -> Option<Form> {
        let File { named, absolute, diesel, .. } = &self.file;
        Some(match (named.kind, named.part) {
            (Kind::Json, _) => Form::Json,
            (Kind::Yaml, _) => Form::Yaml,
            (Kind::Wasm, _) => return None,
            (Kind::Sql, _) if system == System::Mongodb => return None,
            (Kind::Sql, _) if named.flyway => Form::Flyway,
            (Kind::Sql, _) if *diesel => Form::Folder,
            (Kind::Sql, Part::Whole) => {
                // Whatever is wrong with the file, `validate` tells.
                let text = files::text(&self.file.path, absolute).unwrap_or_default();
                let has = |marker: &str| text.lines().any(|line| line.trim_start().starts_with(marker));
                match () {
                    () if has("-- migrate:up") => Form::Dbmate,
                    () if has("-- +goose") => Form::Goose,
                    () => Form::Single,
                }
            }
            (Kind::Sql, _) => Form::Pair,
        })
    }
}

fn newest(directory: &Path) -> Result<Option<Newest>> {
    let listing = files::list(directory);
    if let Some(finding) = listing.findings.iter().find(|finding| finding.file == directory) {
        return Err(Error::refused(finding.message.clone(), finding.remedy.clone()));
    }
    let changes = listing.files.into_iter().filter(|file| matches!(file.named.part, Part::Whole | Part::Up));
    let versions = changes.filter_map(|file| match file.named.id.clone() {
        Id::Version(version) => Some(Newest { version, file }),
        Id::Repeatable(_) => None,
    });
    Ok(versions.max_by(|one, other| one.version.cmp(&other.version)))
}

/// The next number, or a time where the directory has times; as the form writes it.
fn version(newest: Option<&Version>, form: Form, now: SystemTime) -> String {
    let next = match newest {
        Some(newest) => newest.next(),
        // Diesel, dbmate and sqlx begin with times.
        None if matches!(form, Form::Folder | Form::Dbmate | Form::Single) => None,
        None => Some(Version::from(1)),
    };
    // A folder of diesel's whose first migration is version 0 has times after it.
    let next = next.filter(|_| !(form == Form::Folder && newest.is_some_and(|newest| *newest == Version::from(0))));
    match next {
        Some(next) if form == Form::Flyway => next.to_string(),
        Some(next) => format!("{:0>DIGITS$}", next.to_string()),
        None => {
            let now = timestamp(now);
            // A clock that is behind must not make a version that is late.
            match newest.and_then(|newest| newest.to_string().parse::<u64>().ok()) {
                Some(newest) if newest >= now => newest.saturating_add(1).to_string(),
                _ => now.to_string(),
            }
        }
    }
}

/// `YYYYMMDDHHMMSS`, UTC.
fn timestamp(now: SystemTime) -> u64 {
    let text = bson::DateTime::from_system_time(now).try_to_rfc3339_string().unwrap_or_default();
    text.chars()
        .filter(char::is_ascii_digit)
        .take(14)
        .fold(0, |all, digit| all * 10 + u64::from(digit.to_digit(10).unwrap_or(0)))
}

fn content(form: Form, system: System, version: &str, slug: &str) -> Vec<(PathBuf, &'static str)> {
    let stem = format!("{version}_{slug}");
    let file = |name: String, text: &'static str| (PathBuf::from(name), text);
    match form {
        Form::Pair => vec![file(format!("{stem}.up.sql"), UP), file(format!("{stem}.down.sql"), DOWN)],
        Form::Folder => vec![file(format!("{stem}/up.sql"), UP), file(format!("{stem}/down.sql"), DOWN)],
        Form::Single => vec![file(format!("{stem}.sql"), UP)],
        Form::Flyway => {
            vec![file(format!("V{version}__{slug}.sql"), UP), file(format!("U{version}__{slug}.sql"), DOWN)]
        }
        Form::Dbmate => vec![file(format!("{stem}.sql"), DBMATE)],
        Form::Goose => vec![file(format!("{stem}.sql"), GOOSE)],
        Form::Json => vec![file(format!("{stem}.up.json"), JSON), file(format!("{stem}.down.json"), JSON)],
        Form::Yaml | Form::Plugin => {
            vec![file(format!("{stem}.yaml"), if system == System::Mongodb { MONGODB } else { SQL_YAML })]
        }
    }
}

const UP: &str = "\
-- The change. All statements run in one transaction, where the database has transactions for them.
-- What cannot run in one goes to a file of its own, whose first line is the comment `whimbrel: no-transaction`.
-- Checks of what must hold afterwards stand in a file of the same name that ends in .checks.yaml.

";
const DOWN: &str = "\
-- How the change is undone. Take this file out if it cannot be.

";
const DBMATE: &str = "-- migrate:up\n\n\n-- migrate:down\n\n";
const GOOSE: &str = "\
-- +goose Up


-- +goose Down

";
const JSON: &str = "[\n]\n";
const SQL_YAML: &str = "\
# The change, step by step.
steps:
#  - sql: ALTER TABLE orders ADD COLUMN total numeric
#  # Rows changed in batches, each its own transaction; it goes on where it was stopped.
#  - backfill:
#      table: orders
#      key: [id]
#      set: total = price * quantity
#      where: total IS NULL

# How it is undone; leave it out if it cannot be.
#down:
#  - sql: ALTER TABLE orders DROP COLUMN total

# What must hold afterwards.
#checks:
#  - count: {table: orders, where: total IS NULL, equals: 0}
";
const MONGODB: &str = "\
# The change, step by step. Other steps: rename_field, delete, insert, aggregate, create_index, drop_index, validator,
# create_collection, drop_collection, rename_collection.
steps:
#  # Documents changed in chunks, each its own transaction; it goes on where it was stopped.
#  - update:
#      collection: orders
#      filter: {total: {$exists: false}}
#      update:
#        - $set: {total: {$multiply: [$price, $quantity]}}
#  - create_index: {collection: orders, keys: {total: 1}}

# How it is undone; leave it out if it cannot be.
#down:
#  - drop_index: {collection: orders, name: total_1}
#  - update: {collection: orders, filter: {}, update: {$unset: {total: true}}}

# What must hold afterwards.
#checks:
#  - count: {collection: orders, filter: {total: {$exists: false}}, equals: 0}
";

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// 2026-01-31 12:00:00 UTC.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800)
    }

    fn made(existing: &[(&str, &str)], system: System, form: Option<Form>) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in existing {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let made = create(directory.path(), system, "Add total, to orders!", form, now()).unwrap();
        for path in &made {
            assert!(directory.path().join(path).is_file());
        }
        made.into_iter().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_new_migration_follows_what_is_there() {
        use System::{Mongodb, Postgresql};
        type Case = (&'static [(&'static str, &'static str)], System, &'static [&'static str]);
        let cases: &[Case] = &[
            (&[], Postgresql, &["0001_add_total_to_orders.up.sql", "0001_add_total_to_orders.down.sql"]),
            (&[], Mongodb, &["0001_add_total_to_orders.yaml"]),
            (
                &[("0009_x.up.sql", "")],
                Postgresql,
                &["0010_add_total_to_orders.up.sql", "0010_add_total_to_orders.down.sql"],
            ),
            (
                &[("V1__a.sql", ""), ("V2.1__b.sql", ""), ("R__c.sql", "")],
                Postgresql,
                &["V3__add_total_to_orders.sql", "U3__add_total_to_orders.sql"],
            ),
            (&[("20250101000000_x.sql", "SELECT 1;")], Postgresql, &["20260131120000_add_total_to_orders.sql"]),
            (&[("20250101000000_x.sql", "-- migrate:up\n")], Postgresql, &["20260131120000_add_total_to_orders.sql"]),
            (&[("20270101000000_x.sql", "")], Postgresql, &["20270101000001_add_total_to_orders.sql"]),
            (&[("00001_x.sql", "-- +goose Up\n")], Postgresql, &["0002_add_total_to_orders.sql"]),
            (
                &[("2025-01-01-000000_x/up.sql", "")],
                Postgresql,
                &["20260131120000_add_total_to_orders/up.sql", "20260131120000_add_total_to_orders/down.sql"],
            ),
            (
                &[("1_x.up.json", "[]")],
                Mongodb,
                &["0002_add_total_to_orders.up.json", "0002_add_total_to_orders.down.json"],
            ),
            (&[("0001_x.wasm", "")], Mongodb, &["0002_add_total_to_orders.yaml"]),
            (&[("0001_x.yaml", "")], Postgresql, &["0002_add_total_to_orders.yaml"]),
        ];
        for (existing, system, expected) in cases {
            assert_eq!(made(existing, *system, None), *expected, "{existing:?}");
        }
        assert_eq!(made(&[("0001_x.up.sql", "")], Postgresql, Some(Form::Yaml)), ["0002_add_total_to_orders.yaml"]);
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_is_left() {
        let directory = tempfile::tempdir().unwrap();
        // A file that the catalog passes over because it is hidden from it: a folder of that name.
        let taken = directory.path().join("0001_x.down.sql");
        fs::create_dir(&taken).unwrap();
        let error = create(directory.path(), System::Sqlite, "x", None, now()).unwrap_err();
        assert_eq!(error.kind, ErrorClass::Refused);
        assert!(!directory.path().join("0001_x.up.sql").exists());
        let before = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(before, 1);
    }

    #[test]
    fn titles_and_forms_that_make_no_file_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for title in ["", "  ", "../..", &"x".repeat(101)] {
            assert!(create(directory.path(), System::Sqlite, title, None, now()).is_err(), "{title}");
        }
        for (system, form) in
            [(System::Mongodb, Form::Pair), (System::Sqlite, Form::Json), (System::Sqlite, Form::Plugin)]
        {
            assert!(create(directory.path(), system, "x", Some(form), now()).is_err());
        }
        let path = create(directory.path(), System::Sqlite, "../../etc/x", None, now()).unwrap();
        assert_eq!(path[0], PathBuf::from("0001_etc_x.up.sql"));
    }
}
