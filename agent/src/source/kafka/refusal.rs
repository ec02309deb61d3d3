//! What librdkafka's complaints mean when only a person can mend them: a login or a certificate that is refused, TLS or
//! SASL on one side only. Pure; brokers that are merely away are not its business.

use rdkafka::types::RDKafkaErrorCode;

use crate::runtime::tls::Handshake;

/// The brokers, or the agent, refuse the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What happened, in librdkafka's words.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
    /// False for a guess at why a broker hangs up; it may as well be starting.
    pub certain: bool,
}

/// Reads a complaint; `None` when it may pass by itself.
#[must_use]
pub fn refusal(code: Option<RDKafkaErrorCode>, complaint: &str) -> Option<Refusal> {
    // "[thrd:…]: … (after 3ms in state AUTH_REQ)": the thread and the time say nothing to whoever reads the status.
    let complaint = match complaint.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        Some((_, rest)) => rest,
        None => complaint,
    };
    let guess = guess(complaint);
    let complaint = complaint.split(" (after ").next().unwrap_or(complaint);
    let certain = guess.is_none();
    let remedy = guess.or_else(|| remedy(code, complaint))?;
    Some(Refusal {
        why: format!("kafka: {complaint}"),
        remedy: format!("{remedy}; it is tried again by itself"),
        certain,
    })
}

/// Why a broker may hang up. A listener with TLS does so on the first request of a client without.
fn guess(complaint: &str) -> Option<String> {
    let without_tls = !complaint.starts_with("ssl://") && !complaint.starts_with("sasl_ssl://");
    if without_tls && complaint.contains("Disconnected") && complaint.contains("in state APIVERSION_QUERY") {
        return Some("this port may want TLS: add `tls` to `source.kafka`, or take the brokers' plaintext port".into());
    }
    if complaint.contains("broker might require SASL") {
        return Some("the brokers may want a login: add `sasl` to `source.kafka`".into());
    }
    None
}

fn remedy(code: Option<RDKafkaErrorCode>, complaint: &str) -> Option<String> {
    if complaint.contains("mechanism") && complaint.to_ascii_lowercase().contains("unsupported sasl") {
        return Some("set `sasl.mechanism` of `source.kafka` to one that the brokers offer".into());
    }
    if code == Some(RDKafkaErrorCode::Authentication) || complaint.contains("SASL authentication error") {
        return Some(
            "check `sasl.username`, `sasl.password` and `sasl.mechanism` of `source.kafka`, and the user at the brokers"
                .into(),
        );
    }
    let told = Handshake::told_by(complaint);
    if told.is_none() && code == Some(RDKafkaErrorCode::SSL) {
        return Some("check `tls` of `source.kafka`, and the listener's TLS settings at the brokers".into());
    }
    told.map(|handshake| {
        handshake.remedy(
            "name it in `tls.ca_file` of `source.kafka`",
            "check `tls.cert_file` and `tls.key_file` of `source.kafka`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_that_a_person_must_mend_name_the_setting() {
        use RDKafkaErrorCode::{AllBrokersDown, Authentication, BrokerTransportFailure, SSL};
        for (code, complaint, expect) in [
            (
                Authentication,
                "sasl_ssl://h:1/bootstrap: SASL authentication error: Authentication failed (after 5ms in state AUTH_REQ)",
                Some("`sasl.password`"),
            ),
            (
                Authentication,
                "SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN",
                Some("`sasl.mechanism`"),
            ),
            (
                SSL,
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
                Some("`tls.ca_file`"),
            ),
            (BrokerTransportFailure, "SSL_read failed: tlsv13 alert certificate required", Some("`tls.cert_file`")),
            (
                SSL,
                "SSL handshake failed: error:0A00010B:SSL routines::wrong version number",
                Some("does not speak TLS"),
            ),
            (
                BrokerTransportFailure,
                "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected: connection closed by peer (after 0ms in state APIVERSION_QUERY)",
                Some("add `tls`"),
            ),
            (SSL, "something new", Some("check `tls`")),
            (BrokerTransportFailure, "Connect to ipv4#127.0.0.1:1 failed: Connection refused", None),
            (AllBrokersDown, "2/2 brokers are down", None),
        ] {
            let found = refusal(Some(code), complaint);
            assert_eq!(found.is_some(), expect.is_some(), "{complaint}: {found:?}");
            if let (Some(found), Some(expect)) = (found, expect) {
                assert!(found.remedy.contains(expect), "{complaint}: {found:?}");
                assert!(!found.why.contains("(after") && !found.why.contains("thrd"), "{found:?}");
                assert_eq!(found.certain, !complaint.contains("Disconnected"), "{found:?}");
            }
        }
    }
}
