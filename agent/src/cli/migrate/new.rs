//! `whimbrel migrate new`: the files of a new migration. Asks no database.

use std::io::Write;
use std::time::SystemTime;

use clap::Args;
use serde_json::json;
use whimbrel_migrate::catalog::{Form, new};

use super::Exit;
use super::asked::{Format, How, Where};
use super::outcome::Stop;
use crate::migrations::display::json;

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// What it does: "add total to orders"
    title: String,
    #[command(flatten)]
    place: Where,
    /// pair, single, flyway, dbmate, goose, folder, yaml or json; as the newest migration there unless said
    #[arg(long, value_name = "FORM", value_parser = form)]
    form: Option<Form>,
}

fn form(text: &str) -> Result<Form, String> {
    // `sql` is what people call a pair of SQL files.
    let word = if text == "sql" { "pair" } else { text };
    let known = "write pair (or sql), single, flyway, dbmate, goose, folder, yaml or json";
    Form::from_word(word).ok_or_else(|| known.to_owned())
}

pub(super) fn run(args: NewArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let NewArgs { title, place, form } = args;
    let format = place.format;
    let made = place.settle(&How::default()).and_then(|asked| {
        let config = &asked.migrations;
        let unknown =
            || Stop::usage("this is no database URL that is known; only its beginning is looked at".to_owned());
        let system = config.database.system().ok_or_else(unknown)?;
        let files = new::create(&config.directory, system, &title, form, SystemTime::now())
            .map_err(|error| Stop::before_the_ledger(&error))?;
        Ok((config.directory.clone(), files))
    });
    let (directory, files) = match made {
        Ok(made) => made,
        Err(stop) => return stop.tell(format, out),
    };
    let paths: Vec<String> = files.iter().map(|file| directory.join(file).display().to_string()).collect();
    match format {
        Format::Json => json::line(out, &json!({ "event": "result", "files": paths, "exit": 0 }))?,
        Format::Text => {
            for path in paths {
                writeln!(out, "{path}")?;
            }
        }
    }
    Ok(Exit::Ok)
}
