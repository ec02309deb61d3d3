//! The trait of a migration plugin.

use crate::config::Config;
use crate::context::MigrationContext;
use crate::failure::Failure;

/// One versioned change of a database. Each call runs in a transaction of the agent's, where the database has them.
///
/// ```
/// use whimbrel_plugin::prelude::*;
///
/// /// Gives every customer a status.
/// #[derive(Config)]
/// struct AddStatus { #[config(default = "active")] status: String }
///
/// #[migration]
/// impl Migration for AddStatus {
///     fn up(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
///         let update = format!(
///             r#"{{"update":"customers","updates":[{{"q":{{}},"u":{{"$set":{{"status":"{}"}}}},"multi":true}}]}}"#,
///             self.status
///         );
///         cx.run(&update)?;
///         Ok(())
///     }
/// }
///
/// use whimbrel_plugin::testing::TestHost;
///
/// let host = TestHost::new().database(r#"{"ok": 1}"#);
/// let mut migration: AddStatus = whimbrel_plugin::config::parse("{}").unwrap();
/// migration.up(&host.migration_context()).unwrap();
/// assert!(host.commands()[0].contains(r#""status":"active""#));
/// assert_eq!(migration.down(&host.migration_context()).unwrap_err().code, "irreversible");
/// ```
pub trait Migration: Config {
    /// Once, after the configuration was read: check what the schema cannot say.
    ///
    /// # Errors
    /// When the configuration makes no sense.
    fn start(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// Makes the change.
    ///
    /// # Errors
    /// When it cannot; the transaction is rolled back then.
    fn up(&mut self, cx: &MigrationContext) -> Result<(), Failure>;

    /// Undoes the change.
    ///
    /// # Errors
    /// With "irreversible", unless the plugin knows how.
    fn down(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
        let _ = cx;
        Err(Failure::new("irreversible", "this migration cannot be undone"))
    }

    /// Whether the database is as [`Migration::up`] should leave it.
    ///
    /// # Errors
    /// When it is not, with what is wrong.
    fn validate(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }
}
