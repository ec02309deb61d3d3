//! kill -9 in every crash window and at random, and two runners at once, again and again: each migration is applied once.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::command::{ended_within, finish, up};
use super::scene::{Scene, Store};

/// Crash windows of the runner.
const WINDOWS: [&str; 7] = [
    "migrate_lease_taken",
    "migrate_entry_written",
    "migrate_before_commit",
    "migrate_after_commit",
    "migrate_begun",
    "migrate_carried_out",
    "migrate_before_release",
];
const DEFAULT_KILLS: u64 = 8;
const DEFAULT_RACES: u64 = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text} is no number")))
}

/// Kills runners until so many are dead. A database that is whole is looked at, and the next one begun.
async fn killed_anywhere(store: Store) {
    let kills = number("WHIMBREL_MIGRATION_KILLS", DEFAULT_KILLS);
    let seed = number("WHIMBREL_CHAOS_SEED", 5);
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut killed, mut in_window, mut databases) = (0, 0, 0);
    while killed < kills {
        let scene = Scene::new(store, "killed").await;
        let (directory, url) = (scene.directory(), scene.url());
        databases += 1;
        loop {
            // Every third dies at random, the others in one of the windows.
            let point = format!("{}:{}", WINDOWS[random.random_range(0..WINDOWS.len())], random.random_range(1..12));
            let armed = [("WHIMBREL_FAILPOINT", point.as_str())];
            let at_random = random.random_range(0..3) == 0;
            let environment: &[(&str, &str)] = if at_random { &[] } else { &armed };
            let patience = if at_random { random.random_range(30..900) } else { 60_000 };
            let mut child = up(&directory, &url, environment);
            let by_itself = ended_within(&mut child, Duration::from_millis(patience));
            let ran = finish(child);
            match ran.code() {
                Some(0) => break,
                // Killed by itself in its window, or by us.
                None => {
                    killed += 1;
                    in_window += u64::from(by_itself);
                }
                Some(code) => panic!("{store:?}, {point}: ended with {code}: {}{}", ran.out, ran.err),
            }
            if killed >= kills {
                break;
            }
        }
        let last = finish(up(&directory, &url, &[]));
        assert_eq!(last.code(), Some(0), "{store:?}: {}{}", last.out, last.err);
        scene.assert_applied_once().await;
        scene.close().await;
    }
    println!(
        "{store:?}: {killed} runners killed, {in_window} of them in a crash window (seed {seed}), {databases} databases: each migration applied once"
    );
    assert!(in_window > 0, "no crash window was hit: the failpoints are not compiled in");
}

/// Two runners at once, from the same start; one of them is killed now and then.
async fn two_at_once(store: Store) {
    let races = number("WHIMBREL_MIGRATION_RACES", DEFAULT_RACES);
    let mut random = SmallRng::seed_from_u64(number("WHIMBREL_CHAOS_SEED", 5));
    for race in 0..races {
        let scene = Scene::new(store, "race").await;
        let (directory, url) = (scene.directory(), scene.url());
        let first = up(&directory, &url, &[]);
        let mut second = up(&directory, &url, &[]);
        if race % 3 == 2 {
            ended_within(&mut second, Duration::from_millis(random.random_range(50..600)));
        }
        let (first, second) = (finish(first), finish(second));
        assert_eq!(first.code(), Some(0), "{store:?}: {}{}", first.out, first.err);
        assert!(matches!(second.code(), Some(0) | None), "{store:?}: {}{}", second.out, second.err);
        scene.assert_applied_once().await;
        scene.close().await;
    }
    println!("{store:?}: {races} times two runners at once: each migration applied once");
}

macro_rules! stores {
    ($($store:ident: $killed:ident, $raced:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $killed() {
            killed_anywhere(Store::$store).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $raced() {
            two_at_once(Store::$store).await;
        }
    )*};
}

stores! {
    Mongodb: killed_anywhere_mongodb_is_migrated_once, two_at_once_mongodb_is_migrated_once;
    Postgres: killed_anywhere_postgres_is_migrated_once, two_at_once_postgres_is_migrated_once;
    Mariadb: killed_anywhere_mariadb_is_migrated_once, two_at_once_mariadb_is_migrated_once;
    Sqlite: killed_anywhere_sqlite_is_migrated_once, two_at_once_sqlite_is_migrated_once;
}
