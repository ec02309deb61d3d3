//! What a plugin says of itself, as the bytes of one custom section. The agent reads them before it runs anything,
//! so they are written at compile time.
//!
//! ```
//! use whimbrel_plugin::manifest::Manifest;
//! use whimbrel_plugin::prelude::*;
//!
//! /// Masks columns.
//! #[derive(Config)]
//! struct Mask { columns: Vec<String> }
//!
//! const MANIFEST: Manifest = Manifest {
//!     kind: "transform",
//!     name: "mask",
//!     version: "1.2.0",
//!     description: "Masks columns",
//!     config: Mask::SCHEMA,
//!     http: None,
//!     secrets: None,
//! };
//! static SECTION: [u8; MANIFEST.size()] = MANIFEST.bytes();
//! assert!(SECTION.starts_with(br#"{"manifest":1,"kind":"transform","name":"mask","version":"1.2.0""#));
//! ```

use crate::schema::{Schema, Writer};

/// The custom section's name.
///
/// ```
/// use whimbrel_plugin::manifest::SECTION;
///
/// // A module opens with eight bytes; a custom section is 0, its size, its name's length, its name, its content.
/// let module = [b"\0asm\x01\0\0\0\0\x14\x11".as_slice(), SECTION.as_bytes(), b"{}"].concat();
/// let at = module.windows(SECTION.len()).position(|bytes| bytes == SECTION.as_bytes()).unwrap();
/// assert_eq!(&module[at + SECTION.len()..], b"{}");
/// ```
pub const SECTION: &str = "whimbrel:manifest";

/// The version of the WIT package this SDK speaks.
///
/// ```
/// use whimbrel_plugin::json::Json;
/// use whimbrel_plugin::manifest::WIT_VERSION;
/// # use whimbrel_plugin::manifest::Manifest;
/// # use whimbrel_plugin::schema::Schema;
/// # const MANIFEST: Manifest = Manifest {
/// #     kind: "rule", name: "lag", version: "1.0.0",
/// #     description: "", config: &Schema::Boolean, http: None, secrets: None,
/// # };
///
/// # let bytes = MANIFEST.bytes::<{ MANIFEST.size() }>();
/// # let text = std::str::from_utf8(&bytes).unwrap();
/// let manifest = Json::parse(text).unwrap();
/// assert_eq!(manifest.get("wit").and_then(Json::as_text), Some(WIT_VERSION));
/// ```
pub const WIT_VERSION: &str = "0.1.0";

/// What goes into the manifest.
///
/// ```
/// use whimbrel_plugin::manifest::Manifest;
/// use whimbrel_plugin::schema::Schema;
///
/// const MANIFEST: Manifest = Manifest {
///     kind: "channel",
///     name: "chat",
///     version: "0.3.1",
///     description: "",
///     config: &Schema::Object { description: "", fields: &[] },
///     http: Some(&["https://chat.example.org"]),
///     secrets: Some(&["token"]),
/// };
/// let json = MANIFEST.bytes::<{ MANIFEST.size() }>();
/// assert!(json.ends_with(br#""wants":{"http":["https://chat.example.org"],"secrets":["token"]}}"#));
/// ```
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
    ///
    /// ```
    /// # use whimbrel_plugin::manifest::Manifest;
    /// # use whimbrel_plugin::schema::Schema;
    /// const fn named(name: &'static str) -> Manifest {
    ///     let config = &Schema::Boolean;
    ///     Manifest { kind: "rule", name, version: "1.0.0", description: "", config, http: None, secrets: None }
    /// }
    /// assert_eq!(named("lagging").size(), named("lag").size() + 4);
    /// ```
    #[must_use]
    pub const fn size(&self) -> usize {
        let mut writer = Writer::<0>::new();
        self.write(&mut writer);
        writer.len
    }

    /// The manifest as JSON.
    ///
    /// ```
    /// # use whimbrel_plugin::json::Json;
    /// # use whimbrel_plugin::manifest::Manifest;
    /// # use whimbrel_plugin::schema::Schema;
    /// # const MANIFEST: Manifest = Manifest {
    /// #     kind: "rule", name: "lag", version: "1.0.0",
    /// #     description: "", config: &Schema::Boolean, http: None, secrets: None,
    /// # };
    /// static BYTES: [u8; MANIFEST.size()] = MANIFEST.bytes();
    /// let json = Json::parse(std::str::from_utf8(&BYTES).unwrap()).unwrap();
    /// assert_eq!(json.get("kind").and_then(Json::as_text), Some("rule"));
    /// ```
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
