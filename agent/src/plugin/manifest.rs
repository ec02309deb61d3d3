//! Reads what a plugin says of itself and refuses what cannot work, before any of its code is compiled or run. Every
//! refusal is a sentence that says what to do. Reads bytes only; opens no files.

use std::fmt;
use std::str::FromStr;

use semver::Version;
use serde::Deserialize;
use wasmparser::{Encoding, Parser, Payload};

/// The custom section's name.
pub const SECTION: &str = "whimbrel:manifest";

/// The version of the WIT package this agent speaks.
const WIT_VERSION: Version = Version::new(0, 1, 0);

/// The WIT package whose interfaces plugins import.
const PACKAGE: &str = "whimbrel:plugin/";

/// The largest file taken for a plugin. Interpreted languages bring an engine of 20 MB along.
pub const MAX_BYTES: usize = 64 << 20;

/// The layout of the manifest itself.
const FORMAT: u32 = 1;

/// What kind of plugin it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Changes, drops or refuses events.
    Transform,
    /// Judges statistics.
    Rule,
    /// Tells people.
    Channel,
    /// Changes a database.
    Migration,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Transform, Kind::Rule, Kind::Channel, Kind::Migration];

    /// The word in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Transform => "transform",
            Kind::Rule => "rule",
            Kind::Channel => "channel",
            Kind::Migration => "migration",
        }
    }

    /// The kind of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The world such a plugin is built for.
    #[must_use]
    pub const fn world(self) -> &'static str {
        match self {
            Kind::Transform => "event-transform",
            Kind::Rule => "anomaly-rule",
            Kind::Channel => "alert-channel",
            Kind::Migration => "database-migration",
        }
    }

    /// The interfaces such a plugin may import.
    #[must_use]
    pub const fn imports(self) -> &'static [Interface] {
        use Interface::{Clock, Database, Events, Http, Log, Mail, Metrics, Secrets, State, Stats, Types};
        match self {
            Kind::Transform => &[Types, Events, Log, State, Metrics, Clock],
            Kind::Rule => &[Types, Stats, Log, State, Metrics, Clock],
            Kind::Channel => &[Types, Log, State, Metrics, Clock, Secrets, Http, Mail],
            Kind::Migration => &[Types, Log, State, Metrics, Clock, Database],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An interface of the contract that a plugin may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// Types only.
    Types,
    /// The batch.
    Events,
    /// Types of statistics only.
    Stats,
    /// The log.
    Log,
    /// State the host keeps.
    State,
    /// Series of its own.
    Metrics,
    /// The clock.
    Clock,
    /// Secrets by reference.
    Secrets,
    /// Requests to the outside.
    Http,
    /// Mail to the outside.
    Mail,
    /// The migration's database.
    Database,
}

impl Interface {
    const ALL: [Interface; 11] = [
        Interface::Types,
        Interface::Events,
        Interface::Stats,
        Interface::Log,
        Interface::State,
        Interface::Metrics,
        Interface::Clock,
        Interface::Secrets,
        Interface::Http,
        Interface::Mail,
        Interface::Database,
    ];

