//! Requests and mail against real servers on loopback that misbehave on purpose.

mod http;
mod mail;
pub(crate) mod server;

const AUTHORITY: &[u8] = include_bytes!("../../connect/client/tls/ca.pem");
