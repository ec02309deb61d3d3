//! `whimbrel migrate up|down|status|plan|validate|repair|new`: versioned migrations of one database. One file a verb; what all
//! have in common, from arguments to a runner that is watched, is in `session`.
//!
//! Results go to `out`, progress and what is wrong to standard error; with `--format json` everything goes to `out`, an object
//! a line.

mod asked;
mod down;
mod new;
mod outcome;
mod plan;
mod repair;
mod session;
mod status;
mod up;
mod validate;

use std::io::Write;

use clap::{Args, Subcommand};

use super::Exit;

/// Arguments of `whimbrel migrate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel migrate status --directory migrations --database postgresql://me@127.0.0.1/shop
  whimbrel migrate up --config whimbrel.yaml --name shop
  whimbrel migrate up --config whimbrel.yaml --dry-run       what it would do; a read-only user can ask
  whimbrel migrate new \"add total to orders\" --config whimbrel.yaml

WHIMBREL_DATABASE may hold the URL: other users of the machine can see a command line, and with it a password.
SIGINT or SIGTERM stops between two chunks or statements; the same command goes on from there. A second one ends at once.

Exit status: 0 ok, 1 runtime error or stopped, 2 usage, configuration or files that cannot be used, 3 refused by the state of
the ledger (a changed file, a gap, a late version), 4 a check failed, 5 somebody else has the lock.")]
pub struct MigrateArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Apply what is pending
    Up(up::UpArgs),
    /// Undo what was applied, the last first
    Down(down::DownArgs),
    /// Show what is applied, pending, running or failed
    Status(status::StatusArgs),
    /// Show what `up` would do, without doing it: the same as `up --dry-run`
    Plan(plan::PlanArgs),
    /// Check the files, the ledger against them, and what must hold after the migrations that are applied
    Validate(validate::ValidateArgs),
    /// Mend the ledger, under the lock; the rest of the database is left as it is
    Repair(repair::RepairArgs),
    /// Make the files of a new migration
    New(new::NewArgs),
}

/// Runs the command.
///
/// # Errors
/// When the output cannot be written, or the async runtime not be started.
pub fn run(args: MigrateArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::Up(args) => up::run(args, out),
        Verb::Down(args) => down::run(args, out),
        Verb::Status(args) => status::run(args, out),
        Verb::Plan(args) => plan::run(args, out),
        Verb::Validate(args) => validate::run(args, out),
        Verb::Repair(args) => repair::run(args, out),
        Verb::New(args) => new::run(args, out),
    }
}
