//! The YAML form of a SQL migration: steps, their undoing and checks in one file. Raw structs as written become the words of
//! [`super`]; what cannot be meant is a [`Fault`] with its line, all at once.

mod raw;

use std::path::PathBuf;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::contents::{Contents, Fault};
use crate::migration::{Body, Check, PluginFile};
use crate::verify;

use super::backfill;
use super::script;
use super::{Backfill, Bound, Dialect, Script, Step};

/// Reads a migration.
///
/// ```
/// use whimbrel_migrate::sql::{Dialect, file};
/// let text = "
/// steps:
///   - sql: ALTER TABLE orders ADD total numeric
///   - backfill: {table: orders, key: id, set: total = price * quantity, where: total IS NULL}
/// checks:
///   - count: {table: orders, where: total IS NULL, equals: 0}";
/// let contents = file::parse(text, Dialect::Postgresql).unwrap();
/// assert_eq!((contents.up.len(), contents.checks.len()), (2, 1));
/// ```
///
/// # Errors
/// With all that is wrong.
pub fn parse(text: &str, dialect: Dialect) -> Result<Contents, Vec<Fault>> {
    let raw: raw::Migration = read(text)?;
    let mut reader = Reader { dialect, faults: Vec::new() };
    let transaction = raw.transaction.unwrap_or(true);
    let (up, down) = match (raw.plugin, raw.steps, raw.down) {
        (Some(plugin), None, None) => {
            let body = Body::Plugin(PluginFile { path: PathBuf::from(plugin.file), config: plugin.config });
            (body.clone(), Some(body))
        }
        (Some(_), _, _) => {
            reader.fault(
                None,
                "`plugin` stands beside `steps` or `down`",
                "a plugin does both ways itself: take out `steps` and `down`, or `plugin`",
            );
            return Err(reader.faults);
        }
        (None, None, _) => {
            reader.fault(None, "the migration has no steps", "write `steps:`, or `plugin:`");
            return Err(reader.faults);
        }
        (None, Some(steps), down) => {
            let up = reader.script(steps, transaction);
            (Body::Sql(up), down.map(|down| Body::Sql(reader.script(down, transaction))))
        }
    };
    let checks = reader.checks(raw.checks.unwrap_or_default());
    reader.finish(Contents { name: raw.name, up, down, checks })
}

/// Reads the checks of a `.sql` migration, which stand in a file of their own beside it.
///
/// # Errors
/// With all that is wrong.
pub fn parse_checks(text: &str, dialect: Dialect) -> Result<Vec<Check>, Vec<Fault>> {
    let raw: raw::Checks = read(text)?;
    let mut reader = Reader { dialect, faults: Vec::new() };
    let checks = reader.checks(raw.checks);
    reader.finish(checks)
}

fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Vec<Fault>> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        let told = error.without_snippet().to_string();
        let message = told.lines().next().unwrap_or_default().to_owned();
        vec![Fault::new(line.and_then(|line| usize::try_from(line).ok()), message, REMEDY)]
    })
}

const REMEDY: &str = "a migration has: name, transaction, steps, down, checks, or plugin in place of steps and down";

