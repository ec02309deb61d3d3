//! Incidents, silences and phases in the file, and what was decided to be told.

use rusqlite::{TransactionBehavior, params};
use serde::de::DeserializeOwned;

use super::{Store, StoreError};
use crate::incident::{Incident, Notification, Phase, Silence, State};

/// Under which name the notifier's state is kept.
const NOTIFIER: &str = "notifier";

impl Store {
    /// All incidents that were kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn incidents(&self) -> Result<Vec<Incident>, StoreError> {
        self.bodies("SELECT body FROM incident")
    }

    /// Keeps these as they are now, and forgets those.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub fn keep_incidents(&self, changed: &[Incident], forgotten: &[String]) -> Result<(), StoreError> {
        if changed.is_empty() && forgotten.is_empty() {
            return Ok(());
        }
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for incident in changed {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO incident (id, body) VALUES (?1, ?2)")?
                .execute(params![incident.id, serde_json::to_string(incident)?])?;
        }
        for id in forgotten {
            transaction.prepare_cached("DELETE FROM incident WHERE id = ?1")?.execute([id])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// What the channels were told.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn told(&self) -> Result<State, StoreError> {
        let mut states: Vec<State> = self.bodies(&format!("SELECT body FROM kept WHERE name = '{NOTIFIER}'"))?;
        Ok(states.pop().unwrap_or_default())
    }

    /// Takes what is to be told into the queue, together with the note that it was.
    ///
    /// # Errors
    /// When the file cannot be written; nothing is queued and nothing noted then.
    pub fn tell(&self, notifications: &[Notification], state: &State, now_ms: i64) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for notification in notifications {
            transaction
                .prepare_cached("INSERT INTO delivery (channel, alerts, created_ms, next_ms) VALUES (?1, ?2, ?3, ?3)")?
                .execute(params![notification.channel, serde_json::to_string(&notification.alerts)?, now_ms])?;
        }
        transaction
            .prepare_cached("INSERT OR REPLACE INTO kept (name, body) VALUES (?1, ?2)")?
            .execute(params![NOTIFIER, serde_json::to_string(state)?])?;
        transaction.commit()?;
        Ok(())
    }

    /// Keeps a silence, or changes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_silence(&self, silence: &Silence) -> Result<(), StoreError> {
        self.lock()
            .prepare_cached("INSERT OR REPLACE INTO silence (id, ends_ms, body) VALUES (?1, ?2, ?3)")?
            .execute(params![silence.id, silence.ends_ms, serde_json::to_string(silence)?])?;
        Ok(())
    }

    /// The silences that have not ended, and forgets those that ended before `since_ms`.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn silences(&self, since_ms: i64) -> Result<Vec<Silence>, StoreError> {
        self.lock().prepare_cached("DELETE FROM silence WHERE ends_ms < ?1")?.execute([since_ms])?;
        self.bodies("SELECT body FROM silence ORDER BY ends_ms")
    }

    /// Keeps a phase that somebody announced.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_phase(&self, phase: &Phase) -> Result<(), StoreError> {
        self.lock()
            .prepare_cached("INSERT OR REPLACE INTO phase (name, scope, body) VALUES (?1, ?2, ?3)")?
            .execute(params![phase.name, phase.scope.as_str(), serde_json::to_string(phase)?])?;
        Ok(())
    }

    /// The phases that somebody announced and that are not over; those that are, are forgotten.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn phases(&self, now_ms: i64) -> Result<Vec<Phase>, StoreError> {
        let phases: Vec<Phase> = self.bodies("SELECT body FROM phase ORDER BY name, scope")?;
        let (over, holding): (Vec<Phase>, Vec<Phase>) =
            phases.into_iter().partition(|phase| phase.ends_ms.is_some_and(|ends_ms| ends_ms <= now_ms));
        for phase in over {
            self.end_phase(&phase.name, phase.scope.as_str())?;
        }
        Ok(holding)
    }

    /// Forgets a phase. Says whether there was one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end_phase(&self, name: &str, scope: &str) -> Result<bool, StoreError> {
        let deleted =
            self.lock().prepare_cached("DELETE FROM phase WHERE name = ?1 AND scope = ?2")?.execute([name, scope])?;
        Ok(deleted > 0)
    }

    fn bodies<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(sql)?;
        let bodies = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        Ok(bodies.iter().map(|body| serde_json::from_str(body)).collect::<Result<_, _>>()?)
    }
}