    /// Its name in the WIT package.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Interface::Types => "types",
            Interface::Events => "events",
            Interface::Stats => "stats",
            Interface::Log => "host-log",
            Interface::State => "host-state",
            Interface::Metrics => "host-metrics",
            Interface::Clock => "host-clock",
            Interface::Secrets => "host-secrets",
            Interface::Http => "host-http",
            Interface::Mail => "host-mail",
            Interface::Database => "host-database",
        }
    }

    /// What to write under `grants:` so that a plugin may import it; none where no grant is needed.
    #[must_use]
    pub const fn grant(self) -> Option<&'static str> {
        match self {
            Interface::State => Some("state: 1MiB"),
            Interface::Metrics => Some("metrics: true"),
            Interface::Clock => Some("clock: true"),
            Interface::Secrets => Some("secrets: { name: \"${env:NAME}\" }"),
            Interface::Http => Some("http: { origins: [\"https://example.org\"] }"),
            Interface::Mail => Some("mail: { recipients: [\"ops@example.org\"] }"),
            _ => None,
        }
    }

    /// The interface of this import, such as `whimbrel:plugin/host-log@0.1.0`.
    fn parse(import: &str) -> Option<Self> {
        let name = import.strip_prefix(PACKAGE)?;
        let name = name.split('@').next().unwrap_or(name);
        Interface::ALL.into_iter().find(|interface| interface.as_str() == name)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a plugin asks for beyond its imports. Absent members ask for whatever is granted.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wants {
    /// Origins it sends requests to.
    #[serde(default)]
    pub http: Option<Vec<String>>,
    /// Names of secrets it uses.
    #[serde(default)]
    pub secrets: Option<Vec<String>>,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// The layout's version.
    pub manifest: u32,
    /// The kind's word.
    pub kind: String,
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The version of the WIT package it was built with.
    pub wit: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// The JSON Schema of its configuration.
    #[serde(default)]
    pub config: serde_json::Value,
    /// What it asks for beyond its imports.
    #[serde(default)]
    pub wants: Wants,
    /// What it imports; from the component itself, not from the section.
    #[serde(skip)]
    pub imports: Vec<Interface>,
}

/// Why a file is not taken as a plugin, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not WebAssembly.
    #[error("this is not a WebAssembly file; name the `.wasm` component of a plugin")]
    NotWasm,
    /// A core module.
    #[error("this is a core module, not a component; encode it first with `whimbrel plugin embed`")]
    CoreModule,
    /// Cut off or damaged.
    #[error("the file is damaged or cut off at byte {at}; copy or build it again")]
    Damaged {
        /// Where reading failed.
        at: u64,
        /// The parser's words.
        #[source]
        source: wasmparser::BinaryReaderError,
    },
    /// Larger than any plugin.
    #[error(
        "the file has {bytes} bytes and a plugin may have {MAX_BYTES}; build it in release mode, without debug information"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A component, but none of ours.
    #[error(
        "the component says nothing about itself (section `{SECTION}`); build it with the whimbrel-plugin crate and `#[transform]`"
    )]
    NoManifest,
    /// Two manifests contradict each other.
    #[error("the component has more than one section `{SECTION}`; put `#[transform]` on one implementation only")]
    ManyManifests,
    /// The section holds something else.
    #[error("the section `{SECTION}` cannot be read; build the plugin again with the whimbrel-plugin crate")]
    BadManifest(#[source] serde_json::Error),
    /// A later layout.
    #[error("the plugin's manifest has format {found} and this agent knows format {FORMAT}; update the agent")]
    NewManifest {
        /// The layout it has.
        found: u32,
    },
    /// Another kind than the place it is used in.
    #[error("plugin {name} is a {found} and stands where a {wanted} belongs; move it in the configuration")]
    WrongKind {
        /// The plugin's name.
        name: String,
        /// What it is.
        found: String,
        /// What was wanted.
        wanted: Kind,
    },
    /// No kind this agent has.
    #[error("plugin {name} is a {found}, which this agent does not know; update the agent")]
    UnknownKind {
        /// The plugin's name.
        name: String,
        /// What it is.
        found: String,
    },
    /// Wants what its kind may have but nobody granted.
    #[error("plugin {name} uses {interface}, which is not granted; add `{}` under its `grants`", .interface.grant().unwrap_or_default())]
    NotGranted {
        /// The plugin's name.
        name: String,
        /// What it wants.
        interface: Interface,
    },
    /// Built for a later contract.
    #[error(
        "plugin {name} was built for whimbrel:plugin {found} and this agent speaks {WIT_VERSION}; update the agent, or build the plugin with an older whimbrel-plugin"
    )]
    NewerWit {
        /// The plugin's name.
        name: String,
        /// What it was built for.
        found: String,
    },
    /// Built for a contract that is no longer spoken.
    #[error(
        "plugin {name} was built for whimbrel:plugin {found} and this agent speaks {WIT_VERSION}; build it with the current whimbrel-plugin"
    )]
    OlderWit {
        /// The plugin's name.
        name: String,
        /// What it was built for.
        found: String,
    },
    /// Wants something that its kind does not get.
    #[error(
        "plugin {name} imports `{import}`, which a {kind} is not given; build it for wasm32-unknown-unknown and without system calls"
    )]
    Forbidden {
        /// The plugin's name.
        name: String,
        /// What it wants.
        import: String,
        /// What it is.
        kind: Kind,
    },
}

