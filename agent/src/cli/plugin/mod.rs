//! `whimbrel plugin …`: what an author of plugins does with them. One file a verb; each prints what
//! [`crate::author`] found.

mod asked;
mod bench;
mod build;
mod check;
mod dev;
mod docs;
mod embed;
mod inspect;
mod new;
mod promote;
mod pull;
mod push;
mod record;
mod test;
mod trusted;
mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::Exit;
use crate::author::subject::{Subject, SubjectError};
use crate::plugin::Kind;

/// Arguments of `whimbrel plugin`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin new hide-names --kind transform        a crate that builds and passes its test at once
  whimbrel plugin test hide-names                        build it, replay tests/*.json in the sandbox
  whimbrel plugin inspect hide-names/target/hide-names.wasm
  whimbrel plugin dev hide-names --into /etc/whimbrel/plugins/hide-names.wasm

FILE is a component, or the name of a bundled plugin. DIR is a plugin's crate, the current folder unless said.

Exit status: 0 ok, 1 the plugin or a test of it is not as it should be, 2 usage or a file that cannot be read.")]
pub struct PluginArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a new plugin's crate, with the SDK inside
    New(new::NewArgs),
    /// Build a crate into a component
    Build(build::BuildArgs),
    /// Make a plugin of what a compiler of another language than Rust wrote
    Embed(embed::EmbedArgs),
    /// Check all that the agent checks before it runs a plugin, and start it once
    Check(check::CheckArgs),
    /// Replay cases through the real sandbox and compare what comes out
    Test(test::TestArgs),
    /// Measure what a plugin costs: CPU time of compiling, starting and calling
    Bench(bench::BenchArgs),
    /// Show what a file says of itself: manifest, digest, imports, the grants it needs
    Inspect(inspect::InspectArgs),
    /// Print the options of a plugin as a Markdown table
    Docs(docs::DocsArgs),
    /// Build and replay on every save, and hand what passes to a running agent
    Dev(dev::DevArgs),
    /// Take the last batch of a plugin from a running agent as a replay case, values redacted
    Record(record::RecordArgs),
    /// Put the version in a plugin's shadow to work, in a running agent
    Promote(promote::PromoteArgs),
    /// Put a plugin into an OCI registry, signed if wanted
    Push(push::PushArgs),
    /// Get a plugin from an OCI registry, and keep its digest in the lock file
    Pull(pull::PullArgs),
    /// Check plugins against the lock file and the keys of those who may sign
    Verify(verify::VerifyArgs),
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// A kind of plugin on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KindWord {
    /// Changes, drops or refuses events
    Transform,
    /// Judges statistics
    Rule,
    /// Tells people
    Channel,
    /// Changes a database
    Migration,
}

impl From<KindWord> for Kind {
    fn from(word: KindWord) -> Self {
        match word {
            KindWord::Transform => Kind::Transform,
            KindWord::Rule => Kind::Rule,
            KindWord::Channel => Kind::Channel,
            KindWord::Migration => Kind::Migration,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the output cannot be written, or this machine has no engine for plugins.
pub fn run(args: PluginArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::New(args) => new::run(&args, out, err),
        Verb::Build(args) => build::run(args, out, err),
        Verb::Embed(args) => embed::run(&args, out, err),
        Verb::Check(args) => check::run(&args, out, err),
        Verb::Test(args) => test::run(&args, out, err),
        Verb::Bench(args) => bench::run(&args, out, err),
        Verb::Inspect(args) => inspect::run(&args, out, err),
        Verb::Docs(args) => docs::run(&args, out, err),
        Verb::Dev(args) => dev::run(&args, out, err),
        Verb::Record(args) => record::run(&args, out),
        Verb::Promote(args) => promote::run(&args, out),
        Verb::Push(args) => push::run(&args, out, err),
        Verb::Pull(args) => pull::run(&args, out),
        Verb::Verify(args) => verify::run(&args, out),
    }
}

/// The plugin in a file, or the status to end with once it was said why there is none.
fn subject(file: &Path, err: &mut dyn Write) -> anyhow::Result<Result<Subject, Exit>> {
    match Subject::read(file) {
        Ok(subject) => Ok(Ok(subject)),
        Err(error) => {
            writeln!(err, "whimbrel: {error}")?;
            let exit = if matches!(error, SubjectError::Read { .. }) { Exit::Usage } else { Exit::Runtime };
            Ok(Err(exit))
        }
    }
}

/// The plugin at a path: a component's file, or a crate that is built first.
fn built_subject(
    path: &Path,
    target_dir: Option<&PathBuf>,
    err: &mut dyn Write,
) -> anyhow::Result<Result<Subject, Exit>> {
    if !path.is_dir() {
        return subject(path, err);
    }
    let options = crate::author::build::Options { target_dir: target_dir.cloned(), out: None };
    match crate::author::build::build(path, &options) {
        Ok(built) => Ok(Ok(built.subject)),
        Err(error) => {
            writeln!(err, "whimbrel: {error}")?;
            Ok(Err(build::exit_of(&error)))
        }
    }
}

/// Bytes for people.
fn size(bytes: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
