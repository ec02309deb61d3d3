//! What a file is, by its name alone: which migration it belongs to, which part of it, in whose convention. Pure.

use crate::ledger::Id;
use crate::version::{NoVersion, Version};

/// What a name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A part of a migration.
    Part(Named),
    /// Nothing of ours, and known to be so: hidden files, README, documents.
    PassedOver,
    /// It has the version of a migration, and cannot be run; why.
    Unusable(&'static str),
    /// Anything else.
    Unknown,
}

/// A part of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Which migration.
    pub id: Id,
    /// Its name for people: "add total".
    pub title: String,
    /// Which part of it.
    pub part: Part,
    /// What is in the file.
    pub kind: Kind,
    /// Whether it is named as Flyway names files.
    pub flyway: bool,
}

/// Which part of a migration a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The change and, where the file has it, how it is undone.
    Whole,
    /// The change.
    Up,
    /// How it is undone.
    Down,
    /// What must hold afterwards.
    Checks,
    /// Flyway's settings for one file.
    Settings,
}

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SQL.
    Sql,
    /// MongoDB commands.
    Json,
    /// Steps in YAML.
    Yaml,
    /// A component.
    Wasm,
}

const IN_CODE: &str = "it is a migration in a programming language, and leaving it out would leave the database wrong";
const TOO_LARGE: &str = "its version does not fit 64 bits";
const BASELINE: &str = "it is a baseline of Flyway's, which stands for all versions up to its own";

/// Reads a file's name.
#[must_use]
pub fn read(file: &str) -> Name {
    let lower = file.to_ascii_lowercase();
    let document = [".md", ".txt", ".rst", ".adoc"].iter().any(|end| lower.ends_with(end));
    if file.starts_with('.') || lower.starts_with("readme") || lower.starts_with("license") || document {
        return Name::PassedOver;
    }
    if file.ends_with('~') {
        return Name::Unknown;
    }
    flyway(file).unwrap_or_else(|| numbered(file))
}

/// A folder of diesel's: `2026-01-31-120000_add_total`.
#[must_use]
pub fn folder(name: &str) -> Option<(Version, String)> {
    let (version, title) = name.split_once('_').unwrap_or((name, ""));
    let version = version.replace('-', "").parse().ok()?;
    Some((version, words(title)))
}

/// What stands behind the stem, and what it means.
fn ending(file: &str) -> Option<(&str, Part, Kind)> {
    const ENDINGS: [(&str, Part, Kind); 10] = [
        (".checks.yaml", Part::Checks, Kind::Yaml),
        (".checks.yml", Part::Checks, Kind::Yaml),
        (".sql.conf", Part::Settings, Kind::Sql),
        (".up.sql", Part::Up, Kind::Sql),
        (".down.sql", Part::Down, Kind::Sql),
        (".up.json", Part::Up, Kind::Json),
        (".down.json", Part::Down, Kind::Json),
        (".sql", Part::Whole, Kind::Sql),
        (".yaml", Part::Whole, Kind::Yaml),
        (".wasm", Part::Whole, Kind::Wasm),
    ];
    let yml = file.strip_suffix(".yml").filter(|stem| !stem.ends_with(".checks"));
    if let Some(stem) = yml {
        return Some((stem, Part::Whole, Kind::Yaml));
    }
    ENDINGS.iter().find_map(|(end, part, kind)| file.strip_suffix(end).map(|stem| (stem, *part, *kind)))
}

/// `V1.2__add_total.sql`, `U1.2__add_total.sql`, `R__views.sql`, and what stands beside them.
fn flyway(file: &str) -> Option<Name> {
    let prefix = file.chars().next().filter(|first| "VURB".contains(*first))?;
    let (stem, part, kind) = match ending(file) {
        Some((stem, part @ (Part::Whole | Part::Checks | Part::Settings), kind @ (Kind::Sql | Kind::Yaml)))
            if part != Part::Whole || kind == Kind::Sql =>
        {
            (stem, part, Some(kind))
        }
        _ => (file.rsplit_once('.').map_or(file, |(stem, _)| stem), Part::Whole, None),
    };
    let (version, title) = match stem.get(1..)?.split_once("__") {
        Some((version, title)) => (version, words(title)),
        None => (stem.get(1..)?, String::new()),
    };
    if prefix == 'R' {
        let kind = kind.filter(|_| version.is_empty() && !title.is_empty())?;
        return Some(Name::Part(Named { id: Id::Repeatable(title.clone()), title, part, kind, flyway: true }));
    }
    let version = match version.parse::<Version>() {
        Ok(version) => version,
        Err(NoVersion::TooLarge) => return Some(Name::Unusable(TOO_LARGE)),
        Err(NoVersion::NoNumber) => return None,
    };
    let Some(kind) = kind else { return Some(Name::Unusable(IN_CODE)) };
    let part = match (prefix, part) {
        ('B', Part::Whole) => return Some(Name::Unusable(BASELINE)),
        ('U', Part::Whole) => Part::Down,
        // Beside an undo there is nothing to be checked or set that the version itself has not.
        ('U' | 'B', _) => return Some(Name::Unknown),
        (_, part) => part,
    };
    Some(Name::Part(Named { id: Id::Version(version), title, part, kind, flyway: true }))
}

