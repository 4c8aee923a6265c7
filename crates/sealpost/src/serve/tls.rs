//! Our own TLS: certificate and key from PEM files, TLS 1.2 or 1.3, HTTP/2 where the client offers it.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::ServeError;
use crate::config::TlsFiles;

pub(super) const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let refused = |what, path: &Path, why: String| ServeError::File { what, path: path.to_owned(), why };
    let cert_refused = |why| refused("the TLS certificate", &files.cert, why);
    let key_refused = |why| refused("the TLS key", &files.key, why);
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| cert_refused(error.to_string()))?;
    if chain.is_empty() {
        return Err(cert_refused("it holds no certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| key_refused(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| key_refused(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| key_refused(format!("it does not fit the certificate: {error}")))?;
    config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
