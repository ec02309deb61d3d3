//! The words by which configuration files and replay cases name a [`SourceType`].

use super::SourceType;

/// The words, for messages and documentation.
pub const KNOWN: &str = "boolean, int32, int64, float32, float64, text, bytes, decimal(SCALE), variable_decimal, date, \
time_millis, time_micros, time_nanos, zoned_time, timestamp_millis, timestamp_micros, timestamp_nanos, \
zoned_timestamp, iso_date, iso_time, iso_timestamp, interval_micros, interval_iso, json, xml, uuid, enum, set, \
bits, bits(LENGTH), year, geometry, map, mongo_document, array(TYPE)";

/// Deepest `array(array(…))`: PostgreSQL allows six dimensions.
const MAX_DIMENSIONS: usize = 6;

/// Reads a type such as `decimal(2)` or `array(uuid)`. Each word stands for the [`SourceType`] of that name; `None` when
/// it is none of [`KNOWN`].
#[must_use]
pub fn parse(words: &str) -> Option<SourceType> {
    parse_nested(words.trim(), MAX_DIMENSIONS)
}

fn parse_nested(words: &str, room: usize) -> Option<SourceType> {
    let (word, argument) = match words.split_once('(') {
        Some((word, rest)) => (word.trim_end(), Some(rest.strip_suffix(')')?.trim())),
        None => (words, None),
    };
    if let Some(argument) = argument {
        return match word {
            "decimal" => Some(SourceType::Decimal { scale: argument.parse().ok()? }),
            "bits" => Some(SourceType::Bits { length: argument.parse().ok()? }),
            "array" => Some(SourceType::Array(Box::new(parse_nested(argument, room.checked_sub(1)?)?))),
            _ => None,
        };
    }
    Some(match word {
        "boolean" => SourceType::Boolean,
        "int32" => SourceType::Int32,
        "int64" => SourceType::Int64,
        "float32" => SourceType::Float32,
        "float64" => SourceType::Float64,
        "text" => SourceType::Text,
        "bytes" => SourceType::Bytes,
        "variable_decimal" => SourceType::VariableDecimal,
        "date" => SourceType::DateDays,
        "time_millis" => SourceType::TimeMillis,
        "time_micros" => SourceType::TimeMicros,
        "time_nanos" => SourceType::TimeNanos,
        "zoned_time" => SourceType::ZonedTime,
        "timestamp_millis" => SourceType::TimestampMillis,
        "timestamp_micros" => SourceType::TimestampMicros,
        "timestamp_nanos" => SourceType::TimestampNanos,
        "zoned_timestamp" => SourceType::ZonedTimestamp,
        "iso_date" => SourceType::IsoDate,
        "iso_time" => SourceType::IsoTime,
        "iso_timestamp" => SourceType::IsoTimestamp,
        "interval_micros" => SourceType::IntervalMicros,
        "interval_iso" => SourceType::IntervalIso,
        "json" => SourceType::Json,
        "xml" => SourceType::Xml,
        "uuid" => SourceType::Uuid,
        "enum" => SourceType::Enum,
        "set" => SourceType::EnumSet,
        "bits" => SourceType::Bits { length: 0 },
        "year" => SourceType::Year,
        "geometry" => SourceType::Geometry,
        "map" => SourceType::Map,
        "mongo_document" => SourceType::MongoDocument,
        _ => return None,
    })
}

/// The words of a type; `None` for one that has none: unknown ones, and those with fields of their own.
#[must_use]
pub fn of(ty: &SourceType) -> Option<String> {
    let word = match ty {
        SourceType::Unknown | SourceType::Struct(_) => return None,
        SourceType::Decimal { scale } => return Some(format!("decimal({scale})")),
        SourceType::Bits { length } => return Some(format!("bits({length})")),
        SourceType::Array(inner) => return Some(format!("array({})", of(inner)?)),
        SourceType::Boolean => "boolean",
        SourceType::Int32 => "int32",
        SourceType::Int64 => "int64",
        SourceType::Float32 => "float32",
        SourceType::Float64 => "float64",
        SourceType::Text => "text",
        SourceType::Bytes => "bytes",
        SourceType::VariableDecimal => "variable_decimal",
        SourceType::DateDays => "date",
        SourceType::TimeMillis => "time_millis",
        SourceType::TimeMicros => "time_micros",
        SourceType::TimeNanos => "time_nanos",
        SourceType::ZonedTime => "zoned_time",
        SourceType::TimestampMillis => "timestamp_millis",
        SourceType::TimestampMicros => "timestamp_micros",
        SourceType::TimestampNanos => "timestamp_nanos",
        SourceType::ZonedTimestamp => "zoned_timestamp",
        SourceType::IsoDate => "iso_date",
        SourceType::IsoTime => "iso_time",
        SourceType::IsoTimestamp => "iso_timestamp",
        SourceType::IntervalMicros => "interval_micros",
        SourceType::IntervalIso => "interval_iso",
        SourceType::Json => "json",
        SourceType::Xml => "xml",
        SourceType::Uuid => "uuid",
        SourceType::Enum => "enum",
        SourceType::EnumSet => "set",
        SourceType::Year => "year",
        SourceType::Geometry => "geometry",
        SourceType::Map => "map",
        SourceType::MongoDocument => "mongo_document",
    };
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_word_is_read_and_written() {
        for word in KNOWN.split(", ") {
            let word = word.replace("SCALE", "2").replace("LENGTH", "3").replace("TYPE", "uuid");
            let ty = parse(&word).unwrap_or_else(|| panic!("{word}"));
            assert_eq!(of(&ty).and_then(|word| parse(&word)), Some(ty), "{word}");
        }
    }

    #[test]
    fn arguments_are_read_strictly() {
        assert_eq!(parse("decimal(2)"), Some(SourceType::Decimal { scale: 2 }));
        assert_eq!(parse(" decimal( -3 ) "), Some(SourceType::Decimal { scale: -3 }));
        assert_eq!(
            parse("array(array(int32))"),
            Some(SourceType::Array(Box::new(SourceType::Array(Box::new(SourceType::Int32)))))
        );
        for wrong in
            ["", "decimal", "decimal()", "decimal(2", "decimal(x)", "bits(-1)", "array()", "array", "DATE", "text(3)"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        let deep = "array(".repeat(100_000) + "int32" + &")".repeat(100_000);
        assert_eq!(parse(&deep), None);
    }
}
