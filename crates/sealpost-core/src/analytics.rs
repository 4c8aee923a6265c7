//! Analytic events: what happened in a tenant, named as MATTR VII names it.
//!
//! Calls are recorded when they happen, twice each: at their start, and at their success or failure, under one request
//! id. What happened to events and deliveries is told from their own rows and never stored a second time.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{AnalyticId, ClientId};
use crate::limits::ANALYTICS_MEMBER_BYTES;
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Category {
    Webhook,
    CustomDomain,
}

impl Category {
    pub const fn as_str(self) -> &'static str {
        match self {
            Category::Webhook => "webhook",
            Category::CustomDomain => "config-custom-domain",
        }
    }
}

/// Where a call is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Phase {
    Start = 0,
    Success = 1,
    Fail = 2,
}

impl Phase {
    pub const ALL: [Phase; 3] = [Phase::Start, Phase::Success, Phase::Fail];
}

macro_rules! operations {
    ($($variant:ident = $code:literal $category:ident $text:literal,)*) => {
        /// A call that leaves analytic events.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Operation { $($variant),* }

        impl Operation {
            pub const ALL: &'static [Operation] = &[$(Operation::$variant),*];

            const fn category(self) -> Category {
                match self { $(Operation::$variant => Category::$category),* }
            }

            /// A short name for a row. Never renumber.
            const fn code(self) -> u8 {
                match self { $(Operation::$variant => $code),* }
            }

            const fn name(self, phase: Phase) -> &'static str {
                match (self, phase) {
                    $(
                        (Operation::$variant, Phase::Start) => concat!($text, "_START"),
                        (Operation::$variant, Phase::Success) => concat!($text, "_SUCCESS"),
                        (Operation::$variant, Phase::Fail) => concat!($text, "_FAIL"),
                    )*
                }
            }
        }
    };
}

operations! {
    WebhookCreate = 0 Webhook "WEBHOOK_CREATE",
    WebhookRetrieve = 1 Webhook "WEBHOOK_RETRIEVE",
    WebhookRetrieveList = 2 Webhook "WEBHOOK_RETRIEVE_LIST",
    WebhookUpdate = 3 Webhook "WEBHOOK_UPDATE",
    WebhookDelete = 4 Webhook "WEBHOOK_DELETE",
    DomainCreate = 5 CustomDomain "CONFIG_CUSTOM_DOMAIN_CREATE",
    DomainRetrieve = 6 CustomDomain "CONFIG_CUSTOM_DOMAIN_RETRIEVE",
    DomainUpdate = 7 CustomDomain "CONFIG_CUSTOM_DOMAIN_UPDATE",
    DomainDelete = 8 CustomDomain "CONFIG_CUSTOM_DOMAIN_DELETE",
    DomainVerify = 9 CustomDomain "CONFIG_CUSTOM_DOMAIN_VERIFY",
}

/// What happens to an event and its deliveries. A delivery is processed from its first attempt to its last; what ends
/// without any attempt was never begun.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    Receive,
    ProcessStart,
    /// A further attempt, after one that failed.
    Retry,
    ProcessSuccess,
    ProcessFail,
}

impl Step {
    pub const ALL: [Step; 5] =
        [Step::Receive, Step::ProcessStart, Step::Retry, Step::ProcessSuccess, Step::ProcessFail];

