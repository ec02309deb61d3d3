//! The binary: parse, run, tell how it ended.

use std::process::ExitCode;

use clap::Parser as _;
use whimbrel::cli::{self, Cli, Exit};

fn main() -> ExitCode {
    // A wrong command line ends here, with clap's message and status 2.
    let cli = Cli::parse();
    match cli::run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("whimbrel: {error:#}");
            Exit::Runtime.into()
        }
    }
}
