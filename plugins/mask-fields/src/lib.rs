//! Hides what a target must not know: e-mail addresses, names, numbers. Both row images are treated alike, so that
//! an old value does not slip through `before`. Equal input gives equal output, in every run and on every agent;
//! nulls stay null. It writes columns and nothing else: no event is dropped, no table renamed.

mod hash;
mod method;

pub use method::Method;
use whimbrel_plugin::Dictionary;
use whimbrel_plugin::prelude::*;

/// Masks columns.
#[derive(Config)]
pub struct MaskFields {
    /// What to hide; every rule that fits a row is applied, in order.
    rules: Vec<Rule>,
    /// Mixed into every hash, so that hashes cannot be looked up in a table made elsewhere. Keep it secret and keep it
    /// the same for as long as hashes must match.
    #[config(default)]
    salt: String,
}

/// Some columns of some tables, and what to do with them.
#[derive(Config)]
pub struct Rule {
    /// The columns' names.
    columns: Vec<String>,
    /// The tables, as patterns over full names; without it, all.
    #[config(default = vec![Glob::new("*")])]
    tables: Vec<Glob>,
    /// How to hide.
    #[config(default = Method::Email)]
    with: Method,
    /// Whether the key is treated too. Rows that differed before may then meet in one key: with `hash` they do not.
    #[config(default = false)]
    keys: bool,
    #[config(skip)]
    paths: Vec<String>,
}

impl Rule {
    fn covers(&self, table: &str) -> bool {
        self.tables.iter().any(|glob| glob.matches(table))
    }

    /// Which of the batch's tables the rule covers: decided once per name, not once per row.
    fn selection(&self, tables: &Dictionary) -> Vec<bool> {
        tables.values().iter().map(|table| self.covers(table)).collect()
    }
}

#[transform]
impl Transform for MaskFields {
    fn start(&mut self, _cx: &Context) -> Result<(), Failure> {
        if self.rules.is_empty() {
            return Err(Failure::new("config", "no rules: nothing would be masked"));
        }
        for (index, rule) in self.rules.iter_mut().enumerate() {
            if rule.columns.is_empty() || rule.columns.iter().any(String::is_empty) {
                return Err(Failure::new(
                    "config",
                    format!("rules[{index}].columns: name at least one column, none empty"),
                ));
            }
            let images: &[&str] = if rule.keys { &["after", "before", "key"] } else { &["after", "before"] };
            rule.paths = rule
                .columns
                .iter()
                .flat_map(|column| images.iter().map(move |image| format!("{image}.{column}")))
                .collect();
        }
        Ok(())
    }

