//! Roles and what each may do, in one table.
//!
//! The API asks [`Role::may`]; the OpenAPI document lists [`Permission::roles`]. Roles of the MATTR platform that
//! have no right here (`verifier`, `dts-*`) exist so that their tokens are understood and refused with 403.

use std::fmt;
use std::str::FromStr;

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
    /// Erase payloads.
    Erase,
    /// Read the catalogue of event types.
    ReadEventTypes,
    /// Change the catalogue of event types.
    ManageEventTypes,
    /// Metrics: an operator's credential.
    Operate,
}

impl Permission {
    pub const fn roles(self) -> &'static [Role] {
        use Role::{Admin, Auditor, Issuer, ManagedIssuer, Publisher, Subscriber};
        match self {
            Permission::Public | Permission::Operate => &[],
            Permission::ManageWebhooks => &[Admin, Issuer, ManagedIssuer],
            Permission::Publish => &[Admin, Issuer, ManagedIssuer, Publisher],
            Permission::ReadDeliveries => &[Admin, Issuer, ManagedIssuer, Auditor, Subscriber],
            Permission::RepairDeliveries => &[Admin, Issuer, ManagedIssuer],
            Permission::ReadSecrets => &[Admin, Issuer],
            Permission::ReadPayloads => &[Admin, Subscriber],
            Permission::Erase => &[Admin],
            Permission::ReadEventTypes => &[Admin, Issuer, ManagedIssuer, Publisher, Auditor],
            Permission::ManageEventTypes => &[Admin],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_do_what() {
        let table: Vec<String> = [
            Permission::ManageWebhooks,
            Permission::Publish,
            Permission::ReadDeliveries,
            Permission::RepairDeliveries,
            Permission::ReadSecrets,
            Permission::ReadPayloads,
            Permission::Erase,
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
            Erase: admin"#]]
        .assert_eq(&table.join("\n"));
    }
}
