//! Every target against its real server.

mod mongodb;
mod planned;
#[path = "../../agent/src/target/fixture.rs"]
mod fixture;
mod postgres;
