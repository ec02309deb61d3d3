//! The record the benches read: an order of a small shop as Debezium writes it, 0.9 kB, key and value.
//!
//! Fields, types and lengths are those of `tests/golden/debezium/plain.ndjson`; the values differ from record to record.

/// An order of the shop: 14 columns, 0.9 kB with the envelope.
pub(crate) fn order(n: usize) -> (String, String) {
    let lsn = 22_406_936 + n * 216;
    let row = format!(
        r#"{{"id":{n},"customer_id":{},"email":"customer-{n}@example.org","status":"shipped","total":"{}.{:02}","currency":"EUR","note":"Leave it with the neighbours \"Müller\" at no. {n}","address":"{n} Whimbrel Lane, 12345 Wattenmeer, Schleswig-Holstein, Germany","tracking":"00340434161094{n:08}","items":{},"paid":true,"discount":null,"placed_on":{},"updated_at":{}}}"#,
        n % 977,
        n * 7,
        n % 100,
        n % 9,
        19_000 + n % 900,
        1_709_251_199_999_999 + n,
    );
    let key = format!(r#"{{"id":{n}}}"#);
    let value = format!(
        r#"{{"before":null,"after":{row},"source":{{"version":"3.7.0.Final","connector":"postgresql","name":"shop","ts_ms":1795432097593,"snapshot":"false","db":"postgres","sequence":"[\"{lsn}\",\"{lsn}\"]","ts_us":1795432097593974,"ts_ns":1795432097593974000,"schema":"public","table":"orders","txId":{},"lsn":{lsn},"xmin":null,"origin":null,"origin_lsn":null}},"transaction":{{"id":"756:{lsn}","total_order":1,"data_collection_order":1}},"op":"c","ts_ms":1795432097839,"ts_us":1795432097839831,"ts_ns":1795432097839831268}}"#,
        756 + n,
    );
    (key, value)
}
