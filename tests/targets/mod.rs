//! Every target against its real server.

mod mongodb;
mod planned;
