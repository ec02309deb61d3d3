//! The tools of whoever writes plugins: a crate to start from, its build, checks, replays and figures. The commands in
//! `cli/plugin/` print; the work is here. Runs plugins through the same engine, limits and host functions as a pipeline
//! does, with everything outside the sandbox (clock, state, HTTP, mail, database) played from a file.

pub mod bench;
pub mod build;
pub mod check;
pub mod component;
pub mod encode;
#[cfg(test)]
mod released;
pub mod replay;
pub mod scaffold;
pub mod schema;
pub mod subject;
pub mod watch;
mod wit;
