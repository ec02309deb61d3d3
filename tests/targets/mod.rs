//! Every target against its real server.

<<<<<<< HEAD
mod mongod;
mod mongodb;
mod mongodb_faults;
mod planned;
=======
>>>>>>> sql
#[path = "../../agent/src/target/fixture.rs"]
mod fixture;
mod mongodb;
mod planned;
mod postgres;
