//! What others may see of the monitor, and the little that they may ask of it. Fields are added, never renamed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use whimbrel_monitor::history::Series;
use whimbrel_monitor::incident::{Explained, Incident, Matcher, Pattern, Phase, Severity, Silence};
use whimbrel_monitor::store::StoreError;

use super::shared::Shared;

/// The longest that a silence or a phase may be asked for: what is forgotten must end.
const LONGEST_MS: i64 = 30 * 86_400_000;

/// A look at the monitor; clones look at the same.
#[derive(Clone)]
pub struct View {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// A silence that somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewSilence {
    /// Scopes, with `*` for any text; all lists empty would be everything, and is refused.
    pub scope: Vec<String>,
    /// Names of rules.
    pub rule: Vec<String>,
    /// Kinds of trouble.
    pub kind: Vec<String>,
    /// Severities.
    pub severity: Vec<Severity>,
    /// For how long, milliseconds.
    pub for_ms: i64,
    /// Who asks.
    pub by: String,
    /// Why.
    pub comment: String,
}

/// A phase that somebody announces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewPhase {
    /// Its name: `backfill`, `cut-over`.
    pub name: String,
    /// Where: one scope, with `*` for any text.
    pub scope: String,
    /// The kinds of trouble it explains; empty: all.
    pub explains: Vec<String>,
    /// For how long, milliseconds.
    pub for_ms: i64,
}

/// What was announced.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Announced {
    /// A silence.
    Silence(Silence),
    /// A phase.
    Phase(Phase),
}

impl View {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Incidents as `/api/v1/incidents` shows them: those that fire, the worst first, then those that ended in the last day.
    #[must_use]
    pub fn incidents(&self) -> Value {
        let now_ms = self.shared.instruments.now_ms();
        let board = self.shared.board();
        let phases = board.phases();
        let explained = Explained::new(&phases, &self.shared.inhibitions, board.book.firing(), now_ms);
        let mut firing: Vec<&Incident> = board.book.firing().collect();
        firing.sort_by(|one, other| {
            other.severity.cmp(&one.severity).then(one.since_ms.cmp(&other.since_ms)).then(one.id.cmp(&other.id))
        });
        let resolved = board.book.resolved().iter().rev();
        let show = |incident: &Incident| {
            let silence = board.silences.iter().find(|silence| silence.mutes(incident, now_ms));
            let fires = incident.is_firing();
            shown(incident, silence.filter(|_| fires), fires.then(|| explained.by(incident)).flatten())
        };
        let incidents: Vec<Value> = firing.into_iter().chain(resolved).map(show).collect();
        json!({
            "now_ms": now_ms,
            "evaluated_at_ms": board.evaluated_at_ms,
            "overflow": board.book.overflow(),
            "phases": phases,
            "incidents": incidents,
        })
    }

