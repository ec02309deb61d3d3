//! What a plugin says of itself, as the bytes of one custom section. The agent reads them before it runs anything,
//! so they are written at compile time.

use crate::schema::{Schema, Writer};

/// The custom section's name.
pub const SECTION: &str = "whimbrel:manifest";

/// The version of the WIT package this SDK speaks.
pub const WIT_VERSION: &str = "0.1.0";

/// What goes into the manifest.
#[derive(Debug)]
pub struct Manifest {
    /// "transform", …
    pub kind: &'static str,
    /// The plugin's name: its crate's.
    pub name: &'static str,
    /// The plugin's version: its crate's.
    pub version: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// What may be configured.
    pub config: &'static Schema,
    /// Origins it sends requests to; none: whatever is granted.
    pub http: Option<&'static [&'static str]>,
    /// Names of secrets it uses; none: whatever is granted.
    pub secrets: Option<&'static [&'static str]>,
}

impl Manifest {
    /// How many bytes [`Manifest::bytes`] needs.
    #[must_use]
    pub const fn size(&self) -> usize {
        let mut writer = Writer::<0>::new();
        self.write(&mut writer);
        writer.len
    }

    /// The manifest as JSON.
    ///
    /// # Panics
    /// When `N` is smaller than [`Manifest::size`]; in a constant, where it belongs, that does not compile.
    #[must_use]
    pub const fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut writer = Writer::<N>::new();
        self.write(&mut writer);
        writer.bytes
    }

    const fn write<const N: usize>(&self, writer: &mut Writer<N>) {
        writer.raw(r#"{"manifest":1"#);
        writer.member("kind", self.kind);
        writer.member("name", self.name);
        writer.member("version", self.version);
        writer.member("wit", WIT_VERSION);
        writer.member("description", self.description);
        writer.raw(r#","config":"#);
        writer.schema(self.config, "", "");
        writer.raw(r#","wants":{"#);
        writer.names("http", self.http);
        if self.http.is_some() && self.secrets.is_some() {
            writer.raw(",");
        }
        writer.names("secrets", self.secrets);
        writer.raw("}}");
    }
}
