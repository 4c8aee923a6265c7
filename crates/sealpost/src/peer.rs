//! What is known of whoever is on the other end of a request. The server finds it out, the faces read it.

use std::net::IpAddr;

/// An extension of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client, as far as it can be known.
    pub peer: IpAddr,
    /// The host that was asked for, with its port if it had one; `None` if nobody trusted says.
    pub host: Option<String>,
    /// The client came over TLS, to us or to the proxy.
    pub secure: bool,
}