    const fn name(self) -> &'static str {
        match self {
            Step::Receive => "WEBHOOK_EVENT_RECEIVE",
            Step::ProcessStart => "WEBHOOK_EVENT_PROCESS_START",
            Step::Retry => "WEBHOOK_EVENT_RETRY",
            Step::ProcessSuccess => "WEBHOOK_EVENT_PROCESS_SUCCESS",
            Step::ProcessFail => "WEBHOOK_EVENT_PROCESS_FAIL",
        }
    }

    /// Its place among what happened in the same millisecond. `attempt` is the one it is about; of an event's own step 0,
    /// of a derived event's 1.
    pub const fn place(self, attempt: u8) -> u8 {
        match self {
            Step::Receive | Step::ProcessStart | Step::Retry => attempt,
            Step::ProcessSuccess | Step::ProcessFail => u8::MAX,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AnalyticType {
    Call(Operation, Phase),
    Delivery(Step),
}

impl AnalyticType {
    pub fn all() -> impl Iterator<Item = AnalyticType> {
        let calls = Operation::ALL
            .iter()
            .flat_map(|operation| Phase::ALL.into_iter().map(|phase| AnalyticType::Call(*operation, phase)));
        calls.chain(Step::ALL.into_iter().map(AnalyticType::Delivery))
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            AnalyticType::Call(operation, phase) => operation.name(phase),
            AnalyticType::Delivery(step) => step.name(),
        }
    }

    pub const fn category(self) -> Category {
        match self {
            AnalyticType::Call(operation, _) => operation.category(),
            AnalyticType::Delivery(_) => Category::Webhook,
        }
    }
}

/// The byte for a recorded call's row.
pub const fn call_code(operation: Operation, phase: Phase) -> u8 {
    operation.code() * 3 + phase as u8
}

pub fn call_from_code(code: u8) -> Option<(Operation, Phase)> {
    let operation = Operation::ALL.iter().find(|operation| operation.code() == code / 3)?;
    Some((*operation, Phase::ALL[usize::from(code % 3)]))
}

/// What all analytic events of one call share, and all of one delivery: 128 bits, written as 22 letters and digits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(u128);

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const REQUEST_ID_CHARS: usize = 22;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 22 letters and digits")]
pub struct InvalidRequestId;

impl RequestId {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    pub const fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; REQUEST_ID_CHARS];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = DIGITS[(rest % 62) as usize];
            rest /= 62;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, InvalidRequestId> {
        if text.len() != REQUEST_ID_CHARS {
            return Err(InvalidRequestId);
        }
        text.bytes()
            .try_fold(0u128, |number, digit| {
                let value = DIGITS.iter().position(|known| *known == digit)? as u128;
                number.checked_mul(62)?.checked_add(value)
            })
            .map(Self)
            .ok_or(InvalidRequestId)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// How much a tenant's analytic events tell.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum LogLevel {
    /// That it happened.
    Metadata = 1,
    /// With data, but without payloads and tokens.
    #[default]
    Sanitised = 2,
    Full = 3,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 (metadata only), 2 (sanitised) or 3 (full)")]
pub struct InvalidLogLevel;

impl LogLevel {
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What of a call's data is told at this level.
    pub fn of(self, mut data: Value) -> Option<Value> {
        if self == LogLevel::Metadata {
            return None;
        }
        if let (LogLevel::Sanitised, Value::Object(members)) = (self, &mut data) {
            members.retain(|name, _| !SENSITIVE.contains(&name.as_str()));
        }
        Some(data)
    }
}

/// A call's data without the members that are too large to be kept for every call.
pub fn without_large(mut data: Value) -> Value {
    if let Value::Object(members) = &mut data {
        members.retain(|_, value| value.to_string().len() <= ANALYTICS_MEMBER_BYTES);
    }
    data
}

/// Members of `data` that only level 3 tells.
const SENSITIVE: [&str; 2] = ["verificationToken", "payload"];

impl TryFrom<u8> for LogLevel {
    type Error = InvalidLogLevel;

    fn try_from(number: u8) -> Result<Self, InvalidLogLevel> {
        match number {
            1 => Ok(LogLevel::Metadata),
            2 => Ok(LogLevel::Sanitised),
            3 => Ok(LogLevel::Full),
            _ => Err(InvalidLogLevel),
        }
    }
}

impl FromStr for LogLevel {
    type Err = InvalidLogLevel;

    fn from_str(text: &str) -> Result<Self, InvalidLogLevel> {
        text.parse::<u8>().map_err(|_| InvalidLogLevel)?.try_into()
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl Serialize for LogLevel {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u8::deserialize(from)?.try_into().map_err(D::Error::custom)
    }
}

/// Ids that an event may carry: some of them, any (`*`), or none at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Among<Id> {
    pub named: Vec<Id>,
    pub any: bool,
    pub none: bool,
}

impl<Id> Default for Among<Id> {
    fn default() -> Self {
        Self { named: Vec::new(), any: false, none: false }
    }
}

impl<Id: PartialEq> Among<Id> {
    pub fn admits(&self, id: Option<&Id>) -> bool {
        match id {
            None => self.none,
            Some(id) => self.any || self.named.contains(id),
        }
    }
}

/// (categories or types) and everything else. What is `None` is not asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalyticFilter {
    pub ids: Option<Vec<AnalyticId>>,
    pub requests: Option<Vec<RequestId>>,
    pub categories: Option<Vec<String>>,
    pub types: Option<Vec<String>>,
    /// Both inclusive.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub management_users: Option<Among<String>>,
    pub clients: Option<Among<ClientId>>,
}

impl AnalyticFilter {
    pub fn admits_type(&self, of: AnalyticType) -> bool {
        let named = |list: &Option<Vec<String>>, name: &str| {
            list.as_ref().is_some_and(|list| list.iter().any(|one| one == name))
        };
        (self.categories.is_none() && self.types.is_none())
            || named(&self.categories, of.category().as_str())
            || named(&self.types, of.as_str())
    }

    /// Nobody calls here as a user of the management API.
    pub fn admits_caller(&self, client: Option<ClientId>) -> bool {
        self.management_users.as_ref().is_none_or(|users| users.admits(None))
            && self.clients.as_ref().is_none_or(|clients| clients.admits(client.as_ref()))
    }

    pub fn admits_id(&self, id: AnalyticId) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&id))
    }

    /// The times between which everything in question lies: ids say when their events happened.
    pub fn times(&self) -> (Timestamp, Timestamp) {
        let mut times = (self.from.unwrap_or(Timestamp::MIN), self.to.unwrap_or(Timestamp::MAX));
        if let Some(ids) = &self.ids {
            let told = || ids.iter().map(|id| id.at());
            times.0 = times.0.max(told().min().unwrap_or(Timestamp::MAX));
            times.1 = times.1.min(told().max().unwrap_or(Timestamp::MIN));
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documents_and_codes_read_back() {
        let names: Vec<&str> = AnalyticType::all().map(AnalyticType::as_str).collect();
        assert_eq!((names.len(), names.iter().collect::<std::collections::HashSet<_>>().len()), (35, 35));
        for name in [
            "WEBHOOK_CREATE_START",
            "WEBHOOK_RETRIEVE_LIST_SUCCESS",
            "WEBHOOK_DELETE_FAIL",
            "CONFIG_CUSTOM_DOMAIN_VERIFY_FAIL",
            "WEBHOOK_EVENT_PROCESS_START",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        for kind in AnalyticType::all() {
            if let AnalyticType::Call(operation, phase) = kind {
                assert_eq!(call_from_code(call_code(operation, phase)), Some((operation, phase)));
            }
        }
        assert_eq!(call_from_code(30), None);
    }

    #[test]
    fn request_ids_are_22_letters_and_digits() {
        for (bytes, text) in [([0; 16], "0000000000000000000000"), ([0xff; 16], "7n42DGM5Tflk9n8mt7Fhc7")] {
            let id = RequestId::from_bytes(bytes);
            assert_eq!((id.to_string().as_str(), text.parse()), (text, Ok(id)));
        }
        for wrong in ["", "abc", "zzzzzzzzzzzzzzzzzzzzzz", "7n42DGM5Tflk9n8mt7Fhc8", "7n42DGM5Tflk9n8mt7Fhc-"]
        {
            assert_eq!(wrong.parse::<RequestId>(), Err(InvalidRequestId), "{wrong}");
        }
    }

    #[test]
    fn categories_or_types_and_the_rest() {
        let create = AnalyticType::Call(Operation::WebhookCreate, Phase::Start);
        let domain = AnalyticType::Call(Operation::DomainVerify, Phase::Fail);
        let retry = AnalyticType::Delivery(Step::Retry);
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let filter = |categories, types| AnalyticFilter { categories, types, ..AnalyticFilter::default() };
        for (filter, admitted) in [
            (filter(None, None), [true, true, true]),
            (filter(names(&["webhook"]), None), [true, false, true]),
            (filter(None, names(&["WEBHOOK_EVENT_RETRY"])), [false, false, true]),
            (filter(names(&["config-custom-domain"]), names(&["WEBHOOK_EVENT_RETRY"])), [false, true, true]),
            (filter(names(&["else"]), None), [false, false, false]),
        ] {
            assert_eq!([create, domain, retry].map(|kind| filter.admits_type(kind)), admitted, "{filter:?}");
        }
    }

    #[test]
    fn callers_are_named_any_or_none() {
        let client = ClientId::from_bytes([1; 16]);
        let other = ClientId::from_bytes([2; 16]);
        let clients = |among| AnalyticFilter { clients: Some(among), ..AnalyticFilter::default() };
        let named = Among { named: vec![client], ..Among::default() };
        for (filter, admitted) in [
            (AnalyticFilter::default(), [true, true, true]),
            (clients(named.clone()), [true, false, false]),
            (clients(Among { any: true, ..Among::default() }), [true, true, false]),
            (clients(Among { none: true, ..Among::default() }), [false, false, true]),
            (clients(Among { none: true, ..named }), [true, false, true]),
            (
                AnalyticFilter {
                    management_users: Some(Among { any: true, ..Among::default() }),
                    ..AnalyticFilter::default()
                },
                [false, false, false],
            ),
        ] {
            let got = [Some(client), Some(other), None].map(|client| filter.admits_caller(client));
            assert_eq!(got, admitted, "{filter:?}");
        }
    }

    #[test]
    fn a_large_member_is_left_out_and_the_others_stay() {
        let text = |bytes| "x".repeat(bytes - 2);
        let data = serde_json::json!({"a": text(ANALYTICS_MEMBER_BYTES), "b": text(ANALYTICS_MEMBER_BYTES + 1), "c": [1]});
        let left = serde_json::json!({"a": text(ANALYTICS_MEMBER_BYTES), "c": [1]});
        assert_eq!(without_large(data), left);
    }

    #[test]
    fn a_level_tells_nothing_some_or_all() {
        let data = serde_json::json!({"domain": "a.example", "verificationToken": "t"});
        assert_eq!(LogLevel::Metadata.of(data.clone()), None);
        assert_eq!(LogLevel::Sanitised.of(data.clone()), Some(serde_json::json!({"domain": "a.example"})));
        assert_eq!(LogLevel::Full.of(data.clone()), Some(data));
        assert!("4".parse::<LogLevel>().is_err() && "".parse::<LogLevel>().is_err());
    }
}
