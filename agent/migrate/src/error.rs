//! What can go wrong, as data: what kind it is decides what is done about it, its code is what metrics call it.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// What is to be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The files, the settings or the state of the ledger do not allow it. Nothing was written.
    Refused,
    /// The same transaction may succeed when it is tried again; nothing of it is there.
    Transient,
    /// The transaction may or may not be committed.
    CommitUnknown,
    /// The server cannot be reached, or hung up. Outside a transaction nobody knows whether a command was carried out.
    Connection,
    /// Somebody else has the lock now. Nothing more may be written.
    LockLost,
    /// The lock was not to be had in time.
    Locked,
    /// A check found the database not as it should be.
    CheckFailed,
    /// The database refuses for good.
    Database,
    /// Somebody asked to stop.
    Cancelled,
}

/// An error: about itself in `message`, what mends it in `remedy`, what lies below in `source`.
#[derive(Debug)]
pub struct Error {
    /// What is to be done about it.
    pub kind: Kind,
    /// What the server calls it, for the label `error_type`: MongoDB's code name ("WriteConflict"), PostgreSQL's condition
    /// name ("lock_not_available"), MariaDB's symbol ("ER_LOCK_WAIT_TIMEOUT"), or a word of ours ("lock_lost").
    pub code: Cow<'static, str>,
    /// For people; without row values.
    pub message: String,
    /// What to do.
    pub remedy: Option<String>,
    /// The cause, where it says nothing of row values.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What calls here give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without remedy and cause.
    #[must_use]
    pub fn new(kind: Kind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), remedy: None, source: None }
    }

    /// Refused, with what mends it.
    #[must_use]
    pub fn refused(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Kind::Refused, "refused", message).with_remedy(remedy)
    }

    /// Somebody asked to stop.
    #[must_use]
    pub fn stopped() -> Self {
        Self::new(Kind::Cancelled, "stopped", "stopped as asked")
            .with_remedy("run the same command again: it goes on where this one stopped")
    }

    /// With what mends it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// With its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// With where it happened in front: "step 2 (create index orders.total): …".
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// Something wrong in a file of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, below the directory.
    pub file: PathBuf,
    /// The line, from 1; none: the file as a whole.
    pub line: Option<usize>,
    /// Whether it only deserves a look.
    pub warning: bool,
    /// What is wrong.
    pub message: String,
    /// What mends it.
    pub remedy: String,
    /// The lint rule that says so, where a linter does.
    pub rule: Option<String>,
}

impl Finding {
    /// An error that keeps everything from running.
    #[must_use]
    pub fn error(
        file: impl Into<PathBuf>,
        line: Option<usize>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { file: file.into(), line, warning: false, message: message.into(), remedy: remedy.into(), rule: None }
    }

    /// The same as a warning.
    #[must_use]
    pub fn as_warning(self) -> Self {
        Self { warning: true, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let level = if self.warning { "warning" } else { "error" };
        write!(f, ": {level}: {}", self.message)?;
        if let Some(rule) = &self.rule {
            write!(f, " [{rule}]")?;
        }
        if !self.remedy.is_empty() {
            write!(f, "\n  {}", self.remedy)?;
        }
        Ok(())
    }
}
