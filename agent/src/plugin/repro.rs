//! Where repro bundles lie: a folder of files that only the agent's user may read, the newest of them. Knows names and
//! texts; what stands in a bundle is made by whoever called the plugin.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// All bundles begin so; no other file of the folder is touched.
const PREFIX: &str = "crash-";
/// A bundle that is written, as replay cases are called.
const DONE: &str = ".json";
/// A bundle on its way.
const UNFINISHED: &str = ".json.tmp";

/// A folder of bundles.
#[derive(Clone, Debug)]
pub struct ReproDir {
    directory: PathBuf,
    keep: usize,
}

impl ReproDir {
    /// The newest so many bundles in this folder, which is made with the first.
    #[must_use]
    pub fn new(directory: PathBuf, keep: usize) -> Self {
        ReproDir { directory, keep }
    }

    /// Keeps a bundle under a name, in the place of an earlier one of that name; an old one may go for it. Nobody ever sees
    /// half of it. Does not wait for the disk: what a crash of the machine takes with it is written again.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn keep(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        let path = self.directory.join(format!("{PREFIX}{plain}{DONE}"));
        let unfinished = self.directory.join(format!("{PREFIX}{plain}{UNFINISHED}"));
        let written = (|| {
            let _ = fs::remove_file(&unfinished);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&unfinished, &path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        if let Err(error) = self.prune(&path) {
            tracing::warn!(path = %self.directory.display(), %error, "old repro bundles cannot be removed");
        }
        Ok(path)
    }

    /// Removes the oldest bundles beyond the number to keep, and never the one just written.
    fn prune(&self, newest: &Path) -> io::Result<()> {
        let mut bundles: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with(PREFIX) || !(name.ends_with(DONE) || name.ends_with(UNFINISHED)) {
                continue;
            }
            match entry.metadata().and_then(|facts| facts.modified()) {
                Ok(_) if entry.path() == *newest => {}
                Ok(modified) => bundles.push((modified, entry.path())),
                // Another pipeline may have removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        bundles.sort();
        let surplus = (bundles.len() + 1).saturating_sub(self.keep);
        for (_, path) in bundles.iter().take(surplus) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_are_kept_for_the_user_alone_and_nothing_else_is_touched() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("deep/repro");
        let repro = ReproDir::new(directory.clone(), 3);
        let start = SystemTime::now() - Duration::from_secs(1000);
        for (age, name) in ["a", "b", "../c d", "e", "a"].into_iter().enumerate() {
            let path = repro.keep(name, &format!("{age}")).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let modified = start + Duration::from_secs(age as u64);
            File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
            if age == 0 {
                // Foreign files, and what a killed agent left.
                fs::write(directory.join("mine.json"), "").unwrap();
                fs::write(directory.join("crash-left.json.tmp"), "").unwrap();
                let left = File::options().write(true).open(directory.join("crash-left.json.tmp")).unwrap();
                left.set_modified(start).unwrap();
            }
        }
        assert_eq!(names(&directory), ["crash----c-d.json", "crash-a.json", "crash-e.json", "mine.json"]);
        assert_eq!(fs::read_to_string(directory.join("crash-a.json")).unwrap(), "4");
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error_and_leaves_nothing() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("file"), "").unwrap();
        assert!(ReproDir::new(temporary.path().join("file"), 3).keep("a", "x").is_err());
        fs::create_dir(temporary.path().join("crash-a.json")).unwrap();
        assert!(ReproDir::new(temporary.path().to_owned(), 3).keep("a", "x").is_err());
        assert_eq!(names(temporary.path()), ["crash-a.json", "file"]);
    }
}
