//! Dead letters: kept, found, parked behind, settled.

use super::*;

#[tokio::test]
async fn dead_letters_come_back_as_they_went_in() {
    let mut db = Db::new("letters").await;
    cases::dead_letters_come_back_as_they_went_in(&mut db.target).await;
    db.close().await;
}

#[tokio::test]
async fn a_nul_in_a_message_that_the_server_would_refuse_is_replaced() {
    let mut db = Db::new("nul").await;
    let mut planned = batch().dead_letter(None, "", Reason::Malformed).advance(None, 1);
    planned.dead_letters[0].message = "a NUL \0 in it".into();
    db.apply(&planned).await.unwrap();
    let all = db.target.dead_letters("shop", &DeadLetterFilter { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(all[0].message, "a NUL \u{fffd} in it");
    db.close().await;
}

#[tokio::test]
async fn an_event_parks_only_behind_a_dead_letter_that_is_still_there() {
    let mut db = Db::new("parking").await;
    for (mode, table) in [(ExactlyOnce, "once"), (AtLeastOnce, "least")] {
        cases::an_event_parks_only_behind_a_dead_letter_that_is_still_there(&mut db.target, mode, table).await;
    }
    db.close().await;
}

/// Whoever settles the last dead letter of a key while another event of it parks: one of the two has to give way.
#[tokio::test]
async fn parking_and_settling_the_same_key_exclude_each_other() {
    let mut db = Db::new("parkrace").await;
    let mut other = db.second().await;
    for round in 0..30_i64 {
        let first = round * 10;
        db.apply(&batch().at(first).dead_letter(Some("k"), "first", Reason::Rejected)).await.unwrap();
        let park = batch().at(first + 1).dead_letter(Some("k"), "later", Reason::ParkedBehind);
        let settle = batch().settle(first);
        let (park, settle) = (park.write(), settle.write());
        let (parked, settled) = tokio::join!(db.target.apply(&park), other.apply(&settle));
        settled.unwrap();
        let left = db.target.dead_letter_count("shop").await.unwrap();
        match parked {
            // It parked first: the letter stays, to be re-driven next.
            Ok(_) => assert_eq!(left, 1),
            Err(e) => assert_eq!((e.kind, left), (ErrorKind::Unparked, 0)),
        }
        if left == 1 {
            db.apply(&batch().settle(first + 1)).await.unwrap();
        }
    }
    db.close().await;
}
