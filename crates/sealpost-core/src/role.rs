//! Roles and what each may do, in one table.
//!
//! The API asks [`Role::may`]; the OpenAPI document lists [`Permission::roles`]. Roles of the MATTR platform that
//! have few rights here (`verifier`, `dts-provider`) or none (`dts-consumer`) exist so that their tokens are understood,
//! and refused with 403 where they may not call.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Admin,
    Issuer,
    ManagedIssuer,
    Publisher,
    Auditor,
    Subscriber,
    Verifier,
    DtsProvider,
    DtsConsumer,
}

/// What a call needs. Every route names exactly one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Permission {
    /// No credential at all.
    Public,
    /// Create, read, change and delete webhooks and their settings.
    ManageWebhooks,
    /// See webhooks and their settings in the console (a subscriber: its own).
    ReadWebhooks,
    /// Publish events.
    Publish,
    /// Read events and deliveries (a subscriber: those of its webhook).
    ReadDeliveries,
    /// Redeliver, cancel, send a test.
    RepairDeliveries,
    /// Read and rotate a webhook's signing secret or token.
    ReadSecrets,
    /// Read a stored payload (a subscriber: of events sent to its webhook).
    ReadPayloads,
    /// Read the beginning of what a receiver answered, which may repeat what it was sent (a subscriber: its webhook's).
    ReadExcerpts,
    /// Erase payloads.
    Erase,
    /// Read the catalogue of event types.
    ReadEventTypes,
    /// Change the catalogue of event types.
    ManageEventTypes,
    /// Rotate the tenant's signing keys.
    ManageKeys,
    /// Configure, verify and delete the custom domain.
    ManageDomain,
    /// Read the audit log.
    ReadAudit,
    /// Read analytic events.
    ReadAnalytics,
    /// Tenants, their clients, metrics: an operator's credential, which no role is.
    Operate,
}

impl Permission {
    /// Those that a role can have.
    pub const OF_ROLES: [Permission; 15] = [
        Permission::ManageWebhooks,
        Permission::ReadWebhooks,
        Permission::Publish,
        Permission::ReadDeliveries,
        Permission::RepairDeliveries,
        Permission::ReadSecrets,
        Permission::ReadPayloads,
        Permission::ReadExcerpts,
        Permission::Erase,
        Permission::ReadEventTypes,
        Permission::ManageEventTypes,
        Permission::ManageKeys,
        Permission::ManageDomain,
        Permission::ReadAudit,
        Permission::ReadAnalytics,
    ];

    /// As management answers name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Permission::Public => "public",
            Permission::ManageWebhooks => "webhooks:manage",
            Permission::ReadWebhooks => "webhooks:read",
            Permission::Publish => "events:publish",
            Permission::ReadDeliveries => "deliveries:read",
            Permission::RepairDeliveries => "deliveries:repair",
            Permission::ReadSecrets => "secrets:read",
            Permission::ReadPayloads => "payloads:read",
            Permission::ReadExcerpts => "excerpts:read",
            Permission::Erase => "payloads:erase",
            Permission::ReadEventTypes => "event-types:read",
            Permission::ManageEventTypes => "event-types:manage",
            Permission::ManageKeys => "keys:manage",
            Permission::ManageDomain => "domain:manage",
            Permission::ReadAudit => "audit:read",
            Permission::ReadAnalytics => "analytics:read",
            Permission::Operate => "operate",
        }
    }

    pub const fn roles(self) -> &'static [Role] {
        use Role::{Admin, Auditor, DtsProvider, Issuer, ManagedIssuer, Publisher, Subscriber, Verifier};
        match self {
            Permission::Public | Permission::Operate => &[],
            Permission::ManageWebhooks => &[Admin, Issuer, ManagedIssuer],
            Permission::ReadWebhooks => &[Admin, Issuer, ManagedIssuer, Auditor, Subscriber],
            Permission::Publish => &[Admin, Issuer, ManagedIssuer, Publisher],
            Permission::ReadDeliveries => &[Admin, Issuer, ManagedIssuer, Auditor, Subscriber],
            Permission::RepairDeliveries => &[Admin, Issuer, ManagedIssuer],
            Permission::ReadSecrets => &[Admin, Issuer],
            Permission::ReadPayloads => &[Admin, Subscriber],
            Permission::ReadExcerpts => &[Admin, Issuer, ManagedIssuer, Subscriber],
            Permission::Erase => &[Admin],
            Permission::ReadEventTypes => &[Admin, Issuer, ManagedIssuer, Publisher, Auditor],
            Permission::ManageEventTypes => &[Admin],
            Permission::ManageKeys => &[Admin],
            Permission::ManageDomain => &[Admin, Issuer, ManagedIssuer, Verifier, DtsProvider],
            Permission::ReadAudit => &[Admin, Auditor],
            Permission::ReadAnalytics => &[Admin, Auditor],
        }
    }
}

impl Role {
    pub const ALL: [Role; 9] = [
        Role::Admin,
        Role::Issuer,
        Role::ManagedIssuer,
        Role::Publisher,
        Role::Auditor,
        Role::Subscriber,
        Role::Verifier,
        Role::DtsProvider,
        Role::DtsConsumer,
    ];

