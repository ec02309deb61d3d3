//! The statements on the agent's own tables that go with a batch: frontiers, dead letters, effects.

use std::collections::HashSet;

use tokio_postgres::types::Type;

use crate::event::{Event, Reason};
use crate::target::error::ErrorKind;
use crate::target::plan::{Advance, DeadLetter, WriteBatch};

use super::plan::{Counts, Execution, Param};
use super::state::Names;

/// Moves the frontiers by compare-and-set; a miss fences the batch.
pub(super) fn compare_and_set(names: &Names, write: &WriteBatch<'_>) -> Vec<Execution> {
    let (known, new): (Vec<&Advance>, Vec<&Advance>) = sorted(write).into_iter().partition(|a| a.expected.is_some());
    let mut all = Vec::new();
    if !known.is_empty() {
        let expected: Vec<i64> = known.iter().filter_map(|a| a.expected).collect();
        let sql = format!(
            "UPDATE {} o SET next = u.next, epoch = o.epoch + 1, updated_at_ms = $5
             FROM UNNEST($2, $3, $4, $6) AS u(topic, partition, next, expected)
             WHERE o.pipeline = $1 AND o.topic = u.topic AND o.partition = u.partition AND o.next = u.expected",
            names.offsets
        );
        let mut execution = advance(write, sql, &known);
        execution.types.push(Type::INT8_ARRAY);
        execution.params.push(Box::new(expected));
        all.push(execution);
    }
    if !new.is_empty() {
        let sql = format!("{} ON CONFLICT DO NOTHING", insert(names));
        all.push(advance(write, sql, &new));
    }
    all
}

/// Moves the frontiers of at_least_once mode, which only grow.
pub(super) fn raise(names: &Names, write: &WriteBatch<'_>) -> Vec<Execution> {
    let advances = sorted(write);
    if advances.is_empty() {
        return Vec::new();
    }
    let sql = format!(
        "{} ON CONFLICT (pipeline, topic, partition) DO UPDATE SET next = GREATEST(o.next, EXCLUDED.next),
         epoch = o.epoch + 1, updated_at_ms = EXCLUDED.updated_at_ms",
        insert(names)
    );
    vec![Execution { counts: Counts::No, ..advance(write, sql, &advances) }]
}

fn insert(names: &Names) -> String {
    format!(
        "INSERT INTO {} AS o SELECT $1, u.topic, u.partition, u.next, 1, $5
         FROM UNNEST($2, $3, $4) AS u(topic, partition, next)",
        names.offsets
    )
}

/// In one order for all agents, so that two of them cannot lock the same rows crosswise.
fn sorted<'a>(write: &'a WriteBatch<'_>) -> Vec<&'a Advance> {
    let mut advances: Vec<&Advance> = write.advances.iter().collect();
    advances.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    advances
}

fn advance(write: &WriteBatch<'_>, sql: String, advances: &[&Advance]) -> Execution {
    let what = advances
        .iter()
        .map(|a| match a.expected {
            Some(expected) => format!("{} [{}] at {expected}", a.topic, a.partition),
            None => format!("{} [{}] without state", a.topic, a.partition),
        })
        .collect::<Vec<_>>()
        .join(", ");
    Execution {
        sql,
        types: vec![Type::TEXT, Type::TEXT_ARRAY, Type::INT4_ARRAY, Type::INT8_ARRAY, Type::INT8],
        params: vec![
            Box::new(write.pipeline.to_owned()),
            Box::new(advances.iter().map(|a| a.topic.to_string()).collect::<Vec<_>>()),
            Box::new(advances.iter().map(|a| a.partition).collect::<Vec<_>>()),
            Box::new(advances.iter().map(|a| a.next).collect::<Vec<_>>()),
            Box::new(write.now_ms),
        ],
        counts: Counts::Must(
            advances.len() as u64,
            ErrorKind::Fenced,
            format!("expected {what}: another agent has moved a frontier on"),
        ),
        doing: "cannot store the offsets".into(),
    }
}

