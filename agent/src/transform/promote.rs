//! Puts a plugin's shadow to work: on conditions, and then like any other new version ([`super::reload`]).

use serde::Serialize;

use super::load::config_of;
use super::reload::{ReloadError, Reloads, UnknownPlace, introduce, not_loaded};
use crate::plugin::Setup;
use crate::stats::{Compared, Conditions};

/// Why a shadow was not promoted. The version at work is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// There is no such place.
    #[error(transparent)]
    Unknown(#[from] UnknownPlace),
    /// Nothing runs beside it.
    #[error("nothing runs in the shadow of this plugin; write `shadow` into its entry of the configuration")]
    NoShadow,
    /// Too little was compared.
    #[error("{compared} events were compared and {wanted} are wanted; wait, or ask for less")]
    TooFew {
        /// How many were.
        compared: u64,
        /// How many should have been.
        wanted: u64,
    },
    /// Too much differs.
    #[error("{differs} events differ and {error} ended in an error; at most {admitted} may")]
    Differs {
        /// How many differ.
        differs: u64,
        /// How many have no answer.
        error: u64,
        /// How many may.
        admitted: u64,
    },
    /// It trapped.
    #[error("{0} events ended in an error; mend the plugin, or say how many may")]
    Errors(u64),
    /// It was tried and not taken.
    #[error("the shadow was not taken")]
    Reload(#[from] ReloadError),
}

/// What a promotion did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Promoted {
    /// Whether it is at work already; otherwise the pipeline takes it after the batch at which it still is.
    pub at_work: bool,
    /// What to change in the configuration.
    pub then: String,
}

impl Reloads {
    /// Puts the shadow of a plugin to work, if what was compared so far meets the conditions. It is tried and handed over
    /// like any other version.
    ///
    /// # Errors
    /// With the reason why the version at work stays.
    pub fn promote(&mut self, pipeline: &str, plugin: &str, wanted: Conditions) -> Result<Promoted, PromoteError> {
        let recipe = self.recipe(pipeline, plugin)?;
        let shadow = recipe.slot.shadow().ok_or(PromoteError::NoShadow)?;
        let status = recipe.slot.place.status().shadow.ok_or(PromoteError::NoShadow)?;
        check(wanted, &status.events)?;
        let setup = recipe.setup(&self.sandbox, None).map_err(ReloadError::from)?;
        let Setup { config, written, .. } = shadow.plugin.setup().clone();
        let setup = Setup { config, written, ..setup };
        let config_differs = setup.config != config_of(&recipe.transform.config);
        let next = shadow.plugin.in_setup(setup).map_err(|source| not_loaded(recipe, source))?;
        let taken = introduce(&self.instruments, recipe, next, status.edition.clone(), true)?;
        let config = if config_differs { " and `config` to the shadow's" } else { "" };
        Ok(Promoted {
            at_work: taken,
            then: format!(
                "write it into the configuration, or a restart brings the version before it back: in pipeline `{pipeline}`, transform `{plugin}`, set `plugin` to {}{config}, and remove `shadow`",
                status.edition.source
            ),
        })
    }
}

fn check(wanted: Conditions, events: &Compared) -> Result<(), PromoteError> {
    let Compared { same, differs, error, .. } = *events;
    let compared = same + differs + error;
    if compared < wanted.min_events {
        return Err(PromoteError::TooFew { compared, wanted: wanted.min_events });
    }
    match wanted.max_differs {
        Some(admitted) if differs + error > admitted => Err(PromoteError::Differs { differs, error, admitted }),
        None if error > 0 => Err(PromoteError::Errors(error)),
        _ => Ok(()),
    }
}
