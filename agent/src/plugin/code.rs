//! The code of a plugin that a configuration names: one that the agent carries, or a file that may run here.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use super::bundled;
use super::trust::{Trust, Untrusted};
use super::watch::read_file;

/// There is no code to be had.
#[derive(Debug)]
pub enum NoCode {
    /// The file cannot be read.
    Read(io::Error),
    /// The lock file or the keys of those who may sign forbid it.
    Untrusted(Untrusted),
}

/// The component. A bundled name wins over a file of that name: files are named with a path or an extension. Bundled plugins
/// are as trusted as this program; a file must be admitted.
///
/// # Errors
/// When it cannot be read, or may not run here.
pub fn code(plugin: &str, trust: &Trust) -> Result<Cow<'static, [u8]>, NoCode> {
    if let Some(bytes) = bundled::find(plugin) {
        return Ok(bytes.into());
    }
    let bytes = read_file(Path::new(plugin)).map_err(NoCode::Read)?;
    trust.admit(plugin, &bytes).map_err(NoCode::Untrusted)?;
    Ok(bytes.into())
}