/// Settles dead letters, stores new ones, writes the ledger.
pub(super) fn letters_and_effects(names: &Names, write: &WriteBatch<'_>, ledger: bool) -> Vec<Execution> {
    let mut all = Vec::new();
    all.extend(settle(names, write));
    let (parked, others): (Vec<&DeadLetter>, Vec<&DeadLetter>) =
        write.dead_letters.iter().partition(|l| l.reason == Reason::ParkedBehind);
    // First those that stand for themselves: what parks may park behind one of this very batch.
    all.extend(store(names, write, &others));
    all.extend(lock_parked(names, write, &parked));
    all.extend(store(names, write, &parked));
    if ledger {
        all.extend(effects(names, write));
    }
    all
}

fn settle(names: &Names, write: &WriteBatch<'_>) -> Option<Execution> {
    let settled = write.settled;
    (!settled.is_empty()).then(|| Execution {
        sql: format!(
            r#"DELETE FROM {} d USING UNNEST($2, $3, $4) AS u(topic, partition, "offset")
               WHERE d.pipeline = $1 AND d.topic = u.topic AND d.partition = u.partition AND d."offset" = u."offset""#,
            names.dead_letters
        ),
        types: vec![Type::TEXT, Type::TEXT_ARRAY, Type::INT4_ARRAY, Type::INT8_ARRAY],
        params: vec![
            Box::new(write.pipeline.to_owned()),
            Box::new(settled.iter().map(|s| s.topic.clone()).collect::<Vec<_>>()),
            Box::new(settled.iter().map(|s| s.partition).collect::<Vec<_>>()),
            Box::new(settled.iter().map(|s| s.offset).collect::<Vec<_>>()),
        ],
        counts: Counts::Must(
            settled.len() as u64,
            ErrorKind::Fenced,
            "a dead letter was settled by somebody else".into(),
        ),
        doing: "cannot settle dead letters".into(),
    })
}

fn event<'a>(write: &'a WriteBatch<'_>, letter: &DeadLetter) -> Option<&'a Event> {
    write.batch.events.get(letter.event as usize)
}

/// PostgreSQL's text holds no NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn store(names: &Names, write: &WriteBatch<'_>, letters: &[&DeadLetter]) -> Option<Execution> {
    let batch = write.batch;
    let found: Vec<(&DeadLetter, &Event)> =
        letters.iter().filter_map(|letter| Some((*letter, event(write, letter)?))).collect();
    if found.is_empty() {
        return None;
    }
    macro_rules! column {
        (|$letter:ident, $event:ident| $value:expr) => {
            Box::new(
                found
                    .iter()
                    .map(|($letter, $event)| {
                        // Not every column needs both.
                        let _ = (&$letter, &$event);
                        $value
                    })
                    .collect::<Vec<_>>(),
            ) as Param
        };
    }
    let params: Vec<Param> = vec![
        Box::new(write.pipeline.to_owned()),
        Box::new(write.now_ms),
        column!(|l, e| batch.topic(e).to_owned()),
        column!(|l, e| e.origin.partition),
        column!(|l, e| e.origin.offset),
        column!(|l, e| storable(batch.destination(e))),
        column!(|l, e| l.reason.as_str()),
        column!(|l, e| storable(&l.message)),
        column!(|l, e| e.broker_ts_ms),
        column!(|l, e| e.raw_key.map(|span| batch.bytes(span).to_vec())),
        column!(|l, e| e.raw_value.filter(|_| l.kafka.is_none()).map(|span| batch.bytes(span).to_vec())),
        column!(|l, e| if l.kafka.is_none() { batch.bytes(e.raw_headers).to_vec() } else { Vec::new() }),
        column!(|l, e| l.kafka.as_ref().map(|k| k.topic.clone())),
        column!(|l, e| l.kafka.as_ref().map(|k| k.partition)),
        column!(|l, e| l.kafka.as_ref().map(|k| k.offset)),
    ];
    Some(Execution {
        sql: format!(
            r#"INSERT INTO {} SELECT $1, u.topic, u.partition, u."offset", u."table", u.reason, u.message, $2, u.record_ts,
                   u.key, u.value, u.headers, u.kafka_topic, u.kafka_partition, u.kafka_offset
               FROM UNNEST($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) AS u(topic, partition, "offset",
                   "table", reason, message, record_ts, key, value, headers, kafka_topic, kafka_partition, kafka_offset)
               ON CONFLICT (pipeline, topic, partition, "offset") DO UPDATE SET reason = EXCLUDED.reason,
                   message = EXCLUDED.message, "table" = EXCLUDED."table", value = EXCLUDED.value,
                   kafka_topic = EXCLUDED.kafka_topic, kafka_partition = EXCLUDED.kafka_partition,
                   kafka_offset = EXCLUDED.kafka_offset"#,
            names.dead_letters
        ),
        types: vec![
            Type::TEXT,
            Type::INT8,
            Type::TEXT_ARRAY,
            Type::INT4_ARRAY,
            Type::INT8_ARRAY,
            Type::TEXT_ARRAY,
            Type::TEXT_ARRAY,
            Type::TEXT_ARRAY,
            Type::INT8_ARRAY,
            Type::BYTEA_ARRAY,
            Type::BYTEA_ARRAY,
            Type::BYTEA_ARRAY,
            Type::TEXT_ARRAY,
            Type::INT4_ARRAY,
            Type::INT8_ARRAY,
        ],
        params,
        counts: Counts::No,
        doing: "cannot store dead letters".into(),
    })
}