impl Manifest {
    /// Reads a component's manifest and checks that it can serve as `wanted`.
    ///
    /// # Errors
    /// With the reason and the remedy when it cannot.
    pub fn of(bytes: &[u8], wanted: Kind) -> Result<Self, Refusal> {
        let facts = Facts::read(bytes)?;
        let mut manifest = facts.manifest()?;
        if manifest.kind != wanted.as_str() {
            return Err(Refusal::WrongKind { name: manifest.name, found: manifest.kind, wanted });
        }
        manifest.imports = facts.interfaces(&manifest.name, wanted)?;
        Ok(manifest)
    }

    /// Reads a component's manifest and checks that it can serve as what it says it is.
    ///
    /// # Errors
    /// With the reason and the remedy when it cannot.
    pub fn any(bytes: &[u8]) -> Result<(Self, Kind), Refusal> {
        let facts = Facts::read(bytes)?;
        let mut manifest = facts.manifest()?;
        let Some(kind) = Kind::parse(&manifest.kind) else {
            return Err(Refusal::UnknownKind { name: manifest.name, found: manifest.kind });
        };
        manifest.imports = facts.interfaces(&manifest.name, kind)?;
        Ok((manifest, kind))
    }

    fn check_versions(&self) -> Result<(), Refusal> {
        if self.manifest > FORMAT {
            return Err(Refusal::NewManifest { found: self.manifest });
        }
        let (name, found) = (self.name.clone(), self.wit.clone());
        // A version that cannot be read is one this agent does not know.
        match Version::from_str(&self.wit) {
            Ok(wit) if wit > WIT_VERSION => Err(Refusal::NewerWit { name, found }),
            Ok(wit) if (wit.major, wit.minor) != (WIT_VERSION.major, WIT_VERSION.minor) => {
                Err(Refusal::OlderWit { name, found })
            }
            Ok(_) => Ok(()),
            Err(_) => Err(Refusal::NewerWit { name, found }),
        }
    }
}

/// What a file holds, as far as it matters before compiling.
struct Facts<'a> {
    /// Manifests, wherever they stand: encoders leave the section inside the core module.
    sections: Vec<&'a [u8]>,
    /// Names of what the component itself imports.
    imports: Vec<String>,
}

impl<'a> Facts<'a> {
    fn manifest(&self) -> Result<Manifest, Refusal> {
        let manifest: Manifest = match self.sections.as_slice() {
            [] => return Err(Refusal::NoManifest),
            [one] => serde_json::from_slice(one).map_err(Refusal::BadManifest)?,
            _ => return Err(Refusal::ManyManifests),
        };
        manifest.check_versions()?;
        Ok(manifest)
    }

    fn interfaces(&self, name: &str, kind: Kind) -> Result<Vec<Interface>, Refusal> {
        let interface = |import: &String| {
            Interface::parse(import)
                .filter(|interface| kind.imports().contains(interface))
                .ok_or_else(|| Refusal::Forbidden { name: name.to_owned(), import: import.clone(), kind })
        };
        self.imports.iter().map(interface).collect()
    }

    fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if !bytes.starts_with(b"\0asm") {
            return Err(Refusal::NotWasm);
        }
        if bytes.len() > MAX_BYTES {
            return Err(Refusal::TooLarge { bytes: bytes.len() });
        }
        let damaged = |source: wasmparser::BinaryReaderError| Refusal::Damaged { at: source.offset(), source };
        let mut facts = Facts { sections: Vec::new(), imports: Vec::new() };
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(damaged)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(Refusal::CoreModule),
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) if section.name() == SECTION => facts.sections.push(section.data()),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        facts.imports.push(import.map_err(damaged)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::fixture::{MANIFEST, component, module, section};

    /// The refusal's sentence, or "taken".
    fn sentence(bytes: &[u8]) -> String {
        Manifest::of(bytes, Kind::Transform).map_or_else(|refusal| refusal.to_string(), |_| "taken".to_owned())
    }

    #[test]
    fn every_file_that_cannot_work_is_refused_with_the_sentence_that_mends_it() {
        let with = |manifest: &str| component(&module("", ""), &[manifest]);
        let good = with(MANIFEST);
        let mut foreign = b"\0asm\x0d\0\x01\0".to_vec();
        section(&mut foreign, "producers", b"\0");
        let cases: [(&str, Vec<u8>, &str); 13] = [
            ("good", good.clone(), "taken"),
            (
                "later patch release of the manifest's own facts",
                with(&MANIFEST.replace(r#""config":{}"#, r#""config":{},"wants":[]"#)),
                "taken",
            ),
            ("empty", Vec::new(), "this is not a WebAssembly file; name the `.wasm` component of a plugin"),
            ("text", b"#!/bin/sh".to_vec(), "this is not a WebAssembly file; name the `.wasm` component of a plugin"),
            (
                "core module",
                wat::parse_str("(module)").unwrap(),
                "this is a core module, not a component; encode it first with `whimbrel plugin embed`",
            ),
            (
                "foreign component",
                foreign,
                "the component says nothing about itself (section `whimbrel:manifest`); build it with the whimbrel-plugin crate and `#[transform]`",
            ),
            (
                "two manifests",
                component(&module("", ""), &[MANIFEST, MANIFEST]),
                "the component has more than one section `whimbrel:manifest`; put `#[transform]` on one implementation only",
            ),
            (
                "not JSON",
                with("nonsense"),
                "the section `whimbrel:manifest` cannot be read; build the plugin again with the whimbrel-plugin crate",
            ),
            (
                "later layout",
                with(&MANIFEST.replace(r#""manifest":1"#, r#""manifest":2"#)),
                "the plugin's manifest has format 2 and this agent knows format 1; update the agent",
            ),
            (
                "another kind",
                with(&MANIFEST.replace("transform", "rule")),
                "plugin fixture is a rule and stands where a transform belongs; move it in the configuration",
            ),
            (
                "later contract",
                with(&MANIFEST.replace(r#""wit":"0.1.0""#, r#""wit":"0.1.1""#)),
                "plugin fixture was built for whimbrel:plugin 0.1.1 and this agent speaks 0.1.0; update the agent, or build the plugin with an older whimbrel-plugin",
            ),
            (
                "earlier contract",
                with(&MANIFEST.replace(r#""wit":"0.1.0""#, r#""wit":"0.0.9""#)),
                "plugin fixture was built for whimbrel:plugin 0.0.9 and this agent speaks 0.1.0; build it with the current whimbrel-plugin",
            ),
            (
                "no version",
                with(&MANIFEST.replace(r#""wit":"0.1.0""#, r#""wit":"new""#)),
                "plugin fixture was built for whimbrel:plugin new and this agent speaks 0.1.0; update the agent, or build the plugin with an older whimbrel-plugin",
            ),
        ];
        for (case, bytes, expect) in cases {
            assert_eq!(sentence(&bytes), expect, "{case}");
        }
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let good = component(&module("", ""), &[MANIFEST]);
        assert_eq!(sentence(&good), "taken");
        for length in 0..good.len() {
            let refusal = Manifest::of(&good[..length], Kind::Transform).expect_err("cut off");
            // Cut between two sections, the rest is a component, but one without its manifest.
            assert!(
                matches!(refusal, Refusal::Damaged { .. } | Refusal::NotWasm | Refusal::NoManifest),
                "cut at {length}: {refusal}"
            );
        }
    }

    #[test]
    fn an_import_that_is_not_granted_is_named() {
        let wat = r#"(component
            (import "wasi:cli/environment@0.2.0" (instance (export "get-environment" (func)))))"#;
        let mut bytes = wat::parse_str(wat).unwrap();
        section(&mut bytes, SECTION, MANIFEST.as_bytes());
        assert_eq!(
            sentence(&bytes),
            "plugin fixture imports `wasi:cli/environment@0.2.0`, which a transform is not given; build it for wasm32-unknown-unknown and without system calls"
        );
    }
}
