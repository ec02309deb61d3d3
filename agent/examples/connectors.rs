//! `connectors plan|apply|status|restart` alone, with a loader of its own: `cargo run --example connectors -- connectors plan
//! --config FILE`.

use std::{io, process::ExitCode};

use clap::Parser;
use serde_json::Value;
use whimbrel::{
    cli::connectors::{ConnectorsArgs, USAGE, run},
    config::connectors::Connectors,
    connect::settings::Settings,
};

#[derive(Parser)]
enum Command {
    /// Debezium connectors as desired state.
    Connectors(ConnectorsArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Connectors(args) = Command::parse();
    let settings = match load(&args) {
        Ok(settings) => settings,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(USAGE);
        }
    };
    match run(args, settings, &mut io::stdout(), &mut io::stderr()).await {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {}", error.explain());
            ExitCode::from(error.exit_status())
        }
    }
}

fn load(args: &ConnectorsArgs) -> Result<Settings, String> {
    let text =
        std::fs::read_to_string(args.config()).map_err(|error| format!("{}: {error}", args.config().display()))?;
    let mut config: Value = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
    resolve(&mut config)?;
    let section = config.get_mut("connectors").map(Value::take).ok_or("no `connectors:` section")?;
    let raw: Connectors = serde_json::from_value(section).map_err(|error| error.to_string())?;
    Settings::validate(&raw).map_err(|found| {
        found.into_iter().map(|one| one.within("connectors").to_string()).collect::<Vec<_>>().join("\n")
    })
}

/// `${env:NAME}` and `${file:PATH}` become what they name; `$${` becomes `${`.
fn resolve(value: &mut Value) -> Result<(), String> {
    match value {
        Value::String(text) => *text = resolved(text)?,
        Value::Array(values) => values.iter_mut().try_for_each(resolve)?,
        Value::Object(map) => map.values_mut().try_for_each(resolve)?,
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

fn resolved(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let (reference, after) = after.split_once('}').ok_or("a reference has no end")?;
        match reference.split_once(':') {
            Some(("env", name)) => out.push_str(&std::env::var(name).map_err(|error| format!("{name}: {error}"))?),
            Some(("file", path)) => {
                let content = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
                out.push_str(content.trim_end_matches(['\r', '\n']));
            }
            _ => return Err("only ${env:NAME} and ${file:PATH} are known; write $${ for ${".to_owned()),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
