//! What is told of a durable range: counts by table and operation, newest commit times, hop samples.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::plan::Plan;
use super::writer::Prepared;
use crate::event::{Event, Kind, Op, Reason, Verdict};
use crate::stats::{BatchReport, HopSamples, LossyCount, Stamp, TableLag, Watermark};
use crate::target::Applied;

/// Totals of one (topic, source table, destination) of a range.
struct PerTable {
    topic: u32,
    table: u32,
    destination: u32,
    newest_us: i64,
    ops: [u64; 6],
}

const OPS: [Op; 6] = [Op::Create, Op::Update, Op::Delete, Op::Read, Op::Truncate, Op::Message];

/// Makes the report.
pub(super) fn batch_report(
    prepared: &Prepared,
    range: Range<usize>,
    plan: &Plan,
    applied: &Applied,
    took: Duration,
) -> BatchReport {
    let batch = &prepared.batch;
    let events = batch.events.get(range).unwrap_or_default();
    let mut tables: Vec<PerTable> = Vec::new();
    let mut marks: Vec<(u32, i32, i64)> = Vec::new();
    let mut dropped = 0;
    for event in events {
        if event.verdict == Verdict::Drop {
            dropped += 1;
        }
        if event.source_ts_us > 0 {
            let (topic, partition) = (event.origin.topic, event.origin.partition);
            match marks.iter_mut().rev().find(|(t, p, _)| *t == topic && *p == partition) {
                Some((_, _, newest)) => *newest = event.source_ts_us.max(*newest),
                None => marks.push((topic, partition, event.source_ts_us)),
            }
        }
        if let Kind::Change(op) = event.kind
            && event.verdict == Verdict::Keep
        {
            count(&mut tables, event, op);
        }
    }
    let mut dead_letters: Vec<(Reason, u64)> = Vec::new();
    for letter in &plan.dead_letters {
        match dead_letters.iter_mut().find(|(reason, _)| *reason == letter.reason) {
            Some((_, count)) => *count += 1,
            None => dead_letters.push((letter.reason, 1)),
        }
    }
    let name = |index: u32| batch.topics.get(index as usize).map_or_else(|| Arc::from(""), Arc::clone);
    let mut report = BatchReport {
        watermarks: marks
            .into_iter()
            .map(|(topic, partition, us)| Watermark { topic: name(topic), partition, newest_source_ts_ms: us / 1_000 })
            .collect(),
        hops: HopSamples {
            stamps: HopSamples::pick(events.len())
                .filter_map(|at| events.get(at))
                .filter(|e| matches!(e.kind, Kind::Change(_)) && !e.snapshot)
                .map(|e| Stamp {
                    source_us: e.source_ts_us,
                    captured_us: e.captured_ts_us,
                    received_us: prepared.received_us,
                })
                .collect(),
            transform: Some(prepared.transform),
            apply: Some(took),
        },
        rows: applied.rows,
        bytes: prepared.bytes as u64,
        dead_letters,
        toast: plan.unchanged_toast,
        lossy: applied
            .lossy
            .iter()
            .map(|l| LossyCount { table: Arc::from(&*l.table), column: Arc::from(&*l.column), count: l.count })
            .collect(),
        dropped,
        skipped_older: applied.skipped_older,
        ..BatchReport::default()
    };
    for table in tables {
        let Some(source) = batch.tables.get(table.table as usize) else { continue };
        // A table that the mapping skips has no lag: it is on purpose not at the target.
        let went_to = plan.tables.iter().find(|(d, t, _)| *d == table.destination && *t == table.table);
        let Some((_, _, target)) = went_to else { continue };
        let source_table: Arc<str> = Arc::from(source.qualified());
        let source_name: Arc<str> = Arc::from(&*source.source);
        for (op, count) in OPS.into_iter().zip(table.ops).filter(|(_, count)| *count > 0) {
            report.events.push((Arc::clone(&source_name), Arc::clone(&source_table), op, count));
        }
        report.tables.push(TableLag {
            topic: name(table.topic),
            target_table: Arc::clone(target),
            source_table,
            newest_source_ts_ms: table.newest_us / 1_000,
        });
    }
    report
}

fn count(tables: &mut Vec<PerTable>, event: &Event, op: Op) {
    let same = |t: &&mut PerTable| {
        t.topic == event.origin.topic && t.table == event.table && t.destination == event.destination
    };
    let at = OPS.iter().position(|o| *o == op).unwrap_or(0);
    let slot = match tables.iter_mut().rev().find(same) {
        Some(slot) => slot,
        None => {
            tables.push(PerTable {
                topic: event.origin.topic,
                table: event.table,
                destination: event.destination,
                newest_us: 0,
                ops: [0; 6],
            });
            match tables.last_mut() {
                Some(slot) => slot,
                None => return,
            }
        }
    };
    slot.newest_us = event.source_ts_us.max(slot.newest_us);
    if let Some(count) = slot.ops.get_mut(at) {
        *count += 1;
    }
}
