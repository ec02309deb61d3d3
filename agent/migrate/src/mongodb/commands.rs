//! The JSON form of a MongoDB migration, as golang-migrate has it: one file a direction, a list of database commands.

use bson::Document;
use serde_json::Value;

use super::step::{Script, Step};
use super::value::to_document;
use crate::contents::Fault;

/// Commands that are no migration: they end sessions or servers, or read what is nobody's business.
const REFUSED: [&str; 12] = [
    "shutdown",
    "fsync",
    "killOp",
    "killSessions",
    "killAllSessions",
    "abortTransaction",
    "commitTransaction",
    "endSessions",
    "replSetReconfig",
    "replSetStepDown",
    "logRotate",
    "getMore",
];

/// Reads a file: a list of commands, or one.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str) -> Result<Script, Vec<Fault>> {
    let read: Value = serde_json::from_str(text).map_err(|error| {
        let remedy = "write a list of database commands: [{\"createIndexes\": …}, …]";
        vec![Fault::new(Some(error.line()), format!("it is no JSON: {error}"), remedy)]
    })?;
    let commands = match read {
        Value::Array(commands) => commands,
        one @ Value::Object(_) => vec![one],
        _ => return Err(vec![Fault::new(None, "it is no list of commands", "write [{\"insert\": …}, …]")]),
    };
    if commands.is_empty() {
        return Err(vec![Fault::new(None, "there are no commands", "write at least one")]);
    }
    let mut steps = Vec::new();
    let mut faults = Vec::new();
    for (index, written) in commands.iter().enumerate() {
        match command(written) {
            Ok(step) => steps.push(step),
            Err(message) => faults.push(Fault::new(None, format!("command {index}: {message}"), "")),
        }
    }
    if faults.is_empty() { Ok(Script { steps }) } else { Err(faults) }
}

/// One command as a step.
pub(super) fn command(written: &Value) -> Result<Step, String> {
    let command: Document = to_document(written)?;
    match command.keys().next().map(String::as_str) {
        None => Err("it is empty".to_owned()),
        Some(name) if REFUSED.contains(&name) => Err(format!("`{name}` is no migration")),
        Some(name) if name.starts_with('$') => {
            Err(format!("`{name}` is no command: the name of the command comes first"))
        }
        // What the agent sets itself, in every command.
        Some(_) => match ["$db", "lsid", "txnNumber", "autocommit", "writeConcern", "readConcern"]
            .iter()
            .find(|key| command.contains_key(**key))
        {
            Some(key) => Err(format!("`{key}` is set by the agent: leave it out")),
            None => Ok(Step::Command(command)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_files_of_golang_migrate_are_understood() {
        let text =
            r#"[{"create": "users"}, {"createIndexes": "users", "indexes": [{"key": {"name": 1}, "name": "name_1"}]}]"#;
        let script = parse(text).unwrap();
        assert_eq!(script.steps.iter().map(Step::what).collect::<Vec<_>>(), ["create users", "createIndexes users"]);
    }

    #[test]
    fn each_of_these_is_refused() {
        for (text, word) in [
            ("", "no JSON"),
            ("[", "no JSON"),
            ("3", "no list"),
            ("[]", "no commands"),
            ("[{}]", "empty"),
            (r#"[{"shutdown": 1}]"#, "no migration"),
            (r#"[{"insert": "c", "documents": [], "writeConcern": {"w": 0}}]"#, "writeConcern"),
            (r#"[{"insert": "c", "documents": [{"_id": {"$oid": "1"}}]}]"#, "$oid"),
        ] {
            let told = parse(text).unwrap_err().iter().map(|fault| fault.message.clone()).collect::<String>();
            assert!(told.contains(word), "{text}: {told}");
        }
    }
}
