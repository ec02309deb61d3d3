//! What a command that runs once has around it: its name, its log, what it exports; with a configuration file or without.

use std::io::Write as _;

use crate::config::{self, raw};
use crate::export::{ExportConfig, OtlpConfig};
use crate::runtime::telemetry::LogConfig;

/// The variable that may hold the URL of a database.
pub(super) const DATABASE: &str = "WHIMBREL_DATABASE";

/// Name, log and export.
pub(super) struct Around {
    /// Name of this process in what is exported.
    pub(super) name: String,
    pub(super) log: LogConfig,
    pub(super) export: ExportConfig,
}

impl Around {
    /// Without a configuration file: the defaults, and what the environment says of a collector.
    ///
    /// # Errors
    /// A sentence, when a variable is wrong.
    pub(super) fn bare() -> Result<Self, String> {
        let default = raw::Config::default();
        let invalid = |invalid: config::invalid::Invalid| invalid.to_string();
        let export = ExportConfig::new(&default.http, None, &default.metrics).map_err(invalid)?;
        Self { name: config::host_name(), log: LogConfig::new(&default.log).map_err(invalid)?, export }
            .with_environment()
    }

    /// With the collector that the environment names, where no other is configured.
    ///
    /// # Errors
    /// A sentence, when a variable is wrong.
    pub(super) fn with_environment(mut self) -> Result<Self, String> {
        if self.export.otlp.is_none() {
            self.export.otlp = OtlpConfig::from_environment(|name| std::env::var(name).ok())
                .map_err(|invalid| format!("the variable {invalid}"))?;
        }
        Ok(self)
    }
}

/// The URL of the database: of the command line, or of the variable.
pub(super) fn database_url(written: Option<&str>) -> Option<String> {
    if let Some(url) = written {
        warn_of_password(url);
    }
    let variable = || std::env::var(DATABASE).ok().filter(|url| !url.is_empty());
    written.map(str::to_owned).or_else(variable)
}

/// Says so if a URL that came on the command line holds a password.
fn warn_of_password(url: &str) {
    if has_password(url) {
        let _ = writeln!(
            std::io::stderr(),
            "whimbrel: a password on the command line can be seen by other users of this machine; WHIMBREL_DATABASE or a \
             --config with ${{env:NAME}} keeps it"
        );
    }
}

/// Whether a URL holds a password, in its own place or among its parameters.
fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    let inside = authority.and_then(|authority| authority.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'));
    inside || url.contains("password=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_noticed() {
        for (url, expect) in [
            ("postgresql://me:secret@h/d", true),
            ("mongodb://me:s@h1,h2/d?replicaSet=r", true),
            ("postgresql://h/d?user=me&password=x", true),
            ("postgresql://me@h/d", false),
            ("mysql://h:3306/d", false),
            ("mongodb://h/d?x=a:b@c", false),
            ("sqlite:./a.db", false),
        ] {
            assert_eq!(has_password(url), expect, "{url}");
        }
    }
}
