//! Plans a batch: with the catalog at hand, or ahead of time with the tables that are known already.

use tokio_postgres::Client;

use crate::target::error::TargetError;
use crate::target::plan::{Step, WriteBatch};
use crate::target::{Encoded, Encoder};

use super::plan::{Plan, Planner};
use super::state::Names;
use super::tables::{Known, Tables};

/// Plans a batch; tables are looked up, and made or grown where that is allowed.
pub(super) async fn plan(client: &Client, tables: &mut Tables, planner: Planner<'_>) -> Result<Plan, TargetError> {
    let Planner { schema, write, .. } = planner;
    let mut plan = Plan::default();
    for step in write.steps {
        let writes = match step {
            Step::Rows(writes) => writes,
            Step::Truncate(layout) => {
                if tables.look_up(client, schema, &layout.table).await?.is_some() {
                    planner.truncate(layout, &mut plan);
                }
                continue;
            }
        };
        for grouped in writes.iter().filter_map(|table| planner.group(table)) {
            planner.versions_of_deleted(&grouped, &mut plan);
            // There is nothing to delete from where no table is.
            if grouped.only_deletes && tables.look_up(client, schema, &grouped.layout.table).await?.is_none() {
                continue;
            }
            let found = tables.ensure(client, schema, grouped.layout, &grouped.needed(), write.mode).await?;
            planner.rows(&grouped, &found, &mut plan)?;
        }
    }
    Ok(plan)
}

/// Plans batches ahead of time, on another thread. A table that has changed since makes the batch fail, and it is planned
/// anew by [`plan`].
pub(super) struct Ahead {
    pub schema: String,
    pub names: Names,
    pub known: Known,
}

impl Encoder for Ahead {
    fn encode(&mut self, write: &WriteBatch<'_>) -> Option<Encoded> {
        let planner = Planner { schema: &self.schema, names: &self.names, write };
        let mut plan = Plan::default();
        for step in write.steps {
            // Whether there is a table to be emptied is left to those who can look.
            let Step::Rows(writes) = step else { return None };
            for grouped in writes.iter().filter_map(|table| planner.group(table)) {
                let found = self.known.complete(&self.schema, grouped.layout, &grouped.needed(), write.mode)?;
                planner.versions_of_deleted(&grouped, &mut plan);
                planner.rows(&grouped, &found, &mut plan).ok()?;
            }
        }
        Some(Encoded::new(plan))
    }
}
