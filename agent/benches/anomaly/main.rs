//! What the bundled `statistical` rule finds in series whose anomalies people have labelled: the component as the agent
//! carries it, in the agent's sandbox, fed row by row, with one set of constants for all files; scored as the Numenta Anomaly
//! Benchmark (NAB) 1.1 does.
//!
//!     ./x bench anomaly [DIR [LABELS]]
//!
//! DIR holds the series, `CATEGORY/FILE.csv` with the columns timestamp and value; LABELS is a JSON object of windows by
//! file, default `labels.json` in DIR or beside it. Without DIR it is the 35 files that `./x` unpacks from tests/fixtures/nab.
//! Fails below 68 in the standard profile.

mod corpus;
mod scorer;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whimbrel::plugin::{Cache, Engine, Grants, Instance, Plugin, Point, Rule, Series, Setup, Window, bundled};

use corpus::File;
use scorer::{Corpus, Profile};

/// The score a release must reach in the standard profile.
const LEAST: f64 = 68.0;
/// From which raw score on a value is an alarm, and from which it is worth waking somebody.
const ALARM: f64 = 0.071;
const PAGE: f64 = 0.5;
/// One step of evaluation.
const STEP_MS: i64 = 300_000;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(directory) = arguments.next().map(PathBuf::from) else {
        return Err("name the folder of the series; `./x bench anomaly` unpacks and names one".into());
    };
    let files = corpus::read(&directory, arguments.next().map(PathBuf::from))?;
    let engine = Engine::new()?;
    let mut rule = start(&engine)?;
    let mut took = Duration::ZERO;
    let mut corpus = Corpus::default();
    for file in &files {
        let begun = Instant::now();
        let scores = feed(&mut rule, file)?;
        took += begun.elapsed();
        corpus.add(file, scores);
    }
    let rows = corpus.rows();
    println!("{} files, {rows} rows, {} windows", files.len(), corpus.windows());
    let best: Vec<(Profile, f64, f64)> = Profile::ALL
        .into_iter()
        .map(|profile| {
            let (score, threshold) = corpus.best(&profile);
            (profile, score, threshold)
        })
        .collect();
    println!("{:<10} {:>7} {:>10} {:>16}", "profile", "score", "threshold", "at the default");
    for (profile, score, threshold) in &best {
        let fixed = corpus.at(profile, squeezed(ALARM));
        let threshold =
            if threshold.is_finite() { format!("{:.3}", unsqueezed(*threshold)) } else { "none".to_owned() };
        println!("{:<10} {score:>7.2} {threshold:>10} {fixed:>16.2}", profile.name);
    }
    println!("thresholds are raw scores; those of the first column are the best for these files, as NAB chooses them");
    for (name, raw) in [("alarms", ALARM), ("pages", PAGE)] {
        let share = corpus.count(squeezed(raw)) as f64 * 1_000.0 / rows as f64;
        println!("{name} (from {raw} on): {share:.2} per 1,000 rows");
    }
    println!("{:.2} µs a row through the component, state kept included", took.as_secs_f64() * 1e6 / rows as f64);
    let standard = best.first().map_or(f64::NEG_INFINITY, |(_, score, _)| *score);
    if standard < LEAST {
        eprintln!("anomaly: {standard:.2} in the standard profile, and {LEAST} is the least");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn start(engine: &Engine) -> Result<Instance<Rule>, Box<dyn Error>> {
    let bytes = bundled::find("statistical").ok_or("the plugin is not bundled")?;
    let config = r#"{"watch": [{"series": "value"}], "report_scores": true}"#;
    let grants = Grants { state: Some(4 << 20), ..Grants::default() };
    let plugin = Plugin::load(engine, &Cache::none(), bytes, Setup { grants, ..Setup::new("statistical", config) })?;
    Ok(Arc::new(plugin).start()?)
}

/// The score of each row, which the rule saw when it knew none of those after it.
fn feed(rule: &mut Instance<Rule>, file: &File) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut scores = Vec::with_capacity(file.rows.len());
    for (at_ms, value) in &file.rows {
        let points = vec![Point { at_ms: *at_ms, value: *value }];
        let series = vec![Series { name: "value".to_owned(), labels: Vec::new(), points }];
        let window = Window { scope: file.name.clone(), start_ms: *at_ms, end_ms: at_ms + STEP_MS, series };
        let findings = rule.evaluate(&window)?;
        let score = findings.iter().find(|finding| finding.kind == "score").and_then(|finding| finding.score);
        scores.push(score.ok_or_else(|| format!("{}: no score for the row at {at_ms} ms", file.name))?);
    }
    Ok(scores)
}

/// A raw score as the rule reports it.
fn squeezed(raw: f64) -> f64 {
    raw / (raw + 0.2)
}

fn unsqueezed(score: f64) -> f64 {
    0.2 * score / (1.0 - score)
}
