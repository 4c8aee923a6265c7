//! Whose webhooks and events these are.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::analytics::LogLevel;
use crate::id::{TenantId, TenantNo};
use crate::quota::OwnQuota;
use crate::time::Timestamp;

/// A DNS label that names a tenant below the base domain: `a-z 0-9 -`, 1 to 63, no hyphen at the ends.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subdomain(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 63 of a-z 0-9 -, not beginning or ending with a hyphen")]
pub struct InvalidSubdomain;

impl FromStr for Subdomain {
    type Err = InvalidSubdomain;
    fn from_str(text: &str) -> Result<Self, InvalidSubdomain> {
        let spelled = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let ends = !text.starts_with('-') && !text.ends_with('-');
        if (1..=63).contains(&text.len()) && spelled && ends {
            Ok(Self(text.into()))
        } else {
            Err(InvalidSubdomain)
        }
    }
}

impl TryFrom<String> for Subdomain {
    type Error = InvalidSubdomain;
    fn try_from(text: String) -> Result<Self, InvalidSubdomain> {
        text.parse()
    }
}

impl From<Subdomain> for String {
    fn from(subdomain: Subdomain) -> String {
        subdomain.0
    }
}

impl Subdomain {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subdomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of the tenant that exists from the start.
pub const DEFAULT_TENANT: &str = "default";

#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    pub no: TenantNo,
    pub id: TenantId,
    pub name: String,
    pub subdomain: Subdomain,
    pub created_at: Timestamp,
    pub retention: Retention,
    pub quota: OwnQuota,
    /// How much its analytic events tell.
    pub log_level: LogLevel,
}

/// How long things are kept for webhooks with retention `standard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    pub payload_after_delivered: Duration,
    pub payload_after_failed: Duration,
    pub metadata: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            payload_after_delivered: Duration::from_secs(24 * 3600),
            payload_after_failed: Duration::from_secs(7 * 86_400),
            metadata: Duration::from_secs(30 * 86_400),
        }
    }
}
