//! `whimbrel migrate` as its users run it: against real servers, killed, doubled, watched.

mod chaos;
mod command;
mod observe;
mod outage;
mod plugin;
mod scene;
mod told;
