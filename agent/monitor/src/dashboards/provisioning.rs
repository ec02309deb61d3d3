//! Files that Grafana reads when it starts, instead of its API.

use std::io;
use std::path::{Path, PathBuf};

use super::UID;

/// Writes `DIR/dashboards/whimbrel.yaml` and the dashboard beside it, `DIR` being what Grafana calls its provisioning
/// directory. `seen_as` is where Grafana sees `DIR`, when that is elsewhere.
pub(super) fn write(directory: &Path, seen_as: Option<&Path>, dashboard: &str) -> io::Result<[PathBuf; 2]> {
    let inside = directory.join("dashboards").join("whimbrel");
    std::fs::create_dir_all(&inside)?;
    let seen = match seen_as {
        Some(path) => path.join("dashboards").join("whimbrel"),
        None => std::fs::canonicalize(&inside)?,
    };
    let provider = format!(
        "# Made by `whimbrel dashboards render --provisioning`.\napiVersion: 1\nproviders:\n- name: whimbrel\n  folder: Whimbrel\n  \
         folderUid: {}\n  type: file\n  disableDeletion: false\n  allowUiUpdates: false\n  options:\n    path: {}\n",
        super::FOLDER_UID,
        serde_json::Value::from(seen.to_string_lossy().as_ref())
    );
    let files = [directory.join("dashboards").join("whimbrel.yaml"), inside.join(format!("{UID}.json"))];
    let [first, second] = &files;
    std::fs::write(first, provider)?;
    std::fs::write(second, dashboard)?;
    Ok(files)
}
