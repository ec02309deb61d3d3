//! Which addresses a plugin's request may reach, and the resolver that lets no other through. The table is pure; the
//! resolver asks the system.
//!
//! Sources: the IANA special-purpose address registries (RFC 6890 and its updates).

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Into the internet.
    Public,
    /// To this machine, its network or its cloud's metadata: only with a grant of its own.
    Private,
    /// Nowhere a request should go: no single host, or no address at all.
    Never,
}

impl Reach {
    /// Where this address leads; an IPv4 address inside an IPv6 one counts as itself.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // "This network": 0.0.0.0 reaches the machine itself on Linux. Multicast, reserved, broadcast.
            [0 | 224..=255, ..] => Reach::Never,
            [10 | 127, ..] | [192, 168, ..] | [172, 16..=31, ..] => Reach::Private,
            // Link-local, where clouds keep their metadata; carriers' shared space.
            [169, 254, ..] | [100, 64..=127, ..] => Reach::Private,
            // Protocol assignments, the 6to4 relay, benchmarks; examples in documents.
            [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] => Reach::Private,
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Private,
            _ => Reach::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let embedded = |high: u16, low: u16| Self::of_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Never,
            [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private,
            // IPv4 mapped, compatible, translated (RFC 4291, 2765), NAT64 (RFC 6052), 6to4 (RFC 3056).
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => embedded(high, low),
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
            [0x2002, high, low, ..] => embedded(high, low),
            [0xff00..=0xffff, ..] => Reach::Never,
            // Teredo and other protocol assignments, examples in documents.
            [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Private,
            // Global unicast is this block alone; unique-local, link-local and what may come are outside.
            [0x2000..=0x3fff, ..] => Reach::Public,
            _ => Reach::Private,
        }
    }

    /// Whether a request may go there.
    #[must_use]
    pub fn admitted(self, private: bool) -> bool {
        match self {
            Reach::Public => true,
            Reach::Private => private,
            Reach::Never => false,
        }
    }
}

/// Asks for the addresses of a host name.
pub type Lookup = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync>;

/// The system's resolver.
#[must_use]
pub fn system_lookup() -> Lookup {
    Arc::new(|host| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// A name leads only to addresses that were not granted.
#[derive(Debug, thiserror::Error)]
#[error("the host leads to an address that needs `private_addresses: true` under `grants: http:`")]
pub(super) struct NotAdmitted;

/// Resolves names and keeps what may be dialled. Its answer is what is dialled: nothing is looked up again after the check.
pub(super) struct Guarded {
    pub(super) lookup: Lookup,
    pub(super) private: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, private) = ((self.lookup)(name.as_str().to_owned()), self.private);
        Box::pin(async move {
            let mut found = found.await?;
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
            }
            found.retain(|address| Reach::of(*address).admitted(private));
            if found.is_empty() {
                return Err(NotAdmitted.into());
            }
            // Port 0 stands for the URL's.
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_global_unicast_is_public_and_nothing_hides_in_another_notation() {
        for (reach, addresses) in [
            (
                Reach::Public,
                vec!["1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "2606:4700::1111"],
            ),
            (Reach::Public, vec!["::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1"]),
            (Reach::Private, vec!["127.0.0.1", "127.255.0.9", "10.1.2.3", "172.16.0.1", "172.31.9.9", "192.168.0.1"]),
            (Reach::Private, vec!["169.254.169.254", "169.254.0.1", "100.64.0.1", "100.127.255.255", "192.0.0.192"]),
            (Reach::Private, vec!["198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1"]),
            (Reach::Private, vec!["::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "100::1"]),
            (Reach::Private, vec!["2001:db8::1", "2001::1", "2001:10::1", "3fff::1", "64:ff9b:1::1", "4000::1"]),
            (
                Reach::Private,
                vec!["::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::10.0.0.1"],
            ),
            (Reach::Private, vec!["64:ff9b::169.254.169.254", "2002:7f00:1::1", "2002:a00:1::1"]),
            (Reach::Never, vec!["0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"]),
            (Reach::Never, vec!["::", "ff02::1", "::ffff:0.0.0.0", "::ffff:224.0.0.1"]),
        ] {
            for address in addresses {
                assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
            }
        }
        assert!(!Reach::Never.admitted(true) && Reach::Private.admitted(true) && !Reach::Private.admitted(false));
    }
}