    fn apply(&mut self, batch: &mut Batch, _cx: &Context) -> Result<(), Failure> {
        // Without a pattern that tells tables apart there is no need to ask for their names.
        let selective = self.rules.iter().any(|rule| !rule.tables.iter().any(Glob::is_any));
        let tables = if selective { batch.tables() } else { Dictionary::default() };
        for rule in &self.rules {
            let selection = rule.selection(&tables);
            if selective && !selection.contains(&true) {
                continue;
            }
            let all = !selection.contains(&false);
            for path in &rule.paths {
                batch.edit_text(path, |row, text, new| {
                    let selected =
                        all || tables.index(row).and_then(|index| selection.get(index)).copied().unwrap_or(false);
                    if !selected {
                        return Edit::Keep;
                    }
                    rule.with.apply(text, &self.salt, new);
                    Edit::Replace
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use whimbrel_plugin::testing::{Event, context};

    use super::*;

    fn run(config: &str, events: Vec<Event>) -> Batch {
        let mut plugin: MaskFields = whimbrel_plugin::config::parse(config).unwrap();
        plugin.start(&context()).unwrap();
        let mut batch = Batch::of(events);
        plugin.apply(&mut batch, &context()).unwrap();
        batch
    }

    #[test]
    fn both_images_are_masked_and_nulls_stay_null() {
        let batch = run(
            r#"{"rules": [{"columns": ["email"]}]}"#,
            vec![
                Event::update("t", r#"{"id":1,"email":"old@example.org"}"#, r#"{"id":1,"email":"new@example.org"}"#),
                Event::create("t", r#"{"id":2,"email":null}"#),
                Event::create("t", r#"{"id":3}"#),
                Event::delete("t", r#"{"id":4,"email":"gone@example.org"}"#),
            ],
        );
        assert_eq!(batch.event(0).before(), r#"{"id":1,"email":"o***@example.org"}"#);
        assert_eq!(batch.event(0).after(), r#"{"id":1,"email":"n***@example.org"}"#);
        assert_eq!(batch.event(1).after(), r#"{"id":2,"email":null}"#);
        assert_eq!(batch.event(2).after(), r#"{"id":3}"#);
        assert_eq!(batch.event(3).before(), r#"{"id":4,"email":"g***@example.org"}"#);
    }

    #[test]
    fn rules_reach_only_their_tables() {
        let batch = run(
            r#"{"rules": [{"columns": ["phone"], "tables": ["*.customers"], "with": {"keep_last": 3}}, {"columns": ["note"], "with": "redact"}]}"#,
            vec![
                Event::create("shop.customers", r#"{"phone":"+49 170 123","note":"a"}"#),
                Event::create("shop.suppliers", r#"{"phone":"+49 170 123","note":"b"}"#),
            ],
        );
        assert_eq!(batch.event(0).after(), r#"{"phone":"********123","note":"***"}"#);
        assert_eq!(batch.event(1).after(), r#"{"phone":"+49 170 123","note":"***"}"#);
    }

    #[test]
    fn keys_are_left_alone_unless_wanted() {
        let event = || vec![Event::create("t", r#"{"email":"a@b"}"#).key(r#"{"email":"a@b"}"#)];
        let kept = run(r#"{"rules": [{"columns": ["email"], "with": "hash"}]}"#, event());
        let masked = run(r#"{"rules": [{"columns": ["email"], "with": "hash", "keys": true}]}"#, event());
        let key = |batch: &Batch| String::from_utf8(batch.json(0)).unwrap();
        assert!(key(&kept).contains(r#""key":{"email":"a@b"}"#), "{}", key(&kept));
        assert!(!key(&masked).contains("a@b"), "{}", key(&masked));
    }

    #[test]
    fn a_configuration_that_masks_nothing_is_refused() {
        for (config, message) in [
            (r#"{"rules": []}"#, "config: no rules: nothing would be masked"),
            (r#"{"rules": [{"columns": []}]}"#, "config: rules[0].columns: name at least one column, none empty"),
        ] {
            let mut plugin: MaskFields = whimbrel_plugin::config::parse(config).unwrap();
            assert_eq!(plugin.start(&context()).unwrap_err().to_string(), message);
        }
        for (config, message) in [
            ("", "the option `rules` is missing"),
            (
                r#"{"rules": [{"column": "email"}]}"#,
                "rules[0]: unknown option `column`, expected one of `columns`, `tables`, `with`, `keys`",
            ),
            (
                r#"{"rules": [{"columns": ["a"], "with": "rot13"}]}"#,
                "rules[0].with: unknown choice `rot13`, expected one of `email`, `redact`, `hash`, `keep_last`",
            ),
            (
                r#"{"rules": [{"columns": ["a"], "with": {"keep_last": -1}}]}"#,
                "rules[0].with.keep_last: expected a whole number from 0 to 4294967295",
            ),
        ] {
            assert_eq!(whimbrel_plugin::config::parse::<MaskFields>(config).err().unwrap().to_string(), message);
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_nulls_and_other_columns_stay_and_masking_twice_changes_nothing_more(
            mut batch in whimbrel_plugin::testing::strategy::batches(&["email", "name"]),
            method in proptest::sample::select(vec!["email", "redact", r#"{"keep_last": 2}"#]),
        ) {
            let method = if method.starts_with('{') { method.to_owned() } else { format!("{method:?}") };
            let config = format!(r#"{{"rules": [{{"columns": ["email"], "with": {method}}}]}}"#);
            let mut plugin: MaskFields = whimbrel_plugin::config::parse(&config).unwrap();
            plugin.start(&context()).unwrap();
            let columns = ["before.email", "after.email", "before.name", "after.name"];
            let read = |batch: &Batch| columns.map(|path| batch.text_column(path));

            let plain = read(&batch);
            plugin.apply(&mut batch, &context()).unwrap();
            let masked = read(&batch);
            proptest::prop_assert_eq!(&plain[2..], &masked[2..]);
            for (old, new) in plain[..2].iter().zip(&masked) {
                for (old, new) in old.iter().zip(new.iter()) {
                    proptest::prop_assert_eq!(old.is_none(), new.is_none());
                }
            }
            plugin.apply(&mut batch, &context()).unwrap();
            proptest::prop_assert_eq!(masked, read(&batch));
        }
    }
}
