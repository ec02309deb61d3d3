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
    /// ```
    /// # use whimbrel_plugin::prelude::*;
    /// # #[derive(Config)]
    /// # struct Backfill { status: String }
    /// #[migration]
    /// impl Migration for Backfill {
    ///     fn start(&mut self, _cx: &MigrationContext) -> Result<(), Failure> {
    ///         match self.status.as_str() {
    ///             "active" | "closed" => Ok(()),
    ///             other => Err(Failure::new("config", format!("there is no status `{other}`"))),
    ///         }
    ///     }
    /// #   fn up(&mut self, _cx: &MigrationContext) -> Result<(), Failure> { Ok(()) }
    /// }
    ///
    /// # let cx = whimbrel_plugin::testing::TestHost::new().migration_context();
    /// assert!(Backfill { status: "active".to_owned() }.start(&cx).is_ok());
    /// assert_eq!(Backfill { status: "aktiv".to_owned() }.start(&cx).unwrap_err().code, "config");
    /// ```
    ///
    /// # Errors
    /// When the configuration makes no sense.
    fn start(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// Makes the change.
    ///
    /// ```
    /// # use whimbrel_plugin::prelude::*;
    /// # use whimbrel_plugin::testing::TestHost;
    /// # #[derive(Config)]
    /// # struct Backfill {}
    /// #[migration]
    /// impl Migration for Backfill {
    ///     fn up(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
    ///         cx.run(r#"{"sql": "update customers set status = 'active' where status is null"}"#)?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let host = TestHost::new().database(r#"{"rows": [], "affected": 3}"#);
    /// Backfill {}.up(&host.migration_context())?;
    /// assert_eq!(host.commands().len(), 1);
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// When it cannot; the transaction is rolled back then.
    fn up(&mut self, cx: &MigrationContext) -> Result<(), Failure>;

    /// Undoes the change.
    ///
    /// ```
    /// # use whimbrel_plugin::prelude::*;
    /// # use whimbrel_plugin::testing::TestHost;
    /// # #[derive(Config)]
    /// # struct AddColumn {}
    /// #[migration]
    /// impl Migration for AddColumn {
    ///     fn up(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
    ///         cx.run(r#"{"sql": "alter table customers add column status text"}"#).map(drop)
    ///     }
    ///
    ///     fn down(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
    ///         cx.run(r#"{"sql": "alter table customers drop column status"}"#).map(drop)
    ///     }
    /// }
    ///
    /// let host = TestHost::new().database(r#"{"rows": [], "affected": 0}"#);
    /// AddColumn {}.down(&host.migration_context())?;
    /// assert_eq!(host.commands(), [r#"{"sql": "alter table customers drop column status"}"#]);
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    /// With "irreversible", unless the plugin knows how.
    fn down(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
        let _ = cx;
        Err(Failure::new("irreversible", "this migration cannot be undone"))
    }

    /// Whether the database is as [`Migration::up`] should leave it.
    ///
    /// ```
    /// # use whimbrel_plugin::json::Json;
    /// # use whimbrel_plugin::prelude::*;
    /// # use whimbrel_plugin::testing::TestHost;
    /// # #[derive(Config)]
    /// # struct Backfill {}
    /// #[migration]
    /// impl Migration for Backfill {
    /// #   fn up(&mut self, _cx: &MigrationContext) -> Result<(), Failure> { Ok(()) }
    ///     fn validate(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
    ///         let answer = cx.run(r#"{"count": "customers", "query": {"status": null}}"#)?;
    ///         match Json::parse(&answer).ok().as_ref().and_then(|answer| answer.get("n")) {
    ///             Some(Json::Number(left)) if left == "0" => Ok(()),
    ///             _ => Err(Failure::new("left", "some customers have no status")),
    ///         }
    ///     }
    /// }
    ///
    /// let host = TestHost::new().database(r#"{"n": 0}"#).database(r#"{"n": 2}"#);
    /// assert!(Backfill {}.validate(&host.migration_context()).is_ok());
    /// assert_eq!(Backfill {}.validate(&host.migration_context()).unwrap_err().code, "left");
    /// ```
    ///
    /// # Errors
    /// When it is not, with what is wrong.
    fn validate(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }
}
