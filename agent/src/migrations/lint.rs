//! What the linter says of files that are about to run. Only PostgreSQL has a grammar here; what was applied already is no
//! longer looked at.

use std::fs;
use std::path::Path;

use whimbrel_migrate::database::System;
use whimbrel_migrate::error::Finding;
use whimbrel_migrate::ledger::Id;
use whimbrel_migrate::migration::{Body, Migration};
use whimbrel_migrate::sql::lint::{Remark, lint, lint_statement};
use whimbrel_migrate::sql::{Dialect, Script, Step};

/// Looks at the way up of these migrations. `off`: rules that are not asked.
#[must_use]
pub fn look(directory: &Path, system: System, all: &[Migration], ids: &[Id], off: &[String]) -> Vec<Finding> {
    if system != System::Postgresql {
        return Vec::new();
    }
    let wanted = all.iter().filter(|one| ids.contains(&one.id));
    let scripts = wanted.filter_map(|one| match &one.up {
        Body::Sql(script) => Some((one, script)),
        Body::Mongodb(_) | Body::Plugin(_) => None,
    });
    scripts
        .flat_map(|(one, script)| {
            let remarks = match whole(&directory.join(&one.file)) {
                Some(text) => lint(&text, Dialect::Postgresql, script, off),
                None => by_statement(script, off),
            };
            remarks.into_iter().map(|remark| finding(one, remark))
        })
        .collect()
}

/// The text of a file that is the way up and nothing else, so that comments for the linter count. None: placeholders or
/// sections are in it, or it is no SQL file.
fn whole(path: &Path) -> Option<String> {
    if path.extension().is_none_or(|end| end != "sql") {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    let sections = ["-- migrate:", "-- +goose", "-- +migrate"];
    let marked = text.lines().any(|line| sections.iter().any(|mark| line.trim_start().starts_with(mark)));
    (!marked && !text.contains("${")).then_some(text)
}

fn by_statement(script: &Script, off: &[String]) -> Vec<Remark> {
    let statements = script.steps.iter().filter_map(|step| match step {
        Step::Statement(statement) => Some(statement),
        Step::Backfill(_) => None,
    });
    statements
        .flat_map(|one| lint_statement(&one.text, one.line, Dialect::Postgresql, script.transaction, off))
        .collect()
}

fn finding(migration: &Migration, remark: Remark) -> Finding {
    let Remark { line, warning, message, remedy, rule } = remark;
    Finding { file: migration.file.clone(), line, warning, message, remedy, rule }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whimbrel_migrate::catalog::{self, CatalogOptions};

    fn looked(files: &[(&str, &str)], off: &[&str]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let placeholders = [("owner".to_owned(), "me".to_owned())].into();
        let options = CatalogOptions { placeholders };
        let catalog = catalog::read(directory.path(), System::Postgresql, &options).unwrap();
        // The first was applied already.
        let ids: Vec<Id> = catalog.migrations.iter().skip(1).map(|one| one.id.clone()).collect();
        let off: Vec<String> = off.iter().map(|&rule| rule.to_owned()).collect();
        let found = look(directory.path(), System::Postgresql, &catalog.migrations, &ids, &off);
        let at =
            |one: &Finding| format!("{}:{:?} {}", one.file.display(), one.line, one.rule.clone().unwrap_or_default());
        found.iter().map(at).collect()
    }

    const INDEX: &str = "CREATE INDEX i ON orders (a);\n";

    #[test]
    fn only_what_is_about_to_run_is_looked_at_and_rules_can_be_off() {
        let files = [("V1__a.sql", INDEX), ("V2__b.sql", INDEX)];
        assert_eq!(looked(&files, &[]), ["V2__b.sql:Some(1) require-concurrent-index-creation"]);
        assert_eq!(looked(&files, &["require-concurrent-index-creation"]), [""; 0]);
    }

    #[test]
    fn placeholders_and_sections_are_no_syntax_errors() {
        let flyway = format!("ALTER TABLE orders OWNER TO ${{owner}};\n{INDEX}");
        let files = [("V1__a.sql", INDEX), ("V2__b.sql", flyway.as_str())];
        assert_eq!(looked(&files, &[]), ["V2__b.sql:Some(2) require-concurrent-index-creation"]);
        let goose = format!("-- +goose Up\n{INDEX}-- +goose Down\nDROP TABLE orders;\n");
        let files = [("00001_a.sql", goose.as_str()), ("00002_b.sql", goose.as_str())];
        assert_eq!(looked(&files, &[]), ["00002_b.sql:Some(2) require-concurrent-index-creation"], "the way up alone");
    }

    #[test]
    fn comments_for_the_linter_count() {
        let ignored = format!("-- squawk-ignore require-concurrent-index-creation\n{INDEX}");
        let files = [("0001_a.up.sql", INDEX), ("0002_b.up.sql", ignored.as_str())];
        assert_eq!(looked(&files, &[]), [""; 0]);
    }
}
