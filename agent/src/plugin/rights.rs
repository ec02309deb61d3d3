//! What a plugin may do: what it wants, by its imports and its manifest, and only as far as the operator granted it. An
//! interface that is not granted is not linked, so a guest cannot even call it. Pure: no I/O.

use std::collections::BTreeMap;
use std::fmt;

use super::manifest::{Interface, Manifest, Refusal};
use crate::config::secret::Secret;

/// What the operator grants a plugin. Nothing, unless said.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// How many bytes the host keeps for it.
    pub state: Option<usize>,
    /// Whether it may have series of its own.
    pub metrics: bool,
    /// Whether it may read the clock.
    pub clock: bool,
    /// Where it may send requests.
    pub http: Option<HttpRights>,
    /// To whom it may send mail.
    pub mail: Option<MailRights>,
    /// Secrets it may use, by the names it knows them by.
    pub secrets: BTreeMap<String, Secret>,
}

/// Where requests may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRights {
    /// Origins.
    pub origins: Vec<Origin>,
    /// Whether loopback, link-local and private addresses may be reached.
    pub private_addresses: bool,
}

/// To whom mail may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailRights {
    /// Addresses, or `@domain` for all of a domain.
    pub recipients: Vec<String>,
}

impl MailRights {
    /// Whether mail may go to this address.
    #[must_use]
    pub fn admit(&self, address: &str) -> bool {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain);
        self.recipients.iter().any(|granted| match granted.strip_prefix('@') {
            Some(granted) => domain.is_some_and(|domain| domain.eq_ignore_ascii_case(granted)),
            None => granted.eq_ignore_ascii_case(address),
        })
    }
}

/// Scheme, host and port (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// "http" or "https".
    pub scheme: String,
    /// The host in lower case.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Origin {
    /// The origin of a URL, which may have a path and more.
    #[must_use]
    pub fn of(url: &url::Url) -> Option<Self> {
        if !["http", "https"].contains(&url.scheme()) {
            return None;
        }
        Some(Origin {
            scheme: url.scheme().to_owned(),
            host: url.host_str()?.to_ascii_lowercase(),
            port: url.port_or_known_default()?,
        })
    }

    /// Reads an origin and nothing more: no user, path, query or fragment.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none();
        if bare { Self::of(&url) } else { None }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

impl Grants {
    /// Everything that costs nothing but bounded memory: what a tool grants a plugin that is only tried out.
    #[must_use]
    pub fn harmless() -> Self {
        Grants { state: Some(1 << 20), metrics: true, clock: true, ..Grants::default() }
    }

    /// Whether this interface is granted; what needs no grant is.
    #[must_use]
    pub fn allow(&self, interface: Interface) -> bool {
        match interface {
            Interface::Types | Interface::Events | Interface::Stats | Interface::Log | Interface::Database => true,
            // Each is granted by its name, so whoever was granted none gets none.
            Interface::Secrets => true,
            Interface::State => self.state.is_some(),
            Interface::Metrics => self.metrics,
            Interface::Clock => self.clock,
            Interface::Http => self.http.is_some(),
            Interface::Mail => self.mail.is_some(),
        }
    }

    /// These grants, as far as the plugin wants them.
    ///
    /// # Errors
    /// When the plugin imports what is not granted.
    pub fn narrowed(mut self, manifest: &Manifest) -> Result<Self, Refusal> {
        if let Some(interface) = manifest.imports.iter().find(|interface| !self.allow(**interface)) {
            return Err(Refusal::NotGranted { name: manifest.name.clone(), interface: *interface });
        }
        if let (Some(http), Some(wanted)) = (&mut self.http, &manifest.wants.http) {
            let wanted: Vec<Origin> = wanted.iter().filter_map(|origin| Origin::parse(origin)).collect();
            http.origins.retain(|granted| wanted.contains(granted));
        }
        if let Some(wanted) = &manifest.wants.secrets {
            self.secrets.retain(|name, _| wanted.contains(name));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_and_nothing_more() {
        for (text, expect) in [
            ("https://hooks.example.org", Some("https://hooks.example.org:443")),
            ("http://Hooks.Example.org:8080/", Some("http://hooks.example.org:8080")),
            ("https://hooks.example.org/path", None),
            ("https://user@hooks.example.org", None),
            ("https://hooks.example.org?q", None),
            ("ftp://hooks.example.org", None),
            ("hooks.example.org", None),
        ] {
            assert_eq!(Origin::parse(text).map(|origin| origin.to_string()).as_deref(), expect, "{text}");
        }
    }
}
