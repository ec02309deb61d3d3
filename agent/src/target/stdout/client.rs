//! Opens the place lines go to and says what kind an I/O error is.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind as Io, Write};

use crate::target::error::{ErrorKind, TargetError};

use super::config::Settings;

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    Stdout,
    File(File),
}

impl Sink {
    /// Opens the file for appending; standard output is always open.
    pub(super) fn open(settings: &Settings) -> Result<Self, TargetError> {
        let Some(path) = &settings.path else { return Ok(Self::Stdout) };
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map(Self::File)
            .map_err(|e| error(&format!("cannot open `{}`", path.display()), e))
    }

    /// Writes all of `lines` and flushes.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), TargetError> {
        let mut write = || match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::File(file) => {
                file.write_all(lines)?;
                file.flush()
            }
        };
        write().map_err(|e| match e.kind() {
            Io::BrokenPipe => error("whoever read the output has gone away", e),
            _ => error("cannot write the output", e),
        })
    }
}

/// The one table of I/O errors. A reader that went away does not come back, so it is a matter for people too.
fn error(doing: &str, cause: io::Error) -> TargetError {
    let kind = match cause.kind() {
        Io::PermissionDenied => ErrorKind::Authorization,
        Io::OutOfMemory => ErrorKind::Overloaded,
        Io::BrokenPipe
        | Io::NotFound
        | Io::StorageFull
        | Io::QuotaExceeded
        | Io::ReadOnlyFilesystem
        | Io::FileTooLarge
        | Io::IsADirectory
        | Io::WriteZero => ErrorKind::Storage,
        _ => ErrorKind::Unknown,
    };
    TargetError::new(kind, format!("{doing}: {cause}")).caused_by(cause)
}
