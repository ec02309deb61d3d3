//! Configuration: from the JSON the agent hands over to the plugin's own type, with a message that names the place.
//! `#[derive(Config)]` implements the trait for structs and enums; the ready-made implementations are here.
//!
//! ```
//! use whimbrel_plugin::prelude::*;
//!
//! #[derive(Config)]
//! struct Mask { #[config(default = "***")] with: String, columns: Vec<String> }
//!
//! let mask: Mask = whimbrel_plugin::config::parse(r#"{"columns": ["email"]}"#)?;
//! assert_eq!((mask.with.as_str(), mask.columns.len()), ("***", 1));
//! # Ok::<(), whimbrel_plugin::config::ConfigError>(())
//! ```

mod values;

use std::fmt;

use crate::json::Json;
use crate::schema::Schema;

/// A value that can stand in a plugin's configuration.
///
/// Derive it. Members are named as the fields, alternatives of an enum in snake case; a member that the type does
/// not know is an error. `#[config(default)]` or `#[config(default = "…")]` makes a member optional,
/// `#[config(skip)]` keeps a field out of the configuration and starts it from its `Default`.
///
/// ```
/// use whimbrel_plugin::prelude::*;
///
/// /// Keeps the first events of every table.
/// #[derive(Config)]
/// struct Sample {
///     /// How many.
///     #[config(default = 100)]
///     first: u32,
///     tables: Vec<String>,
///     #[config(skip)]
///     seen: u32,
/// }
///
/// let sample: Sample = whimbrel_plugin::config::parse(r#"{"tables": ["shop.*"]}"#).unwrap();
/// assert_eq!((sample.first, sample.seen), (100, 0));
/// let error = whimbrel_plugin::config::parse::<Sample>(r#"{"tabels": []}"#).err().unwrap();
/// assert_eq!(error.to_string(), "unknown option `tabels`, expected one of `first`, `tables`");
/// ```
pub trait Config: Sized {
    /// The shape, for the manifest.
    ///
    /// ```
    /// use whimbrel_plugin::config::Config;
    /// use whimbrel_plugin::schema::Schema;
    ///
    /// assert!(matches!(u8::SCHEMA, Schema::Integer { minimum: "0", maximum: "255" }));
    /// assert!(matches!(Vec::<bool>::SCHEMA, Schema::List(Schema::Boolean)));
    /// ```
    const SCHEMA: &'static Schema;

    /// Reads the value.
    ///
    /// ```
    /// use whimbrel_plugin::config::{Config, ConfigError, parse};
    /// use whimbrel_plugin::json::Json;
    /// use whimbrel_plugin::schema::Schema;
    ///
    /// struct Percent(u8);
    ///
    /// impl Config for Percent {
    ///     const SCHEMA: &'static Schema = &Schema::Integer { minimum: "0", maximum: "100" };
    ///
    ///     fn read(json: &Json) -> Result<Self, ConfigError> {
    ///         match u8::read(json)? {
    ///             percent @ 0..=100 => Ok(Percent(percent)),
    ///             percent => Err(ConfigError::new(format!("{percent} is more than 100"))),
    ///         }
    ///     }
    /// }
    ///
    /// assert_eq!(parse::<Percent>("40").unwrap().0, 40);
    /// assert_eq!(parse::<Percent>("140").err().unwrap().to_string(), "140 is more than 100");
    /// ```
    ///
    /// # Errors
    /// When the JSON does not have the shape.
    fn read(json: &Json) -> Result<Self, ConfigError>;

    /// What stands in for the value when its member is missing; `None` makes it required.
    ///
    /// ```
    /// use whimbrel_plugin::config::Config;
    ///
    /// assert_eq!(Option::<u32>::absent(), Some(None), "may be left out");
    /// assert_eq!(u32::absent(), None, "must be there");
    /// ```
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }
}

/// Where a configuration is wrong, and how.
///
/// ```
/// use whimbrel_plugin::config::parse;
///
/// let error = parse::<Vec<u16>>("[9092, 99999]").unwrap_err();
/// assert_eq!(error.to_string(), "[1]: expected a whole number from 0 to 65535");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    message: String,
}

impl ConfigError {
    /// An error at this very value.
    ///
    /// ```
    /// # use whimbrel_plugin::config::ConfigError;
    /// assert_eq!(ConfigError::new("not a phone number").to_string(), "not a phone number");
    /// ```
    pub fn new(message: impl Into<String>) -> Self {
        ConfigError { path: String::new(), message: message.into() }
    }

