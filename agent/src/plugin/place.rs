//! Puts a whole file in the place of another at once: whoever watches the path never sees half of it.

use std::io::Write as _;
use std::path::Path;
use std::{fs, io};

/// Writes beside the path and renames. Folders on the way are made.
///
/// # Errors
/// When the folder or the file cannot be written; what stood at the path still does.
pub fn place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let written =
        fs::File::create(&temporary).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| drop(fs::remove_file(&temporary)))
}
