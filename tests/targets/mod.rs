//! Every target against its real server.

mod mongod;
mod mongodb;
mod mongodb_faults;
mod planned;
