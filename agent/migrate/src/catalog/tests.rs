//! Directories, read: those of other tools as they are, and what must be refused.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::migration::Body;
use crate::sql::Step;

fn conventions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conventions")
}

/// `id (steps up, steps down, transaction)` of each.
fn told(catalog: &Catalog) -> Vec<String> {
    let steps = |body: &Body| match body {
        Body::Sql(script) => format!("{}{}", script.steps.len(), if script.transaction { "" } else { "!" }),
        other => other.len().to_string(),
    };
    let one = |migration: &Migration| {
        let down = migration.down.as_ref().map_or("-".to_owned(), steps);
        format!("{} {}: {} {down}", migration.id, migration.name, steps(&migration.up))
    };
    catalog.migrations.iter().map(one).collect()
}

fn schema() -> CatalogOptions {
    CatalogOptions { placeholders: BTreeMap::from([("schema".to_owned(), "public".to_owned())]) }
}

#[test]
fn directories_of_other_tools_are_read_as_they_are() {
    use System::{Mariadb, Postgresql, Sqlite};
    let cases: &[(&str, System, Form, &[&str])] = &[
        (
            "flyway/postgresql",
            Postgresql,
            Form::Flyway,
            &[
                "1 create customers: 2 1",
                "1.1 create orders: 3 2",
                "2.0.1 index orders: 1! 1!",
                "10 total function: 1 1",
                "R:totals totals: 1 -",
            ],
        ),
        (
            "flyway/mariadb",
            Mariadb,
            Form::Flyway,
            &["1 create customers: 3 1", "2 create orders: 4 1", "3 total trigger: 2 2", "R:totals totals: 1 -"],
        ),
        (
            "golang-migrate/postgresql",
            Postgresql,
            Form::Pair,
            &["1 create orders: 2 2", "2 fill orders: 1 1", "3 touch: 2 2"],
        ),
        (
            "golang-migrate/sqlite",
            Sqlite,
            Form::Pair,
            &["1 create orders: 2 2", "2 total trigger: 2 2", "10 rename price: 1 1"],
        ),
        (
            "dbmate/postgresql",
            Postgresql,
            Form::Dbmate,
            &[
                "20260110093000 create orders: 2 1",
                "20260112101500 index orders: 1! 1!",
                "20260113080000 add total: 2 1",
            ],
        ),
        (
            "goose/postgresql",
            Postgresql,
            Form::Goose,
            &["1 create orders: 1 1", "2 total trigger: 3 3", "3 index total: 1! 1!"],
        ),
        (
            "diesel/postgresql",
            Postgresql,
            Form::Folder,
            &["0 diesel initial setup: 2 2", "20260110093000 create orders: 3 1", "20260111110000 index orders: 1! 1!"],
        ),
        (
            "sqlx/postgresql",
            Postgresql,
            Form::Single,
            &["20260110093000 create orders: 2 -", "20260111100000 index orders: 1! -", "20260112090000 view: 1 -"],
        ),
    ];
    for (directory, system, form, expected) in cases {
        let catalog = read(&conventions().join(directory), *system, &schema())
            .unwrap_or_else(|all| panic!("{directory}: {all:?}"));
        assert_eq!(told(&catalog), *expected, "{directory}");
        assert_eq!(catalog.form, Some(*form), "{directory}");
        assert_eq!(catalog.warnings, [], "{directory}");
    }
}

/// Reads a directory of these files.
fn read_files(files: &[(&str, &[u8])], system: System) -> Result<Catalog, Vec<Finding>> {
    let directory = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    read(directory.path(), system, &CatalogOptions::default())
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let findings = read_files(
        &[
            ("1_a.up.sql", b"CREATE TABLE a (b int);"),
            ("1_a.down.sql", b"DROP TABLE 'a;"),
            ("001_b.up.sql", b"SELECT 1;"),
            ("1.0_c.sql", b"SELECT 1;"),
            ("2_d.down.sql", b"SELECT 1;"),
            ("3_e.up.sql", b"SELECT 1;\nSELECT '\xff';"),
            ("4_f.up.sql", b"SELECT 1;\n\nSELECT '\0';"),
            ("5_g.go", b"package migrations"),
            ("6_h.up.json", b"[]"),
            ("7_i.wasm", b"\0asm\x01\0\0\0"),
            ("8_j.wasm", b"#!/bin/sh"),
            ("9_k.sql", b"SELECT 1;"),
            ("9_k.down.json", b"[]"),
            ("10_l.checks.yaml", b"checks: []"),
            ("V11__m.sql", b"SELECT '${who}';"),
            ("12_n.yaml", b"steps: 7"),
            ("99999999999999999999_o.sql", b"SELECT 1;"),
            ("notes.csv", b""),
            ("README.md", b""),
        ],
        System::Postgresql,
    )
    .unwrap_err();
    let told: Vec<_> =
        findings.iter().map(|finding| (finding.file.to_str().unwrap(), finding.line, finding.warning)).collect();
    let expected = [
        ("10_l.checks.yaml", None, false),
        ("12_n.yaml", Some(1), false),
        ("1_a.down.sql", Some(1), false),
        ("1_a.up.sql", None, false),
        ("1.0_c.sql", None, false),
        ("2_d.down.sql", None, false),
        ("3_e.up.sql", Some(2), false),
        ("4_f.up.sql", Some(3), false),
        ("5_g.go", None, false),
        ("6_h.up.json", None, false),
        ("7_i.wasm", None, false),
        ("8_j.wasm", None, false),
        ("99999999999999999999_o.sql", None, false),
        ("9_k.down.json", None, false),
        ("V11__m.sql", Some(1), false),
        ("notes.csv", None, true),
    ];
    for one in expected {
        assert!(told.contains(&one), "{one:?} is not in {told:?}");
    }
    assert!(findings.iter().all(|finding| finding.warning || !finding.remedy.is_empty()));
}