    /// The same error, seen from one level further out: `segment` is a member's name or `[index]`.
    ///
    /// ```
    /// # use whimbrel_plugin::config::ConfigError;
    /// let error = ConfigError::new("is empty").within("[1]").within("columns").within("mask");
    /// assert_eq!(error.to_string(), "mask.columns[1]: is empty");
    /// ```
    #[must_use]
    pub fn within(mut self, segment: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{segment}{dot}{}", self.path);
        self
    }

    /// The value has another type than the one wanted.
    ///
    /// ```
    /// # use whimbrel_plugin::config::ConfigError;
    /// # use whimbrel_plugin::json::Json;
    /// let error = ConfigError::expected("a list", &Json::Bool(true));
    /// assert_eq!(error.to_string(), "expected a list, found a boolean");
    /// ```
    #[must_use]
    pub fn expected(what: &str, found: &Json) -> Self {
        ConfigError::new(format!("expected {what}, found {}", found.kind()))
    }

    /// A member or alternative that does not exist.
    ///
    /// ```
    /// # use whimbrel_plugin::config::ConfigError;
    /// let error = ConfigError::unknown("option", "tabels", &["first", "tables"]);
    /// assert_eq!(error.to_string(), "unknown option `tabels`, expected one of `first`, `tables`");
    /// ```
    #[must_use]
    pub fn unknown(what: &str, name: &str, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        match known.as_slice() {
            [] => ConfigError::new(format!("unknown {what} `{name}`, there is none")),
            [one] => ConfigError::new(format!("unknown {what} `{name}`, expected {one}")),
            _ => ConfigError::new(format!("unknown {what} `{name}`, expected one of {}", known.join(", "))),
        }
    }

    /// The value of an enum is neither a text nor one of the mappings.
    #[must_use]
    #[doc(hidden)]
    pub fn choice(json: &Json, known: &[&str]) -> Self {
        match json {
            Json::Object(members) => match members.first() {
                Some((name, _)) => ConfigError::unknown("choice", name, known),
                None => ConfigError::unknown("choice", "", known),
            },
            _ => ConfigError::expected("a choice", json),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

impl std::error::Error for ConfigError {}

/// Reads a configuration from its text; empty text and `null` are an empty object.
///
/// ```
/// use whimbrel_plugin::config::parse;
/// use whimbrel_plugin::prelude::*;
///
/// #[derive(Config)]
/// struct Mask { #[config(default = "email")] column: String }
///
/// assert_eq!(parse::<Mask>("").unwrap().column, "email");
/// assert_eq!(parse::<Mask>(r#"{"column": "phone"}"#).unwrap().column, "phone");
/// assert_eq!(parse::<Mask>(r#"{"column": 7}"#).err().unwrap().to_string(), "column: expected a text, found a number");
/// ```
///
/// # Errors
/// When the text is not JSON or does not have the type's shape.
pub fn parse<C: Config>(text: &str) -> Result<C, ConfigError> {
    let json = if text.trim().is_empty() {
        Json::Null
    } else {
        Json::parse(text).map_err(|error| ConfigError::new(error.to_string()))?
    };
    match json {
        Json::Null => C::read(&Json::Object(Vec::new())),
        json => C::read(&json),
    }
}

/// Reads one member of an object; called by derived code.
///
/// # Errors
/// When the member has the wrong shape, or is missing and required.
#[doc(hidden)]
pub fn member<C: Config>(object: &Json, name: &str, default: Option<fn() -> C>) -> Result<C, ConfigError> {
    match (object.get(name), default) {
        (Some(value), _) => C::read(value).map_err(|error| error.within(name)),
        (None, Some(default)) => Ok(default()),
        (None, None) => C::absent().ok_or_else(|| ConfigError::new(format!("the option `{name}` is missing"))),
    }
}

/// Refuses members that are not known; called by derived code.
///
/// # Errors
/// When the value is no object or has a member that is not known.
#[doc(hidden)]
pub fn members(json: &Json, known: &[&str]) -> Result<(), ConfigError> {
    let Json::Object(members) = json else {
        return Err(ConfigError::expected("an object", json));
    };
    match members.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(ConfigError::unknown("option", name, known)),
        None => Ok(()),
    }
}
