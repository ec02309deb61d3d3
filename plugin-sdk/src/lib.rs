//! Plugins for the Whimbrel agent, in a dozen lines.
//!
//! A plugin is a crate of type `cdylib` whose one type is its configuration and implements a trait: [`Transform`] changes
//! events, [`Rule`] judges statistics, [`Channel`] tells people, [`Migration`] changes a database. Compiled for
//! `wasm32-unknown-unknown` and encoded as a component it runs inside the agent's sandbox; in a plain `cargo test`
//! the same code runs natively over events in memory ([`testing`]).
//!
//! ```
//! use whimbrel_plugin::prelude::*;
//!
//! /// Puts names in capitals.
//! #[derive(Config)]
//! struct Capitals { #[config(default = "name")] column: String }
//!
//! #[transform]
//! impl Transform for Capitals {
//!     fn apply(&mut self, batch: &mut Batch, _cx: &Context) -> Result<(), Failure> {
//!         batch.map_text(&format!("after.{}", self.column), str::to_uppercase)
//!     }
//! }
//! ```
//!
//! What never happens here: I/O, threads, a clock of the plugin's own. A plugin has only what the agent hands it, and that
//! only as far as the operator granted it.

extern crate self as whimbrel_plugin;

pub mod config;
pub mod http;
pub mod json;
pub mod manifest;
pub mod notice;
pub mod schema;
pub mod words;

mod batch;
mod channel;
mod context;
mod dictionary;
mod edit;
mod failure;
mod glob;
mod mail;
mod metrics;
mod migration;
mod packed;
mod rule;
mod state;
mod stats;
mod transform;
mod value;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
#[cfg(target_arch = "wasm32")]
use guest::host;

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
use native as host;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use batch::Batch;
pub use channel::{Alert, Channel, Status};
pub use context::{ChannelContext, Context, Level, MigrationContext};
pub use dictionary::Dictionary;
pub use edit::{Edit, RowText};
pub use failure::Failure;
pub use glob::Glob;
pub use mail::Mail;
pub use metrics::Metrics;
pub use migration::Migration;
pub use packed::Packed;
pub use rule::{Finding, Rule};
pub use state::State;
pub use stats::{Point, Series, Severity, Window};
pub use transform::Transform;
pub use value::Value;

/// Makes a type a configuration.
///
/// ```
/// use whimbrel_plugin::prelude::*;
///
/// #[derive(Config)]
/// struct Mask {
///     /// The columns to mask.
///     columns: Vec<String>,
///     /// What to do with them.
///     #[config(default = Action::Stars)]
///     action: Action,
///     #[config(skip)]
///     masked: u64,
/// }
///
/// #[derive(Config, Debug, PartialEq)]
/// enum Action { Stars, Replace(String) }
///
/// let read = whimbrel_plugin::config::parse::<Mask>;
/// assert_eq!(read(r#"{"columns": ["email"]}"#)?.action, Action::Stars);
/// let mask = read(r#"{"columns": ["email"], "action": {"replace": "-"}}"#)?;
/// assert_eq!((mask.action, mask.masked), (Action::Replace("-".to_owned()), 0));
/// # Ok::<(), whimbrel_plugin::config::ConfigError>(())
/// ```
pub use whimbrel_plugin_macros::Config;

/// Makes the crate a channel.
///
/// ```
/// use whimbrel_plugin::http::{Request, Response};
/// use whimbrel_plugin::prelude::*;
///
/// /// Tells a chat.
/// #[derive(Config)]
/// struct Chat {}
///
/// #[channel(description = "Tells a chat", http = ["https://chat.example.org"], secrets = ["token"])]
/// impl Channel for Chat {
///     fn deliver(&mut self, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure> {
///         let token = cx.secret("token")?;
///         let mut request = Request::post("https://chat.example.org/say").header("x-token", token);
///         request.body = format!("{} alerts", alerts.len()).into_bytes();
///         cx.send(&request).map(drop)
///     }
/// }
///
/// # use whimbrel_plugin::testing::TestHost;
/// let host = TestHost::new().secret("token").answering(Response::new(200));
/// Chat {}.deliver(&[Alert::sample()], &host.channel_context())?;
/// assert_eq!(host.requests()[0].body, b"1 alerts");
/// # Ok::<(), Failure>(())
/// ```
pub use whimbrel_plugin_macros::channel;

