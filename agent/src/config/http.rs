//! The `http:` section, checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::invalid::Invalid;
use super::raw;

/// HTTP endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
}

impl TryFrom<&raw::Http> for HttpConfig {
    type Error = Invalid;

    fn try_from(raw: &raw::Http) -> Result<Self, Invalid> {
        // The one name that needs no resolver, and the one people write.
        let local = raw.listen.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let listen = match local {
            Some(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
            None => raw.listen.parse().ok(),
        };
        listen.map(|listen| Self { listen }).ok_or_else(|| {
            Invalid::new(
                "listen",
                "not an address with a port",
                "write `127.0.0.1:9464`, or `0.0.0.0:9464` to be reached from other machines",
            )
        })
    }
}

impl HttpConfig {
    /// True when other machines can reach it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        !self.listen.ip().is_loopback()
    }
}
