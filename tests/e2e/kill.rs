//! The agent is killed while the source changes; what is started after it goes on where it was.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_postgres::Client;

use super::stage::{Flavour, Stage};
use crate::support::source::session;

/// Deaths of the agent.
const DEATHS: u32 = 5;

/// Changes the source without end: rows come, change, change their keys and go, several in a transaction.
async fn write(client: &Client, mut random: StdRng) -> ! {
    loop {
        let mut statements = vec!["BEGIN".to_owned()];
        for _ in 0..random.random_range(1..6) {
            let (id, other): (i32, i32) = (random.random_range(1000..1060), random.random_range(1000..1060));
            let n: u32 = random.random();
            statements.push(match random.random_range(0..8) {
                0 | 1 => format!("INSERT INTO orders VALUES ({id}, 1, 1.5, '{n}', NULL, NULL) ON CONFLICT (id) DO UPDATE SET note = '{n}'"),
                2 => format!("UPDATE orders SET note = '{n}', total = {n} / 100.0 WHERE id = {id}"),
                3 => format!("DELETE FROM orders WHERE id = {id}"),
                4 => format!("UPDATE orders SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM orders WHERE id = {other})"),
                5 => format!("INSERT INTO toasted VALUES ({id}, '{n}', repeat('{n} ', 1500)) ON CONFLICT (id) DO UPDATE SET small = '{n}'"),
                6 => format!("UPDATE toasted SET small = '{n}' WHERE id % 10 = {id} % 10"),
                _ => format!("INSERT INTO customers VALUES ({n}, 'user{n}@example.org', 'New', true, now()) ON CONFLICT DO NOTHING"),
            });
        }
        statements.push("COMMIT".to_owned());
        client.batch_execute(&statements.join("; ")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn deaths(stage: &mut Stage) {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    stage.populate().await;
    stage.capture().await;
    let mut agent = stage.start();
    stage.until_equal(&mut agent, "the snapshot").await;
    let writer = session(&stage.source.name).await;
    let kill = async {
        for _ in 0..DEATHS {
            // Work must be under way when it comes: some order has arrived since the last start.
            let before = stage.newest().await;
            let working =
                async |_: &_| (stage.newest().await != before).then_some(()).ok_or("nothing arrives".to_owned());
            stage.until(&mut agent, "the agent works", working).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            agent.kill();
            agent = stage.start();
        }
    };
    tokio::select! {
        () = kill => {}
        never = write(&writer, StdRng::seed_from_u64(seed)) => never,
    }
    stage.until_equal(&mut agent, &format!("{DEATHS} deaths, seed {seed}")).await;
    stage.until_idle(&mut agent).await;
    stage.compare().await.unwrap();
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
}

#[tokio::test]
async fn killing_the_agent_amid_changes_leaves_targets_equal_exactly_once() {
    Stage::with("kill_once", Flavour::Schemas, |stage| Box::pin(deaths(stage))).await;
}

#[tokio::test]
async fn killing_the_agent_amid_changes_leaves_targets_equal_at_least_once() {
    Stage::with("kill_least", Flavour::Bare, |stage| Box::pin(deaths(stage))).await;
}
