//! Why a request never left, or why no usable answer came back.
//!
//! The variants map one to one on the outcomes that an attempt records. Messages are fit for the tenant: they
//! name the host that the tenant wrote and a class of fault, never a resolved address.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// The end of an attempt that produced no status.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EgressError {
    #[error("`{host}` gave no answer in time; the limit passed {phase}")]
    Timeout { host: Arc<str>, phase: Phase, sent: Sent },

    #[error("`{host}` could not be resolved: {fault}")]
    Dns { host: Arc<str>, fault: DnsFault },

    #[error("`{host}` may not be called: {reason}")]
    AddressRefused { host: Arc<str>, reason: &'static str, address: RefusedAddress },

    #[error("`{host}` could not be reached: {fault}")]
    Connect { host: Arc<str>, fault: ConnectFault },

    #[error("`{host}` could not be trusted: {fault}")]
    Tls { host: Arc<str>, fault: TlsFault },

    #[error("`{host}` did not answer in HTTP as expected: {fault}")]
    Protocol { host: Arc<str>, fault: ProtocolFault, sent: Sent },

    #[error("the request was withdrawn before it began")]
    GateClosed,
}

impl EgressError {
    /// Whether any byte of the request may have reached the receiver.
    pub fn sent(&self) -> Sent {
        match self {
            Self::Timeout { sent, .. } | Self::Protocol { sent, .. } => *sent,
            Self::Dns { .. }
            | Self::AddressRefused { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::GateClosed => Sent::NotSent,
        }
    }

    /// The address that was refused, for the operator's log only.
    pub fn refused_address(&self) -> Option<IpAddr> {
        match self {
            Self::AddressRefused { address, .. } => address.0,
            _ => None,
        }
    }
}

/// Whether the receiver can have seen anything of the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    NotSent,
    MaybeSent,
}

/// What an attempt was doing when its time ran out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    Resolve,
    Connect,
    Tls,
    Send,
    Answer,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "while resolving the name",
            Self::Connect => "while connecting",
            Self::Tls => "during the TLS handshake",
            Self::Send => "while sending the request",
            Self::Answer => "while waiting for the answer",
        })
    }
}

/// An address kept out of every message, `Debug` included, since error values travel to places that a tenant
/// can read; see [`EgressError::refused_address`].
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct RefusedAddress(pub(crate) Option<IpAddr>);

impl fmt::Debug for RefusedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "hidden" } else { "none" })
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DnsFault {
    #[error("the name does not exist")]
    NoSuchName,
    #[error("the name has no address")]
    NoAddress,
    #[error("the name servers did not answer in time")]
    TimedOut,
    #[error("no name server is configured")]
    NoServers,
    #[error("the answer holds too many records")]
    TooMuch,
    #[error("it is not a valid name")]
    InvalidName,
    #[error("the name servers failed")]
    Failed,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectFault {
    #[error("connection refused")]
    Refused,
    #[error("host or network unreachable")]
    Unreachable,
    #[error("no answer to the connection attempt")]
    TimedOut,
    #[error("the connection was closed before the request began")]
    Closed,
    #[error("the connection failed")]
    Failed,
}

impl ConnectFault {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => Self::Unreachable,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::Closed,
            _ => Self::Failed,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TlsFault {
    #[error("certificate expired")]
    Expired,
    #[error("certificate not yet valid")]
    NotYetValid,
    #[error("unknown issuer")]
    UnknownIssuer,
    #[error("name mismatch")]
    NameMismatch,
    #[error("certificate revoked")]
    Revoked,
    #[error("certificate not acceptable")]
    BadCertificate,
    #[error("no TLS version or cipher in common")]
    Incompatible,
    #[error("handshake refused by the receiver")]
    Alert,
    #[error("connection closed during the handshake")]
    Closed,
    #[error("handshake failed")]
    Handshake,
}

impl TlsFault {
    pub(crate) fn of(error: &io::Error) -> Self {
        use rustls::CertificateError as Certificate;
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
                Certificate::Expired | Certificate::ExpiredContext { .. } => Self::Expired,
                Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => Self::NotYetValid,
                Certificate::UnknownIssuer => Self::UnknownIssuer,
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                    Self::NameMismatch
                }
                Certificate::Revoked => Self::Revoked,
                _ => Self::BadCertificate,
            },
            Some(rustls::Error::PeerIncompatible(_)) => Self::Incompatible,
            Some(rustls::Error::AlertReceived(_)) => Self::Alert,
            Some(_) => Self::Handshake,
            None => Self::Closed,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProtocolFault {
    #[error("the connection ended before an answer")]
    NoAnswer,
    #[error("the answer's head is too large")]
    HeadTooLarge,
    #[error("the answer is malformed")]
    Malformed,
    #[error("too many interim answers")]
    TooManyInterim,
    #[error("it asked to switch protocols")]
    SwitchedProtocols,
    #[error("the HTTP/2 connection failed")]
    Http2,
    #[error("the answer's body is too large")]
    BodyTooLarge,
    #[error("the answer's body is incomplete")]
    BodyIncomplete,
    #[error("a header of the request may not be set by its sender")]
    RequestHeader,
}

impl ProtocolFault {
    pub(crate) fn of(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::HeadTooLarge
        } else if error.is_parse() {
            Self::Malformed
        } else {
            Self::NoAnswer
        }
    }
}
