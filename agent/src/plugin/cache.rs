//! Compiled code on disk, so that a plugin starts in a millisecond rather than in the compiler's time. An entry's name is
//! the digest of the component and of the engine's settings; an entry that is not exactly what was written is
//! ignored and made again. The cache is local: entries are machine code and are never taken from elsewhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use super::engine::Engine;

/// Starts every entry; a change of the layout changes it.
const MAGIC: &[u8; 16] = b"whimbrel-cache-1";

/// Where the code of a component came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the cache.
    Cached,
    /// It was compiled just now.
    Compiled,
}

/// A directory of compiled plugins, or none at all.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: Option<PathBuf>,
}

impl Cache {
    /// A cache in this directory, which is made when missing, readable by this user only.
    #[must_use]
    pub fn at(directory: PathBuf) -> Self {
        Cache { directory: Some(directory) }
    }

    /// No cache: everything is compiled at every start.
    #[must_use]
    pub fn none() -> Self {
        Cache { directory: None }
    }

    /// The code of a component, from the cache or from the compiler.
    ///
    /// # Errors
    /// When the component does not compile. Trouble with the cache itself is logged and costs only time.
    pub(super) fn load(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<(Component, Origin)> {
        let Some(directory) = &self.directory else {
            return Ok((Component::new(engine.wasmtime(), bytes)?, Origin::Compiled));
        };
        let path = directory.join(entry_name(engine, bytes));
        match read_entry(&path) {
            // SAFETY: the entry belongs to this user, nobody else can write it, its digest shows that it is whole, and its
            // name that this engine made it from this component.
            Ok(Some(code)) => match unsafe { Component::deserialize(engine.wasmtime(), code) } {
                Ok(component) => return Ok((component, Origin::Cached)),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "compiled plugin does not fit this engine, compiling it again")
                }
            },
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled plugin is unusable, compiling it again")
            }
        }
        let component = Component::new(engine.wasmtime(), bytes)?;
        if let Err(error) = write_entry(directory, &path, &component.serialize()?) {
            tracing::warn!(path = %path.display(), %error, "compiled plugin cannot be kept, the next start compiles it again");
        }
        Ok((component, Origin::Compiled))
    }
}

fn entry_name(engine: &Engine, bytes: &[u8]) -> String {
    format!("{}-{}.cwasm", digest(bytes), engine.fingerprint())
}

/// SHA-256 of a component's file, in hex.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The code in an entry; none when there is no entry.
fn read_entry(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let facts = file.metadata()?;
    // SAFETY: geteuid has no preconditions and cannot fail.
    let user = unsafe { libc::geteuid() };
    if facts.uid() != user || facts.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others than this user may write or read it"));
    }
    let mut entry = Vec::new();
    io::Read::read_to_end(&mut file, &mut entry)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
    let rest = entry.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (digest, code) = rest.split_at_checked(32).ok_or_else(damaged)?;
    if Sha256::digest(code).as_slice() != digest {
        return Err(damaged());
    }
    Ok(Some(code.to_vec()))
}

/// Writes beside the entry and renames, so that no reader ever sees half of it.
fn write_entry(directory: &Path, path: &Path, code: &[u8]) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let _ = fs::remove_file(&unfinished);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(MAGIC)?;
        file.write_all(&Sha256::digest(code))?;
        file.write_all(code)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;
    use crate::plugin::bundled::find;

    fn only_entry(directory: &Path) -> PathBuf {
        let entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].clone()
    }

    #[test]
    fn the_second_start_does_not_compile_and_takes_under_five_milliseconds() {
        let temporary = tempfile::tempdir().unwrap();
        let cache = Cache::at(temporary.path().join("deep/plugins"));
        let engine = Engine::new().unwrap();
        let bytes = find("mask-fields").unwrap();
        assert_eq!(cache.load(&engine, bytes).unwrap().1, Origin::Compiled);
        // The best of several: other tests share the machine.
        let best = (0..20)
            .map(|_| {
                let start = Instant::now();
                assert_eq!(cache.load(&engine, bytes).unwrap().1, Origin::Cached);
                start.elapsed()
            })
            .min()
            .unwrap();
        println!("load from cache: {best:?}");
        assert!(best.as_micros() < 5_000, "{best:?}");
        let entry = only_entry(&temporary.path().join("deep/plugins"));
        assert_eq!(fs::metadata(&entry).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(entry.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_entry_that_was_touched_is_ignored_and_made_again() {
        let temporary = tempfile::tempdir().unwrap();
        let cache = Cache::at(temporary.path().to_owned());
        let engine = Engine::new().unwrap();
        let bytes = find("route").unwrap();
        cache.load(&engine, bytes).unwrap();
        let path = only_entry(temporary.path());
        let whole = fs::read(&path).unwrap();
        let flipped = |at: usize| {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            damaged
        };
        for damaged in [
            Vec::new(),
            whole[..40].to_vec(),
            whole[..whole.len() - 1].to_vec(),
            flipped(3),
            flipped(20),
            flipped(whole.len() / 2),
        ] {
            fs::write(&path, &damaged).unwrap();
            assert_eq!(cache.load(&engine, bytes).unwrap().1, Origin::Compiled);
            assert_eq!(fs::read(&path).unwrap(), whole, "it was made again");
            assert_eq!(cache.load(&engine, bytes).unwrap().1, Origin::Cached);
        }
    }

    #[test]
    fn an_entry_that_others_may_write_is_not_trusted() {
        let temporary = tempfile::tempdir().unwrap();
        let cache = Cache::at(temporary.path().to_owned());
        let engine = Engine::new().unwrap();
        let bytes = find("route").unwrap();
        cache.load(&engine, bytes).unwrap();
        let path = only_entry(temporary.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(cache.load(&engine, bytes).unwrap().1, Origin::Compiled);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_cache_that_cannot_be_written_costs_only_time() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("file");
        fs::write(&file, "in the way").unwrap();
        let cache = Cache::at(file.join("plugins"));
        assert_eq!(cache.load(&Engine::new().unwrap(), find("route").unwrap()).unwrap().1, Origin::Compiled);
    }
}
