//! Who asks: the login that `docker login`, `podman login` or `oras login` left for a registry, in Docker's config file,
//! with credential helpers where that file names them.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;

use super::RegistryError;

/// The login for a registry's host, or nobody's.
pub(super) fn login(host: &str) -> Result<RegistryAuth, RegistryError> {
    let failed = |why: String| RegistryError::Login { host: host.to_owned(), why };
    let Some(path) = config_file() else { return Ok(RegistryAuth::Anonymous) };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(RegistryAuth::Anonymous),
        Err(error) => return Err(failed(format!("{}: {error}", path.display()))),
    };
    match docker_credential::get_credential_from_reader(BufReader::new(file), host) {
        Ok(DockerCredential::UsernamePassword(name, password)) => Ok(RegistryAuth::Basic(name, password)),
        Ok(DockerCredential::IdentityToken(token)) => Ok(RegistryAuth::Bearer(token)),
        Err(CredentialRetrievalError::NoCredentialConfigured | CredentialRetrievalError::ConfigNotFound) => {
            Ok(RegistryAuth::Anonymous)
        }
        // What a helper printed may hold the secret.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            Err(failed(format!("the credential helper `{helper}` failed")))
        }
        Err(error) => Err(failed(format!("{}: {error}", path.display()))),
    }
}

fn config_file() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    folder.or_else(home).map(|folder| folder.join("config.json"))
}
