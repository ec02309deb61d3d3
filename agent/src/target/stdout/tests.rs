use serde_json::{Value, json};

use super::*;
use crate::event::{Reason, SourceType};
use crate::target::fixture::{Planned, V, layout};
use crate::target::plan::DeliveryMode::{AtLeastOnce, ExactlyOnce};

#[tokio::test]
async fn every_operation_is_one_line_of_json() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("out.ndjson");
    let mut target = StdoutTarget::new(Settings { path: Some(path.clone()) });
    target.open().await.unwrap();
    let t =
        layout("we\"ird", 1, &[("id", SourceType::Int64), ("a b", SourceType::Text), ("c", SourceType::Json)], true);
    let planned = || {
        Planned::new(AtLeastOnce)
            .upsert(&t, 1, &[V::Num("1"), V::Text("quote \" tab\t"), V::Null])
            .patch(&t, 1, &[V::Num("2"), V::Unavailable, V::Json("[1,{}]")])
            .delete(&t, 1, &[V::Escaped(r"\u00fc")])
            .truncate(&t)
    };
    assert_eq!(target.apply(&planned().write()).await.unwrap().rows, 4);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let source = |offset: i64| json!({"topic": "topic", "partition": 0, "offset": offset, "ts": 1_600_000_000_000_i64});
    assert_eq!(
        lines,
        [
            json!({"op": "upsert", "table": "we\"ird", "key": {"id": 1}, "row": {"id": 1, "a b": "quote \" tab\t", "c": null}, "source": source(0)}),
            json!({"op": "patch", "table": "we\"ird", "key": {"id": 2}, "row": {"id": 2, "c": [1, {}]}, "source": source(1)}),
            json!({"op": "delete", "table": "we\"ird", "key": {"id": "ü"}, "source": source(2)}),
            json!({"op": "truncate", "table": "we\"ird"}),
        ]
    );
    // A second run appends.
    target.open().await.unwrap();
    target.apply(&planned().write()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 8);
}

#[tokio::test]
async fn what_it_cannot_keep_it_refuses() {
    let mut target = StdoutTarget::new(Settings { path: Some("/dev/null".into()) });
    target.open().await.unwrap();
    for planned in [Planned::new(ExactlyOnce), Planned::new(AtLeastOnce).dead_letter(None, "x", Reason::Malformed)] {
        assert_eq!(target.apply(&planned.write()).await.unwrap_err().kind, ErrorKind::Unsupported);
    }
    let offsets = target.offsets("shop", &[("t".into(), 1)]).await.unwrap();
    assert_eq!(offsets, [StoredOffset { topic: "t".into(), partition: 1, next: None }]);
}

#[tokio::test]
async fn a_full_disk_and_a_missing_folder_need_a_human() {
    let mut full = StdoutTarget::new(Settings { path: Some("/dev/full".into()) });
    full.open().await.unwrap();
    let t = layout("t", 1, &[("id", SourceType::Int64)], true);
    let planned = Planned::new(AtLeastOnce).upsert(&t, 1, &[V::Num("1")]);
    assert_eq!(full.apply(&planned.write()).await.unwrap_err().kind, ErrorKind::Storage);
    let mut missing = StdoutTarget::new(Settings { path: Some("/nonexistent/x".into()) });
    assert_eq!(missing.open().await.unwrap_err().kind, ErrorKind::Storage);
}
