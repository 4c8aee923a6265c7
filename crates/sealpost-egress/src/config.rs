//! How the door is set up, and what makes a set-up unusable.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::connect::TrustError;

/// How the door is set up. [`Default`] is the safe choice everywhere.
#[derive(Clone)]
pub struct EgressConfig {
    /// Networks that may be dialled although they are not public.
    pub allow: Vec<IpNet>,
    /// Accept `http` for `localhost` and `127.0.0.1`, which the address rule then does not apply to.
    pub plain_http_loopback: bool,
    /// Trust this system's certificate authorities.
    pub native_roots: bool,
    /// Trust these certificates too (PEM).
    pub extra_ca_pem: Option<Vec<u8>>,
    /// Ask these name servers instead of those in `resolv_conf`.
    pub nameservers: Option<Vec<SocketAddr>>,
    /// Read once at start; a missing file is no error.
    pub resolv_conf: PathBuf,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            plain_http_loopback: false,
            native_roots: true,
            extra_ca_pem: None,
            nameservers: None,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

impl fmt::Debug for EgressConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressConfig")
            .field("allow", &self.allow)
            .field("plain_http_loopback", &self.plain_http_loopback)
            .field("native_roots", &self.native_roots)
            .field("extra_ca", &self.extra_ca_pem.is_some())
            .field("nameservers", &self.nameservers)
            .field("resolv_conf", &self.resolv_conf)
            .finish()
    }
}

/// Why the door could not be set up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the resolver could not be set up: {0}")]
    Resolver(String),
}
