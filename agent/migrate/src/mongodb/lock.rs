//! The lock: two documents, `lease` and `fence`, both with the token.
//!
//! The lease says until when whoever has the lock need not show a sign of life, by the server's clock. Each take-over makes
//! the token one larger: first in the lease, then in the fence, then in every entry that is `running`. Every transaction
//! of a runner writes to a document with its token in the filter: it finds none after a take-over, and if both happen at once
//! they conflict and one of them begins again. Sessions of whoever had the lock before are ended, so that its open
//! transaction need not be outlived.

use std::time::Duration;

use async_trait::async_trait;
use bson::{Bson, doc};
use mongodb::options::ReturnDocument;
use mongodb::{ClientSession, Database};

use super::client::{documents, failed};
use super::database::Names;
use super::value::{count, signed};
use crate::database::Keeper;
use crate::error::{Error, Kind, Result};
use crate::failpoints::hit;

/// What taking the lock came to.
pub(super) enum Taken {
    /// With this token.
    Ours(i64),
    /// Somebody else has it.
    Theirs { by: String, outlived_in: Duration },
}

/// Takes the lock if it is free or outlived. The collections exist.
pub(super) async fn take(
    database: &Database,
    names: &Names,
    session: &ClientSession,
    who: &str,
    term: Duration,
) -> Result<Taken> {
    let lock = documents(database, &names.lock);
    let lease = doc! {"token": 0_i64, "holder": Bson::Null, "expires_at": bson::DateTime::from_millis(0)};
    for (id, new) in [("lease", lease), ("fence", doc! {"token": 0_i64})] {
        let upserted = lock.update_one(doc! {"_id": id}, doc! {"$setOnInsert": new}).upsert(true).await;
        match upserted.map_err(|error| failed(&error)) {
            // Two that come at once: one inserts, the other may hear of the duplicate.
            Err(error) if error.code != "DuplicateKey" => return Err(error),
            _ => {}
        }
    }
    let free =
        doc! {"_id": "lease", "$expr": {"$or": [{"$eq": ["$holder", Bson::Null]}, {"$lte": ["$expires_at", "$$NOW"]}]}};
    let take = vec![doc! {"$set": {
        "holder": {"$literal": who},
        "session": {"$literal": session.id().get("id").cloned().unwrap_or(Bson::Null)},
        "token": {"$add": ["$token", 1_i64]},
        "expires_at": {"$add": ["$$NOW", millis(term)]},
    }}];
    let before = lock.find_one_and_update(free, take).return_document(ReturnDocument::Before).await;
    let Some(before) = before.map_err(|error| failed(&error))? else {
        return theirs(database, names).await;
    };
    let token = signed(count(before.get("token"))) + 1;
    hit("migrate_lease_taken");
    if before.get("holder").is_some_and(|holder| *holder != Bson::Null)
        && let Some(id) = before.get("session").filter(|id| **id != Bson::Null)
    {
        // Ending one's own sessions takes no right of its own; those of another user may be refused, and are waited for.
        let ended = database.client().database("admin").run_command(doc! {"killSessions": [{"id": id.clone()}]}).await;
        if let Err(error) = ended {
            tracing::debug!(code = &*failed(&error).code, "the session of the runner before could not be ended");
        }
    }
    let fence = lock.update_one(doc! {"_id": "fence", "token": {"$lt": token}}, doc! {"$set": {"token": token}}).await;
    if fence.map_err(|error| failed(&error))?.matched_count == 0 {
        return theirs(database, names).await;
    }
    let running = documents(database, &names.ledger);
    let fenced = running.update_many(doc! {"outcome": "running"}, doc! {"$set": {"token": token}}).await;
    fenced.map_err(|error| failed(&error))?;
    Ok(Taken::Ours(token))
}

async fn theirs(database: &Database, names: &Names) -> Result<Taken> {
    let (by, outlived_in) = holder(database, names).await?.unwrap_or_default();
    Ok(Taken::Theirs { by, outlived_in })
}

/// Who has the lock, and in what time it is outlived.
pub(super) async fn holder(database: &Database, names: &Names) -> Result<Option<(String, Duration)>> {
    let lease =
        documents(database, &names.lock).find_one(doc! {"_id": "lease"}).await.map_err(|error| failed(&error))?;
    let Some(lease) = lease else { return Ok(None) };
    let Ok(by) = lease.get_str("holder") else { return Ok(None) };
    let hello = database.run_command(doc! {"hello": 1}).await.map_err(|error| failed(&error))?;
    let now = hello.get_datetime("localTime").map_or(0, |now| now.timestamp_millis());
    let expires = lease.get_datetime("expires_at").map_or(0, |at| at.timestamp_millis());
    match u64::try_from(expires - now) {
        Ok(left) if left > 0 => Ok(Some((by.to_owned(), Duration::from_millis(left)))),
        _ => Ok(None),
    }
}

/// Gives it back.
pub(super) async fn release(database: &Database, names: &Names, token: i64) -> Result<()> {
    let free =
        doc! {"$set": {"holder": Bson::Null, "session": Bson::Null, "expires_at": bson::DateTime::from_millis(0)}};
    documents(database, &names.lock)
        .update_one(doc! {"_id": "lease", "token": token}, free)
        .await
        .map(|_| ())
        .map_err(|error| failed(&error))
}

/// Somebody else has it.
pub(super) fn lost() -> Error {
    Error::new(Kind::LockLost, "lock_lost", "another runner has taken the lock over")
        .with_remedy("nothing more was written here; `migrate status` shows who is at work")
}

/// Keeps the lease alive, on a connection of its own.
pub(super) struct Lease {
    pub(super) database: Database,
    pub(super) names: Names,
    pub(super) token: i64,
    pub(super) lease: Duration,
}

#[async_trait]
impl Keeper for Lease {
    async fn renew(&self) -> Result<()> {
        let extend = vec![doc! {"$set": {"expires_at": {"$add": ["$$NOW", millis(self.lease)]}}}];
        let lock = documents(&self.database, &self.names.lock);
        let renewed = lock.update_one(doc! {"_id": "lease", "token": self.token}, extend).await;
        match renewed.map_err(|error| failed(&error))?.matched_count {
            0 => Err(lost()),
            _ => Ok(()),
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
