//! The second connection: renews the lease and looks at what the first is at. It is opened again when it breaks.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::Client;

use crate::error::Result;

use super::client::{Connector, error};

/// A look that takes longer is given up: it stands in the way of the lease.
const SESSION: &str = "SET statement_timeout = '3s'; SET lock_timeout = '2s'; SET client_min_messages = warning";

/// See the module.
pub(super) struct Second {
    connector: Connector,
    client: Mutex<Option<Arc<Client>>>,
}

impl Second {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, client: Mutex::new(None) }
    }

    /// The connection, a new one if the last one broke.
    pub(super) async fn client(&self) -> Result<Arc<Client>> {
        let mut slot = self.client.lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let client = self.connector.connect().await?;
        client.batch_execute(SESSION).await.map_err(|cause| error("cannot set up a session", &cause))?;
        let client = Arc::new(client);
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }
}
