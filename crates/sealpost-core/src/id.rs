//! Identifiers. One type per kind of thing, so that the compiler notices an event id handed to something that
//! wanted a webhook id.
//!
//! Public ids are UUIDs: version 7 from time and chance, except that a publisher may bring any UUID for an event
//! and a derived event has a version 8 made from a keyed hash. Numbers (`TenantNo`, `WebhookNo`) are the store's
//! own short names; a webhook's number is also its id on the Truvera face.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Timestamp;

/// Randomness for one id.
pub type Chance = [u8; 10];

/// A text that is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID")]
pub struct InvalidId;

/// RFC 9562 version 7: 48 bits of milliseconds, then chance.
pub fn uuid_v7(now: Timestamp, chance: Chance) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(now.millis().max(0) as u64, &chance).into_uuid()
}

/// RFC 9562 version 8 from bytes that are already a (keyed) hash.
pub fn uuid_v8(hash: [u8; 16]) -> Uuid {
    uuid::Builder::from_custom_bytes(hash).into_uuid()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The caller brings time and chance, so a test gets the same ids every run.
            pub fn new(now: Timestamp, chance: Chance) -> Self {
                Self(uuid_v7(now, chance))
            }

            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }

            pub fn bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// The hyphenated form only, in either case: what every client of the seeds sends.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 36 {
                    return Err(InvalidId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }
    };
}

id! {
    /// One immutable thing that happened, as accepted.
    EventId
}
id! {
    /// The registration of one receiver.
    WebhookId
}
id! {
    /// The duty to bring one event to one webhook.
    DeliveryId
}
id! {
    /// A tenant, as its API prints it.
    TenantId
}
id! {
    /// A client (API key) of a tenant.
    ClientId
}
id! {
    /// Somebody who manages the installation.
    OperatorId
}
id! {
    /// One call that erased payloads.
    ErasureId
}
id! {
    /// What a TXT record must hold to prove that a domain is a tenant's. Public: anybody may ask the DNS for it.
    VerificationToken
}

id! {
    /// An analytic event. Version 7 if it was recorded, 8 if it is told from an event or a delivery; both begin with
    /// the time.
    AnalyticId
}

impl AnalyticId {
    /// When it happened.
    pub fn at(self) -> Timestamp {
        let bytes = self.bytes();
        let ms = bytes[..6].iter().fold(0, |ms, byte| ms << 8 | i64::from(*byte));
        Timestamp::from_millis(ms)
    }

    /// One that was not stored: its time, its place among others of that time, and a hash of what it is told from.
    pub fn told(at: Timestamp, place: u8, hash: [u8; 8]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&at.millis().max(0).to_be_bytes()[2..]);
        bytes[7] = place;
        bytes[8..].copy_from_slice(&hash);
        Self(uuid_v8(bytes))
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A tenant inside the store.
    TenantNo
}
number! {
    /// A webhook inside the store; its id on the Truvera face.
    WebhookNo
}
number! {
    /// A delivery inside the store, rising with acceptance on one node.
    DeliveryNo
}
number! {
    /// An event inside the store, rising with acceptance on one node.
    EventNo
}

/// A webhook as a caller names it: by its id, or by its number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WebhookName {
    Id(WebhookId),
    No(WebhookNo),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID or a number")]
pub struct InvalidWebhookName;

impl FromStr for WebhookName {
    type Err = InvalidWebhookName;

    fn from_str(text: &str) -> Result<Self, InvalidWebhookName> {
        let decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if decimal {
            return text.parse().map(|no| Self::No(WebhookNo(no))).map_err(|_| InvalidWebhookName);
        }
        text.parse().map(Self::Id).map_err(|_| InvalidWebhookName)
    }
}

impl fmt::Display for WebhookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebhookName::Id(id) => id.fmt(f),
            WebhookName::No(no) => no.fmt(f),
        }
    }
}

impl Serialize for WebhookName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WebhookName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_7_is_made_of_time_and_chance_alone() {
        let at = Timestamp::from_millis(1_661_822_798_325);
        let id = EventId::new(at, [0xAB; 10]);
        assert_eq!(id.to_string(), "0182ec5b-89f5-7bab-abab-abababababab");
        assert_eq!(id, EventId::new(at, [0xAB; 10]));
        assert_eq!(id.uuid().get_version_num(), 7);
    }

    #[test]
    fn a_webhook_is_named_by_id_or_number() {
        let uuid = "0c099611-19c4-4f29-8724-6b9e5ba1ef7c";
        assert_eq!(uuid.parse(), Ok(WebhookName::Id(uuid.parse().unwrap())));
        assert_eq!("17".parse(), Ok(WebhookName::No(WebhookNo(17))));
        for bad in ["", "-1", "+1", "1.0", "x", "99999999999999999999"] {
            assert_eq!(bad.parse::<WebhookName>(), Err(InvalidWebhookName), "{bad}");
        }
    }

    #[test]
    fn version_8_marks_derived_ids() {
        assert_eq!(uuid_v8([0xFF; 16]).to_string(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        let text = "0c099611-19c4-4f29-8724-6b9e5ba1ef7c";
        assert_eq!(text.parse::<WebhookId>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<WebhookId>().unwrap().to_string(), text);
        for bad in ["", "abc", "0c09961119c44f2987246b9e5ba1ef7c", "{0c099611-19c4-4f29-8724-6b9e5ba1ef7c}"] {
            assert_eq!(bad.parse::<WebhookId>(), Err(InvalidId), "{bad}");
        }
    }
}
