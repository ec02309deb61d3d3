//! What a plugin's configuration is made of: the standard types, each with its shape and its reader.

use std::collections::BTreeMap;

use super::{Config, ConfigError};
use crate::json::Json;
use crate::schema::Schema;

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
