//! Sessions: killed, given up, refused.

use super::*;

#[tokio::test]
async fn a_backend_killed_during_the_commit_leaves_the_outcome_unknown_and_before_it_a_network_error() {
    let db = Db::new("killed").await;
    // A deferred trigger sleeps inside COMMIT; an ordinary one inside the insert.
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY);
         CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.id = TG_ARGV[0]::int THEN PERFORM pg_sleep(30); END IF; RETURN NEW; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION nap('1');
         CREATE TRIGGER early BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION nap('2')",
    )
    .await;
    let t = layout("t", 1, &[("id", SourceType::Int32)], false);
    for (id, doing, expected) in
        [("1", "COMMIT", ErrorKind::CommitUnknown), ("2", "%INSERT INTO%", ErrorKind::NotPrimary)]
    {
        let planned = batch().upsert(&t, 1, &[Num(id)]).advance(None, 1);
        let write = planned.write();
        let kill = async {
            let sql = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'whimbrel' AND wait_event = 'PgSleep' AND query LIKE '{doing}'
                   AND pid IN (SELECT pid FROM pg_locks WHERE relation = 't'::regclass)"
            );
            for _ in 0..200 {
                if db.rows(&sql).await == ["t"] {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("no backend to kill");
        };
        let mut target = db.second().await;
        let (applied, ()) = tokio::join!(target.apply(&write), kill);
        let error = applied.unwrap_err();
        assert_eq!(error.kind, expected, "{error}");
        // Not usable before it is opened again; then the state says what happened.
        assert_eq!(target.ping().await.unwrap_err().kind, ErrorKind::Network);
        target.open().await.unwrap();
        assert_eq!(target.offsets("shop", &[("topic".into(), 0)]).await.unwrap()[0].next, None);
    }
    assert_eq!(db.rows("SELECT * FROM t").await, [""; 0]);
    db.close().await;
}

#[tokio::test]
async fn a_batch_given_up_in_the_middle_frees_its_locks_and_its_session() {
    let mut db = Db::new("dropped").await;
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY);
         CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;
         CREATE TRIGGER early BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION nap()",
    )
    .await;
    let t = layout("t", 1, &[("id", SourceType::Int32)], false);
    let planned = batch().upsert(&t, 1, &[Num("1")]).advance(None, 1);
    let given_up = tokio::time::timeout(Duration::from_millis(300), db.target.apply(&planned.write())).await;
    assert!(given_up.is_err());
    assert_eq!(db.target.ping().await.unwrap_err().kind, ErrorKind::Network);
    db.target.open().await.unwrap();
    db.apply(&planned).await.unwrap();
    assert_eq!(db.rows("SELECT id FROM t").await, ["1"]);
    db.close().await;
}

#[tokio::test]
async fn a_server_that_refuses_says_why() {
    let db = Db::new("refuses").await;
    let good = Db::settings(&db.name);
    let open = async |uri: String| {
        let mut target = PostgresTarget::new(Settings { uri: Secret::new(uri), ..good.clone() });
        target.open().await.unwrap_err()
    };
    let wrong = uri(DATABASE).replace(&format!(":{}@", env("PG_PASSWORD")), ":wr0ng@");
    let role = format!("{}_reader", db.name);
    db.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'pw'")).await;
    let reader = format!("postgresql://{role}:pw@127.0.0.1:{}/{DATABASE}", env("PG_PORT"));
    for (uri, kind) in [
        (wrong, ErrorKind::Authentication),
        (uri("no_such_database"), ErrorKind::SchemaMismatch),
        ("postgresql://me@127.0.0.1:1/x".to_owned(), ErrorKind::Network),
        (format!("{}?sslmode=require", uri(DATABASE)), ErrorKind::Unsupported),
    ] {
        let error = open(uri).await;
        assert_eq!(error.kind, kind, "{error} {error:?}");
        assert!(!format!("{error:?}").contains("wr0ng"));
    }
    let settings = Settings { uri: Secret::new(reader), ..good.clone() };
    let mut target = PostgresTarget::new(settings.clone());
    let error = target.open().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Authorization, "{error}");
    // State tables that are there ask for no right to create anything.
    let state = format!("{}_state", db.name);
    db.run(&format!("GRANT USAGE ON SCHEMA {state} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {state} TO {role}"))
        .await;
    target.open().await.unwrap();
    target.offsets("shop", &[("t".into(), 0)]).await.unwrap();
    let error = target.apply(&batch().advance(None, 1).write()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Authorization, "{error}");
    let state_schema = format!("{}_none", db.name);
    let error = PostgresTarget::new(Settings { state_schema, ..settings }).open().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Authorization, "{error}");
    db.run(&format!("DROP OWNED BY {role}")).await;
    db.run(&format!("DROP ROLE {role}")).await;
    db.close().await;
}
