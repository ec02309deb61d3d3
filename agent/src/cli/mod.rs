//! The command line: one file per sub-command.
//!
//! A command gets its arguments and gives an [`Exit`]; it prints results on standard output and what is wrong on standard
//! error. Errors that a command does not explain itself come back as `anyhow` errors and are printed once, in `main`.

mod agent_api;
pub mod alerts;
mod around;
pub mod config;
pub mod connectors;
pub mod dashboards;
pub mod dead_letters;
pub mod demo;
pub mod doctor;
pub mod gate;
pub mod migrate;
pub mod observe;
mod orders;
pub mod plugin;
pub mod rules;
pub mod run;
pub mod silence;
pub mod top;

use clap::{Parser, Subcommand};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: as it should be.
    Ok,
    /// 1: an error while running.
    Runtime,
    /// 2: the command line or the configuration cannot be used.
    Usage,
    /// A status of the command's own, named in its help.
    Status(u8),
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => Self::SUCCESS,
            Exit::Runtime => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::Status(status) => Self::from(status),
        }
    }
}

/// Carries data through change-data-capture pipelines, watches itself doing it, and lets sandboxed WebAssembly plugins act on
/// the way.
#[derive(Debug, Parser)]
#[command(
    name = "whimbrel",
    version,
    propagate_version = true,
    max_term_width = 110,
    after_help = "Examples:
  whimbrel demo                                 see the whole thing work, without any server
  whimbrel config example > whimbrel.yaml       a commented configuration to start from
  whimbrel config check whimbrel.yaml           what is wrong with it, all at once
  whimbrel run --config whimbrel.yaml           run its pipelines
  whimbrel migrate up --config whimbrel.yaml    apply its migrations

Exit status: 0 ok, 1 runtime error, 2 usage or configuration; a command's help names others it has."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List incidents, try channels
    Alerts(alerts::AlertsArgs),
    /// Say whether it is safe to cut over: lag, rows, dead letters, errors, anomalies
    Check(Box<whimbrel_monitor::gate::args::CheckArgs>),
    /// Check a configuration file, print its schema or an example
    Config(config::ConfigArgs),
    /// Show and change Debezium connectors in Kafka Connect
    Connectors(connectors::ConnectorsArgs),
    /// Render Grafana's dashboard and Prometheus's alert rules, bring the dashboard to Grafana
    Dashboards(whimbrel_monitor::dashboards::args::DashboardsArgs),
    /// List, show and re-drive records that could not be applied
    DeadLetters(dead_letters::DeadLettersArgs),
    /// See the agent at work, without any server, and have it proven
    Demo(demo::DemoArgs),
    /// Look at everything a configuration depends on, and say what to do
    Doctor(doctor::DoctorArgs),
    /// Apply, undo, plan and watch versioned migrations of MongoDB, PostgreSQL, MySQL, MariaDB and SQLite
    Migrate(Box<migrate::MigrateArgs>),
    /// Run another tool's migration command and show what it does
    Observe(observe::ObserveArgs),
    /// Write plugins: new, build, embed, check, test, record, bench, inspect, docs, dev, promote
    Plugin(plugin::PluginArgs),
    /// Try rules on recorded history
    Rules(rules::RulesArgs),
    /// Run the pipelines of a configuration file
    Run(run::RunArgs),
    /// Silence incidents, announce phases that explain them
    Silence(silence::SilenceArgs),
    /// Note where a migration begins, for `check`
    Start(whimbrel_monitor::gate::args::StartArgs),
    /// Look at a running agent: pipelines, incidents, migrations, plugins
    Top(top::TopArgs),
    /// Print version and build facts
    Version,
}

/// Runs a command.
///
/// # Errors
/// What the command could not explain better itself.
pub fn run(cli: Cli) -> anyhow::Result<Exit> {
    let done = dispatch(cli.command);
    match &done {
        // `whimbrel … | head`: the reader has what it wanted.
        Err(error) if is_broken_pipe(error) => Ok(Exit::Ok),
        _ => done,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref::<std::io::Error>() {
        Some(io) => io.kind() == std::io::ErrorKind::BrokenPipe,
        None => cause
            .downcast_ref::<serde_json::Error>()
            .is_some_and(|json| json.io_error_kind() == Some(std::io::ErrorKind::BrokenPipe)),
    })
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Alerts(args) => alerts::run(&args, &mut std::io::stdout(), &mut std::io::stderr()),
        Command::Rules(args) => rules::run(&args, &mut std::io::stdout(), &mut std::io::stderr()),
        Command::Silence(args) => silence::run(&args, &mut std::io::stdout()),
        Command::Check(args) => gate::check(&args),
        Command::Dashboards(args) => dashboards::run(&args),
        Command::Start(args) => gate::start(&args),
        Command::Config(args) => config::run(args, &mut std::io::stdout(), &mut std::io::stderr()),
        Command::DeadLetters(args) => dead_letters::run(&args, &mut std::io::stdout(), &mut std::io::stderr()),
        Command::Doctor(args) => doctor::run(&args, &mut std::io::stdout(), &mut std::io::stderr()),
        Command::Demo(args) => demo::run(&args),
        Command::Connectors(args) => connectors::main(args, &mut std::io::stdout(), &mut std::io::stderr()),
        Command::Observe(args) => observe::run(args),
        Command::Migrate(args) => migrate::run(*args, &mut std::io::stdout()),
        Command::Plugin(args) => plugin::run(args, &mut std::io::stdout(), &mut std::io::stderr()),
        Command::Run(args) => run::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Version => version(&mut std::io::stdout()),
    }
}

fn version(out: &mut dyn std::io::Write) -> anyhow::Result<Exit> {
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    writeln!(out, "whimbrel {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "librdkafka {librdkafka}")?;
    writeln!(out, "sqlite {}", rusqlite::version())?;
    writeln!(out, "target {}-{}", std::env::consts::ARCH, std::env::consts::OS)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_argument_is_explained() {
        Cli::command().debug_assert();
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            let name = command.get_name().to_owned();
            assert!(command.get_about().is_some(), "{name} has no help");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name} {} has no help", argument.get_id());
            }
            commands.extend(command.get_subcommands().filter(|c| c.get_name() != "help").cloned());
        }
    }
}
