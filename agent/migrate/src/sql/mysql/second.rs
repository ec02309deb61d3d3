//! The second connection: renews the lease, looks at what the first is at, and ends its statement when it must. It is opened
//! again when it breaks. Whoever uses it takes it, so that a use that is given up midway leaves no half of an answer behind.

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::sync::Mutex;

use super::client::{Connector, error};
use crate::error::Result;

/// Of one session.
pub(super) struct Second {
    connector: Connector,
    idle: Mutex<Option<Conn>>,
}

impl Second {
    pub(super) const fn new(connector: Connector) -> Self {
        Self { connector, idle: Mutex::const_new(None) }
    }

    /// A connection of one's own.
    pub(super) async fn conn(&self) -> Result<Conn> {
        if let Some(conn) = self.idle.lock().await.take() {
            return Ok(conn);
        }
        let mut conn = self.connector.connect().await?;
        let text = "SET SESSION innodb_lock_wait_timeout = 5, lock_wait_timeout = 5";
        conn.query_drop(text).await.map_err(|cause| error("cannot set up a connection", &cause))?;
        Ok(conn)
    }

    /// Gives it back for the next; not one that is broken.
    pub(super) async fn keep(&self, conn: Conn, good: bool) {
        if good {
            self.idle.lock().await.get_or_insert(conn);
        }
    }

    /// Ends the statement that a connection is at.
    pub(super) async fn end_statement(&self, id: u32) {
        let Ok(mut conn) = self.conn().await else { return };
        let ended = conn.query_drop(format!("KILL QUERY {id}")).await;
        if let Err(cause) = &ended {
            tracing::debug!(error = %cause, "a statement could not be ended");
        }
        self.keep(conn, ended.is_ok()).await;
    }
}
