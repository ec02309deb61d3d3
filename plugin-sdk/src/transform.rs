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
    /// ```
    /// # use whimbrel_plugin::prelude::*;
    /// # #[derive(Config)]
    /// # struct Mask { columns: Vec<String> }
    /// #[transform]
    /// impl Transform for Mask {
    ///     fn start(&mut self, _cx: &Context) -> Result<(), Failure> {
    ///         if self.columns.is_empty() { Err(Failure::new("config", "`columns` is empty")) } else { Ok(()) }
    ///     }
    /// #   fn apply(&mut self, _batch: &mut Batch, _cx: &Context) -> Result<(), Failure> { Ok(()) }
    /// }
    ///
    /// # let cx = whimbrel_plugin::testing::context();
    /// assert_eq!(Mask { columns: vec![] }.start(&cx).unwrap_err().code, "config");
    /// assert!(Mask { columns: vec!["email".to_owned()] }.start(&cx).is_ok());
    /// ```
    ///
    /// # Errors
    /// When the configuration makes no sense; the pipeline then does not start.
    fn start(&mut self, cx: &Context) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// Handles one batch. For a single bad event use [`Batch::fail`] and go on.
    ///
    /// ```
    /// # use whimbrel_plugin::prelude::*;
    /// # use whimbrel_plugin::testing::{Event, TestHost};
    /// # #[derive(Config)]
    /// # struct Mask {}
    /// #[transform]
    /// impl Transform for Mask {
    ///     fn apply(&mut self, batch: &mut Batch, cx: &Context) -> Result<(), Failure> {
    ///         batch.map_text("before.email", |_| "***")?;
    ///         batch.map_text("after.email", |_| "***")?;
    ///         cx.metrics().add("rows_masked", batch.len() as f64);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let host = TestHost::new();
    /// let mut batch = Batch::of([Event::delete("customers", r#"{"email":"ada@example.org"}"#)]);
    /// Mask {}.apply(&mut batch, &host.context())?;
    /// assert_eq!(batch.event(0).before(), r#"{"email":"***"}"#);
    /// assert_eq!(host.counter("rows_masked"), 1.0);
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// An error undoes what this call wrote; the agent then offers the events one by one, and those fail that fail
    /// alone.
    fn apply(&mut self, batch: &mut Batch, cx: &Context) -> Result<(), Failure>;
}
