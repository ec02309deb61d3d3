//! Notices when a plugin's sources or cases were saved. A burst of events (editors write, rename and touch) counts once.
//! Knows nothing of what is done then.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher as _};

/// How long it must be quiet before a change counts.
const QUIET: Duration = Duration::from_millis(150);

/// What a plugin consists of; not `target`, which every build changes.
const FOLDERS: [&str; 3] = ["src", "tests", "sdk"];

/// The file beside them. Editors replace files, so it is its folder that is watched.
const FILE: &str = "Cargo.toml";

/// Watches one crate.
#[derive(Debug)]
pub struct Watch {
    // Stops when dropped.
    _watcher: notify::RecommendedWatcher,
    saved: mpsc::Receiver<()>,
}

impl Watch {
    /// Begins to watch the crate in this folder.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn new(dir: &Path) -> notify::Result<Self> {
        let (tell, saved) = mpsc::channel();
        let folder = std::fs::canonicalize(dir)?;
        let dir = folder.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let counts = |path: &PathBuf| path.file_name() == Some(FILE.as_ref()) || path.parent() != Some(&folder);
            if !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(counts) {
                // The receiver is gone only when the watch is.
                let _ = tell.send(());
            }
        })?;
        watcher.watch(&dir, RecursiveMode::NonRecursive)?;
        for folder in FOLDERS.iter().map(|folder| dir.join(folder)).filter(|folder| folder.exists()) {
            watcher.watch(&folder, RecursiveMode::Recursive)?;
        }
        Ok(Watch { _watcher: watcher, saved })
    }

    /// Waits for a change and for quiet after it; `false` when nothing happened in this time.
    #[must_use]
    pub fn wait(&self, longest: Duration) -> bool {
        match self.saved.recv_timeout(longest) {
            Ok(()) => {
                while self.saved.recv_timeout(QUIET) == Ok(()) {}
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_writes_counts_once_and_silence_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("src")).unwrap();
        let watch = Watch::new(dir.path()).unwrap();
        assert!(!watch.wait(Duration::from_millis(50)));
        for text in ["a", "b", "c"] {
            std::fs::write(dir.path().join("src/lib.rs"), text).unwrap();
        }
        assert!(watch.wait(Duration::from_secs(10)));
        assert!(!watch.wait(Duration::from_millis(50)));
    }
}
