//! Does what a running agent is asked to do with its plugins: one thread for all causes, so that one order ends before the
//! next begins. Another thread looks after the files. Both end with the process.

use std::io;
use std::path::PathBuf;
use std::thread;

use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc::Receiver;

use crate::export::control::{Answer, Control, Order, Request, Shown};
use crate::plugin::watch::FileWatch;
use crate::runtime::logging::chain;
use crate::transform::{Reloads, Report, Show};

/// Orders a reload whenever one of these files has other content than this digest's, and then than what was seen last.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn watch(files: Vec<(PathBuf, String)>, control: Control) -> io::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let mut watch = FileWatch::new(files);
    let work = move || while control.tell_blocking(Order::Changed(watch.changed())) {};
    thread::Builder::new().name("plugin-watch".to_owned()).spawn(work).map(drop)
}

/// Carries orders out until nobody is left to give any.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn obey(mut orders: Receiver<Request>, mut reloads: Reloads) -> io::Result<()> {
    let work = move || {
        while let Some(Request { order, reply }) = orders.blocking_recv() {
            let answer = answer(&mut reloads, order);
            if let Some(reply) = reply {
                // Whoever asked may have gone; what was done is in the status.
                let _ = reply.send(answer);
            }
        }
    };
    thread::Builder::new().name("plugin-reload".to_owned()).spawn(work).map(drop)
}

fn answer(reloads: &mut Reloads, order: Order) -> Answer {
    match order {
        Order::Reload => reported(&reloads.all()),
        Order::Changed(files) => reported(&reloads.changed(&files)),
        Order::Promote { pipeline, plugin, wanted } => match reloads.promote(&pipeline, &plugin, wanted) {
            Ok(promoted) => {
                tracing::info!(pipeline, plugin, then = promoted.then, "shadow promoted");
                Answer { done: true, body: body(&promoted) }
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(pipeline, plugin, error, "shadow not promoted");
                Answer { done: false, body: body(&json!({ "error": error })) }
            }
        },
        Order::Record { pipeline, plugin, show } => {
            let show = columns(show);
            let case = reloads.recorded(&pipeline, &plugin, &show).map_err(|error| chain(&error));
            match case.and_then(|case| RawValue::from_string(case).map_err(|error| error.to_string())) {
                Ok(body) => {
                    // Values may have left the agent: that is to be found in its log.
                    tracing::info!(pipeline, plugin, ?show, "the last batch of the plugin was handed out");
                    Answer { done: true, body }
                }
                Err(error) => Answer { done: false, body: body(&json!({ "error": error })) },
            }
        }
    }
}

fn columns(shown: Shown) -> Show {
    match shown {
        Shown { show_all: true, .. } => Show::Everything,
        Shown { show: Some(columns), .. } => Show::Columns(columns.split(',').map(str::to_owned).collect()),
        Shown { show: None, .. } => Show::Nothing,
    }
}

fn reported(reports: &[Report]) -> Answer {
    Answer { done: reports.iter().all(Report::is_good), body: body(&json!({ "reloads": reports })) }
}

fn body(answer: &impl Serialize) -> Box<RawValue> {
    to_raw_value(answer).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
