//! `whimbrel start`: notes a baseline.

use std::io::Write;
use std::time::Duration;

use super::Stop;
use super::args::StartArgs;
use super::baseline::{Baseline, Kind};
use super::facts::Reading;
use super::report::UNKNOWN;
use super::source::{Place, now_ms};

/// Notes where counters stand. `configured` is the agent's address of `--config`, `variable` the environment.
///
/// # Errors
/// When the command line or the file of the baseline cannot be used.
pub async fn start(
    args: &StartArgs,
    configured: Option<&str>,
    variable: &dyn Fn(&str) -> Option<String>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Stop> {
    let source = &args.source;
    if source.agent_url.is_none() && source.prometheus_url.is_none() && configured.is_none() {
        return Err(Stop::Usage(
            "say who monitors: --prometheus-url URL, --agent-url URL, or --config FILE of the agent".to_owned(),
        ));
    }
    let place = Place::settle(source, &args.migration_id, Duration::from_secs(300), configured, variable);
    // A file that is no baseline is written anew.
    let place = match place {
        Err(Stop::Runtime(why)) => return Err(Stop::Runtime(why)),
        settled => settled?,
    };
    let mut tell = |line: String| writeln!(err, "whimbrel: {line}").map_err(|error| Stop::Runtime(error.to_string()));
    let now_ms = now_ms();
    let seen = match place.look(now_ms).await {
        Ok(seen) => seen,
        Err(error) => {
            tell(format!("no baseline is noted: {error}"))?;
            return Ok(UNKNOWN);
        }
    };
    let monitors = match (&seen.facts.data, place.kind) {
        (Reading::Known(data), _) => format!("{} monitors {}", place.address(), data.subjects.join(", ")),
        (Reading::Unknown(why) | Reading::Without(why), Kind::Agent) => {
            tell(format!("no baseline is noted: {why}"))?;
            return Ok(UNKNOWN);
        }
        (Reading::Unknown(why) | Reading::Without(why), Kind::Prometheus) => {
            format!("{} has nothing of it yet ({why}); until it has, `whimbrel check` does not pass", place.address())
        }
    };
    let baseline = Baseline::new(&args.migration_id, now_ms, place.kind, place.url(), seen.counters);
    baseline.write(&place.file)?;
    // The sum of no numbers is -0.
    let sum = |counts: &std::collections::BTreeMap<String, f64>| counts.values().sum::<f64>() + 0.0;
    let counters = &baseline.counters;
    writeln!(
        out,
        "migration {}: baseline of {} dead letters and {} errors in {}\n{monitors}",
        args.migration_id,
        sum(&counters.dead_letters),
        sum(&counters.errors),
        place.file.display(),
    )
    .map_err(|error| Stop::Runtime(error.to_string()))?;
    Ok(0)
}
