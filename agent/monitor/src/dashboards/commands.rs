//! `whimbrel dashboards`.

use std::io::Write;

use super::api::{ApiError, Applied, Grafana};
use super::args::{DashboardsArgs, DashboardsCommand, Where};
use super::{dashboard, provisioning, rules};
use crate::ask::{AskError, Asked};
use crate::gate::Stop;

/// `diff` found something.
const DIFFERS: u8 = 3;

/// Runs it. `variable` is the environment. The answer is the exit status.
///
/// # Errors
/// When the command line cannot be used, files cannot be written, or Grafana refuses.
pub async fn run(
    args: &DashboardsArgs,
    variable: &dyn Fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> Result<u8, Stop> {
    match &args.command {
        DashboardsCommand::Render { rules: true, .. } => write(out, &rules::rules()),
        DashboardsCommand::Render { provisioning: Some(directory), seen_as, .. } => {
            let files = provisioning::write(directory, seen_as.as_deref(), &json()?).map_err(|error| {
                Stop::Runtime(format!("the files cannot be written below {}: {error}", directory.display()))
            })?;
            files.iter().try_fold(0, |_, file| write(out, &format!("{}\n", file.display())))
        }
        DashboardsCommand::Render { .. } => write(out, &json()?),
        DashboardsCommand::Diff(place) => diff(&grafana(place, variable)?, place, out).await,
        DashboardsCommand::Apply(place) => {
            let applied = grafana(place, variable)?.apply(&dashboard(), &place.folder_uid, &place.folder).await;
            match applied.map_err(stop)? {
                Applied::Unchanged => write(out, "unchanged\n"),
                Applied::Created { page } => write(out, &format!("created {page}\n")),
                Applied::Changed { page, differences } => {
                    write(out, &format!("changed {page}\n{}", lines(&differences)))
                }
            }
        }
    }
}

async fn diff(grafana: &Grafana, place: &Where, out: &mut dyn Write) -> Result<u8, Stop> {
    match grafana.diff(&dashboard(), &place.folder_uid).await.map_err(stop)? {
        Some(differences) if differences.is_empty() => write(out, "no difference\n"),
        Some(differences) => write(out, &lines(&differences)).map(|_| DIFFERS),
        None => write(out, "Grafana has no such dashboard\n").map(|_| DIFFERS),
    }
}

fn grafana(place: &Where, variable: &dyn Fn(&str) -> Option<String>) -> Result<Grafana, Stop> {
    let token = variable("WHIMBREL_GRAFANA_TOKEN").filter(|token| !token.is_empty());
    Asked::new(&place.grafana_url, &place.access(token)).map(Grafana::new).map_err(|error| stop(error.into()))
}

/// The dashboard as it is printed.
fn json() -> Result<String, Stop> {
    let text = serde_json::to_string_pretty(&dashboard());
    text.map(|text| text + "\n").map_err(|error| Stop::Runtime(error.to_string()))
}

fn lines(differences: &[String]) -> String {
    differences.iter().map(|line| format!("  {line}\n")).collect()
}

fn stop(error: ApiError) -> Stop {
    match &error {
        ApiError::Ask(AskError::Address(_) | AskError::CaFile { .. }) => Stop::Usage(error.to_string()),
        _ => Stop::Runtime(error.to_string()),
    }
}

fn write(out: &mut dyn Write, text: &str) -> Result<u8, Stop> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map(|()| 0).map_err(|error| Stop::Runtime(format!("the result cannot be written: {error}")))
}
