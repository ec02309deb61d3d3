//! Column types: what a source's type becomes when a table is made, and how a value travels to a column that is there.

use tokio_postgres::types::Type;

use crate::event::SourceType;

/// How the values of one column are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Text for a text column: the assignment checks its length, an explicit cast would cut it silently.
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    Json,
    Jsonb,
    /// Text that the server casts to the column's type.
    Cast,
}

impl Wire {
    /// How values of `source` reach a column of the type with this object id (pg_type.dat).
    pub(super) fn choose(source: &SourceType, target: u32) -> Self {
        use SourceType as S;
        match target {
            16 => Self::Bool,
            21 => Self::Int2,
            23 => Self::Int4,
            20 => Self::Int8,
            700 => Self::Float4,
            701 => Self::Float8,
            // text, varchar, bpchar, name
            25 | 1043 | 1042 | 19 => Self::Text,
            2950 => Self::Uuid,
            114 => Self::Json,
            3802 => Self::Jsonb,
            17 if matches!(source, S::Bytes | S::Geometry) => Self::Bytea,
            1082 if matches!(source, S::DateDays | S::IsoDate) => Self::Date,
            1083 if matches!(source, S::TimeMillis | S::TimeMicros | S::TimeNanos | S::IsoTime) => Self::Time,
            1114 if is_timestamp(source) => Self::Timestamp,
            1184 if is_timestamp(source) => Self::TimestampTz,
            _ => Self::Cast,
        }
    }

    /// The element type of the array it is sent in.
    pub(super) const fn element(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Int8 => 20,
            Self::Float4 => 700,
            Self::Float8 => 701,
            Self::Text | Self::Cast => 25,
            Self::Bytea => 17,
            Self::Date => 1082,
            Self::Time => 1083,
            Self::Timestamp => 1114,
            Self::TimestampTz => 1184,
            Self::Uuid => 2950,
            Self::Json => 114,
            Self::Jsonb => 3802,
        }
    }

    /// The array type.
    pub(super) const fn array(self) -> Type {
        match self {
            Self::Bool => Type::BOOL_ARRAY,
            Self::Int2 => Type::INT2_ARRAY,
            Self::Int4 => Type::INT4_ARRAY,
            Self::Int8 => Type::INT8_ARRAY,
            Self::Float4 => Type::FLOAT4_ARRAY,
            Self::Float8 => Type::FLOAT8_ARRAY,
            Self::Text | Self::Cast => Type::TEXT_ARRAY,
            Self::Bytea => Type::BYTEA_ARRAY,
            Self::Date => Type::DATE_ARRAY,
            Self::Time => Type::TIME_ARRAY,
            Self::Timestamp => Type::TIMESTAMP_ARRAY,
            Self::TimestampTz => Type::TIMESTAMPTZ_ARRAY,
            Self::Uuid => Type::UUID_ARRAY,
            Self::Json => Type::JSON_ARRAY,
            Self::Jsonb => Type::JSONB_ARRAY,
        }
    }
}

const fn is_timestamp(source: &SourceType) -> bool {
    use SourceType as S;
    matches!(source, S::TimestampMillis | S::TimestampMicros | S::TimestampNanos | S::IsoTimestamp | S::ZonedTimestamp)
}

/// The column type a new column gets. What has no type of its own in PostgreSQL is kept as text or jsonb.
pub(super) fn declared(ty: &SourceType) -> String {
    use SourceType as S;
    match ty {
        S::Unknown | S::Text | S::Enum | S::EnumSet | S::Xml => "text",
        S::Boolean => "boolean",
        S::Int32 | S::Year => "integer",
        S::Int64 => "bigint",
        S::Float32 => "real",
        S::Float64 => "double precision",
        S::Bytes => "bytea",
        // The precision is not in the record; without a scale of its own the column keeps every digit that comes.
        S::Decimal { .. } | S::VariableDecimal => "numeric",
        S::DateDays | S::IsoDate => "date",
        S::TimeMillis | S::TimeMicros | S::TimeNanos | S::IsoTime => "time",
        S::ZonedTime => "time with time zone",
        S::TimestampMillis | S::TimestampMicros | S::TimestampNanos | S::IsoTimestamp => "timestamp",
        S::ZonedTimestamp => "timestamp with time zone",
        S::IntervalMicros | S::IntervalIso => "interval",
        S::Json | S::Struct(_) | S::Map | S::MongoDocument | S::Geometry => "jsonb",
        S::Uuid => "uuid",
        S::Bits { .. } => "bit varying",
        S::Array(inner) => {
            return match &**inner {
                // Arrays of arrays have one type in PostgreSQL, whatever their depth.
                S::Array(_) => declared(inner),
                inner => format!("{}[]", declared(inner)),
            };
        }
    }
    .to_owned()
}