/// Locks the dead letters that events park behind, so that nobody settles them before this commit; every key must have one.
fn lock_parked(names: &Names, write: &WriteBatch<'_>, parked: &[&DeadLetter]) -> Option<Execution> {
    let keys: HashSet<(&str, &[u8])> = parked
        .iter()
        .filter_map(|letter| event(write, letter))
        .map(|e| (write.batch.topic(e), e.raw_key.map(|span| write.batch.bytes(span)).unwrap_or_default()))
        .collect();
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort_unstable();
    (!keys.is_empty()).then(|| Execution {
        sql: format!(
            "WITH locked AS (
                 SELECT d.topic, d.key FROM {} d, UNNEST($2, $3) AS u(topic, key)
                 WHERE d.pipeline = $1 AND d.topic = u.topic AND sha256(d.key) = sha256(u.key) AND d.key = u.key
                 FOR UPDATE OF d)
             SELECT DISTINCT topic, key FROM locked",
            names.dead_letters
        ),
        types: vec![Type::TEXT, Type::TEXT_ARRAY, Type::BYTEA_ARRAY],
        params: vec![
            Box::new(write.pipeline.to_owned()),
            Box::new(keys.iter().map(|(topic, _)| (*topic).to_owned()).collect::<Vec<_>>()),
            Box::new(keys.iter().map(|(_, key)| key.to_vec()).collect::<Vec<_>>()),
        ],
        counts: Counts::Must(
            keys.len() as u64,
            ErrorKind::Unparked,
            "no dead letter is left that an event of its key could park behind".into(),
        ),
        doing: "cannot look for dead letters".into(),
    })
}

fn effects(names: &Names, write: &WriteBatch<'_>) -> Option<Execution> {
    let events: Vec<&Event> = write.effects.iter().filter_map(|at| write.batch.events.get(*at as usize)).collect();
    (!events.is_empty()).then(|| Execution {
        sql: format!("INSERT INTO {} SELECT $1, u.* FROM UNNEST($2, $3, $4) AS u", names.ledger),
        types: vec![Type::TEXT, Type::TEXT_ARRAY, Type::INT4_ARRAY, Type::INT8_ARRAY],
        params: vec![
            Box::new(write.pipeline.to_owned()),
            Box::new(events.iter().map(|e| write.batch.topic(e).to_owned()).collect::<Vec<_>>()),
            Box::new(events.iter().map(|e| e.origin.partition).collect::<Vec<_>>()),
            Box::new(events.iter().map(|e| e.origin.offset).collect::<Vec<_>>()),
        ],
        counts: Counts::No,
        doing: "cannot write the ledger".into(),
    })
}
