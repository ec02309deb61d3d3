//! TLS to a collector: reads the PEM files once, for both wire protocols, and says what a failed connection means.

use std::fs;
use std::path::{Path, PathBuf};

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};

use super::config::OtlpConfig;
use crate::runtime::logging::chain;
use crate::runtime::tls::Handshake;

/// A file that TLS needs and that is of no use.
#[derive(Debug, thiserror::Error)]
#[error("`otlp.tls.{field}`: {} cannot be used", path.display())]
pub struct TlsFileError {
    field: &'static str,
    path: PathBuf,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// What the files hold.
#[derive(Default)]
pub(super) struct Material {
    authorities: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    encrypted: bool,
}

impl Material {
    /// Reads what is configured.
    pub(super) fn read(config: &OtlpConfig) -> Result<Self, TlsFileError> {
        let tls = &config.tls;
        let read = |field: &'static str, path: &Path| {
            fs::read(path).map_err(|error| TlsFileError { field, path: path.to_owned(), source: error.into() })
        };
        let authorities = tls.ca_file.as_deref().map(|path| read("ca_file", path)).transpose()?;
        let identity = match &tls.identity {
            Some((certificate, key)) => Some((read("cert_file", certificate)?, read("key_file", key)?)),
            None => None,
        };
        let material = Self { authorities, identity, encrypted: config.endpoint.scheme() == "https" };
        // Both protocols read the files the same way; the one that says clearly what is wrong is asked always.
        material.certificates(tls.ca_file.as_deref())?;
        material.client(tls.identity.as_ref().map(|(certificate, _)| certificate.as_path()))?;
        Ok(material)
    }

    fn certificates(&self, path: Option<&Path>) -> Result<Option<Vec<reqwest::Certificate>>, TlsFileError> {
        let Some(pem) = &self.authorities else { return Ok(None) };
        let failed = |source| TlsFileError { field: "ca_file", path: path.unwrap_or(Path::new("")).to_owned(), source };
        let found = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| failed(error.into()))?;
        if found.is_empty() {
            return Err(failed("no certificate in the file".into()));
        }
        Ok(Some(found))
    }

    fn client(&self, path: Option<&Path>) -> Result<Option<reqwest::Identity>, TlsFileError> {
        let Some((certificate, key)) = &self.identity else { return Ok(None) };
        let both = [key.as_slice(), b"\n", certificate].concat();
        let identity = reqwest::Identity::from_pem(&both).map_err(|error| TlsFileError {
            field: "cert_file",
            path: path.unwrap_or(Path::new("")).to_owned(),
            source: error.into(),
        })?;
        Ok(Some(identity))
    }

    /// For OTLP over HTTP.
    pub(super) fn http(&self, mut builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, TlsFileError> {
        if !self.encrypted {
            // Without TLS no trust store is needed; a machine may have none.
            return Ok(builder.tls_certs_only([]));
        }
        if let Some(authorities) = self.certificates(None)? {
            builder = builder.tls_certs_only(authorities);
        }
        if let Some(identity) = self.client(None)? {
            builder = builder.identity(identity);
        }
        Ok(builder)
    }

    /// For OTLP over gRPC; `None` without TLS.
    pub(super) fn grpc(&self) -> Option<ClientTlsConfig> {
        if !self.encrypted {
            return None;
        }
        let mut tls = ClientTlsConfig::new();
        tls = match &self.authorities {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        Some(tls)
    }
}

/// The collector did not take a push, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{said}{remedy}")]
pub(super) struct NotTaken {
    said: String,
    remedy: String,
}

impl NotTaken {
    /// Says what a failed request means.
    pub(super) fn new(error: &reqwest::Error) -> Self {
        let said = chain(error);
        let remedy = Handshake::told_by(&said).map_or_else(String::new, |handshake| {
            let authority = "name it in `otlp.tls.ca_file`";
            let client = "name one in `otlp.tls.cert_file` and `otlp.tls.key_file`";
            format!(" ({})", handshake.remedy(authority, client))
        });
        Self { said, remedy }
    }
}
