//! Settings of the stdout target, checked.

use std::path::PathBuf;

use crate::config::invalid::Invalid;
use crate::config::raw;

/// What the target needs to know.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Appended to instead of standard output.
    pub path: Option<PathBuf>,
}

impl Settings {
    /// Checks what was written under `target.stdout`.
    ///
    /// # Errors
    /// When the path cannot be one of a file.
    pub fn from_raw(raw: &raw::StdoutTarget) -> Result<Self, Invalid> {
        if let Some(path) = &raw.path
            && (path.as_os_str().is_empty() || path.is_dir())
        {
            return Err(Invalid::new(
                "path",
                format!("`{}` is no file", path.display()),
                "write the path of a file, or leave `path` out for standard output",
            ));
        }
        Ok(Self { path: raw.path.clone() })
    }
}

crate::config::opaque::opaque_debug!(Settings);
