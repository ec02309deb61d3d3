//! How a command ends: the one table from what went wrong to an exit status, and how it is told.

use std::io::Write;

use serde_json::{Map, Value, json};
use whimbrel_migrate::error::{Error, Finding, Kind};

use super::asked::Format;
use crate::cli::Exit;
use crate::migrations::display::json;
use crate::runtime::logging::escaped;

/// The ledger does not allow it.
pub(super) const LEDGER: u8 = 3;
/// A check failed.
pub(super) const CHECK: u8 = 4;
/// Somebody else has the lock.
pub(super) const LOCKED: u8 = 5;

/// Why a command ended before its end.
#[derive(Debug)]
pub(super) struct Stop {
    /// For people; lines.
    pub(super) message: String,
    pub(super) code: String,
    pub(super) remedy: Option<String>,
    pub(super) exit: Exit,
}

impl Stop {
    /// The command line, the configuration or the files cannot be used.
    pub(super) fn usage(message: String) -> Self {
        Self { message, code: "usage".to_owned(), remedy: None, exit: Exit::Usage }
    }

    /// The files cannot be used.
    pub(super) fn files(findings: &[Finding]) -> Self {
        let lines = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        Self { message: lines, code: "files".to_owned(), remedy: None, exit: Exit::Usage }
    }

    /// An error, with the status of its kind.
    pub(super) fn error(error: &Error) -> Self {
        let mut message = error.message.clone();
        let mut cause = std::error::Error::source(error);
        while let Some(next) = cause {
            let said = next.to_string();
            if !message.contains(&said) {
                message = format!("{message}: {said}");
            }
            cause = next.source();
        }
        Self { message, code: error.code.to_string(), remedy: error.remedy.clone(), exit: exit(error.kind) }
    }

    /// The same where nothing of a ledger was looked at: what is refused then is how the command was called.
    pub(super) fn before_the_ledger(error: &Error) -> Self {
        let stop = Self::error(error);
        Self { exit: if error.kind == Kind::Refused { Exit::Usage } else { stop.exit }, ..stop }
    }

    /// Tells it, and gives the status.
    pub(super) fn tell(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        match format {
            Format::Text => {
                let mut err = std::io::stderr();
                for (index, line) in self.message.lines().enumerate() {
                    let _ = writeln!(err, "{}{}", if index == 0 { "whimbrel: " } else { "" }, escaped(line));
                }
                if let Some(remedy) = &self.remedy {
                    let _ = writeln!(err, "  {}", escaped(remedy));
                }
            }
            Format::Json => json::line(out, &Value::Object(self.object()))?,
        }
        Ok(self.exit)
    }

    fn object(&self) -> Map<String, Value> {
        let object = json!({
            "event": "error", "code": self.code, "message": self.message, "remedy": self.remedy, "exit": number(self.exit),
        });
        match object {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }
}

/// The status as a number.
pub(super) const fn number(exit: Exit) -> u8 {
    match exit {
        Exit::Ok => 0,
        Exit::Runtime => 1,
        Exit::Usage => 2,
        Exit::Status(status) => status,
    }
}

/// The status of a kind of error.
const fn exit(kind: Kind) -> Exit {
    match kind {
        Kind::Refused => Exit::Status(LEDGER),
        Kind::CheckFailed => Exit::Status(CHECK),
        Kind::Locked | Kind::LockLost => Exit::Status(LOCKED),
        Kind::Transient | Kind::CommitUnknown | Kind::Connection | Kind::Database | Kind::Cancelled => Exit::Runtime,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_its_status() {
        for (kind, status, before) in [
            (Kind::Refused, 3, 2),
            (Kind::CheckFailed, 4, 4),
            (Kind::Locked, 5, 5),
            (Kind::LockLost, 5, 5),
            (Kind::Cancelled, 1, 1),
            (Kind::Connection, 1, 1),
            (Kind::Database, 1, 1),
        ] {
            let error = Error::new(kind, "x", "y");
            assert_eq!(number(Stop::error(&error).exit), status, "{kind:?}");
            assert_eq!(number(Stop::before_the_ledger(&error).exit), before, "{kind:?}");
        }
    }

    #[test]
    fn an_error_in_json_is_one_line_with_code_remedy_and_status() {
        let error = Error::refused("7 was applied,\nand its file is another one now", "restore it");
        let mut out = Vec::new();
        assert_eq!(Stop::error(&error).tell(Format::Json, &mut out).unwrap(), Exit::Status(3));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&told["code"], &told["remedy"], &told["exit"]),
            (&"refused".into(), &"restore it".into(), &3.into())
        );
    }
}
