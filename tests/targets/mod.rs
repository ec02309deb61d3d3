//! Every target against its real server.

#[path = "../../agent/src/target/cases.rs"]
mod cases;
#[path = "../../agent/src/target/fixture.rs"]
mod fixture;
mod mongod;
mod mongodb;
mod mongodb_faults;
mod planned;
mod postgres;
