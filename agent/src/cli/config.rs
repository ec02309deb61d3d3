//! `whimbrel config check|schema|example`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::Exit;
use crate::config::{example, load, schema};

/// Arguments of `whimbrel config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a file: everything that is wrong with it, with line, field and hint
    #[command(after_help = "Example:
  whimbrel config check whimbrel.yaml && systemctl restart whimbrel

References (`${env:NAME}`, `${file:PATH}`) are resolved, so check where the agent will run. What they resolve to is
never printed.

Exit status: 0 it can be used (there may be warnings), 2 it cannot.")]
    Check {
        /// The configuration file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the JSON Schema (draft 2020-12) of the configuration file
    #[command(after_help = "Example, for editors that speak the YAML language server:
  whimbrel config schema > whimbrel.schema.json
  # then, as the first line of whimbrel.yaml:
  # yaml-language-server: $schema=whimbrel.schema.json")]
    Schema,
    /// Print a commented example that passes its own check
    #[command(after_help = "Examples:
  whimbrel config example > whimbrel.yaml
  whimbrel config example --minimal > whimbrel.yaml")]
    Example {
        /// Only what is needed
        #[arg(long)]
        minimal: bool,
    },
}

/// Runs `whimbrel config`.
///
/// # Errors
/// When the output cannot be written.
pub fn run(args: ConfigArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::Check { file } => match load(&file) {
            Ok(loaded) => {
                writeln!(out, "{}", loaded.report).context("cannot write the result")?;
                Ok(Exit::Ok)
            }
            Err(report) => {
                writeln!(err, "{report}").context("cannot write the findings")?;
                Ok(Exit::Usage)
            }
        },
        Verb::Schema => {
            serde_json::to_writer_pretty(&mut *out, &schema::schema()).context("cannot write the schema")?;
            writeln!(out).context("cannot write the schema")?;
            Ok(Exit::Ok)
        }
        Verb::Example { minimal } => {
            let example = if minimal { example::MINIMAL } else { example::COMPLETE };
            out.write_all(example.as_bytes()).context("cannot write the example")?;
            Ok(Exit::Ok)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Exit, String, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let verb = Verb::Check { file: file.path().to_owned() };
        let exit = run(ConfigArgs { verb }, &mut out, &mut err).unwrap();
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn check_exits_with_2_and_shows_the_line_when_a_file_is_wrong() {
        let (exit, out, err) = check("pipelines:\n  - nmae: x\n");
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
        assert!(err.contains("2 |   - nmae: x\n  |     ^^^^\n  = help: did you mean `name`?"), "{err}");
    }

    #[test]
    fn check_exits_with_0_when_a_file_is_good() {
        let good = "pipelines: [{name: a, source: {kafka: {brokers: ['h:1']}}, target: {sqlite: {path: a.db}}}]";
        let (exit, out, err) = check(good);
        assert_eq!((exit, err.as_str()), (Exit::Ok, ""));
        assert!(out.contains("no findings"), "{out}");
    }

    #[test]
    fn a_file_that_is_not_there_is_said_to_be_so() {
        let mut err = Vec::new();
        let verb = Verb::Check { file: "/nonexistent/w.yaml".into() };
        assert_eq!(run(ConfigArgs { verb }, &mut Vec::new(), &mut err).unwrap(), Exit::Usage);
        assert!(String::from_utf8(err).unwrap().contains("cannot be read"));
    }
}
