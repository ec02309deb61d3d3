//! Configuration: from the JSON the agent hands over to the plugin's own type, with a message that names the place.
//! `#[derive(Config)]` implements the trait for structs and enums; the ready-made implementations are here.

use std::collections::BTreeMap;
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
    const SCHEMA: &'static Schema;

    /// Reads the value.
    ///
    /// # Errors
    /// When the JSON does not have the shape.
    fn read(json: &Json) -> Result<Self, ConfigError>;

    /// What stands in for the value when its member is missing; `None` makes it required.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }
}

/// Where a configuration is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    message: String,
}

impl ConfigError {
    /// An error at this very value.
    pub fn new(message: impl Into<String>) -> Self {
        ConfigError { path: String::new(), message: message.into() }
    }

    /// The same error, seen from one level further out: `segment` is a member's name or `[index]`.
    #[must_use]
    pub fn within(mut self, segment: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{segment}{dot}{}", self.path);
        self
    }

    /// The value has another type than the one wanted.
    #[must_use]
    pub fn expected(what: &str, found: &Json) -> Self {
        ConfigError::new(format!("expected {what}, found {}", found.kind()))
    }

    /// A member or alternative that does not exist.
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

impl Config for bool {
    const SCHEMA: &'static Schema = &Schema::Boolean;

    fn read(json: &Json) -> Result<Self, ConfigError> {
        match json {
            Json::Bool(value) => Ok(*value),
            _ => Err(ConfigError::expected("true or false", json)),
        }
    }
}

impl Config for String {
    const SCHEMA: &'static Schema = &Schema::Text { format: "" };

    fn read(json: &Json) -> Result<Self, ConfigError> {
        json.as_text().map(str::to_owned).ok_or_else(|| ConfigError::expected("a text", json))
    }
}

impl Config for f64 {
    const SCHEMA: &'static Schema = &Schema::Number;

    fn read(json: &Json) -> Result<Self, ConfigError> {
        match json {
            Json::Number(text) => text.parse().map_err(|_| ConfigError::new("not a number")),
            _ => Err(ConfigError::expected("a number", json)),
        }
    }
}

macro_rules! integers {
    ($($type:ty: $minimum:literal ..= $maximum:literal),* $(,)?) => {$(
        impl Config for $type {
            const SCHEMA: &'static Schema = &Schema::Integer { minimum: $minimum, maximum: $maximum };

            fn read(json: &Json) -> Result<Self, ConfigError> {
                match json {
                    Json::Number(text) => text.parse().map_err(|_| {
                        ConfigError::new(concat!("expected a whole number from ", $minimum, " to ", $maximum))
                    }),
                    _ => Err(ConfigError::expected("a whole number", json)),
                }
            }
        }
    )*};
}

integers! {
    u8: "0" ..= "255",
    u16: "0" ..= "65535",
    u32: "0" ..= "4294967295",
    u64: "0" ..= "18446744073709551615",
    i32: "-2147483648" ..= "2147483647",
    i64: "-9223372036854775808" ..= "9223372036854775807",
}

impl<C: Config> Config for Option<C> {
    const SCHEMA: &'static Schema = &Schema::Optional(C::SCHEMA);

    fn read(json: &Json) -> Result<Self, ConfigError> {
        if *json == Json::Null { Ok(None) } else { C::read(json).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<C: Config> Config for Vec<C> {
    const SCHEMA: &'static Schema = &Schema::List(C::SCHEMA);

    fn read(json: &Json) -> Result<Self, ConfigError> {
        let Json::List(values) = json else {
            return Err(ConfigError::expected("a list", json));
        };
        values
            .iter()
            .enumerate()
            .map(|(index, value)| C::read(value).map_err(|error| error.within(&format!("[{index}]"))))
            .collect()
    }
}

impl<C: Config> Config for BTreeMap<String, C> {
    const SCHEMA: &'static Schema = &Schema::Map(C::SCHEMA);

    fn read(json: &Json) -> Result<Self, ConfigError> {
        let Json::Object(members) = json else {
            return Err(ConfigError::expected("an object", json));
        };
        members
            .iter()
            .map(|(name, value)| Ok((name.clone(), C::read(value).map_err(|error| error.within(name))?)))
            .collect()
    }
}