    pub fn may(self, permission: Permission) -> bool {
        permission.roles().contains(&self)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Issuer => "issuer",
            Role::ManagedIssuer => "managed-issuer",
            Role::Publisher => "publisher",
            Role::Auditor => "auditor",
            Role::Subscriber => "subscriber",
            Role::Verifier => "verifier",
            Role::DtsProvider => "dts-provider",
            Role::DtsConsumer => "dts-consumer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a role; roles are admin, issuer, managed-issuer, publisher, auditor, subscriber, verifier, dts-provider, dts-consumer"
)]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownRole(text.into()))
    }
}

/// The roles of a client: one or more, each once. Written `admin,issuer` on one line and as an array in JSON. Only a
/// token of an external provider may have none.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Roles(u16);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoles {
    #[error("at least one role is needed")]
    Empty,
    #[error("the role `{0}` is named twice")]
    Twice(Role),
    #[error(transparent)]
    Unknown(#[from] UnknownRole),
}

impl Roles {
    /// May nothing.
    pub const NONE: Roles = Roles(0);

    pub const fn and(self, role: Role) -> Self {
        Self(self.0 | role.bit())
    }

    pub fn of(roles: impl IntoIterator<Item = Role>) -> Result<Self, InvalidRoles> {
        let mut bits = 0;
        for role in roles {
            if bits & role.bit() != 0 {
                return Err(InvalidRoles::Twice(role));
            }
            bits |= role.bit();
        }
        if bits == 0 { Err(InvalidRoles::Empty) } else { Ok(Self(bits)) }
    }

    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidRoles> {
        let roles = names.into_iter().map(str::parse).collect::<Result<Vec<Role>, _>>()?;
        Self::of(roles)
    }

    /// In the order of [`Role::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Whether one of them may.
    pub fn may(self, permission: Permission) -> bool {
        self.iter().any(|role| role.may(permission))
    }

    pub fn permissions(self) -> impl Iterator<Item = Permission> {
        Permission::OF_ROLES.into_iter().filter(move |permission| self.may(*permission))
    }

    /// This role and no other.
    pub const fn is_only(self, role: Role) -> bool {
        self.0 == role.bit()
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Self {
        Self(role.bit())
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, role) in self.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            f.write_str(role.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({self})")
    }
}

impl FromStr for Roles {
    type Err = InvalidRoles;
    fn from_str(text: &str) -> Result<Self, InvalidRoles> {
        if text.is_empty() { Err(InvalidRoles::Empty) } else { Self::parse(text.split(',')) }
    }
}

impl Serialize for Roles {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let roles = Vec::<Role>::deserialize(from)?;
        Self::of(roles).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_roles_are_written_in_one_order_and_read_back() {
        let both: Roles = "publisher,admin".parse().unwrap();
        assert_eq!(both.to_string(), "admin,publisher");
        assert_eq!(serde_json::to_string(&both).unwrap(), r#"["admin","publisher"]"#);
        assert_eq!(serde_json::from_str::<Roles>(r#"["publisher","admin"]"#).unwrap(), both);
        assert!(both.has(Role::Admin) && !both.has(Role::Issuer) && !both.is_only(Role::Admin));
        assert!(Roles::from(Role::Subscriber).is_only(Role::Subscriber));
        for (text, why) in [
            ("", "at least one role is needed"),
            ("admin,admin", "the role `admin` is named twice"),
            ("admin,,issuer", "`` is not a role"),
            ("root", "`root` is not a role"),
        ] {
            let refused = text.parse::<Roles>().unwrap_err().to_string();
            assert!(refused.starts_with(why), "{text}: {refused}");
        }
        assert!(serde_json::from_str::<Roles>("[]").is_err());
    }

    #[test]
    fn who_may_do_what() {
        let table: Vec<String> = [
            Permission::ManageWebhooks,
            Permission::Publish,
            Permission::ReadDeliveries,
            Permission::RepairDeliveries,
            Permission::ReadSecrets,
            Permission::ReadPayloads,
            Permission::ReadExcerpts,
            Permission::Erase,
            Permission::ManageDomain,
        ]
        .iter()
        .map(|p| {
            let may: Vec<&str> = Role::ALL.iter().filter(|r| r.may(*p)).map(|r| r.as_str()).collect();
            format!("{p:?}: {}", may.join(" "))
        })
        .collect();
        expect_test::expect![[r#"
            ManageWebhooks: admin issuer managed-issuer
            Publish: admin issuer managed-issuer publisher
            ReadDeliveries: admin issuer managed-issuer auditor subscriber
            RepairDeliveries: admin issuer managed-issuer
            ReadSecrets: admin issuer
            ReadPayloads: admin subscriber
            ReadExcerpts: admin issuer managed-issuer subscriber
            Erase: admin
            ManageDomain: admin issuer managed-issuer verifier dts-provider"#]]
        .assert_eq(&table.join("\n"));
    }
}