#[test]
fn files_larger_than_a_migration_is_are_refused() {
    let large = vec![b' '; (16 << 20) + 1];
    let findings = read_files(&[("1_a.sql", &large)], System::Sqlite).unwrap_err();
    assert!(findings[0].message.contains("16 MiB"), "{}", findings[0]);
}

#[cfg(unix)]
#[test]
fn links_that_lead_out_of_the_directory_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "SELECT 1;").unwrap();
    fs::write(directory.path().join("1_a.sql"), "SELECT 1;").unwrap();
    let link = |from: &Path, name: &str| std::os::unix::fs::symlink(from, directory.path().join(name)).unwrap();
    link(outside.path(), "2_b.sql");
    link(Path::new("nowhere"), "3_c.sql");
    let findings = read(directory.path(), System::Sqlite, &CatalogOptions::default()).unwrap_err();
    assert_eq!(findings.iter().map(|f| f.file.to_str().unwrap()).collect::<Vec<_>>(), ["2_b.sql", "3_c.sql"]);

    fs::remove_file(directory.path().join("2_b.sql")).unwrap();
    fs::remove_file(directory.path().join("3_c.sql")).unwrap();
    link(Path::new("1_a.sql"), "2_b.sql");
    link(Path::new("."), "loop");
    let catalog = read(directory.path(), System::Sqlite, &CatalogOptions::default()).unwrap();
    assert_eq!(catalog.migrations.len(), 2, "a link within the directory is a file like others");
    assert_eq!(catalog.warnings.len(), 1, "{:?}", catalog.warnings);
}

#[test]
fn folders_are_flyways_or_diesels_or_passed_over() {
    let files: &[(&str, &[u8])] = &[
        ("1.0/V1__a.sql", b"SELECT 1;"),
        ("1.0/deep/R__v.sql", b"SELECT 1;"),
        ("2026-01-01-000000_x/up.sql", b"SELECT 1;"),
        ("archive/0001_old.up.sql", b"SELECT 1;"),
        (".git/config", b""),
        ("docs/README.md", b""),
    ];
    let catalog = read_files(files, System::Sqlite).unwrap();
    assert_eq!(told(&catalog), ["1 a: 1 -", "20260101000000 x: 1 -", "R:v v: 1 -"]);
    let warned: Vec<_> = catalog.warnings.iter().map(|finding| finding.file.to_str().unwrap()).collect();
    assert_eq!(warned, ["archive/0001_old.up.sql"]);
}

#[test]
fn the_checksum_is_of_the_change_and_not_of_what_stands_beside_it() {
    let sum = |files: &[(&str, &[u8])]| {
        let catalog = read_files(files, System::Sqlite).unwrap();
        catalog.migrations[0].checksum.clone()
    };
    let plain = sum(&[("1_a.up.sql", b"SELECT 1;\n")]);
    assert_eq!(plain, sum(&[("1_a.up.sql", b"SELECT 1;\r\n")]));
    assert_eq!(plain, sum(&[("001_b.sql", b"SELECT 1;\n")]), "the name is no part of it");
    assert_eq!(plain, sum(&[("1_a.up.sql", b"SELECT 1;\n"), ("1_a.down.sql", b"SELECT 2;")]));
    assert_ne!(plain, sum(&[("1_a.up.sql", b"SELECT 2;\n")]));
    let yaml: &[u8] = b"plugin: {file: x.wasm, config: {a: 1}}";
    let (one, other) = (b"\0asm\x0d\0\x01\0a", b"\0asm\x0d\0\x01\0b");
    assert_ne!(sum(&[("1_a.yaml", yaml), ("x.wasm", one)]), sum(&[("1_a.yaml", yaml), ("x.wasm", other)]));
}