/// Makes [`super`]'s words of what was written, and notes what is wrong.
struct Reader {
    dialect: Dialect,
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, line: Option<usize>, message: impl Into<String>, remedy: &str) {
        self.faults.push(Fault::new(line, message, remedy));
    }

    fn finish<T>(mut self, value: T) -> Result<T, Vec<Fault>> {
        self.faults.sort_by_key(|fault| fault.line);
        if self.faults.is_empty() { Ok(value) } else { Err(self.faults) }
    }

    fn script(&mut self, raw: Vec<Spanned<raw::Step>>, transaction: bool) -> Script {
        let mut steps = Vec::new();
        for step in raw {
            let line = line(&step);
            match step.value {
                raw::Step::Sql(sql) => self.sql(&sql, &mut steps),
                raw::Step::Backfill(raw) => {
                    let backfill = Backfill {
                        table: raw.table,
                        key: raw.key.0,
                        set: raw.set,
                        filter: raw.filter,
                        batch: raw.batch,
                    };
                    for (message, remedy) in backfill::faults(&backfill, self.dialect) {
                        self.fault(line, message, remedy);
                    }
                    steps.push(Step::Backfill(backfill));
                }
            }
        }
        Script { steps, transaction }
    }

    /// The statements of a text; more than one is as many steps.
    fn sql(&mut self, sql: &Spanned<String>, steps: &mut Vec<Step>) {
        let first = line(sql).unwrap_or(1);
        match script::parse(&sql.value, self.dialect) {
            Ok(script) if script.steps.is_empty() => self.fault(Some(first), "the step is empty", "write a statement"),
            Ok(script) if !script.transaction => self.fault(
                Some(first),
                "`-- whimbrel: no-transaction` has no meaning in a YAML file",
                "write `transaction: false` at the top",
            ),
            Ok(script) => steps.extend(script.steps.into_iter().map(|step| match step {
                Step::Statement(mut statement) => {
                    statement.line += first - 1;
                    Step::Statement(statement)
                }
                Step::Backfill(_) => step,
            })),
            Err(faults) => self.faults.extend(
                faults.into_iter().map(|fault| Fault { line: fault.line.map(|line| line + first - 1), ..fault }),
            ),
        }
    }

    fn checks(&mut self, raw: Vec<Spanned<raw::Check>>) -> Vec<Check> {
        let mut checks = Vec::new();
        for check in raw {
            let line = line(&check);
            checks.extend(self.check(line, check.value));
        }
        checks
    }

    fn check(&mut self, line: Option<usize>, raw: raw::Check) -> Option<Check> {
        use super::Check as Sql;
        Some(match raw {
            raw::Check::Count(raw) => {
                let is = match (raw.equals, raw.at_least, raw.at_most) {
                    (Some(number), None, None) => Bound { at_least: number, at_most: Some(number) },
                    (None, least, most) if least.is_some() || most.is_some() => {
                        Bound { at_least: least.unwrap_or(0), at_most: most }
                    }
                    _ => {
                        let remedy = "write `equals: 0`, or `at_least:` and `at_most:`";
                        self.fault(line, "the check does not say which count is right", remedy);
                        return None;
                    }
                };
                if is.at_most.is_some_and(|most| most < is.at_least) {
                    self.fault(line, "`at_most` is less than `at_least`", "no count is between them: change one");
                }
                if let Some(filter) = &raw.filter {
                    self.fragment(line, "where", filter);
                }
                Check::Sql(Sql::Count { table: raw.table, filter: raw.filter, is })
            }
            raw::Check::Query(raw) => {
                self.query(line, &raw.sql);
                if raw.equals.is_array() || raw.equals.is_object() {
                    self.fault(line, "`equals` is not one value", "write a number, a string, true, false or null");
                }
                Check::Sql(Sql::Query { sql: raw.sql, equals: raw.equals })
            }
            raw::Check::Equal(raw) => {
                self.query(line, &raw.left);
                self.query(line, &raw.right);
                Check::Sql(Sql::Equal { left: raw.left, right: raw.right })
            }
            raw::Check::Copy(raw) => Check::Copy(verify::Copy {
                from: raw.from,
                to: raw.to,
                key: raw.key.0,
                columns: raw.columns.unwrap_or_default(),
            }),
        })
    }

    fn fragment(&mut self, line: Option<usize>, what: &str, text: &str) {
        if let Some(message) = backfill::fragment_fault(text, self.dialect) {
            self.fault(line, format!("`{what}` {message}"), "write one expression, as it stands in a statement");
        }
    }

    /// A query of a check: one statement that reads.
    fn query(&mut self, line: Option<usize>, sql: &str) {
        let reads = ["select", "with", "values", "table"];
        match script::parse(sql, self.dialect) {
            Ok(Script { steps, .. }) if steps.len() != 1 => {
                self.fault(line, "the query of a check is not one statement", "write one SELECT");
            }
            Ok(_) if !reads.contains(&&*super::words::verb(sql)) => {
                self.fault(line, "the query of a check is no SELECT", "checks only read: write a SELECT");
            }
            Ok(_) => {}
            Err(faults) => self.faults.extend(faults.into_iter().map(|fault| Fault { line, ..fault })),
        }
    }
}

