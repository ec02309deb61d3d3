//! Dead letters: kept, found, parked behind, settled.

use super::*;

#[tokio::test]
async fn dead_letters_are_stored_found_counted_and_settled() {
    for mode in [ONCE, ATLEAST] {
        let bench = Bench::new("letters").await;
        let mut target = bench.target(mode).await;
        let mut planned = Planned::new(mode);
        planned.dead_letter(12, b"k2", Reason::Malformed).dead_letter(4, b"k1", Reason::BadValue);
        planned.dead_letters[1].kafka = Some(KafkaCoordinates { topic: "dlq".into(), partition: 3, offset: 77 });
        target.apply(&planned.write()).await.unwrap();
        assert_eq!(target.dead_letter_count(PIPELINE).await.unwrap(), 2);
        assert_eq!(target.dead_letter_count("p2").await.unwrap(), 0);
        let all = target.dead_letters(PIPELINE, &DeadLetterFilter::default()).await.unwrap();
        assert_eq!(all.iter().map(|l| l.offset).collect::<Vec<_>>(), [4, 12]);
        assert_eq!((all[0].key.as_deref(), &all[0].value), (Some(&b"k1"[..]), &None));
        assert_eq!(all[0].kafka.as_ref().unwrap().offset, 77);
        assert_eq!(all[1].value.as_deref(), Some(&b"\xffbroken"[..]));
        assert_eq!((all[1].reason.as_str(), all[1].table.as_str()), ("malformed", "public.orders"));
        assert_eq!((all[1].stored_at_ms, all[1].record_ts_ms), (1_700_000_000_000, 1_600_000_000_000));
        assert!(!all[1].headers.is_empty());

        let filters = [
            (DeadLetterFilter { topic: Some(TOPIC.into()), ..Default::default() }, 2),
            (DeadLetterFilter { topic: Some("other".into()), ..Default::default() }, 0),
            (DeadLetterFilter { partition: Some(1), ..Default::default() }, 0),
            (DeadLetterFilter { offset: Some(12), ..Default::default() }, 1),
            (DeadLetterFilter { reason: Some("bad_value".into()), ..Default::default() }, 1),
            (DeadLetterFilter { key: Some(b"k2".to_vec()), ..Default::default() }, 1),
            (DeadLetterFilter { limit: 1, ..Default::default() }, 1),
        ];
        for (filter, expected) in filters {
            assert_eq!(target.dead_letters(PIPELINE, &filter).await.unwrap().len(), expected, "{filter:?}");
        }
        let mut keys = target.parked_keys(PIPELINE, &[TOPIC.into()]).await.unwrap();
        keys.sort_by(|a, b| a.key.cmp(&b.key));
        let parked = |key: &[u8]| ParkedKey { topic: TOPIC.into(), key: key.to_vec() };
        assert_eq!(keys, [parked(b"k1"), parked(b"k2")]);
        assert!(target.parked_keys(PIPELINE, &["other".into()]).await.unwrap().is_empty());

        let coordinates = |offset| KafkaCoordinates { topic: TOPIC.into(), partition: 0, offset };
        let mut redrive = Planned::new(mode);
        redrive.settled = vec![coordinates(12)];
        target.apply(&redrive.write()).await.unwrap();
        assert_eq!(target.dead_letter_count(PIPELINE).await.unwrap(), 1);
        // What somebody else has settled cannot be settled again, nor anything together with it.
        redrive.settled = vec![coordinates(12), coordinates(4)];
        assert_eq!(target.apply(&redrive.write()).await.unwrap_err().kind, ErrorKind::Fenced);
        if mode == ONCE {
            assert_eq!(target.dead_letter_count(PIPELINE).await.unwrap(), 1);
        }
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn an_event_is_parked_only_behind_a_dead_letter_that_is_still_there() {
    for mode in [ONCE, ATLEAST] {
        let bench = Bench::new("parking").await;
        let mut target = bench.target(mode).await;
        let mut planned = Planned::new(mode);
        // Poison and what follows it in one batch.
        planned.dead_letter(1, b"k", Reason::BadValue).dead_letter(2, b"k", Reason::ParkedBehind).advance(None, 3);
        target.apply(&planned.write()).await.unwrap();
        let mut later = Planned::new(mode);
        later.dead_letter(3, b"k", Reason::ParkedBehind).advance(Some(3), 4);
        target.apply(&later.write()).await.unwrap();
        assert_eq!(target.dead_letter_count(PIPELINE).await.unwrap(), 3);

        let mut unparked = Planned::new(mode);
        let people = people();
        unparked.upsert(&people, 4, &json!({"id": 1, "name": "n", "bio": "b"}));
        unparked.dead_letter(5, b"other", Reason::ParkedBehind).advance(Some(4), 6);
        let error = target.apply(&unparked.write()).await.unwrap_err();
        assert_eq!((error.kind, error.event), (ErrorKind::Unparked, Some(1)));
        assert_eq!((bench.count("people").await, target.dead_letter_count(PIPELINE).await.unwrap()), (0, 3));
        assert_eq!(target.offsets(PIPELINE, &[(TOPIC.into(), 0)]).await.unwrap()[0].next, Some(4));
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn what_every_target_does_alike() {
    let bench = Bench::new("alike").await;
    let mut target = bench.target(ONCE).await;
    cases::an_event_parks_only_behind_a_dead_letter_that_is_still_there(&mut target, ONCE, "alike").await;
    bench.db.drop().await.unwrap();
    cases::dead_letters_come_back_as_they_went_in(&mut bench.target(ONCE).await).await;
    bench.db.drop().await.unwrap();
    cases::a_missed_compare_and_set_moves_and_stores_nothing(&mut bench.target(ONCE).await).await;
    bench.db.drop().await.unwrap();
}
