//! Kafka Connect, its connectors and tasks, and the replication slots that PostgreSQL keeps for them.

use std::collections::BTreeMap;

use super::{Finding, in_time};
use crate::connect::client::{Client, Live};
use crate::connect::desired::Desired;
use crate::connect::health::Condition;
use crate::connect::settings::Settings;
use crate::connect::slot;
use crate::runtime::logging::chain;

/// WAL that a slot keeps back and that is worth a look.
const MUCH_WAL: i64 = 10 << 30;
/// What is left until a slot is given up, and is little.
const LITTLE_ROOM: i64 = 1 << 30;

/// Looks at the connectors, where there are any.
pub(super) async fn examine(settings: Option<&Settings>) -> Vec<Finding> {
    let Some(settings) = settings else { return Vec::new() };
    let what = "kafka connect";
    let client = match Client::new(&settings.endpoint, settings.redactor()) {
        Ok(client) => client,
        Err(error) => return vec![Finding::bad(what, error.chain(), error.hint().unwrap_or("correct `connectors`"))],
    };
    let mut all = match in_time(client.connectors()).await {
        Ok(Ok(live)) => connectors(settings, &live),
        Ok(Err(error)) => {
            vec![Finding::bad(
                what,
                error.chain(),
                error.hint().unwrap_or("check `connectors.url` and the network to it"),
            )]
        }
        Err(late) => vec![Finding::bad(what, late, "check `connectors.url` and the network to it")],
    };
    for desired in &settings.desired {
        if let Some(name) = slot::name(desired) {
            all.extend(replication_slot(desired, name).await);
        }
    }
    all
}

fn connectors(settings: &Settings, live: &BTreeMap<String, Live>) -> Vec<Finding> {
    let mut all = vec![Finding::good("kafka connect", format!("answers, {} connectors", live.len()))];
    for desired in &settings.desired {
        let what = format!("connector {}", desired.name);
        let Some(found) = live.get(&desired.name) else {
            all.push(Finding::bad(what, "is not there", "`whimbrel connectors apply` makes it"));
            continue;
        };
        let Some(status) = &found.status else {
            all.push(Finding::warning(what, "has no state yet", "look again in a moment"));
            continue;
        };
        let said = format!("{}, {} tasks", status.condition().as_str(), status.tasks.len());
        all.push(match status.condition() {
            Condition::Running => Finding::good(what, said),
            Condition::Failed => {
                let why = status.failure().unwrap_or_default();
                let remedy = "mend the cause, then `whimbrel connectors restart`";
                Finding::bad(what, format!("{said}: {why}"), remedy)
            }
            Condition::Paused | Condition::Stopped => {
                Finding::warning(what, said, "resume it when whoever stopped it agrees")
            }
            Condition::Starting | Condition::Missing => Finding::warning(what, said, "look again in a moment"),
        });
    }
    all
}

/// The slot of a PostgreSQL connector, asked with the connector's own login.
async fn replication_slot(desired: &Desired, name: &str) -> Vec<Finding> {
    let what = format!("replication slot {name} ({})", desired.name);
    let Some(database) = slot::database(desired) else {
        return vec![Finding::warning(what, "cannot be asked for", "check host, port and database of the connector")];
    };
    let facts = match in_time(slot::ask(&database, name)).await {
        Ok(Ok(Some(facts))) => facts,
        Ok(Ok(None)) => {
            return vec![Finding::warning(what, "is not there yet", "the connector makes it when it starts")];
        }
        Ok(Err(error)) => {
            let remedy = "nothing is wrong if only Kafka Connect may reach the source; otherwise check host and login";
            return vec![Finding::warning(what, format!("cannot be looked at from here: {}", chain(&error)), remedy)];
        }
        Err(late) => return vec![Finding::warning(what, late, "check the network to the source")],
    };
    let mut all = Vec::new();
    if facts.wal_level != "logical" {
        let remedy = "ALTER SYSTEM SET wal_level = logical, and restart the server";
        let said = format!("wal_level is {}", facts.wal_level);
        all.push(Finding::bad(format!("source of {}", desired.name), said, remedy));
    }
    all.push(judged(what, facts.active, &facts.wal_status, facts.room, facts.kept));
    all
}

/// `room`: bytes until the server gives the slot up, where there is a limit (`max_slot_wal_keep_size`). `kept`: bytes of WAL
/// that it keeps back.
fn judged(what: String, active: bool, status: &str, room: Option<i64>, kept: Option<i64>) -> Finding {
    let mebibytes = |bytes: i64| format!("{} MiB", bytes >> 20);
    let kept_said = kept.map_or_else(String::new, |kept| format!(", keeps {} of WAL back", mebibytes(kept)));
    if status == "lost" {
        let remedy = "the changes are gone: drop the slot and snapshot again (`snapshot_mode: initial`)";
        return Finding::bad(what, "is lost: the server removed WAL that it still needed", remedy);
    }
    if status == "unreserved" || room.is_some_and(|room| room < LITTLE_ROOM) {
        let left = room.map_or_else(String::new, |room| format!(", {} left", mebibytes(room.max(0))));
        let remedy = "have the connector catch up now, or raise max_slot_wal_keep_size";
        return Finding::bad(what, format!("will be given up soon{left}{kept_said}"), remedy);
    }
    if !active {
        let remedy = "start the connector, or drop the slot if nobody needs it: WAL piles up meanwhile";
        return Finding::warning(what, format!("nobody reads it{kept_said}"), remedy);
    }
    if kept.is_some_and(|kept| kept > MUCH_WAL) {
        let remedy = "see why the connector is behind; an idle database needs `heartbeat_query`";
        return Finding::warning(what, format!("is read{kept_said}"), remedy);
    }
    Finding::good(what, format!("is read{kept_said}"))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_slot_is_judged_by_what_is_left_and_who_reads_it() {
        for (active, status, room, kept, expect) in [
            (true, "reserved", None, Some(1 << 20), State::Good),
            (true, "reserved", Some(50 << 30), Some(1 << 20), State::Good),
            (false, "reserved", None, Some(1 << 20), State::Warning),
            (true, "extended", None, Some(20 << 30), State::Warning),
            (true, "reserved", Some(1 << 20), Some(20 << 30), State::Bad),
            (true, "unreserved", None, None, State::Bad),
            (false, "lost", None, None, State::Bad),
        ] {
            let found = judged("slot".to_owned(), active, status, room, kept);
            assert_eq!(found.state, expect, "{active} {status} {room:?} {kept:?}: {}", found.said);
            assert_eq!(found.remedy.is_empty(), expect == State::Good, "{}", found.remedy);
        }
    }
}
