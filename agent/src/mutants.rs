//! Deliberate bugs for the fault tests: each breaks one rule of delivery, to show that the tests' ledger notices.
//!
//! Compiled to a plain call without the cargo feature `failpoints`. With it, `WHIMBREL_FAULT` names the bug.

use crate::target::{Applied, Encoded, Target, TargetError, WriteBatch};

/// Hands a batch to the target, with its rows when they are encoded already.
#[cfg(not(feature = "failpoints"))]
pub(crate) async fn apply(
    target: &mut dyn Target,
    write: &WriteBatch<'_>,
    rows: Option<Encoded>,
) -> Result<Applied, TargetError> {
    match rows {
        Some(rows) => target.apply_encoded(write, rows).await,
        None => target.apply(write).await,
    }
}

/// Hands a batch to the target with the bug that `WHIMBREL_FAULT` names, if any.
#[cfg(feature = "failpoints")]
pub(crate) async fn apply(
    target: &mut dyn Target,
    write: &WriteBatch<'_>,
    rows: Option<Encoded>,
) -> Result<Applied, TargetError> {
    use crate::target::ErrorKind;

    let without_rows = WriteBatch { steps: &[], dead_letters: &[], settled: &[], effects: &[], ..*write };
    let without_offsets = WriteBatch { advances: &[], ..*write };
    match std::env::var("WHIMBREL_FAULT").as_deref() {
        Ok("offsets_before_rows") => {
            target.apply(&without_rows).await?;
            crate::failpoints::hit("between");
            target.apply(&without_offsets).await
        }
        Ok("rows_before_offsets") => {
            let applied = target.apply(&without_offsets).await?;
            crate::failpoints::hit("between");
            target.apply(&without_rows).await?;
            Ok(applied)
        }
        Ok("no_compare_and_set") => match target.apply(write).await {
            Err(error) if error.kind == ErrorKind::Fenced => {
                let names: Vec<(String, i32)> =
                    write.advances.iter().map(|a| (a.topic.to_string(), a.partition)).collect();
                let stored = target.offsets(write.pipeline, &names).await?;
                let mut advances = write.advances.to_vec();
                for (advance, stored) in advances.iter_mut().zip(stored) {
                    advance.expected = stored.next;
                }
                target.apply(&WriteBatch { advances: &advances, ..*write }).await
            }
            result => result,
        },
        Ok("skip_on_error") => match target.apply(write).await {
            Err(_) => {
                target.open().await?;
                target.apply(&without_rows).await
            }
            result => result,
        },
        Ok("drop_dead_letters") => target.apply(&WriteBatch { dead_letters: &[], ..*write }).await,
        Ok("frontier_one_too_far") => {
            let mut advances = write.advances.to_vec();
            for advance in &mut advances {
                advance.next += 1;
            }
            // The next batch expects what the writer believes, so the miss is papered over as well.
            let names: Vec<(String, i32)> = advances.iter().map(|a| (a.topic.to_string(), a.partition)).collect();
            let stored = target.offsets(write.pipeline, &names).await?;
            for (advance, stored) in advances.iter_mut().zip(stored) {
                advance.expected = stored.next;
            }
            target.apply(&WriteBatch { advances: &advances, ..*write }).await
        }
        Ok("rerun_blindly") => match target.apply(write).await {
            Err(error) if error.kind == ErrorKind::CommitUnknown => {
                target.open().await?;
                let _ = target.apply(&without_offsets).await;
                Err(error)
            }
            result => {
                // A commit whose answer is lost on the way, every seventh batch.
                static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
                if result.is_ok() && COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(7) {
                    let _ = target.apply(&without_offsets).await;
                }
                result
            }
        },
        _ => match rows {
            Some(rows) => target.apply_encoded(write, rows).await,
            None => target.apply(write).await,
        },
    }
}
