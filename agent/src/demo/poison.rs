//! Records that must become dead letters, of several kinds. They hold no e-mail address, so that the proof may search the
//! whole database for one: dead letters keep records as they came.

use super::envelope::{Record, topic};
use super::shop::Table;
use crate::event::Reason;

/// A kind of poison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Poison {
    /// The JSON ends in the middle.
    CutOff,
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// JSON, but not what a connector sends.
    NotAnEnvelope,
    /// An operation that does not exist.
    UnknownOperation,
    /// Text where the column holds a number.
    WrongType,
}

impl Poison {
    /// All kinds, in the order they are sent.
    pub(crate) const ALL: [Self; 5] =
        [Self::CutOff, Self::NotUtf8, Self::NotAnEnvelope, Self::UnknownOperation, Self::WrongType];

    /// The reason the agent must give.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::CutOff | Self::NotUtf8 => Reason::Malformed,
            Self::NotAnEnvelope | Self::UnknownOperation => Reason::NotAnEnvelope,
            Self::WrongType => Reason::BadValue,
        }
    }

    /// The record number `serial` of this kind. Its key is used by no row, so that nothing has to park behind it.
    pub(crate) fn record(self, serial: u64, now_us: i64) -> Record {
        let id = format!("-{}", serial + 1);
        let value = match self {
            Self::CutOff => format!(r#"{{"before":null,"after":{{"id":{id},"customer_id":1,"sta"#).into_bytes(),
            Self::NotUtf8 => b"{\"before\":null,\"after\":{\"id\":1,\"status\":\"\xff\xfe\"},\"op\":\"c\"}".to_vec(),
            Self::NotAnEnvelope => format!(r#"["this","is","order",{id}]"#).into_bytes(),
            Self::UnknownOperation => envelope("z", &id, "1", now_us).into_bytes(),
            Self::WrongType => envelope("c", &id, "\"the second from the left\"", now_us).into_bytes(),
        };
        Record {
            topic: topic(Table::Orders),
            key: format!(r#"{{"id":{id}}}"#).into_bytes(),
            value: Some(value),
            headers: Vec::new(),
        }
    }
}

fn envelope(op: &str, id: &str, customer: &str, now_us: i64) -> String {
    let ms = now_us / 1_000;
    format!(
        r#"{{"before":null,"after":{{"id":{id},"customer_id":{customer},"status":"placed","total":"1.00","placed_at":{now_us},"note":null}},"source":{{"version":"3.7.0.Final","connector":"postgresql","name":"shop","ts_ms":{ms},"snapshot":"false","db":"shop","sequence":null,"ts_us":{now_us},"ts_ns":{now_us}000,"schema":"public","table":"orders","txId":1,"lsn":1,"xmin":null}},"transaction":null,"op":"{op}","ts_ms":{ms}}}"#
    )
}
