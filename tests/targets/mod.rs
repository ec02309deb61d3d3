//! Every target against its real server.

mod mongod;
mod mongodb;
mod mongodb_faults;
mod planned;
#[path = "../../agent/src/target/fixture.rs"]
mod fixture;
mod postgres;
