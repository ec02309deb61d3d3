//! Transactions whose agent is gone. The server keeps an open transaction for a minute after its client died, and with it the
//! write to the state document that everyone after it collides with. Rather than wait, the agent that collides ends those
//! transactions of its own user that nobody has moved for a while.
//!
//! Ending one is harmless even when its agent lives: it hears of a transient error, begins again, and is fenced if it no
//! longer owns the partition. Reading and ending one's own sessions takes no further rights (`$currentOp` with
//! `allUsers: false`, `killSessions`).

use std::time::Duration;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Client;

use super::client::bounded;
use crate::target::TargetError;

/// Name the agent's connections go by.
pub(super) const APP_NAME: &str = "whimbrel";

/// A batch is encoded before its transaction begins, so between two commands of a living agent lie microseconds.
pub(super) const INACTIVE: Duration = Duration::from_secs(1);

/// Ends this user's agent transactions that have been inactive for [`INACTIVE`]; answers how many.
///
/// # Errors
/// What the server says; the caller then waits as it would have without this.
pub(super) async fn end(client: &Client) -> Result<usize, TargetError> {
    let inactive = i64::try_from(INACTIVE.as_micros()).unwrap_or(i64::MAX);
    let stages = [
        doc! {"$currentOp": {"allUsers": false, "idleSessions": true}},
        doc! {"$match": {
            "type": "idleSession",
            "appName": APP_NAME,
            "transaction.timeInactiveMicros": {"$gte": inactive},
        }},
        doc! {"$project": {"lsid.id": 1}},
    ];
    let admin = client.database("admin");
    let found: Vec<Document> = bounded(async { admin.aggregate(stages).await?.try_collect().await }).await?;
    let ids = found.iter().filter_map(|session| session.get_document("lsid").ok()?.get("id").cloned());
    let sessions: Vec<Bson> = ids.map(|id| Bson::Document(doc! {"id": id})).collect();
    if sessions.is_empty() {
        return Ok(0);
    }
    let ended = sessions.len();
    bounded(async { admin.run_command(doc! {"killSessions": sessions}).await }).await?;
    Ok(ended)
}
