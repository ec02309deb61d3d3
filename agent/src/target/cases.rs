//! What every target with transactions must do alike, asked through the contract alone. Also included by the tests crate,
//! which asks the targets that need a server; hence `whimbrel::`.

use whimbrel::event::{Reason, SourceType};
use whimbrel::target::{DeadLetterFilter, DeliveryMode, ErrorKind, KafkaCoordinates, Target};

use super::fixture::{Planned, V, layout};

async fn apply(target: &mut dyn Target, planned: &Planned) {
    target.apply(&planned.write()).await.unwrap();
}

async fn kind(target: &mut dyn Target, planned: &Planned) -> ErrorKind {
    target.apply(&planned.write()).await.unwrap_err().kind
}

fn batch() -> Planned {
    Planned::new(DeliveryMode::ExactlyOnce)
}

/// Letters, filters, and the keys that are parked.
pub(crate) async fn dead_letters_come_back_as_they_went_in(target: &mut dyn Target) {
    let mut planned = batch()
        .at(7)
        .dead_letter(Some("k\u{0}1"), "broken\u{0}", Reason::Malformed)
        .dead_letter(None, "", Reason::NoKey)
        .dead_letter(Some("k2"), "in kafka", Reason::Rejected)
        .advance(None, 10);
    let elsewhere = KafkaCoordinates { topic: "dlq".into(), partition: 3, offset: 9 };
    planned.dead_letters[2].kafka = Some(elsewhere.clone());
    apply(target, &planned).await;
    assert_eq!(target.dead_letter_count("shop").await.unwrap(), 3);
    assert_eq!(target.dead_letter_count("other").await.unwrap(), 0);
    let all = target.dead_letters("shop", &DeadLetterFilter { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(all.iter().map(|l| l.offset).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(all[0].key.as_deref(), Some(&b"k\x001"[..]));
    assert_eq!(all[0].value.as_deref(), Some(&b"broken\0"[..]));
    assert_eq!(all[0].headers, b"\x01\x00\x00\x00h\x01\x00\x00\x001");
    assert_eq!((all[0].table.as_str(), all[0].reason.as_str()), ("public.orders", "malformed"));
    assert_eq!(all[0].message, "because malformed");
    assert_eq!((all[0].stored_at_ms, all[0].record_ts_ms), (1_700_000_000_000, 1_600_000_000_000));
    assert_eq!((all[1].key.as_deref(), all[1].value.as_deref()), (None, Some(&b""[..])));
    assert_eq!((all[2].value.as_deref(), all[2].kafka.as_ref()), (None, Some(&elsewhere)));
    for (filter, expected) in [
        (DeadLetterFilter { reason: Some("no_key".into()), limit: 9, ..Default::default() }, vec![8]),
        (DeadLetterFilter { key: Some(b"k2".to_vec()), limit: 9, ..Default::default() }, vec![9]),
        (DeadLetterFilter { offset: Some(7), partition: Some(0), limit: 9, ..Default::default() }, vec![7]),
        (DeadLetterFilter { topic: Some("none".into()), limit: 9, ..Default::default() }, vec![]),
        (DeadLetterFilter { limit: 2, ..Default::default() }, vec![7, 8]),
    ] {
        let found = target.dead_letters("shop", &filter).await.unwrap();
        assert_eq!(found.iter().map(|l| l.offset).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let mut keys = target.parked_keys("shop", &["topic".into(), "none".into()]).await.unwrap();
    keys.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(keys.iter().map(|k| &*k.key).collect::<Vec<_>>(), [&b"k\x001"[..], b"k2"]);
}

/// Parking, settling, and both in one batch; `table` is made and nobody else's.
pub(crate) async fn an_event_parks_only_behind_a_dead_letter_that_is_still_there(
    target: &mut dyn Target,
    mode: DeliveryMode,
    table: &str,
) {
    let batch = || Planned::new(mode);
    let parked = |offset| batch().at(offset).dead_letter(Some("k"), "later", Reason::ParkedBehind);
    assert_eq!(kind(target, &parked(5)).await, ErrorKind::Unparked);
    apply(target, &batch().at(1).dead_letter(Some("k"), "first", Reason::Rejected)).await;
    apply(target, &parked(5)).await;
    // Another key: nothing to park behind.
    let stranger = batch().at(6).dead_letter(Some("K"), "x", Reason::ParkedBehind);
    assert_eq!(kind(target, &stranger).await, ErrorKind::Unparked);
    // Settled once; a second time somebody was faster.
    let orders = layout(table, 1, &[("id", SourceType::Int64), ("name", SourceType::Text)], true);
    let redrive = || batch().settle(1).upsert(&orders, 1, &[V::Num("1"), V::Null]);
    apply(target, &redrive()).await;
    assert_eq!(kind(target, &redrive()).await, ErrorKind::Fenced);
    apply(target, &batch().settle(5)).await;
    assert_eq!(kind(target, &parked(8)).await, ErrorKind::Unparked);
    // In one batch: the first fails, the second parks behind it.
    let head = batch().at(10).dead_letter(Some("k"), "head", Reason::Rejected);
    apply(target, &head.dead_letter(Some("k"), "later", Reason::ParkedBehind)).await;
    assert_eq!(target.dead_letter_count("shop").await.unwrap(), 2);
    apply(target, &batch().settle(10).settle(11)).await;
    assert_eq!(target.dead_letter_count("shop").await.unwrap(), 0);
}

/// Offsets, letters and what is settled are one transaction, fenced by what the batch expects.
pub(crate) async fn a_missed_compare_and_set_moves_and_stores_nothing(target: &mut dyn Target) {
    apply(target, &batch().at(1).dead_letter(Some("k"), "v", Reason::Malformed).advance(None, 10)).await;
    for (expected, next) in [(None, 5), (Some(9), 12), (Some(11), 12)] {
        let zombie = batch().at(3).dead_letter(Some("z"), "v", Reason::Malformed).settle(1).advance(expected, next);
        assert_eq!(kind(target, &zombie).await, ErrorKind::Fenced, "{expected:?}");
    }
    let stored = target.offsets("shop", &[("topic".into(), 0)]).await.unwrap();
    assert_eq!(stored[0].next, Some(10));
    let left = target.dead_letters("shop", &DeadLetterFilter { limit: 9, ..Default::default() }).await.unwrap();
    assert_eq!(left.iter().map(|letter| letter.offset).collect::<Vec<_>>(), [1]);
    apply(target, &batch().settle(1).advance(Some(10), 11)).await;
}
