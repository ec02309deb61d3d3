//! `whimbrel plugin record`: asks a running agent for the last batch of a plugin and keeps it as a replay case. What may be
//! in it the agent decides, before it leaves it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use super::asked::{AskedArgs, client};
use crate::author::replay::case::Case;
use crate::cli::Exit;
use crate::cli::agent_api::{block_on, refusal};
use crate::cli::dead_letters::escaped;
use crate::export::control::{HEADER, Shown};

/// So many cases of one plugin may be in a folder.
const MOST: u32 = 1_000;

/// Arguments of `plugin record`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin record --pipeline shop --plugin mask
  whimbrel plugin record --pipeline shop --plugin mask --show currency,country --out mask/tests/currencies.json
  whimbrel plugin test mask --case mask/tests/currencies.json --bless

Values are redacted by the agent: text keeps its length and punctuation (letters become x, digits 0), numbers become 0, true
becomes false; names of columns and tables, operations and times of the source stay. --show and --show-all want
`plugins.record: values` in the agent's configuration. Options of the plugin that are references stay references: put a value
for the test in their place where the plugin needs one.

Exit status: 0 recorded, 1 nothing recorded or no agent there, 2 usage.")]
pub(super) struct RecordArgs {
    #[command(flatten)]
    asked: AskedArgs,
    /// A new .json file, or a folder in which the case gets a name of its own
    #[arg(long, value_name = "DIR|FILE", default_value = "tests")]
    out: PathBuf,
    /// Columns whose values are to be in the case
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', conflicts_with = "show_all")]
    show: Vec<String>,
    /// All values are to be in the case
    #[arg(long)]
    show_all: bool,
}

pub(super) fn run(args: &RecordArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let text = block_on(recorded(args))?;
    let case: Case = serde_json::from_str(&text).context("the agent's answer is no replay case of this version")?;
    let file = keep(args, &text).with_context(|| format!("cannot write into {}", args.out.display()))?;
    writeln!(out, "{}", escaped(&case.description))?;
    writeln!(out, "{}: `whimbrel plugin test … --case FILE --bless` writes what is expected", file.display())?;
    Ok(Exit::Ok)
}

async fn recorded(args: &RecordArgs) -> anyhow::Result<String> {
    let show = (!args.show.is_empty()).then(|| args.show.join(","));
    let request =
        client()?.get(args.asked.page("recorded")?).header(HEADER, "1").query(&Shown { show, show_all: args.show_all });
    let unreachable = || args.asked.unreachable();
    let answer = request.send().await.with_context(unreachable)?;
    let status = answer.status();
    let text = answer.text().await.with_context(unreachable)?;
    if !status.is_success() {
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        bail!("not recorded: {}", refusal(status, &body));
    }
    Ok(text)
}

/// Writes the case into a new file; rows may be in it, so it is the user's alone.
fn keep(args: &RecordArgs, text: &str) -> io::Result<PathBuf> {
    let write = |file: &Path| {
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        writeln!(opened, "{text}")
    };
    if args.out.extension().is_some_and(|extension| extension == "json") && !args.out.is_dir() {
        return write(&args.out).map(|()| args.out.clone());
    }
    fs::create_dir_all(&args.out)?;
    let plain = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-");
    let stem = format!("recorded-{}-{}", plain(&args.asked.pipeline), plain(&args.asked.plugin));
    for number in 1..=MOST {
        let name = if number == 1 { format!("{stem}.json") } else { format!("{stem}-{number}.json") };
        let file = args.out.join(name);
        match write(&file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done.map(|()| file),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "it holds a thousand cases of this plugin; remove some"))
}
