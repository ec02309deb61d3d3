//! Keys and field names: what becomes of them, and which are refused.

use super::*;

#[tokio::test]
async fn keys_become_ids_as_configured() {
    let two = layout("two", &[("b", SourceType::Text), ("a", SourceType::Int32), ("v", SourceType::Text)], &["b", "a"]);
    let row = json!({"b": "x:%", "a": 5, "v": "v"});
    let cases = [
        (CompositeId::Document, true, doc! {"_id": {"b": "x:%", "a": 5}, "b": "x:%", "a": 5, "v": "v"}),
        (CompositeId::Document, false, doc! {"_id": {"b": "x:%", "a": 5}, "v": "v"}),
        (CompositeId::Joined, false, doc! {"_id": "x%3A%25:5", "v": "v"}),
    ];
    for (composite_id, key_fields, expected) in cases {
        let mut bench = Bench::new("keys").await;
        (bench.raw.composite_id, bench.raw.key_fields) = (composite_id, key_fields);
        let mut target = bench.target(ONCE).await;
        let mut planned = Planned::new(ONCE);
        planned.upsert(&two, 0, &row);
        target.apply(&planned.write()).await.unwrap();
        // Once more, by patch: the same document.
        let mut again = Planned::new(ONCE);
        again.patch(&two, 1, &row);
        target.apply(&again.write()).await.unwrap();
        assert_eq!(bench.all("two").await, [expected]);
        let mut gone = Planned::new(ONCE);
        gone.delete(&two, 2, &row);
        assert_eq!(target.apply(&gone.write()).await.unwrap().rows, 1);
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn keys_that_mongodb_refuses_or_would_read_as_operators_are_named() {
    let bench = Bench::new("badkeys").await;
    let mut target = bench.target(ONCE).await;
    let any = layout("any", &[("k", SourceType::Unknown), ("v", SourceType::Text)], &["k"]);
    for key in [json!([1, 2]), json!({"$gt": ""}), json!({"a": {"$ne": 1}})] {
        let mut planned = Planned::new(ONCE);
        planned.upsert(&any, 0, &json!({"k": 1, "v": "good"}));
        planned.upsert(&any, 1, &json!({"k": key, "v": "bad"}));
        let error = target.apply(&planned.write()).await.unwrap_err();
        assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(1)), "{error}");
    }
    assert_eq!(bench.count("any").await, 0);
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn odd_field_names_follow_the_policy() {
    let odd = layout(
        "odd",
        &[("id", SourceType::Int32), ("a.b", SourceType::Text), ("$c", SourceType::Text), ("j", SourceType::Unknown)],
        &["id"],
    );
    let row = json!({"id": 1, "a.b": "dot", "$c": "dollar", "j": {"$set": {"x.y": 1}, "e\"q": [{"$k": null}]}});
    let kept =
        doc! {"_id": 1, "id": 1, "a.b": "dot", "$c": "dollar", "j": {"$set": {"x.y": 1}, "e\"q": [{"$k": null}]}};
    let replaced = doc! {
        "_id": 1, "id": 1, "a．b": "dot", "＄c": "dollar", "j": {"＄set": {"x．y": 1}, "e\"q": [{"＄k": null}]},
    };
    for mode in [ONCE, ATLEAST] {
        for (policy, expected) in [(OddFieldNames::Keep, &kept), (OddFieldNames::Replace, &replaced)] {
            let mut bench = Bench::new("odd").await;
            bench.raw.odd_field_names = policy;
            let mut target = bench.target(mode).await;
            let mut planned = Planned::new(mode);
            planned.upsert(&odd, 0, &row);
            target.apply(&planned.write()).await.unwrap();
            assert_eq!(bench.all("odd").await, std::slice::from_ref(expected), "{policy:?} {mode:?}");
            let mut patch = Planned::new(mode);
            patch.patch(&odd, 1, &json!({"id": 1, "a.b": "new", "$c": UNAVAILABLE, "j": UNAVAILABLE}));
            patch.patch(&odd, 2, &json!({"id": 2, "a.b": "born", "$c": "of", "j": null}));
            target.apply(&patch.write()).await.unwrap();
            let dotted = expected.keys().nth(2).unwrap();
            let mut changed = expected.clone();
            changed.insert(dotted, "new");
            let all = bench.all("odd").await;
            // A patch may move a field to the end; what it holds is the matter.
            assert_eq!(all[0].len(), changed.len());
            for (name, value) in &changed {
                assert_eq!(all[0].get(name), Some(value), "{policy:?} {mode:?} {name}");
            }
            assert_eq!(all[1].get_str(dotted).unwrap(), "born");
            bench.db.drop().await.unwrap();
        }
    }
    let mut bench = Bench::new("odd_reject").await;
    bench.raw.odd_field_names = OddFieldNames::Reject;
    let mut target = bench.target(ONCE).await;
    let plain = layout("odd", &[("id", SourceType::Int32), ("j", SourceType::Unknown)], &["id"]);
    let mut planned = Planned::new(ONCE);
    planned.upsert(&plain, 0, &json!({"id": 1, "j": {"ok": 1}})).upsert(&plain, 1, &json!({"id": 2, "j": {"a.b": 1}}));
    let error = target.apply(&planned.write()).await.unwrap_err();
    assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(1)));
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn a_nul_in_a_field_name_never_reaches_the_database() {
    for policy in [OddFieldNames::Keep, OddFieldNames::Replace, OddFieldNames::Reject] {
        let mut bench = Bench::new("nul").await;
        bench.raw.odd_field_names = policy;
        let mut target = bench.target(ONCE).await;
        let plain = layout("n", &[("id", SourceType::Int32), ("j", SourceType::Unknown)], &["id"]);
        let mut planned = Planned::new(ONCE);
        planned.upsert(&plain, 0, &json!({"id": 1, "j": {"a": {"b\u{0}c": 1}}}));
        let error = target.apply(&planned.write()).await.unwrap_err();
        assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(0)), "{policy:?}");
        // In a value it is a character like any other.
        let mut planned = Planned::new(ONCE);
        planned.upsert(&plain, 0, &json!({"id": 1, "j": {"a": "b\u{0}c"}}));
        target.apply(&planned.write()).await.unwrap();
        assert_eq!(bench.all("n").await, [doc! {"_id": 1, "id": 1, "j": {"a": "b\0c"}}]);
        bench.db.drop().await.unwrap();
    }
}