#[test]
fn a_plugin_that_a_file_names_is_found_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("1_a.yaml"), "plugin: {file: x.wasm, config: {a: 1}}").unwrap();
    let findings = read(directory.path(), System::Sqlite, &CatalogOptions::default()).unwrap_err();
    assert_eq!(findings[0].file, Path::new("1_a.yaml"), "{findings:?}");
    fs::write(directory.path().join("x.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    let catalog = read(directory.path(), System::Sqlite, &CatalogOptions::default()).unwrap();
    let Body::Plugin(plugin) = &catalog.migrations[0].up else { panic!("it is a plugin") };
    assert_eq!((plugin.path.clone(), plugin.config["a"].as_i64()), (directory.path().join("x.wasm"), Some(1)));
}

#[test]
fn ways_that_do_nothing_are_warned_of() {
    let catalog = read_files(&[("1_a.sql", b"-- migrate:up\nSELECT 1;\n-- migrate:down\n")], System::Sqlite).unwrap();
    assert_eq!(told(&catalog), ["1 a: 1 0"]);
    assert_eq!(catalog.warnings.len(), 1);
}

#[test]
fn lines_of_a_file_of_both_ways_keep_their_numbers() {
    let text = b"-- +goose Up\nSELECT 1;\n\n-- +goose Down\n\nSELECT 2;\n";
    let catalog = read_files(&[("1_a.sql", text)], System::Sqlite).unwrap();
    let Some(Body::Sql(down)) = &catalog.migrations[0].down else { panic!("there is a way down") };
    assert!(matches!(&down.steps[..], [Step::Statement(statement)] if statement.line == 6));
}

#[test]
fn a_directory_that_is_not_there_is_one_finding() {
    let findings = read(Path::new("/nowhere/at/all"), System::Sqlite, &CatalogOptions::default()).unwrap_err();
    assert_eq!(findings.len(), 1);
}

#[test]
fn what_new_makes_can_be_read_once_it_has_contents() {
    use std::time::SystemTime;
    for (system, form) in [
        (System::Postgresql, Form::Pair),
        (System::Postgresql, Form::Flyway),
        (System::Postgresql, Form::Dbmate),
        (System::Mariadb, Form::Goose),
        (System::Sqlite, Form::Folder),
        (System::Sqlite, Form::Single),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let made = new::create(directory.path(), system, "add total", Some(form), SystemTime::now()).unwrap();
        let path = directory.path().join(&made[0]);
        let text = fs::read_to_string(&path).unwrap();
        let text = match form {
            Form::Dbmate => text.replace("-- migrate:up\n", "-- migrate:up\nSELECT 1;\n"),
            Form::Goose => text.replace("-- +goose Up\n", "-- +goose Up\nSELECT 1;\n"),
            _ => text + "SELECT 1;\n",
        };
        fs::write(&path, text).unwrap();
        let catalog = read(directory.path(), system, &CatalogOptions::default()).unwrap();
        assert_eq!(catalog.form, Some(form));
        assert_eq!((catalog.migrations.len(), catalog.migrations[0].up.len()), (1, 1), "{form:?}");
        assert!(matches!(&catalog.migrations[0].up, Body::Sql(script) if script.transaction));
    }
}

/// A template whose commented lines are used: every `#` before an indent or a word that ends in a colon.
fn used(template: &str) -> String {
    template
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with("  ") || rest.ends_with(':') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

#[test]
fn what_stands_commented_in_the_templates_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let made =
        new::create(directory.path(), System::Postgresql, "x", Some(Form::Yaml), std::time::SystemTime::now()).unwrap();
    let path = directory.path().join(&made[0]);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, used(&text)).unwrap();
    let catalog = read(directory.path(), System::Postgresql, &CatalogOptions::default()).unwrap();
    let migration = &catalog.migrations[0];
    assert_eq!((migration.up.len(), migration.down.as_ref().map(Body::len), migration.checks.len()), (2, Some(1), 1));
}

#[test]
fn files_of_mongodb_are_read() {
    let catalog =
        read(&conventions().join("golang-migrate/mongodb"), System::Mongodb, &CatalogOptions::default()).unwrap();
    assert_eq!(told(&catalog), ["1 create orders: 2 1", "2 fill orders: 2 1"]);
    assert_eq!(catalog.form, Some(Form::Json));
    let findings =
        read_files(&[("1_a.sql", b"SELECT 1;"), ("2_b.yaml", b"steps: [{nonsense: 1}]")], System::Mongodb).unwrap_err();
    assert_eq!(findings.iter().map(|f| f.file.to_str().unwrap()).collect::<Vec<_>>(), ["1_a.sql", "2_b.yaml"]);
}

#[test]
fn what_stands_commented_in_mongodbs_template_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let made = new::create(directory.path(), System::Mongodb, "x", None, std::time::SystemTime::now()).unwrap();
    let path = directory.path().join(&made[0]);
    fs::write(&path, used(&fs::read_to_string(&path).unwrap())).unwrap();
    let catalog = read(directory.path(), System::Mongodb, &CatalogOptions::default()).unwrap();
    let migration = &catalog.migrations[0];
    assert_eq!((migration.up.len(), migration.down.as_ref().map(Body::len), migration.checks.len()), (2, Some(2), 1));
}
