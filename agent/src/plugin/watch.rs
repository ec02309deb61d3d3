//! Which plugin files have new content: paths in, paths whose digest changed out. Knows no stage and loads nothing.
//!
//! Directories are watched rather than files, since a file is often replaced by renaming another one over it. Kubernetes
//! goes further: the file is a link into a directory that is itself a link (`..data`), and only that one is swapped. So
//! every directory on the chain of links is watched. File systems that tell of nothing (NFS) are looked at now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::cache::digest;
use super::manifest::MAX_BYTES;

/// A file is looked at when nothing has happened for this long: copying and building write in many pieces.
const QUIET: Duration = Duration::from_millis(300);
/// In a directory where something always happens it is looked at after this long all the same.
const NEVER_QUIET: Duration = Duration::from_secs(2);
/// How often it is looked at though nothing was told.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);
/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;

/// Reads a plugin's file: a regular one, and no more of it than a plugin may have.
///
/// # Errors
/// When it is not there, cannot be read, or is something else than a file. One that is too large is cut one byte beyond the
/// limit, and so refused by its size.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What changes when content may have changed; looking is cheaper than reading.
type Facts = (u64, u64, u64, i64, i64, i64);

fn facts(path: &Path) -> Option<Facts> {
    let facts = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((facts.dev(), facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec(), facts.ctime_nsec()))
}

#[derive(Debug)]
struct Seen {
    facts: Option<Facts>,
    digest: String,
}

/// Watches plugin files.
#[derive(Debug)]
pub struct FileWatch {
    files: BTreeMap<PathBuf, Seen>,
    /// None where the system has no more watches: then there is only the look now and then.
    watcher: Option<RecommendedWatcher>,
    events: Receiver<()>,
    directories: BTreeSet<PathBuf>,
    first: bool,
}

impl FileWatch {
    /// Watches these files; their content is known by its digest.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let (sender, events) = channel();
        let told = move |event: notify::Result<notify::Event>| {
            // Reading the files is an event too, and must not be answered by reading them.
            let of_reading = |event: &notify::Event| matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write));
            if !event.as_ref().is_ok_and(of_reading) {
                let _ = sender.send(());
            }
        };
        let watcher = notify::recommended_watcher(told).inspect_err(|error| {
            tracing::warn!(%error, every = ?LOOK_ANYWAY, "plugin files cannot be watched, they are looked at now and then");
        });
        let files = files.into_iter().map(|(path, digest)| (path, Seen { facts: None, digest })).collect();
        let mut watch = FileWatch { files, watcher: watcher.ok(), events, directories: BTreeSet::new(), first: true };
        watch.follow();
        watch
    }

    /// Waits until files have new content, and names them. A file that is gone is not named: whoever took its content
    /// keeps it.
    pub fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            // What happened between the reading of the files and the first watch shows at once.
            if !std::mem::take(&mut self.first) {
                self.wait();
            }
            self.follow();
            let changed = self.look();
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    /// Until something happened and it is quiet again, or it is time to look anyway.
    fn wait(&self) {
        let ended = |end: RecvTimeoutError, left: Duration| {
            if end == RecvTimeoutError::Disconnected {
                std::thread::sleep(left);
            }
        };
        if let Err(end) = self.events.recv_timeout(LOOK_ANYWAY) {
            ended(end, LOOK_ANYWAY);
            return;
        }
        let begun = Instant::now();
        while begun.elapsed() < NEVER_QUIET {
            if let Err(end) = self.events.recv_timeout(QUIET) {
                ended(end, QUIET);
                return;
            }
        }
    }

    fn look(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, seen) in &mut self.files {
            let now = facts(path);
            if now.is_none() || now == seen.facts {
                continue;
            }
            // Facts from before the reading: what changes during it is seen next time.
            let Ok(bytes) = read_file(path) else { continue };
            seen.facts = now;
            let digest = digest(&bytes);
            if digest != seen.digest {
                seen.digest = digest;
                changed.push(path.clone());
            }
        }
        changed
    }

    /// Watches what is on the chains of links now, and no longer what was.
    fn follow(&mut self) {
        let wanted: BTreeSet<PathBuf> = self.files.keys().flat_map(|path| directories_of(path)).collect();
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.directories.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        // Watched again also where it was watched before: a directory of that name may be another one by now.
        self.directories = wanted
            .into_iter()
            .filter(|directory| {
                watcher
                    .watch(directory, RecursiveMode::NonRecursive)
                    .inspect_err(
                        |error| tracing::debug!(directory = %directory.display(), %error, "directory is not watched"),
                    )
                    .is_ok()
            })
            .collect();
    }
}

