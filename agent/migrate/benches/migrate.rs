//! What a chunked update costs beside a raw loop of the driver that does the same writes: the same chunks, in transactions
//! with the same concerns, without ledger, lock and throttle. MONGO_PORT names a replica set; `-- [documents] [rounds]` the
//! size. With WHIMBREL_BIN the built program migrates too, small and large, and its largest resident memory is told.
//!
//! Both update all documents of one collection, in turns, so that what else the machine does hits both.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench may die of what it meets")]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use mongodb::options::{ReadConcern, WriteConcern};
use mongodb::{Client, Database};
use tokio_util::sync::CancellationToken;
use whimbrel_migrate::engine::Runner;
use whimbrel_migrate::error::{Error, Kind};
use whimbrel_migrate::ledger::{Id, LEDGER};
use whimbrel_migrate::migration::{Migration, Options, PluginFile};
use whimbrel_migrate::mongodb::{Settings, file, open};
use whimbrel_migrate::plan::Policy;
use whimbrel_migrate::program::{Program, Programs};
use whimbrel_migrate::watch::Watchers;

const CHUNK: i32 = 2_000;
const NAME: &str = "whimbrel_bench";
/// Documents of about 300 bytes.
const NOTE: &str =
    "a note of some length, as people write them beneath an order that they hope will be read by somebody";

struct NoPrograms;

impl Programs for NoPrograms {
    fn load(&self, _: &PluginFile) -> Result<Box<dyn Program>, Error> {
        Err(Error::new(Kind::Database, "plugin", "no plugins here"))
    }
}

fn url() -> String {
    let port = std::env::var("MONGO_PORT").unwrap_or_else(|_| panic!("MONGO_PORT is not set: run `./x bench migrate`"));
    format!("mongodb://127.0.0.1:{port}/{NAME}?replicaSet=rs0")
}

async fn fill(database: &Database, count: i32) {
    database.drop().await.unwrap();
    let orders = database.collection::<Document>("orders");
    for first in (0..count).step_by(10_000) {
        let rows = (first..(first + 10_000).min(count))
            .map(|i| doc! {"_id": i, "price": i % 977, "quantity": 3, "note": NOTE, "address": NOTE});
        orders.insert_many(rows).ordered(false).await.unwrap();
    }
}

fn steps(round: usize) -> String {
    format!(
        "steps:\n  - update: {{collection: orders, filter: {{}}, update: [{{$set: {{total: {{$multiply: [$price, $quantity, {round}]}}}}}}]}}\n"
    )
}

async fn raw(database: &Database, count: i32, round: usize) {
    let orders = database.collection::<Document>("orders");
    let mut session = database.client().start_session().await.unwrap();
    let update = vec![doc! {"$set": {"total": {"$multiply": ["$price", "$quantity", i32::try_from(round).unwrap()]}}}];
    for first in (0..count).step_by(usize::try_from(CHUNK).unwrap()) {
        let range = doc! {"_id": {"$gt": first - 1, "$lte": first + CHUNK - 1}};
        let concerns =
            session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(WriteConcern::majority());
        concerns.await.unwrap();
        orders.update_many(range, update.clone()).session(&mut session).await.unwrap();
        session.commit_transaction().await.unwrap();
    }
}

async fn ours(database: &Database, round: usize) {
    database.collection::<Document>(LEDGER).delete_many(doc! {}).await.unwrap();
    let contents = file::parse(&steps(round)).unwrap();
    let migration = Migration {
        id: Id::from_text("1").unwrap(),
        name: "totals".into(),
        file: "1.yaml".into(),
        checksum: "bench".into(),
        up: contents.up,
        down: None,
        checks: Vec::new(),
    };
    let runner = Runner {
        database: open(Settings { url: url(), database: None, ledger: None }).unwrap(),
        migrations: vec![migration],
        policy: Policy::default(),
        options: Options::default(),
        programs: Arc::new(NoPrograms),
        watch: Watchers::new(),
        who: "bench".into(),
    };
    runner.up(None, &CancellationToken::new()).await.unwrap();
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Largest resident memory of the program while it migrates so many documents, in MiB.
async fn memory(database: &Database, program: &str, count: i32) -> f64 {
    fill(database, count).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("0001_totals.yaml"), steps(1)).unwrap();
    let mut child = Command::new(program)
        .args(["migrate", "up", "--directory"])
        .arg(directory.path())
        .env("WHIMBREL_DATABASE", url())
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut most = 0.0_f64;
    let status = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        most = most.max(kilobytes.unwrap_or(0.0) / 1024.0);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(status.success(), "the program ended with {status}");
    most
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let count: i32 = arguments.next().map_or(200_000, |text| text.parse().unwrap());
    let rounds: usize = arguments.next().map_or(5, |text| text.parse().unwrap());
    let client = Client::with_uri_str(url()).await.unwrap();
    let database = client.database(NAME);
    fill(&database, count).await;
    raw(&database, count, 0).await;
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        // In turns, and by turns first.
        let mut took = [Duration::ZERO; 2];
        for turn in 0..2 {
            let who = (turn + round) % 2;
            let began = Instant::now();
            if who == 0 {
                raw(&database, count, round * 2).await
            } else {
                ours(&database, round * 2 + 1).await
            }
            took[who] = began.elapsed();
        }
        let rate = |took: Duration| f64::from(count) / took.as_secs_f64();
        println!(
            "round {round}: raw {:.0} documents/s, migrated {:.0}, ratio {:.3}",
            rate(took[0]),
            rate(took[1]),
            rate(took[1]) / rate(took[0])
        );
        rates.push(rate(took[1]));
        ratios.push(rate(took[1]) / rate(took[0]));
    }
    println!(
        "chunked update, {count} documents: {:.0} documents/s, of a raw loop {:.3} (median of {rounds})",
        median(rates),
        median(ratios)
    );
    if let Ok(program) = std::env::var("WHIMBREL_BIN") {
        for count in [10_000, 1_000_000] {
            println!("largest resident memory, {count} documents: {:.1} MiB", memory(&database, &program, count).await);
        }
    }
    database.drop().await.unwrap();
}