/// `0007_add_total.up.sql`, `20260131120000_add_total.sql`, `1.2_x.yaml`.
fn numbered(file: &str) -> Name {
    let (stem, known) = match ending(file) {
        Some((stem, part, kind)) if part != Part::Settings => (stem, Some((part, kind))),
        _ => (file.split_once('.').map_or(file, |(stem, _)| stem), None),
    };
    let (version, title) = stem.split_once('_').unwrap_or((stem, ""));
    match (version.parse::<Version>(), known) {
        (Ok(version), Some((part, kind))) => {
            Name::Part(Named { id: Id::Version(version), title: words(title), part, kind, flyway: false })
        }
        (Err(NoVersion::TooLarge), Some(_)) => Name::Unusable(TOO_LARGE),
        (Ok(_), None) if in_code(file) => Name::Unusable(IN_CODE),
        _ => Name::Unknown,
    }
}

fn in_code(file: &str) -> bool {
    let code = ["go", "rs", "js", "mjs", "ts", "py", "rb", "php", "java", "kt", "sh", "pl", "ex", "exs", "cs"];
    file.rsplit_once('.').is_some_and(|(_, end)| code.contains(&end))
}

/// As people write it: `add_total` and `add-total` are "add total".
fn words(title: &str) -> String {
    title.replace(['_', '-'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(file: &str) -> String {
        match read(file) {
            Name::Part(named) => {
                let flyway = if named.flyway { " flyway" } else { "" };
                format!("{} '{}' {:?} {:?}{flyway}", named.id, named.title, named.part, named.kind)
            }
            Name::PassedOver => "passed over".to_owned(),
            Name::Unusable(_) => "unusable".to_owned(),
            Name::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn names_say_what_their_conventions_mean() {
        let cases = [
            // Flyway.
            ("V1__create_orders.sql", "1 'create orders' Whole Sql flyway"),
            ("V1.2__x.sql", "1.2 'x' Whole Sql flyway"),
            ("V1_2__x.sql", "1.2 'x' Whole Sql flyway"),
            ("V20260131120000__x.sql", "20260131120000 'x' Whole Sql flyway"),
            ("V3.sql", "3 '' Whole Sql flyway"),
            ("V1__x.up.sql", "unusable"),
            ("U1.2__x.sql", "1.2 'x' Down Sql flyway"),
            ("R__total_views.sql", "R:total views 'total views' Whole Sql flyway"),
            ("V1__x.sql.conf", "1 'x' Settings Sql flyway"),
            ("R__x.sql.conf", "R:x 'x' Settings Sql flyway"),
            ("V1__x.checks.yaml", "1 'x' Checks Yaml flyway"),
            ("V2__Backfill.java", "unusable"),
            ("B2__x.sql", "unusable"),
            ("v1__x.sql", "unknown"),
            ("beforeMigrate.sql", "unknown"),
            ("R1__x.sql", "unknown"),
            ("Vx__y.sql", "unknown"),
            // golang-migrate, sqlx, dbmate, goose, and our own.
            ("000001_create_orders.up.sql", "1 'create orders' Up Sql"),
            ("000001_create_orders.down.sql", "1 'create orders' Down Sql"),
            ("1_x.up.json", "1 'x' Up Json"),
            ("1_x.down.json", "1 'x' Down Json"),
            ("20260131120000_add-total.sql", "20260131120000 'add total' Whole Sql"),
            ("0005_fill_total.yaml", "5 'fill total' Whole Yaml"),
            ("0005_fill_total.yml", "5 'fill total' Whole Yaml"),
            ("0005_x.checks.yml", "5 'x' Checks Yaml"),
            ("0005_x.checks.yaml", "5 'x' Checks Yaml"),
            ("0006_x.wasm", "6 'x' Whole Wasm"),
            ("1.2_x.sql", "1.2 'x' Whole Sql"),
            ("7.up.sql", "7 '' Up Sql"),
            ("00002_backfill.go", "unusable"),
            ("20260131-x.js", "unknown"),
            ("99999999999999999999_x.sql", "unusable"),
            // What is no migration.
            ("README", "passed over"),
            ("readme.md", "passed over"),
            ("NOTES.md", "passed over"),
            (".keep", "passed over"),
            (".gitkeep", "passed over"),
            (".1_x.sql", "passed over"),
            ("schema.sql", "unknown"),
            ("embed.go", "unknown"),
            ("atlas.sum", "unknown"),
            ("1_x.sql~", "unknown"),
            ("1_x.csv", "unknown"),
            ("_x.sql", "unknown"),
            ("１_x.sql", "unknown"),
            ("", "unknown"),
        ];
        for (file, expected) in cases {
            assert_eq!(told(file), expected, "{file}");
        }
    }

    #[test]
    fn folders_of_diesel_have_a_date_or_a_number() {
        let folder = |name| folder(name).map(|(version, title)| format!("{version} {title}"));
        assert_eq!(folder("2026-01-31-120000_add_total").as_deref(), Some("20260131120000 add total"));
        assert_eq!(folder("00000000000000_diesel_initial_setup").as_deref(), Some("0 diesel initial setup"));
        assert_eq!(folder("20260131120000").as_deref(), Some("20260131120000 "));
        assert_eq!((folder("archive"), folder("")), (None, None));
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic(name in r"[VURB0-9_.a-zé]{0,12}(\.up|\.down|\.checks)?(\.sql|\.yaml|\.json|\.conf)?|\PC*") {
            let _ = read(&name);
            let _ = folder(&name);
        }
    }
}
