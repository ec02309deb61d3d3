//! Every target against its real server.

#[path = "../../agent/src/target/fixture.rs"]
mod fixture;
mod mongodb;
mod planned;
mod postgres;
