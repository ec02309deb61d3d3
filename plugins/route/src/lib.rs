//! Sends events where they belong: renames tables, and takes out what the target does not want. It writes no
//! column. The first rule that fits an event decides; an event that fits none goes on as it is.

mod condition;

pub use condition::Condition;
use whimbrel_plugin::Dictionary;
use whimbrel_plugin::prelude::*;

/// Renames tables and drops events.
#[derive(Config)]
pub struct Route {
    /// Tried in order; the first that fits decides.
    rules: Vec<Rule>,
}

/// Which events, and what becomes of them.
#[derive(Config)]
pub struct Rule {
    /// The tables, as patterns over full names; without it, all.
    #[config(default = vec![Glob::new("*")])]
    tables: Vec<Glob>,
    /// The operations: `create`, `update`, `delete`, `read`, `truncate`, `message`; without it, all.
    operations: Option<Vec<String>>,
    /// A column's value that decides.
    when: Option<Condition>,
    /// What becomes of them.
    then: Action,
}

/// What becomes of an event.
#[derive(Config)]
pub enum Action {
    /// It goes on as it is; no later rule is asked.
    Keep,
    /// It is taken out of the stream.
    Drop,
    /// Its table, or collection, gets this name. `{table}` stands for the last part of the old name, `{full}` for all
    /// of it.
    Rename(String),
}

#[transform]
impl Transform for Route {
    fn start(&mut self, _cx: &Context) -> Result<(), Failure> {
        for (index, rule) in self.rules.iter_mut().enumerate() {
            if let Action::Rename(to) = &rule.then
                && renamed(to, "a.b").is_empty()
            {
                return Err(Failure::new("config", format!("rules[{index}].then.rename: a table needs a name")));
            }
            if let Some(condition) = &mut rule.when {
                condition
                    .prepare()
                    .map_err(|reason| Failure::new("config", format!("rules[{index}].when: {reason}")))?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, batch: &mut Batch, _cx: &Context) -> Result<(), Failure> {
        let tables = batch.tables();
        // Which rule decided an event. Operations are asked for at most once, columns once per rule.
        let mut decided: Vec<Option<&Rule>> = vec![None; batch.len()];
        let mut operations = None;
        for rule in &self.rules {
            let in_table: Vec<bool> =
                tables.values().iter().map(|table| rule.tables.iter().any(|glob| glob.matches(table))).collect();
            if !in_table.contains(&true) {
                continue;
            }
            let of_operation: Option<(&Dictionary, Vec<bool>)> = rule.operations.as_ref().map(|wanted| {
                let operations: &Dictionary = operations.get_or_insert_with(|| batch.operations());
                (operations, operations.values().iter().map(|operation| wanted.contains(operation)).collect())
            });
            let met = rule.when.as_ref().map(|condition| condition.met(batch));
            for (row, decision) in decided.iter_mut().enumerate() {
                let chosen = |dictionary: &Dictionary, choice: &[bool]| {
                    dictionary.index(row).and_then(|index| choice.get(index)).copied().unwrap_or(false)
                };
                let fits = decision.is_none()
                    && chosen(&tables, &in_table)
                    && of_operation.as_ref().is_none_or(|(operations, choice)| chosen(operations, choice))
                    && met.as_ref().is_none_or(|met| met.get(row).copied().unwrap_or(false));
                if fits {
                    *decision = Some(rule);
                }
            }
        }
        carry_out(batch, &tables, &decided)
    }
}

fn carry_out(batch: &mut Batch, tables: &Dictionary, decided: &[Option<&Rule>]) -> Result<(), Failure> {
    let mut dropped = Vec::new();
    let mut renames = false;
    let mut names = Vec::with_capacity(decided.len());
    for (row, (decision, table)) in decided.iter().zip(tables.iter()).enumerate() {
        match decision.map(|rule| &rule.then) {
            Some(Action::Drop) => dropped.push(u32::try_from(row).unwrap_or(u32::MAX)),
            Some(Action::Rename(to)) => {
                renames = true;
                names.push(std::borrow::Cow::Owned(renamed(to, table)));
                continue;
            }
            Some(Action::Keep) | None => {}
        }
        names.push(std::borrow::Cow::Borrowed(table));
    }
    if renames {
        let names: Dictionary = names.iter().map(AsRef::as_ref).collect();
        batch.set_tables(&names)?;
    }
    if !dropped.is_empty() {
        batch.drop_rows(&dropped);
    }
    Ok(())
}

fn renamed(to: &str, table: &str) -> String {
    let last = table.rsplit('.').next().unwrap_or(table);
    to.replace("{table}", last).replace("{full}", table)
}

#[cfg(test)]
mod tests {
    use whimbrel_plugin::testing::{Event, Verdict, context};

    use super::*;

    fn run(config: &str, events: Vec<Event>) -> Batch {
        let mut plugin: Route = whimbrel_plugin::config::parse(config).unwrap();
        plugin.start(&context()).unwrap();
        let mut batch = Batch::of(events);
        plugin.apply(&mut batch, &context()).unwrap();
        batch
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let batch = run(
            r#"{"rules": [
                {"tables": ["shop.audit_*"], "then": "drop"},
                {"operations": ["delete"], "then": "drop"},
                {"tables": ["shop.keep"], "then": "keep"},
                {"tables": ["shop.*"], "then": {"rename": "store.{table}"}}
            ]}"#,
            vec![
                Event::create("shop.audit_log", "{}"),
                Event::create("shop.orders", "{}"),
                Event::delete("shop.orders", "{}"),
                Event::create("shop.keep", "{}"),
                Event::create("other.orders", "{}"),
            ],
        );
        let outcome: Vec<(&str, bool)> =
            (0..5).map(|row| (batch.event(row).table(), *batch.event(row).verdict() == Verdict::Drop)).collect();
        assert_eq!(
            outcome,
            [
                ("shop.audit_log", true),
                ("store.orders", false),
                ("shop.orders", true),
                ("shop.keep", false),
                ("other.orders", false)
            ]
        );
    }