fn line<T>(spanned: &Spanned<T>) -> Option<usize> {
    usize::try_from(spanned.referenced.line()).ok().filter(|line| *line > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "name: fill total
steps:
  - sql: ALTER TABLE orders ADD total numeric
  - sql: |
      CREATE TABLE a (b int);

      CREATE TABLE c (d int);
  - backfill:
      table: orders
      key: [tenant, id]
      set: total = price * quantity
      where: total IS NULL
      batch: 500
down:
  - sql: ALTER TABLE orders DROP total
checks:
  - count: {table: orders, where: total IS NULL, equals: 0}
  - count: {table: orders, at_least: 1}
  - query: {sql: SELECT max(total) FROM orders, equals: 7}
  - equal: {left: SELECT sum(a) FROM b, right: SELECT sum(a) FROM c}
  - copy: {from: orders, to: orders2, key: id}
";

    #[test]
    fn a_file_is_read_with_its_lines() {
        let contents = parse(WHOLE, Dialect::Postgresql).unwrap();
        assert_eq!(contents.name.as_deref(), Some("fill total"));
        let Body::Sql(script) = contents.up else { panic!("no script") };
        let lines: Vec<_> = script
            .steps
            .iter()
            .map(|step| match step {
                Step::Statement(statement) => (statement.line, statement.text.as_str()),
                Step::Backfill(backfill) => (0, backfill.table.as_str()),
            })
            .collect();
        let expected = [
            (3, "ALTER TABLE orders ADD total numeric"),
            (5, "CREATE TABLE a (b int)"),
            (7, "CREATE TABLE c (d int)"),
            (0, "orders"),
        ];
        assert_eq!(lines, expected);
        assert!(script.transaction);
        assert_eq!(contents.down.unwrap().len(), 1);
        assert_eq!(contents.checks.len(), 5);
    }

    #[test]
    fn a_plugin_stands_for_both_ways() {
        let contents = parse("plugin: {file: split.wasm, config: {a: 1}}", Dialect::Postgresql).unwrap();
        assert!(matches!(&contents.up, Body::Plugin(plugin) if plugin.path.ends_with("split.wasm")));
        assert!(contents.down.is_some());
    }

    #[test]
    fn checks_can_stand_alone() {
        let checks = parse_checks("checks:\n- count: {table: a, at_most: 3}\n", Dialect::Mysql).unwrap();
        assert_eq!(checks.len(), 1);
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_line_all_at_once() {
        let cases: &[(&str, &[usize])] = &[
            ("steps:\n- sql: a\nstep: 1", &[3]),
            ("steps:\n- sql: a\n- backfil: {}", &[3]),
            ("steps:\n  - sql: 'a\n", &[2]),
            ("steps:\n- sql: COMMIT\n- sql: |\n    a;\n    \\d\n", &[2, 5]),
            (
                "steps:\n- sql: ''\n- backfill: {table: a, key: [], set: b = 1}\n- backfill: {table: a, key: b, set: b = 1}",
                &[2, 3, 4],
            ),
            ("steps:\n- backfill: {table: a, key: b, set: 'c = 1; DROP TABLE a'}", &[2]),
            ("steps:\n- backfill: {table: a, key: b, set: c = 1, where: '1=1) OR (1=1'}", &[2]),
            ("steps:\n- backfill: {table: a, key: b, set: c = 1, batch: 0}", &[2]),
            ("steps:\n- sql: a\nchecks:\n- count: {table: a}\n- count: {table: a, at_least: 3, at_most: 2}", &[4, 5]),
            (
                "steps:\n- sql: a\nchecks:\n- query: {sql: DELETE FROM a, equals: 1}\n- query: {sql: SELECT 1; SELECT 2, equals: 1}\n",
                &[4, 5],
            ),
            ("steps:\n- sql: a\nchecks:\n- query: {sql: SELECT 1, equals: [1]}\n", &[4]),
        ];
        for (text, lines) in cases {
            let faults = parse(text, Dialect::Postgresql).unwrap_err();
            assert_eq!(faults.iter().filter_map(|fault| fault.line).collect::<Vec<_>>(), *lines, "{text}: {faults:?}");
        }
        for text in ["plugin: {file: a}\nsteps: []", "name: a", "down: []", "transaction: maybe", "", "[1]", "\u{0}"] {
            assert!(parse(text, Dialect::Postgresql).is_err(), "{text}");
        }
    }
}
