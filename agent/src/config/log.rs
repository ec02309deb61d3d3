//! The `log:` section, checked.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::invalid::Invalid;
use super::raw;

/// What an operator wants to see of a healthy agent: starts, stops, rebalances; nothing per batch.
const DEFAULT_LEVEL: &str = "info";

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Filter directives, well-formed.
    pub level: String,
    /// Form of the lines on the console; `None`: human on a terminal, JSON otherwise.
    pub format: Option<raw::LogFormat>,
    /// Also append JSON lines to this file.
    pub file: Option<PathBuf>,
}

impl TryFrom<&raw::Log> for LogConfig {
    type Error = Invalid;

    fn try_from(raw: &raw::Log) -> Result<Self, Invalid> {
        let level = raw.level.clone().unwrap_or_else(|| DEFAULT_LEVEL.into());
        if !is_filter(&level) {
            return Err(Invalid::new(
                "level",
                "not a log filter",
                "write error, warn, info, debug or trace; `info,whimbrel::pipeline=debug` for one part",
            ));
        }
        if let Some(file) = &raw.file
            && (file.as_os_str().is_empty() || file.is_dir())
        {
            return Err(Invalid::new("file", "not the path of a file", "write a path such as `/var/log/whimbrel.log`"));
        }
        Ok(Self { level, format: raw.format, file: raw.file.clone() })
    }
}

/// The filter's own parser takes any lone word for the name of a module: a misspelt level would silence all the rest.
fn is_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let lone_words_are_levels = text
        .split(',')
        .filter(|directive| !directive.contains('='))
        .all(|word| LEVELS.contains(&word.trim().to_ascii_lowercase().as_str()));
    lone_words_are_levels && EnvFilter::builder().parse(text).is_ok()
}
