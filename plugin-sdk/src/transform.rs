//! The trait of a transform plugin. How calls reach it is `guest`'s business in the agent and the test's in a test.

use crate::batch::Batch;
use crate::config::Config;
use crate::context::Context;
use crate::failure::Failure;

/// Changes, drops or refuses events on their way from the source to the target.
///
/// The type is its configuration: it is made from the agent's config once and lives as long as the instance.
/// Do not rely on fields between calls: after a trap, and after a while, the agent starts again from the configuration.
/// What must not be forgotten belongs into [`Context::state`].
///
/// ```
/// use whimbrel_plugin::prelude::*;
///
/// /// Masks e-mail addresses.
/// #[derive(Config)]
/// struct Mask {
///     /// The column to mask.
///     #[config(default = "email")]
///     column: String,
/// }
///
/// #[transform]
/// impl Transform for Mask {
///     fn apply(&mut self, batch: &mut Batch, _cx: &Context) -> Result<(), Failure> {
///         batch.map_text(&format!("after.{}", self.column), |email| match email.split_once('@') {
///             Some((_, domain)) => format!("***@{domain}"),
///             None => "***".to_owned(),
///         })
///     }
/// }
///
/// let mut mask: Mask = whimbrel_plugin::config::parse("{}").unwrap();
/// let mut batch = Batch::of([whimbrel_plugin::testing::Event::create("customers", r#"{"email": "ada@example.org"}"#)]);
/// mask.apply(&mut batch, &whimbrel_plugin::testing::context()).unwrap();
/// assert_eq!(batch.event(0).after(), r#"{"email":"***@example.org"}"#);
/// ```
pub trait Transform: Config {
    /// Once, after the configuration was read: check what the schema cannot say, prepare what every call needs.
    ///
    /// # Errors
    /// When the configuration makes no sense; the pipeline then does not start.
    fn start(&mut self, cx: &Context) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// Handles one batch. For a single bad event use [`Batch::fail`] and go on.
    ///
    /// # Errors
    /// An error undoes what this call wrote; the agent then offers the events one by one, and those fail that fail
    /// alone.
    fn apply(&mut self, batch: &mut Batch, cx: &Context) -> Result<(), Failure>;
}
