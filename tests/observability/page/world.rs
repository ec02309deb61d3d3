//! Pipelines, plugins, migrations and incidents that nobody runs, for whoever looks at them: fed each second as the stages
//! feed them, watched by a real monitor.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use whimbrel::config::monitor::Monitor as Section;
use whimbrel::event::{Op, Reason};
use whimbrel::migrations::meter::Meter;
use whimbrel::monitor::config::MonitorConfig;
use whimbrel::monitor::{Monitor, View};
use whimbrel::plugin::trust::Trust;
use whimbrel::plugin::{Cache, Engine, Sandbox, Services};
use whimbrel::stats::{
    BatchReport, Component, Edition, Health, HopSamples, Instruments, LagConfig, MigrationBoard, Observer,
    PipelineState, PluginMeter, PluginPlace, TableLag, Watermark,
};
use whimbrel_migrate::database::System;
use whimbrel_migrate::ledger::{Count, Direction, Progress};
use whimbrel_migrate::watch::{Event, Watch as _};

const ROWS: u64 = 2_000_000;

/// What a pipeline is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Behind,
    Stalled,
    Silent,
    Paused,
}

struct Pipeline {
    observer: Arc<Observer>,
    meter: Arc<PluginMeter>,
    _place: Arc<PluginPlace>,
    topic: Arc<str>,
    fate: Fate,
    rate: u64,
    next: i64,
    end: i64,
}

/// All of it.
pub(super) struct World {
    instruments: Instruments,
    pipelines: Vec<Pipeline>,
    _board: Arc<MigrationBoard>,
    migrations: Meter,
    done: u64,
    seconds: u64,
}

impl World {
    pub(super) fn new(instruments: &Instruments, pipelines: usize) -> Self {
        let board = MigrationBoard::new(instruments);
        let migrations = Meter::new("shop", instruments, &board);
        let mut world = Self {
            instruments: instruments.clone(),
            pipelines: (0..pipelines).map(|index| Pipeline::new(instruments, index)).collect(),
            _board: board,
            migrations,
            done: 0,
            seconds: 0,
        };
        world.migrate();
        world
    }

    /// A migration that was applied, one that failed, one that runs.
    fn migrate(&mut self) {
        let none = Progress::default();
        for (id, name, error) in [
            ("1", "create orders", None),
            ("2", "add customer email", None),
            ("4", "unique index on email", Some(("unique_violation", "customers: 3 rows share a value of email"))),
            ("3", "fill total", None),
        ] {
            let begin = Event::Started {
                id,
                name,
                system: Some(System::Postgresql),
                direction: Direction::Up,
                steps: 2,
                progress: &none,
            };
            self.migrations.tell(&begin);
            let what = "update public.orders";
            let place = Some("public.orders");
            self.migrations.tell(&Event::StepStarted { id, index: 0, what, place, expected: Some(ROWS) });
            if id != "3" {
                let started = SystemTime::now() - Duration::from_secs(40);
                self.migrations.tell(&Event::Ended { id, direction: Direction::Up, started, error, progress: &none });
            }
        }
    }

    /// A second passes.
    pub(super) fn second(&mut self) {
        self.seconds += 1;
        let now = self.instruments.now_ms();
        for pipeline in &mut self.pipelines {
            pipeline.second(now, self.seconds);
        }
        self.done = (self.done + 4_321).min(ROWS);
        let counts = [("public.orders".to_owned(), Count { done: self.done, expected: Some(ROWS) })].into();
        let progress = Progress { counts, ..Progress::default() };
        let started = SystemTime::now();
        self.migrations.tell(&Event::Committed {
            id: "3",
            place: "public.orders",
            count: 4_321,
            started,
            progress: &progress,
        });
    }
}

