//! `whimbrel dashboards`: all of it is [`whimbrel_monitor::dashboards`]'s business.

use whimbrel_monitor::dashboards;
use whimbrel_monitor::dashboards::args::DashboardsArgs;

use super::Exit;
use super::gate::{ended, runtime, variable};

/// Runs it.
///
/// # Errors
/// When there is no async runtime to be had.
pub fn run(args: &DashboardsArgs) -> anyhow::Result<Exit> {
    ended(runtime()?.block_on(dashboards::run(args, &variable, &mut std::io::stdout())))
}
