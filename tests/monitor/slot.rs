//! A replication slot of a real PostgreSQL, as `whimbrel doctor` and the monitor see it.

use serde_json::json;
use tokio_postgres::NoTls;
use whimbrel::config::raw;
use whimbrel::connect::slot::ask;
use whimbrel::target::postgres::Settings;

use crate::support::{port, setting, unique};

#[tokio::test]
async fn a_slot_is_seen_with_who_reads_it_and_the_room_it_has() {
    let (user, password) = (setting("PG_USER"), setting("PG_PASSWORD"));
    let address = format!("postgresql://{user}:{password}@127.0.0.1:{}/postgres", port("PG_PORT"));
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
    tokio::spawn(connection);
    let raw: raw::PostgresTarget = serde_json::from_value(json!({ "uri": address })).unwrap();
    let settings = Settings::from_raw(&raw, std::time::Duration::ZERO).unwrap();
    let slot = unique("slot");
    assert_eq!(ask(&settings, &slot).await.unwrap(), None, "not there yet");

    client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot]).await.unwrap();
    // Far more than any test writes: nobody else's slot is given up by it.
    client.batch_execute("ALTER SYSTEM SET max_slot_wal_keep_size = '4GB'").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let mut facts = ask(&settings, &slot).await.unwrap().unwrap();
    for _ in 0..100 {
        if facts.room.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        facts = ask(&settings, &slot).await.unwrap().unwrap();
    }
    assert_eq!((facts.active, facts.wal_level.as_str(), facts.wal_status.as_str()), (false, "logical", "reserved"));
    let before = facts.room.unwrap();
    assert!((1 << 30..=5 << 30).contains(&before), "{before}");
    assert!(facts.kept.is_some());
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS slot_filler AS SELECT repeat('x', 1000) FROM generate_series(1, 40000)",
        )
        .await
        .unwrap();
    let after = ask(&settings, &slot).await.unwrap().unwrap().room.unwrap();
    assert!(after < before - (30 << 20), "40 MB of WAL are less room: {before}, {after}");

    client.query("SELECT pg_drop_replication_slot($1)", &[&slot]).await.unwrap();
    client.batch_execute("DROP TABLE slot_filler").await.unwrap();
    client.batch_execute("ALTER SYSTEM RESET max_slot_wal_keep_size").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    assert_eq!(ask(&settings, &slot).await.unwrap(), None, "it is gone");
}