impl Pipeline {
    fn new(instruments: &Instruments, index: usize) -> Self {
        let name = match index {
            0 => "a-pipeline-with-quite-a-long-name-as-they-happen-in-large-companies-eu-central-1".to_owned(),
            _ => format!("{}-{index:02}", ["shop", "billing", "stock", "people"][index % 4]),
        };
        let fate = match index {
            7 => Fate::Stalled,
            11 => Fate::Silent,
            13 => Fate::Paused,
            _ if index % 12 == 3 => Fate::Behind,
            _ => Fate::Well,
        };
        let target = ["postgresql", "mongodb", "sqlite"][index % 3];
        let lag = LagConfig { stalled_after: Duration::from_secs(4), ..LagConfig::default() };
        let observer = Observer::new(&name, "kafka", target, lag, instruments.clone());
        observer.group(&format!("{name}-consumer"));
        let topic: Arc<str> = format!("shop{index}.public.orders").into();
        observer.assigned(&[(Arc::clone(&topic), 0)]);
        observer.state(PipelineState::Running);
        if fate == Fate::Paused {
            observer.state(PipelineState::Paused {
                why: "login to the target was refused".into(),
                remedy: "mend the password, then send SIGHUP".into(),
            });
            observer.component(Component::Target, Health::Down { why: "login refused".into() });
        }
        if fate != Fate::Silent {
            observer.dead_letters_stored(if index % 9 == 4 { 3 * index as u64 } else { 0 });
        }
        let plugin = if index.is_multiple_of(2) { "mask-fields" } else { "route" };
        let edition = Edition { source: plugin.into(), version: "0.1.0".into(), digest: format!("{index:064x}") };
        let meter = PluginMeter::new(plugin, "0.1.0", &edition.digest, instruments);
        meter.serves(&name);
        meter.memory_bytes((1_300 + 17 * index as u64) << 10);
        let place = PluginPlace::new(&name, plugin, edition, instruments);
        Self { observer, meter, _place: place, topic, fate, rate: 40 + 97 * index as u64, next: 1_000, end: 1_000 }
    }

    fn second(&mut self, now: i64, seconds: u64) {
        if self.fate == Fate::Paused {
            return;
        }
        let wave = 1.0 + (seconds as f64 / 9.0 + self.rate as f64).sin() / 2.0;
        let count = (self.rate as f64 * wave) as u64;
        self.end += count as i64;
        if self.fate != Fate::Silent {
            let heartbeat: Arc<str> = format!("__debezium-heartbeat.{}", self.topic.split('.').next().unwrap()).into();
            self.observer.heartbeat(&heartbeat, now - 300, now);
        }
        let applied = match self.fate {
            Fate::Well => self.end - self.next,
            Fate::Behind => (self.end - self.next).min((count * 9 / 10) as i64),
            Fate::Silent if seconds < 3 => self.end - self.next,
            _ => 0,
        };
        if self.fate != Fate::Silent || seconds < 3 {
            self.observer.end_offset(&self.topic, 0, self.end, now);
        }
        self.next += applied;
        self.observer.frontier(&self.topic, 0, self.next, now);
        if applied == 0 {
            return;
        }
        let committed = now - 40 - (self.end - self.next).min(60_000);
        self.observer.applied(
            &BatchReport {
                events: vec![("shop".into(), "public.orders".into(), Op::Create, applied as u64)],
                tables: vec![TableLag {
                    topic: Arc::clone(&self.topic),
                    source_table: "public.orders".into(),
                    target_table: "orders".into(),
                    newest_source_ts_ms: committed,
                }],
                watermarks: vec![Watermark {
                    topic: Arc::clone(&self.topic),
                    partition: 0,
                    newest_source_ts_ms: committed,
                }],
                hops: HopSamples::default(),
                rows: applied as u64,
                bytes: 900 * applied as u64,
                dead_letters: if seconds.rem_euclid(20) == 5 { vec![(Reason::Malformed, 1)] } else { vec![] },
                ..BatchReport::default()
            },
            now,
        );
        self.meter.call(
            if self.rate > 4_500 && seconds.is_multiple_of(7) { "trap" } else { "ok" },
            Duration::from_nanos(applied as u64 * 170),
        );
        self.meter.events("keep", applied as u64);
    }
}

/// A monitor with the rules that an agent has unasked, which looks each two seconds.
pub(super) fn monitor(instruments: &Instruments) -> (Monitor, View) {
    let section: Section = serde_json::from_value(serde_json::json!({ "evaluate": "2s" })).unwrap();
    let config = MonitorConfig::new(&section).unwrap_or_else(|_| panic!("the section is right"));
    let sandbox = Sandbox {
        engine: Engine::new().unwrap(),
        cache: Cache::none(),
        services: Services::default(),
        trust: Trust::default(),
        repro: None,
    };
    let monitor = Monitor::start(&config, &sandbox, instruments).unwrap();
    let view = monitor.view();
    (monitor, view)
}
