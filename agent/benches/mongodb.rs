//! What the MongoDB target costs beside a ceiling measured in the same run: a loop that sends the same statements,
//! encoded beforehand, in the same transactions. MONGO_PORT names a replica set; `-- [batches] [blocks]` the size.
//!
//! Both write the same rows into collections of their own, in alternating blocks, so that what else the machine does hits
//! both. "new" are rows that are not there yet, "known" the same keys again. CPU is this process's alone.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench may die of what it meets"
)]

#[path = "ceiling/mongodb.rs"]
mod ceiling;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use ceiling::Encoded;
use mongodb::Client;
use whimbrel::batch::Batch;
use whimbrel::config::raw::{CompositeId, MongoTarget as Raw, OddFieldNames};
use whimbrel::config::secret::Secret;
use whimbrel::event::{
    Cell, CellKind, Column, Event, Kind, Op, Origin, Shape, SourcePosition, SourceType, Span, Verdict,
};
use whimbrel::target::mongodb::{MongoTarget, Settings};
use whimbrel::target::{
    Advance, DeliveryMode, KeyColumn, Layout, LayoutColumn, RowAction, RowOp, RowVersion, Step, TableWrite, Target,
    WriteBatch,
};

const ROWS: usize = 1000;
const TOPIC: &str = "shop.public.orders";

/// Columns of an order, about 250 bytes a row: what is left of a 0.9 kB envelope.
fn columns() -> Vec<(&'static str, SourceType)> {
    vec![
        ("id", SourceType::Int64),
        ("customer_id", SourceType::Int64),
        ("status", SourceType::Text),
        ("email", SourceType::Text),
        ("street", SourceType::Text),
        ("city", SourceType::Text),
        ("note", SourceType::Text),
        ("total", SourceType::Decimal { scale: 2 }),
        ("items", SourceType::Int32),
        ("paid", SourceType::Boolean),
        ("created_at", SourceType::TimestampMicros),
    ]
}

fn layout(table: &str) -> Arc<Layout> {
    let columns = columns();
    Arc::new(Layout {
        table: table.into(),
        key: vec![KeyColumn { name: "id".into(), ty: SourceType::Int64 }],
        columns: columns
            .into_iter()
            .enumerate()
            .map(|(at, (name, ty))| LayoutColumn {
                name: name.into(),
                ty,
                nullable: true,
                write: true,
                key: (at == 0).then_some(0),
            })
            .collect(),
        create: false,
    })
}

struct Planned {
    batch: Batch,
    steps: Vec<Step>,
    advances: Vec<Advance>,
    effects: Vec<u32>,
    mode: DeliveryMode,
}

impl Planned {
    fn new(layout: &Arc<Layout>, mode: DeliveryMode, first_key: usize, offset: i64) -> Self {
        let mut batch = Batch::default();
        batch.topic_index(&Arc::from(TOPIC));
        let shape = Shape {
            columns: columns().into_iter().map(|(name, ty)| Column { name: name.into(), ty, nullable: true }).collect(),
        };
        let shape = batch.shape_index(&Arc::new(shape));
        let mut ops = Vec::new();
        for n in 0..ROWS {
            let id = first_key + n;
            let offset = offset + i64::try_from(n).unwrap();
            let texts = [
                (CellKind::Number, id.to_string()),
                (CellKind::Number, (id * 7 % 10_007).to_string()),
                (CellKind::Text, "shipped".into()),
                (CellKind::Text, format!("customer{id}@example.org")),
                (CellKind::Text, format!("Hauptstraße {}", id % 300)),
                (CellKind::Text, "Lübeck".into()),
                (CellKind::Escaped, "leave it \\\"behind\\\" the blue door, please, and do not ring the bell".into()),
                (CellKind::Text, "AeJA".into()),
                (CellKind::Number, (id % 9).to_string()),
                (CellKind::True, String::new()),
                (CellKind::Number, (1_700_000_000_000_000 + offset * 1000).to_string()),
            ];
            let cells: Vec<Cell> = texts
                .iter()
                .map(|(kind, text)| {
                    let span = if text.is_empty() { Span::default() } else { batch.push_bytes(text.as_bytes()) };
                    Cell { span, kind: *kind }
                })
                .collect();
            let key = u32::try_from(batch.cells.len()).unwrap();
            batch.cells.push(cells[0]);
            let row = batch.push_row(shape, cells);
            let position = SourcePosition { major: offset.unsigned_abs(), minor: 0 };
            batch.events.push(Event {
                origin: Origin { topic: 0, partition: 0, offset },
                broker_ts_ms: 0,
                kind: Kind::Change(Op::Create),
                table: 0,
                destination: 0,
                key: None,
                before: None,
                after: None,
                raw_key: None,
                raw_value: None,
                raw_headers: Span::default(),
                source_ts_us: 0,
                captured_ts_us: 0,
                position,
                snapshot: false,
                verdict: Verdict::Keep,
            });
            ops.push(RowOp {
                event: u32::try_from(n).unwrap(),
                key,
                version: RowVersion { position, partition: 0, offset },
                action: RowAction::Upsert(row),
            });
        }
        let steps = vec![Step::Rows(vec![TableWrite { layout: Arc::clone(layout), ops }])];
        let next = offset + i64::try_from(ROWS).unwrap();
        let advances =
            vec![Advance { topic: TOPIC.into(), partition: 0, expected: (offset > 0).then_some(offset), next }];
        Self { batch, steps, advances, effects: Vec::new(), mode }
    }