/// Makes the crate a migration.
///
/// ```
/// use whimbrel_plugin::prelude::*;
///
/// /// Gives every customer a status.
/// #[derive(Config)]
/// struct Backfill {}
///
/// #[migration(description = "Gives every customer a status")]
/// impl Migration for Backfill {
///     fn up(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
///         cx.run(r#"{"sql": "update customers set status = 'active' where status is null"}"#).map(drop)
///     }
/// }
///
/// # use whimbrel_plugin::testing::TestHost;
/// let host = TestHost::new().database(r#"{"rows": [], "affected": 3}"#);
/// assert!(Backfill {}.up(&host.migration_context()).is_ok());
/// ```
pub use whimbrel_plugin_macros::migration;

/// Makes the crate a rule.
///
/// ```
/// use whimbrel_plugin::prelude::*;
///
/// /// Warns when a pipeline is behind.
/// #[derive(Config)]
/// struct Lag { #[config(default = 60.0)] most_seconds: f64 }
///
/// #[rule]
/// impl Rule for Lag {
///     fn evaluate(&mut self, window: &Window, _cx: &Context) -> Result<Vec<Finding>, Failure> {
///         let last = window.named("lag_seconds").filter_map(Series::last);
///         let behind = last.filter(|point| point.value > self.most_seconds);
///         Ok(behind.map(|_| Finding::new("lag", "lag", Severity::Warning, "the target is behind")).collect())
///     }
/// }
///
/// # let points = vec![Point { at_ms: 0, value: 61.0 }];
/// # let lag = Series { name: "lag_seconds".to_owned(), points, ..Series::default() };
/// # let window = Window { series: vec![lag], ..Window::default() };
/// let mut rule: Lag = whimbrel_plugin::config::parse("{}").unwrap();
/// assert_eq!(rule.evaluate(&window, &whimbrel_plugin::testing::context()).unwrap()[0].kind, "lag");
/// ```
pub use whimbrel_plugin_macros::rule;

/// Makes the crate a transform.
///
/// ```
/// use whimbrel_plugin::prelude::*;
///
/// /// Takes a schema's name from its tables.
/// #[derive(Config)]
/// struct Unqualify { schema: String }
///
/// #[transform(description = "Takes a schema's name from its tables")]
/// impl Transform for Unqualify {
///     fn apply(&mut self, batch: &mut Batch, _cx: &Context) -> Result<(), Failure> {
///         let mut tables = batch.tables();
///         tables.rename(|table| Some(table.strip_prefix(&self.schema)?.strip_prefix('.')?.to_owned()));
///         batch.set_tables(&tables)
///     }
/// }
///
/// # use whimbrel_plugin::testing::{Event, context};
/// let mut batch = Batch::of([Event::create("public.orders", r#"{"id": 1}"#)]);
/// Unqualify { schema: "public".to_owned() }.apply(&mut batch, &context())?;
/// assert_eq!(batch.event(0).table(), "orders");
/// # Ok::<(), Failure>(())
/// ```
pub use whimbrel_plugin_macros::transform;

/// What a plugin file opens with.
///
/// ```
/// use whimbrel_plugin::prelude::*;
///
/// /// Takes test orders out of the stream.
/// #[derive(Config)]
/// struct NoTests {}
///
/// #[transform]
/// impl Transform for NoTests {
///     fn apply(&mut self, batch: &mut Batch, _cx: &Context) -> Result<(), Failure> {
///         let tests = batch.column("after.test");
///         let rows = (0_u32..).zip(&tests).filter(|(_, test)| **test == Value::Boolean(true));
///         batch.drop_rows(&rows.map(|(row, _)| row).collect::<Vec<u32>>());
///         Ok(())
///     }
/// }
///
/// # use whimbrel_plugin::testing::{Event, Verdict, context};
/// # let mut batch = Batch::of([r#"{"test": true}"#, r#"{"test": null}"#].map(|row| Event::create("orders", row)));
/// NoTests {}.apply(&mut batch, &context())?;
/// assert_eq!((batch.event(0).verdict(), batch.event(1).verdict()), (&Verdict::Drop, &Verdict::Keep));
/// # Ok::<(), Failure>(())
/// ```
pub mod prelude {
    pub use crate::config::Config;
    pub use crate::{Alert, Channel, ChannelContext, Status, channel};
    pub use crate::{Batch, Edit, Glob, Transform, transform};
    pub use crate::{Config, Context, Failure, Level, Value};
    pub use crate::{Finding, Point, Rule, Series, Severity, Window, rule};
    pub use crate::{Migration, MigrationContext, migration};
}

/// The guide's example compiles and does what the guide says.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugins.md")]
struct Guide;

/// And so does the tutorial's.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugin-tutorial.md")]
struct Tutorial;