    #[test]
    fn a_column_decides_by_value_or_pattern() {
        let batch = run(
            r#"{"rules": [
                {"when": {"column": "status", "equals": "test"}, "then": "drop"},
                {"when": {"column": "email", "matches": "*@example.org"}, "then": {"rename": "internal"}},
                {"when": {"column": "id", "equals": "7"}, "then": "drop"}
            ]}"#,
            vec![
                Event::create("t", r#"{"id":1,"status":"test","email":"a@example.org"}"#),
                Event::create("t", r#"{"id":2,"status":"live","email":"a@example.org"}"#),
                Event::create("t", r#"{"id":7,"status":null,"email":"a@other.org"}"#),
                Event::create("t", r#"{"id":8}"#),
                Event::delete("t", r#"{"id":9,"status":"test"}"#),
            ],
        );
        let outcome: Vec<(&str, bool)> =
            (0..5).map(|row| (batch.event(row).table(), *batch.event(row).verdict() == Verdict::Drop)).collect();
        assert_eq!(outcome, [("t", true), ("internal", false), ("t", true), ("t", false), ("t", true)]);
    }

    #[test]
    fn configurations_that_mean_nothing_are_refused() {
        for (config, message) in [
            (r#"{"rules": [{"then": {"rename": ""}}]}"#, "config: rules[0].then.rename: a table needs a name"),
            (
                r#"{"rules": [{"when": {"column": "a"}, "then": "drop"}]}"#,
                "config: rules[0].when: give one of `equals` and `matches`",
            ),
            (
                r#"{"rules": [{"when": {"column": "", "equals": "x"}, "then": "drop"}]}"#,
                "config: rules[0].when: a column needs a name",
            ),
        ] {
            let mut plugin: Route = whimbrel_plugin::config::parse(config).unwrap();
            assert_eq!(plugin.start(&context()).unwrap_err().to_string(), message);
        }
    }
}
