//! Certificates for receivers on this machine: an authority of one's own, and a server certificate that it signed.
//!
//! The authority's key is thrown away at once, so nothing else can ever be signed with it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::cli::client::Failure;

/// What a receiver shows, and what a sender must trust to believe it.
pub(crate) struct Identity {
    pub(crate) authority_pem: String,
    certificate_pem: String,
    key_pem: String,
}

impl Identity {
    /// For `https://localhost:PORT`.
    pub(crate) fn for_localhost() -> Result<Self, Failure> {
        Self::make().map_err(|error| Failure::failed(format!("no certificate could be made: {error}")))
    }

    fn make() -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority.distinguished_name.push(DnType::CommonName, "Sealpost receiver on this machine");
        let key = KeyPair::generate()?;
        let authority_pem = authority.self_signed(&key)?.pem();
        let issuer = Issuer::new(authority, key);

        let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        server.distinguished_name.push(DnType::CommonName, "localhost");
        let key = KeyPair::generate()?;
        let certificate_pem = server.signed_by(&key, &issuer)?.pem();
        Ok(Self { authority_pem, certificate_pem, key_pem: key.serialize_pem() })
    }

    /// The identity kept in `authority_file` and the key file beside it, made on the first use: a server that was
    /// started with the file keeps trusting it.
    pub(crate) fn kept_in(authority_file: &Path) -> Result<Self, Failure> {
        let key_file = authority_file.with_extension("key");
        let refused = |path: &Path, error: &std::io::Error| Failure::io(path.display(), error);
        if key_file.exists() && authority_file.exists() {
            let own = std::fs::read_to_string(&key_file).map_err(|e| refused(&key_file, &e))?;
            let authority_pem =
                std::fs::read_to_string(authority_file).map_err(|e| refused(authority_file, &e))?;
            // Both parts stand in one file; each reader takes its own.
            return Ok(Self { authority_pem, certificate_pem: own.clone(), key_pem: own });
        }
        let made = Self::for_localhost()?;
        let write = |path: &Path, mode: u32, text: &str| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(mode).open(path)?;
            file.write_all(text.as_bytes())
        };
        let own = format!("{}{}", made.certificate_pem, made.key_pem);
        write(&key_file, 0o600, &own).map_err(|e| refused(&key_file, &e))?;
        write(authority_file, 0o644, &made.authority_pem).map_err(|e| refused(authority_file, &e))?;
        Ok(made)
    }

    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, Failure> {
        let unusable =
            |why: String| Failure::failed(format!("the receiver's certificate is not usable: {why}"));
        let chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|error| unusable(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| unusable(error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_its_key_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let first = Identity::kept_in(&file).unwrap();
        let second = Identity::kept_in(&file).unwrap();
        assert_eq!(first.authority_pem, second.authority_pem);
        first.acceptor().unwrap();
        second.acceptor().unwrap();
        let mode = std::fs::metadata(folder.path().join("ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!first.authority_pem.contains("PRIVATE"));
    }
}