    /// Series of a scope as `/api/v1/series` shows them; `fine`: by the second, of the last quarter of an hour.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn series(&self, scope: &str, name: Option<&str>, since_ms: i64, fine: bool) -> Result<Value, StoreError> {
        let recorder = self.shared.recorder();
        let mut all = if fine { recorder.fine(scope, since_ms) } else { recorder.window(scope) };
        drop(recorder);
        let oldest = all.iter().filter_map(|series| series.points.first()).map(|point| point.at_ms).min();
        if !fine && oldest.is_none_or(|oldest| since_ms < oldest) {
            all = self.shared.store.points(Some(scope), since_ms, i64::MAX)?;
        }
        let wanted = |series: &&Series| name.is_none_or(|name| *series.key.name == *name);
        let series: Vec<Value> = all.iter().filter(wanted).map(|series| drawn(series, since_ms)).collect();
        Ok(json!({ "scope": scope, "series": series }))
    }

    /// Silences, also those to come and those that ended in the last day; and announced phases.
    #[must_use]
    pub fn silences(&self) -> Value {
        let now_ms = self.shared.instruments.now_ms();
        let board = self.shared.board();
        let with_state = |silence: &Silence| {
            let mut value = json!(silence);
            if let Some(object) = value.as_object_mut() {
                object.insert("active".to_owned(), silence.is_active(now_ms).into());
            }
            value
        };
        let silences: Vec<Value> = board.silences.iter().map(with_state).collect();
        json!({ "now_ms": now_ms, "silences": silences, "phases": board.announced })
    }

    /// What waits to be delivered, by channel.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn channels(&self) -> Result<Value, StoreError> {
        let waiting = self.shared.store.waiting()?;
        let channel = |name: &String| {
            let found = waiting.iter().find(|(known, ..)| known == name);
            json!({
                "name": name,
                "waiting": found.map_or(0, |(_, count, _)| *count),
                "last_error": found.and_then(|(.., error)| error.clone()),
            })
        };
        Ok(json!({ "channels": self.shared.channels.iter().map(channel).collect::<Vec<_>>() }))
    }

    /// Silences something from now on.
    ///
    /// # Errors
    /// A sentence, when it cannot be.
    pub fn silence(&self, new: NewSilence) -> Result<Announced, String> {
        let now_ms = self.shared.instruments.now_ms();
        let patterns = |all: Vec<String>| all.into_iter().map(Pattern::new).collect();
        let matcher = Matcher {
            scope: patterns(new.scope),
            rule: patterns(new.rule),
            kind: patterns(new.kind),
            severity: new.severity,
        };
        if matcher.is_any() {
            return Err("say what is to be silenced: a scope, a rule, a kind or a severity".to_owned());
        }
        let silence = Silence {
            id: format!("{:x}", unique()),
            matcher,
            starts_ms: now_ms,
            ends_ms: now_ms + checked_for(new.for_ms)?,
            by: new.by,
            comment: new.comment,
        };
        self.shared.store.keep_silence(&silence).map_err(|error| crate::runtime::logging::chain(&error))?;
        self.shared.board().silences.push(silence.clone());
        tracing::info!(silence = silence.id, by = silence.by, "silence added");
        Ok(Announced::Silence(silence))
    }

    /// Announces a phase from now on; one of the same name and scope is changed.
    ///
    /// # Errors
    /// A sentence, when it cannot be.
    pub fn announce(&self, new: NewPhase) -> Result<Announced, String> {
        let now_ms = self.shared.instruments.now_ms();
        if new.name.is_empty() || new.scope.is_empty() {
            return Err("a phase has a name, and a scope such as `pipeline/shop`".to_owned());
        }
        let phase = Phase {
            name: new.name,
            scope: Pattern::new(new.scope),
            explains: new.explains,
            ends_ms: Some(now_ms + checked_for(new.for_ms)?),
        };
        self.shared.store.keep_phase(&phase).map_err(|error| crate::runtime::logging::chain(&error))?;
        let mut board = self.shared.board();
        board.announced.retain(|known| known.name != phase.name || known.scope != phase.scope);
        board.announced.push(phase.clone());
        tracing::info!(phase = phase.name, scope = phase.scope.as_str(), "phase announced");
        Ok(Announced::Phase(phase))
    }

    /// Ends a silence by its id, or the phases of a name. Says whether there was one.
    ///
    /// # Errors
    /// A sentence, when it cannot be kept.
    pub fn expire(&self, id: &str) -> Result<bool, String> {
        let now_ms = self.shared.instruments.now_ms();
        let mut board = self.shared.board();
        let mut found = false;
        for silence in board.silences.iter_mut().filter(|silence| silence.id == id && now_ms < silence.ends_ms) {
            silence.ends_ms = now_ms;
            found = true;
            self.shared.store.keep_silence(silence).map_err(|error| crate::runtime::logging::chain(&error))?;
        }
        for phase in board.announced.iter().filter(|phase| phase.name == id) {
            found = true;
            let ended = self.shared.store.end_phase(&phase.name, phase.scope.as_str());
            ended.map_err(|error| crate::runtime::logging::chain(&error))?;
        }
        board.announced.retain(|phase| phase.name != id);
        Ok(found)
    }
}

fn checked_for(for_ms: i64) -> Result<i64, String> {
    match for_ms {
        1..=LONGEST_MS => Ok(for_ms),
        _ => Err("say for how long: more than nothing, and 30 days at most".to_owned()),
    }
}

/// Nanoseconds since 1970: no two silences of one agent are asked for at the same.
fn unique() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn shown(incident: &Incident, silence: Option<&Silence>, inhibited: Option<String>) -> Value {
    let attributes: BTreeMap<&str, &Value> =
        incident.attributes.iter().map(|(name, value)| (name.as_str(), value)).collect();
    json!({
        "id": incident.id,
        "status": if incident.is_firing() { "firing" } else { "resolved" },
        "severity": incident.severity,
        "rule": incident.rule,
        "kind": incident.kind,
        "title": incident.title,
        "detail": incident.detail,
        "action": incident.action,
        "scope": incident.scope,
        "since_ms": incident.since_ms,
        "until_ms": incident.until_ms,
        "count": incident.count,
        "score": incident.score,
        "silenced_by": silence.map(|silence| &silence.id),
        "inhibited_by": inhibited,
        "attributes": attributes,
    })
}

fn drawn(series: &Series, since_ms: i64) -> Value {
    let labels: BTreeMap<&str, &str> = series.key.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    let points: Vec<(i64, f64)> =
        series.points.iter().filter(|point| point.at_ms >= since_ms).map(|point| (point.at_ms, point.value)).collect();
    json!({ "name": series.key.name, "labels": labels, "points": points })
}
