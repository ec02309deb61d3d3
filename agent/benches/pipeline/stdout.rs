//! Kafka to nowhere: what the agent itself costs, with and without a plugin, beside reading alone.

use anyhow::Result;
use serde_json::{Value, json};

use super::agent::{Agent, Run, config};
use super::figures::Figures;
use super::figures::Target::{AtLeast, AtMost, Shown};
use super::{Setup, topic, transform};

fn pipeline(transform: &Value) -> Value {
    json!({
        "target": {"stdout": {"path": "/dev/null"}},
        "transform": transform,
        "delivery": {"mode": "at_least_once", "batch": {"max_events": 1000}, "dead_letters": {"topic": "bench-dead-letters"}},
    })
}

async fn run(setup: &Setup, name: &str, transform: &Value) -> Result<Run> {
    let config = config(setup.directory(), &setup.topic, &setup.name(name), pipeline(transform));
    let mut agent = Agent::start(setup.directory(), &config)?;
    let run = agent.run_to(setup.events).await?;
    agent.stop()?;
    run.print(name);
    Ok(run)
}

pub(crate) async fn measure(setup: &Setup, figures: &mut Figures) -> Result<()> {
    for round in 0..setup.rounds {
        let (wall, cpu) = topic::consume(&setup.topic, setup.events)?;
        let events = setup.events as f64;
        let reading = cpu.as_secs_f64() * 1e6 / events;
        println!("{:<20} {reading:6.2} µs CPU/event, {:.0} events/s", "consume only", events / wall.as_secs_f64());
        let plain = run(setup, &format!("null-{round}"), &json!([])).await?;
        let masked = run(setup, &format!("null-mask-{round}"), &transform::two_columns()).await?;
        figures.add("consume only, events a CPU second", "", Shown, events / cpu.as_secs_f64());
        figures.add("Kafka -> stdout-null, events a CPU second", "", AtLeast(250_000.0), plain.per_core());
        figures.add("Kafka -> stdout-null, of consume only", "", Shown, reading / plain.micros());
        figures.add("Kafka -> stdout-null, CPU an event", "µs", Shown, plain.micros());
        figures.add(
            "the same without what librdkafka's threads use",
            "µs",
            Shown,
            plain.micros() - plain.micros_of("rdk:"),
        );
        figures.add(
            "two-column plugin, by the reader thread's CPU",
            "µs",
            AtMost(0.3),
            masked.micros_of("read") - plain.micros_of("read"),
        );
        let code = transform::measure()?;
        figures.add("decode, CPU an event", "µs", AtMost(2.0), code.decode);
        figures.add("two-column plugin, by itself", "µs", AtMost(0.3), code.plugin);
        figures.add("native transform of the two columns", "µs", Shown, code.native);
        figures.add("two-column plugin, of the pipeline's CPU", "", AtMost(0.05), code.plugin / masked.micros());
    }
    Ok(())
}
