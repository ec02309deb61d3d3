//! Plans and encodes a batch before it is its turn: on the reader's thread, while the writer still waits for the target to
//! confirm the batch before. What comes out is a proposal: the writer takes it only when it would have planned the same.
//!
//! Batches with dead letters are left to the writer, and so are all batches while keys are parked: what they come to
//! depends on what becomes of the batches before them.

use std::time::{Duration, Instant};

use super::plan::{Plan, Planner};
use crate::batch::Batch;
use crate::source::kafka::watch::now_ms;
use crate::target::{DeliveryMode, Encoded, Encoder, WriteBatch};

/// A batch's plan, and its rows as the target sends them.
pub(super) struct Ahead {
    /// Of the whole batch; without dead letters.
    pub(super) plan: Plan,
    /// The plan's rows.
    pub(super) rows: Encoded,
    /// How long it took.
    pub(super) took: Duration,
}

/// Makes them.
pub(super) struct PlanAhead {
    pub(super) planner: Planner,
    pub(super) encoder: Box<dyn Encoder>,
    pub(super) mode: DeliveryMode,
}

impl PlanAhead {
    /// Plans and encodes the whole batch, when nothing stands against it. Like any planning it may add cells to the batch.
    pub(super) fn plan(&mut self, pipeline: &str, batch: &mut Batch) -> Option<Ahead> {
        let begun = Instant::now();
        let all = 0..batch.events.len();
        let plan = self.planner.plan(batch, all);
        if !plan.dead_letters.is_empty() {
            return None;
        }
        let write = WriteBatch {
            pipeline,
            mode: self.mode,
            batch,
            steps: &plan.steps,
            advances: &[],
            dead_letters: &[],
            settled: &[],
            effects: &[],
            now_ms: now_ms(),
        };
        let rows = self.encoder.encode(&write)?;
        Some(Ahead { plan, rows, took: begun.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::{DecodeConfig, Decoder, Record};
    use crate::pipeline::mapping::{Mapper, Mapping};
    use crate::target::{RowAction, Step};

    /// Notes which rows it was shown.
    struct Shown;

    impl Encoder for Shown {
        fn encode(&mut self, write: &WriteBatch<'_>) -> Option<Encoded> {
            let Some(Step::Rows(tables)) = write.steps.first() else { return None };
            Some(Encoded::new(tables.iter().flat_map(|table| &table.ops).map(|op| op.event).collect::<Vec<u32>>()))
        }
    }

    fn planner() -> Planner {
        Planner::new(Mapper::new(Mapping::try_from(&[][..]).unwrap()))
    }

    fn batch(values: &[&str]) -> Batch {
        let (mut decoder, mut batch) = (Decoder::new(DecodeConfig::default()), Batch::default());
        for (value, offset) in values.iter().zip(0..) {
            let record = Record {
                topic: &Arc::from("s.public.t"),
                partition: 0,
                offset,
                timestamp_ms: 0,
                key: Some(br#"{"id":1}"#),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            decoder.decode(&record, &mut batch);
        }
        batch
    }

    fn change(op: &str, note: &str) -> String {
        let source = r#"{"connector":"postgresql","name":"s","db":"d","schema":"public","table":"t","lsn":1}"#;
        format!(r#"{{"op":"{op}","before":null,"after":{{"id":1,"note":"{note}"}},"source":{source},"ts_ms":1}}"#)
    }

    fn ahead() -> PlanAhead {
        PlanAhead { planner: planner(), encoder: Box::new(Shown), mode: DeliveryMode::ExactlyOnce }
    }

    #[test]
    fn what_is_planned_ahead_is_what_the_writer_would_have_planned() {
        let values = [change("c", "a"), change("u", "__debezium_unavailable_value"), change("u", "b")];
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let (mut early, mut late) = (batch(&values), batch(&values));
        let Ahead { plan, rows, .. } = ahead().plan("p", &mut early).unwrap();
        let expected = planner().plan(&mut late, 0..values.len());
        assert_eq!((&plan.effects, &plan.next), (&expected.effects, &expected.next));
        assert_eq!((plan.unchanged_toast, plan.skipped), (expected.unchanged_toast, expected.skipped));
        assert_eq!(rows.open::<Vec<u32>>().unwrap(), [2]);
        // And it is still that, should the writer have to plan the same batch again.
        let again = planner().plan(&mut early, 0..values.len());
        let action = |plan: &Plan| match plan.steps.first() {
            Some(Step::Rows(tables)) => tables[0].ops[0].action,
            other => panic!("{other:?}"),
        };
        for plan in [&plan, &again, &expected] {
            assert!(matches!(action(plan), RowAction::Upsert(_)), "{plan:?}");
        }
    }

    #[test]
    fn a_batch_with_a_dead_letter_is_left_to_the_writer() {
        let good = change("c", "a");
        assert!(ahead().plan("p", &mut batch(&[&good, "{ poison"])).is_none());
        assert!(ahead().plan("p", &mut batch(&[&good, &good])).is_some());
    }
}
