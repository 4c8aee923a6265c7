//! The catalogue of event types: what may be published and subscribed to.
//!
//! Built in are MATTR's three, Truvera's twelve and `didcomm_message_received`, and Sealpost's own two about a
//! webhook's health. An operator registers more.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::EVENT_TYPE_BYTES;
use crate::minimise::SummaryForm;

/// A name in the catalogue's spelling: 1 to 128 of `A-Z a-z 0-9 . _ -`, beginning with a letter.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventTypeName(Arc<str>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter")]
pub struct InvalidEventTypeName;

impl EventTypeName {
    pub fn parse(text: &str) -> Result<Self, InvalidEventTypeName> {
        let spelled = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if spelled && begins && text.len() <= EVENT_TYPE_BYTES {
            Ok(Self(text.into()))
        } else {
            Err(InvalidEventTypeName)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Serialize for EventTypeName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EventTypeName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

pub const OPENID_CREDENTIAL_ISSUED: &str = "OpenIdCredentialIssued";
pub const OPENID_CREDENTIAL_ISSUED_SUMMARY: &str = "OpenIdCredentialIssuedSummary";
pub const OIDC_ISSUER_CREDENTIAL_ISSUED: &str = "OidcIssuerCredentialIssued";
pub const WEBHOOK_FAILING: &str = "sealpost.webhook.failing";
pub const WEBHOOK_RECOVERED: &str = "sealpost.webhook.recovered";

/// MATTR VII's three, in the order of its documents.
pub const MATTR: [&str; 3] =
    [OPENID_CREDENTIAL_ISSUED, OPENID_CREDENTIAL_ISSUED_SUMMARY, OIDC_ISSUER_CREDENTIAL_ISSUED];

/// Truvera's twelve in the order of its page, and the thirteenth that its release notes name.
pub const TRUVERA: [&str; 13] = [
    "credential_create",
    "credential_issued",
    "credential_revoke",
    "credential_unrevoke",
    "did_create",
    "did_update_key",
    "did_update_controller",
    "did_delete",
    "registry_create",
    "registry_delete",
    "schema_create",
    "proof_submitted",
    "didcomm_message_received",
];

/// Sealpost's own, about a webhook's health; they carry ids only and cannot be published by a caller.
pub const OWN: [&str; 2] = [WEBHOOK_FAILING, WEBHOOK_RECOVERED];

/// The built-in type of this name, if there is one.
pub fn built_in(name: &str) -> Option<EventType> {
    let origin = if MATTR.contains(&name) {
        Origin::Mattr
    } else if TRUVERA.contains(&name) {
        Origin::Truvera
    } else if OWN.contains(&name) {
        Origin::Own
    } else {
        return None;
    };
    Some(EventType {
        name: EventTypeName(name.into()),
        origin,
        description: describe(name).into(),
        schema: None,
        summary: match name {
            OPENID_CREDENTIAL_ISSUED
            | OPENID_CREDENTIAL_ISSUED_SUMMARY
            | OIDC_ISSUER_CREDENTIAL_ISSUED
            | "credential_create"
            | "credential_issued" => SummaryForm::known(),
            _ => SummaryForm::Unknown,
        },
        receive_all: origin == Origin::Truvera,
    })
}

fn describe(name: &str) -> &'static str {
    match name {
        OPENID_CREDENTIAL_ISSUED => "An OpenID4VCI issuance completed; carries the credential.",
        OPENID_CREDENTIAL_ISSUED_SUMMARY => "An OpenID4VCI issuance completed; without the credential.",
        OIDC_ISSUER_CREDENTIAL_ISSUED => {
            "An OIDC bridge issuance completed; carries the credential and the claims."
        }
        "credential_create" => "A credential was created.",
        "credential_issued" => "A credential was issued.",
        "credential_revoke" => "A credential was revoked.",
        "credential_unrevoke" => "A credential's revocation was taken back.",
        "did_create" => "A DID was created.",
        "did_update_key" => "A DID's key changed.",
        "did_update_controller" => "A DID's controller changed.",
        "did_delete" => "A DID was deleted.",
        "registry_create" => "A revocation registry was created.",
        "registry_delete" => "A revocation registry was deleted.",
        "schema_create" => "A schema was created.",
        "proof_submitted" => "A proof was submitted to a proof request.",
        "didcomm_message_received" => "A DIDComm message arrived.",
        WEBHOOK_FAILING => "Deliveries to a webhook keep failing.",
        WEBHOOK_RECOVERED => "A failing webhook took a delivery again.",
        _ => "",
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Mattr,
    Truvera,
    Own,
    Operator,
}

/// One entry of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct EventType {
    pub name: EventTypeName,
    pub origin: Origin,
    pub description: String,
    /// JSON Schema that payloads must satisfy.
    pub schema: Option<serde_json::Value>,
    pub summary: SummaryForm,
    /// Whether a Truvera webhook with Receive All gets it.
    pub receive_all: bool,
}

/// Every built-in type, in document order.
pub fn all_built_in() -> impl Iterator<Item = EventType> {
    MATTR.into_iter().chain(TRUVERA).chain(OWN).filter_map(built_in)
}

/// The type that is derived from `name`, if a publisher's event of that type yields a second one.
pub fn derived_from(name: &str) -> Option<&'static str> {
    (name == OPENID_CREDENTIAL_ISSUED).then_some(OPENID_CREDENTIAL_ISSUED_SUMMARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_begins_with_eighteen_types() {
        let names: Vec<String> = all_built_in().map(|t| t.name.to_string()).collect();
        assert_eq!(names.len(), 18);
        assert!(all_built_in().all(|t| !t.description.is_empty()));
        assert_eq!(all_built_in().filter(|t| t.receive_all).count(), 13);
    }

    #[test]
    fn names_are_of_a_safe_alphabet() {
        for good in ["a", "invoice.paid", "OpenIdCredentialIssued", "did_create", "x-1"] {
            assert!(EventTypeName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", ".a", "a b", "a\"b", "é", &"a".repeat(129)] {
            assert!(EventTypeName::parse(bad).is_err(), "{bad}");
        }
    }
}