    fn write(&self) -> WriteBatch<'_> {
        WriteBatch {
            pipeline: "bench",
            mode: self.mode,
            batch: &self.batch,
            steps: &self.steps,
            advances: &self.advances,
            dead_letters: &[],
            settled: &[],
            effects: &self.effects,
            now_ms: 0,
        }
    }
}

/// User and system time of this process.
fn cpu() -> Duration {
    // SAFETY: the structure is plain data, and the call only fills it in.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time =
        |t: libc::timeval| Duration::new(u64::try_from(t.tv_sec).unwrap(), u32::try_from(t.tv_usec).unwrap() * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

#[derive(Default, Clone, Copy)]
struct Sum {
    rows: usize,
    wall: Duration,
    cpu: Duration,
}

impl Sum {
    fn add(&mut self, rows: usize, wall: Duration, cpu: Duration) {
        self.rows += rows;
        self.wall += wall;
        self.cpu += cpu;
    }

    fn rate(&self) -> f64 {
        self.rows as f64 / self.wall.as_secs_f64()
    }

    fn show(&self, name: &str) {
        let cpu = self.cpu.as_secs_f64() * 1e6 / self.rows as f64;
        println!("{name:32} {:>9.0} rows/s   {cpu:>6.2} µs CPU/row", self.rate());
    }
}

async fn target(uri: &str, database: &str, mode: DeliveryMode) -> MongoTarget {
    let raw = Raw {
        uri: Secret::new(uri),
        database: database.into(),
        state_database: None,
        composite_id: CompositeId::Document,
        key_fields: true,
        odd_field_names: OddFieldNames::Keep,
        ledger: false,
        timeout: None,
    };
    let mut target = MongoTarget::new(Settings::from_raw(&raw, mode, Duration::from_secs(3600)).unwrap());
    target.open().await.unwrap();
    target
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let batches: usize = args.next().map_or(15, |arg| arg.parse().unwrap());
    let blocks: usize = args.next().map_or(6, |arg| arg.parse().unwrap());
    let port = std::env::var("MONGO_PORT").expect("MONGO_PORT: port of a mongod replica set");
    let uri = format!("mongodb://127.0.0.1:{port}/?replicaSet=rs0");
    let client = Client::with_uri_str(&uri).await.unwrap();
    let db = client.database("wb_bench");
    db.drop().await.unwrap();
    for name in ["ceiling", ceiling::OFFSETS] {
        db.create_collection(name).await.unwrap();
    }
    let once_layout = layout("once");
    let least_layout = layout("least");
    let mut once = target(&uri, "wb_bench", DeliveryMode::ExactlyOnce).await;
    let mut least = target(&uri, "wb_bench_least", DeliveryMode::AtLeastOnce).await;
    client.database("wb_bench_least").drop().await.unwrap();
    least.open().await.unwrap();
    let mut session = client.start_session().await.unwrap();
    // [new, known] of each.
    let mut sums = [[Sum::default(); 2]; 3];
    for block in 0..blocks * 2 {
        let known = block % 2;
        for number in 0..batches {
            let first_key = (block / 2 * batches + number) * ROWS;
            let offset = i64::try_from((block * batches + number) * ROWS).unwrap();
            let plan = Planned::new(&once_layout, DeliveryMode::ExactlyOnce, first_key, offset);
            let begun = (Instant::now(), cpu());
            assert_eq!(once.apply(&plan.write()).await.unwrap().rows, ROWS as u64);
            sums[0][known].add(ROWS, begun.0.elapsed(), cpu() - begun.1);

            // The ceiling's documents are read back from what the target wrote: the very same bytes.
            let ids: Vec<i64> = (first_key..first_key + ROWS).map(|id| i64::try_from(id).unwrap()).collect();
            let mut found =
                db.collection::<Document>("once").find(doc! {"_id": {"$in": ids}}).sort(doc! {"_id": 1}).await.unwrap();
            let mut documents = Vec::new();
            while found.advance().await.unwrap() {
                documents.push(found.deserialize_current().unwrap());
            }
            let encoded = Encoded::new("ceiling", TOPIC, &documents, offset).unwrap();
            let begun = (Instant::now(), cpu());
            encoded.send(&db, &mut session).await.unwrap();
            sums[1][known].add(ROWS, begun.0.elapsed(), cpu() - begun.1);

            let plan = Planned::new(&least_layout, DeliveryMode::AtLeastOnce, first_key, offset);
            let begun = (Instant::now(), cpu());
            assert_eq!(least.apply(&plan.write()).await.unwrap().rows, ROWS as u64);
            sums[2][known].add(ROWS, begun.0.elapsed(), cpu() - begun.1);
        }
    }
    for (known, name) in ["new", "known"].into_iter().enumerate() {
        let [once, ceiling, least] = [sums[0][known], sums[1][known], sums[2][known]];
        ceiling.show(&format!("{name}: ceiling"));
        once.show(&format!("{name}: exactly_once"));
        least.show(&format!("{name}: at_least_once"));
        println!(
            "{name}: exactly_once / ceiling {:.2}, exactly_once / at_least_once {:.2}\n",
            once.rate() / ceiling.rate(),
            once.rate() / least.rate()
        );
    }
    db.drop().await.unwrap();
    client.database("wb_bench_least").drop().await.unwrap();
}
