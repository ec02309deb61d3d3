//! TLS to databases and brokers: whom to trust, and what a failed handshake means.
//!
//! The drivers tell of a failed handshake in words only, those of rustls or of OpenSSL (librdkafka's). This is the one
//! table from such words to what is wrong; which setting mends it is known where the connection is configured.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Whom to trust.
#[derive(Debug, Clone, Copy)]
pub enum Trusted<'a> {
    /// The authorities of a PEM file, and no others.
    File(&'a Path),
    /// Those of the system.
    System,
    /// Nobody: no TLS is wanted.
    Nobody,
}

/// Settings of a client that shows no certificate.
///
/// # Errors
/// A sentence, when the file cannot be read or holds no certificate.
pub fn client_config(trusted: Trusted<'_>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match trusted {
        Trusted::File(path) => {
            let unreadable = |e: &dyn std::fmt::Display| format!("cannot read `{}`: {e}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))? {
                roots.add(certificate.map_err(|e| unreadable(&e))?).map_err(|e| unreadable(&e))?;
            }
            if roots.is_empty() {
                return Err(format!("`{}` holds no certificate", path.display()));
            }
        }
        // Certificates the library cannot read are left out, as browsers do.
        Trusted::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Trusted::Nobody => {}
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("cannot set up TLS: {e}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// No authority that is trusted here signed the server's certificate.
    UnknownAuthority,
    /// The server's certificate is over.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// The server's certificate is for another name.
    OtherName,
    /// The server's certificate is not accepted; the library does not say why.
    Unverified,
    /// The server wants a client's certificate, or does not accept the one it got.
    ClientCertificate,
    /// The server does not speak TLS there.
    NoTls,
}

impl Handshake {
    /// Finds it in what a library said; `None` when it is not about TLS, or not in the table.
    #[must_use]
    pub fn told_by(text: &str) -> Option<Self> {
        // The first that matches counts: what the other side says (an alert) comes before what is concluded from it.
        const TABLE: &[(&[&str], Handshake)] = &[
            (
                &[
                    "alert bad certificate",
                    "alert certificate",
                    "alert unknown ca",
                    "client SSL authentication might be required",
                    "fatal alert: BadCertificate",
                    "fatal alert: Certificate",
                    "fatal alert: UnknownCA",
                ],
                Handshake::ClientCertificate,
            ),
            (&["UnknownIssuer", "CaUsedAsEndEntity"], Handshake::UnknownAuthority),
            (&["certificate expired", "certificate has expired"], Handshake::Expired),
            (&["certificate not valid yet", "certificate is not yet valid"], Handshake::NotYetValid),
            (&["certificate not valid for name", "Hostname mismatch"], Handshake::OtherName),
            (&["certificate verify failed", "invalid peer certificate"], Handshake::Unverified),
            (
                &[
                    "wrong version number",
                    "packet length too long",
                    "connecting to a PLAINTEXT broker listener",
                    "received corrupt message",
                    "server does not support TLS",
                ],
                Handshake::NoTls,
            ),
        ];
        let found = TABLE.iter().find(|(words, _)| words.iter().any(|word| text.contains(word)));
        found.map(|(_, meaning)| *meaning)
    }

    /// What is wrong and what to do. `authority` tells how the trusted authority is configured there, `client` how a
    /// client's certificate is.
    #[must_use]
    pub fn remedy(self, authority: &str, client: &str) -> String {
        match self {
            Self::UnknownAuthority => {
                format!("no authority trusted here signed the server's certificate: {authority}")
            }
            Self::Expired => "the server's certificate has expired: renew it there".into(),
            Self::NotYetValid => "the server's certificate is not valid yet: check the clocks of both machines".into(),
            Self::OtherName => {
                "the server's certificate is for another name: connect by a name that it holds, or have it made for this one"
                    .into()
            }
            Self::Unverified => format!(
                "the server's certificate is not accepted: it may be signed by an authority that is not trusted here \
                 ({authority}), be expired, or be made for another host name"
            ),
            Self::ClientCertificate => {
                format!("the server demands a client's certificate that it trusts: {client}")
            }
            Self::NoTls => {
                "the server does not speak TLS on this port: take its TLS port, or leave TLS out of the configuration"
                    .into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Handshake::{self, *};

    #[test]
    fn words_of_both_libraries_have_their_meaning() {
        for (text, expect) in [
            ("invalid peer certificate: UnknownIssuer", Some(UnknownAuthority)),
            (
                "invalid peer certificate: certificate expired: verification time 2 (UNIX), but certificate is not valid after 1 (1 seconds ago)",
                Some(Expired),
            ),
            (
                "invalid peer certificate: certificate not valid for name \"127.0.0.1\"; certificate is only valid for DnsName(\"localhost\")",
                Some(OtherName),
            ),
            ("invalid peer certificate: BadSignature", Some(Unverified)),
            (
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified",
                Some(Unverified),
            ),
            ("error:0A000412:SSL routines::sslv3 alert bad certificate", Some(ClientCertificate)),
            ("error:0A00045C:SSL routines::tlsv13 alert certificate required", Some(ClientCertificate)),
            ("received fatal alert: CertificateRequired", Some(ClientCertificate)),
            ("error:0A00010B:SSL routines::wrong version number", Some(NoTls)),
            ("received corrupt message of type InvalidContentType", Some(NoTls)),
            ("error performing TLS handshake: server does not support TLS", Some(NoTls)),
            ("Connection refused (os error 111)", None),
        ] {
            assert_eq!(Handshake::told_by(text), expect, "{text}");
        }
    }
}
