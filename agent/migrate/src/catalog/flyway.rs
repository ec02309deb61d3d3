//! What only Flyway's files have: placeholders, and settings beside a file (`V1__x.sql.conf`).

use std::collections::BTreeMap;

use crate::contents::Fault;

/// Settings of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// It may run in a transaction.
    pub(super) transaction: bool,
    /// Its placeholders are filled in.
    pub(super) placeholders: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { transaction: true, placeholders: true }
    }
}

/// Reads `name=value` lines.
pub(super) fn settings(text: &str) -> Result<Settings, Vec<Fault>> {
    let mut settings = Settings::default();
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fault = |message: String, remedy: &str| faults.push(Fault::new(Some(index + 1), message, remedy));
        let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
            fault("this is no setting".to_owned(), "write `name=value`");
            continue;
        };
        let name = name.strip_prefix("flyway.").unwrap_or(name);
        match (name, value.to_ascii_lowercase().as_str()) {
            ("executeInTransaction", "true") => settings.transaction = true,
            ("executeInTransaction", "false") => settings.transaction = false,
            ("placeholderReplacement", "true") => settings.placeholders = true,
            ("placeholderReplacement", "false") => settings.placeholders = false,
            ("encoding", "utf-8" | "utf8") | ("shouldExecute", "true") => {}
            ("executeInTransaction" | "placeholderReplacement", _) => {
                fault(format!("{name} is true or false"), "write one of the two");
            }
            ("encoding", _) => fault("files are read as UTF-8 only".to_owned(), "write the file in UTF-8"),
            _ => fault(
                format!("`{name}` is not known here, and without it the file may do something else"),
                "known are executeInTransaction, placeholderReplacement and encoding=UTF-8",
            ),
        }
    }
    if faults.is_empty() { Ok(settings) } else { Err(faults) }
}

/// The text with `${name}` filled in; names do not depend on case, as with Flyway.
pub(super) fn fill(text: &str, values: &BTreeMap<String, String>, file: &str) -> Result<String, Vec<Fault>> {
    let mut filled = String::with_capacity(text.len());
    let mut faults = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            filled.push_str(before);
            let Some((name, behind)) = after.split_once('}') else {
                faults.push(Fault::new(Some(index + 1), "this placeholder has no end", "write `${name}`"));
                rest = "";
                break;
            };
            let given =
                values.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
            match given.or_else(|| name.eq_ignore_ascii_case("flyway:filename").then_some(file)) {
                Some(value) => filled.push_str(value),
                None => faults.push(Fault::new(
                    Some(index + 1),
                    format!("nobody says what `${{{name}}}` stands for"),
                    format!("give it a value: `--placeholder {name}=VALUE`, or `placeholders:` in the configuration"),
                )),
            }
            rest = behind;
        }
        filled.push_str(rest);
    }
    if faults.is_empty() { Ok(filled) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_unknown_ones_refused() {
        let plain = Settings::default();
        assert_eq!(settings("# none\n\n"), Ok(plain));
        assert_eq!(settings("executeInTransaction=false\n"), Ok(Settings { transaction: false, ..plain }));
        assert_eq!(settings("flyway.placeholderReplacement = FALSE"), Ok(Settings { placeholders: false, ..plain }));
        assert_eq!(settings("encoding=UTF-8\nshouldExecute=true"), Ok(plain));
        for text in ["\nexecuteInTransaction=no", "\nencoding=ISO-8859-1", "\nshouldExecute=${x}", "\nx", "\nx=y"] {
            assert_eq!(settings(text).unwrap_err()[0].line, Some(2), "{text}");
        }
    }

    #[test]
    fn placeholders_are_filled_in() {
        let values = BTreeMap::from([("schema".to_owned(), "shop".to_owned()), ("empty".to_owned(), String::new())]);
        let fill = |text| fill(text, &values, "V1__x.sql");
        assert_eq!(
            fill("${schema}.a ${SCHEMA}${empty}\n$${x"),
            Err(vec![Fault::new(Some(2), "this placeholder has no end", "write `${name}`")])
        );
        assert_eq!(fill("${schema}.a, ${SCHEMA}${empty}.b\n$$ $1 $tag$").as_deref(), Ok("shop.a, shop.b\n$$ $1 $tag$"));
        assert_eq!(fill("'${flyway:filename}'").as_deref(), Ok("'V1__x.sql'"));
        let faults = fill("a\n${one} ${two}").unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [Some(2), Some(2)]);
    }
}