/// The directories in which a change of an entry may change what the path leads to: those that hold a link on the way, and
/// the last one. Stops where the way ends.
fn directories_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let Ok(absolute) = std::path::absolute(path) else { return directories };
    let mut rest: Vec<OsString> = parts(&absolute);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match fs::read_link(&next) {
            Ok(target) => {
                links += 1;
                if links > MAX_LINKS {
                    break;
                }
                directories.insert(at.clone());
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                rest.extend(parts(&target));
            }
            Err(_) if rest.is_empty() => {
                directories.insert(at.clone());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Its coming may be the next that happens.
                directories.insert(at.clone());
                break;
            }
            Err(_) => at = next,
        }
    }
    directories
}

/// The names of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Watches on a thread of its own and tells what changed.
    fn watched(path: &Path) -> Receiver<Vec<PathBuf>> {
        let known = digest(&fs::read(path).unwrap_or_default());
        let mut watch = FileWatch::new([(path.to_owned(), known)]);
        // Not at some moment of what follows.
        assert_eq!(watch.look(), Vec::<PathBuf>::new());
        watch.first = false;
        let (sender, changes) = channel();
        std::thread::spawn(move || while sender.send(watch.changed()).is_ok() {});
        changes
    }

    /// Well before the look that needs no event.
    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn new_content_is_told_however_it_comes_and_the_same_content_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugin.wasm");
        fs::write(&path, "one").unwrap();
        let changes = watched(&path);
        let told = || assert_eq!(changes.recv_timeout(SOON).unwrap(), std::slice::from_ref(&path));
        let quiet = || assert!(changes.recv_timeout(QUIET * 3).is_err());
        fs::write(&path, "two").unwrap();
        told();
        fs::write(directory.path().join("next"), "three").unwrap();
        quiet();
        fs::rename(directory.path().join("next"), &path).unwrap();
        told();
        fs::write(&path, "three").unwrap();
        quiet();
        fs::remove_file(&path).unwrap();
        quiet();
        fs::write(&path, "three").unwrap();
        quiet();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "four").unwrap();
        told();
    }

    #[test]
    fn many_pieces_are_told_once_when_the_last_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugin.wasm");
        fs::write(&path, "one").unwrap();
        let changes = watched(&path);
        for length in 0..10 {
            fs::write(&path, "x".repeat(length)).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        changes.recv_timeout(SOON).unwrap();
        assert!(changes.recv_timeout(QUIET * 3).is_err(), "it was told more than once");
    }

    #[test]
    fn a_swapped_link_above_the_file_is_a_change_as_often_as_it_happens() {
        let mount = tempfile::tempdir().unwrap();
        let at = |name: &str| mount.path().join(name);
        let version = |number: u32| {
            let directory = at(&format!("..{number}"));
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("plugin.wasm"), format!("version {number}")).unwrap();
            symlink(format!("..{number}"), at("..next")).unwrap();
            fs::rename(at("..next"), at("..data")).unwrap();
        };
        version(1);
        symlink("..data/plugin.wasm", at("plugin.wasm")).unwrap();
        let changes = watched(&at("plugin.wasm"));
        for number in 2..5 {
            version(number);
            fs::remove_dir_all(at(&format!("..{}", number - 1))).unwrap();
            assert_eq!(changes.recv_timeout(SOON).unwrap(), [at("plugin.wasm")], "version {number}");
        }
    }

    #[test]
    fn every_directory_on_the_chain_of_links_counts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for directory in ["mount", "mount/..1", "etc", "opt"] {
            fs::create_dir(root.join(directory)).unwrap();
        }
        fs::write(root.join("mount/..1/p.wasm"), "").unwrap();
        symlink("..1", root.join("mount/..data")).unwrap();
        symlink("..data/p.wasm", root.join("mount/p.wasm")).unwrap();
        symlink("../mount/p.wasm", root.join("etc/p.wasm")).unwrap();
        symlink(root.join("etc"), root.join("opt/etc")).unwrap();
        let found = directories_of(&root.join("opt/etc/p.wasm"));
        let expect = ["opt", "etc", "mount", "mount/..1"].map(|name| root.join(name));
        assert_eq!(found, expect.into());
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(directories_of(&root.join("loop/p.wasm")), [root.clone()].into());
        assert_eq!(directories_of(&root.join("absent/deeper/p.wasm")), [root].into());
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read_file(directory.path()).is_err());
        assert!(read_file(Path::new("/dev/zero")).is_err());
        let pipe = directory.path().join("pipe");
        let name = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
        // SAFETY: the name is a C string that outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(read_file(&pipe).is_err(), "a pipe without a writer would be waited for");
    }
}
