//! Everything the agent checks before a plugin gets its first event, and what it would only notice later: the schema,
//! the exports, whether it starts. Runs the plugin's `configure` and nothing else of it.

use std::sync::Arc;

use serde_json::Value;

use super::schema;
use super::subject::Subject;
use crate::plugin::{
    Cache, Channel, Engine, Kind, LoadError, Migration, Plugin, Rule, Services, Setup, Transform, World,
};
use crate::transform::View;

/// Why a plugin would not run.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Its schema is none.
    #[error("its config schema cannot be used: {0}")]
    Schema(String),
    /// The configuration to try does not fit the schema.
    #[error("the configuration does not fit the plugin's schema; `whimbrel plugin docs` shows the options")]
    Unfit,
    /// It says that it sends somewhere that is no origin.
    #[error(
        "it wants to send to `{0}`, which is no origin; write scheme, host and port only, such as `https://example.org`"
    )]
    NoOrigin(String),
    /// It cannot be loaded or started.
    #[error("{}", chain(.0))]
    Load(#[from] LoadError),
}

fn chain(error: &LoadError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A check that went well.
#[derive(Debug)]
pub struct Checked {
    /// Options that must be written, so that the defaults alone could not be tried.
    pub untried: Vec<String>,
    /// How much memory an instance has once it is configured, in bytes.
    pub memory: usize,
}

/// Checks a plugin, with this configuration or with its defaults.
///
/// # Errors
/// With the first thing that would keep it from running.
pub fn check(engine: &Engine, subject: &Subject, config: Option<&Value>) -> Result<Checked, CheckError> {
    schema::check(&subject.manifest.config).map_err(CheckError::Schema)?;
    let origins = subject.manifest.wants.http.iter().flatten();
    if let Some(odd) = origins.into_iter().find(|origin| crate::plugin::rights::Origin::parse(origin).is_none()) {
        return Err(CheckError::NoOrigin(odd.clone()));
    }
    if config.is_some_and(|config| !schema::fits(&subject.manifest.config, config)) {
        return Err(CheckError::Unfit);
    }
    let setup = Setup {
        grants: subject.tried_grants(),
        services: Services::default(),
        ..Setup::new(&subject.manifest.name, &config.map_or("{}".to_owned(), Value::to_string))
    };
    let started = match subject.kind {
        Kind::Transform => start::<Transform<View>>(engine, subject, setup),
        Kind::Rule => start::<Rule>(engine, subject, setup),
        Kind::Channel => start::<Channel>(engine, subject, setup),
        Kind::Migration => start::<Migration>(engine, subject, setup),
    };
    let required: Vec<String> = schema::required(&subject.manifest.config).into_iter().map(str::to_owned).collect();
    match started {
        Ok(memory) => Ok(Checked { untried: Vec::new(), memory }),
        // It ran as far as saying that a required option is missing, which is right.
        Err(LoadError::Config { .. }) if config.is_none() && !required.is_empty() => {
            Ok(Checked { untried: required, memory: 0 })
        }
        Err(error) => Err(error.into()),
    }
}

fn start<W: World>(engine: &Engine, subject: &Subject, setup: Setup) -> Result<usize, LoadError> {
    let plugin = Arc::new(Plugin::<W>::load(engine, &Cache::none(), &subject.bytes, setup)?);
    Ok(plugin.start()?.memory())
}
