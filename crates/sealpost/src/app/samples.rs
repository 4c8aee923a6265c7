//! Realistic sample payloads, one for every built-in event type, for tests of receivers.
//!
//! The shapes are those of the two platforms, the people and organisations are invented, and the signatures inside
//! are only well formed: no key made them. Ids, keys, names and dates come from time and chance, so that two
//! samples differ.

use std::collections::BTreeMap;
use std::time::Duration;

use sealpost_core::event_type::{
    OIDC_ISSUER_CREDENTIAL_ISSUED, OPENID_CREDENTIAL_ISSUED, OPENID_CREDENTIAL_ISSUED_SUMMARY,
    WEBHOOK_FAILING, WEBHOOK_RECOVERED,
};
use sealpost_core::id::uuid_v7;
use sealpost_core::payload::{Payload, complete_credential};
use sealpost_core::time::Timestamp;

use crate::clock::Clock;

/// A sample of this type; for a type of the operator's own, an object that says it is one.
pub fn payload(event_type: &str, clock: &dyn Clock) -> Payload {
    let mut dice = Dice {
        clock,
        now: clock.wall(),
        named: BTreeMap::new(),
        transaction_bytes: transaction_bytes(event_type),
    };
    let payload = match template(event_type) {
        Some(template) => Payload::parse(&dice.fill(template)),
        None => Payload::parse(&serde_json::json!({"sample": true, "type": event_type}).to_string()),
    };
    // The templates are part of this file and every one of them is parsed by a test.
    let payload = payload.expect("a sample is a JSON object");
    match event_type {
        // Adds id, signingOps and the byteSize of exactly this credential.
        "credential_create" | "credential_issued" => complete_credential(&payload, ""),
        _ => payload,
    }
}

fn template(event_type: &str) -> Option<&'static str> {
    Some(match event_type {
        OPENID_CREDENTIAL_ISSUED => include_str!("samples/OpenIdCredentialIssued.json"),
        OPENID_CREDENTIAL_ISSUED_SUMMARY => include_str!("samples/OpenIdCredentialIssuedSummary.json"),
        OIDC_ISSUER_CREDENTIAL_ISSUED => include_str!("samples/OidcIssuerCredentialIssued.json"),
        "credential_create" | "credential_issued" => include_str!("samples/credential.json"),
        "proof_submitted" => include_str!("samples/proof_submitted.json"),
        "didcomm_message_received" => include_str!("samples/didcomm_message_received.json"),
        WEBHOOK_FAILING | WEBHOOK_RECOVERED => include_str!("samples/sealpost.webhook.json"),
        name if transaction_bytes(name) > 0 => include_str!("samples/transaction.json"),
        _ => return None,
    })
}

/// How long the encoded ledger transaction of such an event is; zero for events that carry none.
fn transaction_bytes(event_type: &str) -> usize {
    match event_type {
        "credential_revoke" | "credential_unrevoke" | "did_update_key" => 172,
        "did_update_controller" => 173,
        "did_create" => 102,
        "did_delete" => 106,
        "registry_create" => 72,
        "registry_delete" => 139,
        "schema_create" => 426,
        _ => 0,
    }
}

const GIVEN: [&str; 12] = [
    "Amara", "Bastian", "Chloé", "Dilnoza", "Emeka", "Freyja", "Hana", "Ioana", "Juma", "Kiri", "Łucja",
    "Matiu",
];
const FAMILY: [&str; 12] = [
    "Adeyemi",
    "Brandt",
    "Castellanos",
    "Dvořák",
    "Eriksen",
    "Fonoti",
    "Grőger",
    "Haddad",
    "Ishikawa",
    "Kowhai",
    "Lindqvist",
    "Moana",
];
const GRADES: [&str; 4] = ["Pass", "Merit", "Distinction", "Credit"];
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HEX: &[u8; 16] = b"0123456789abcdef";
const DAY: Duration = Duration::from_secs(86_400);

/// Fills `${name}` in a template. The same name has the same value throughout one sample.
struct Dice<'a> {
    clock: &'a dyn Clock,
    now: Timestamp,
    named: BTreeMap<String, String>,
    transaction_bytes: usize,
}

impl Dice<'_> {
    fn fill(&mut self, template: &str) -> String {
        let mut out = String::with_capacity(template.len() * 2);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(before);
            out.push_str(&self.value(name));
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn value(&mut self, name: &str) -> String {
        if let Some(known) = self.named.get(name) {
            return known.clone();
        }
        let (kind, of) = name.split_once('.').unwrap_or((name, ""));
        let days = || DAY * of.parse().unwrap_or(0);
        let value = match kind {
            "uuid" => uuid_v7(self.now, self.clock.chance()).to_string(),
            // 34 bytes that begin with the code of an Ed25519 key are 48 letters that begin so.
            "fragment" => format!("z6Mk{}", self.letters(BASE58, 44)),
            "did" => format!("did:key:{}", self.value(&format!("fragment.{of}"))),
            "now" => self.now.to_string(),
            "in" => (self.now + days()).to_string(),
            "day" => date(self.now - days()),
            "birth" => date(self.now - DAY * (18 * 366 + self.below(50 * 365))),
            "given" => self.one_of(&GIVEN),
            "family" => self.one_of(&FAMILY),
            "grade" => self.one_of(&GRADES),
            "index" => (1000 + self.below(99_000)).to_string(),
            // 64 bytes in multibase base58: `z` and 88 letters or one less.
            "proof" => format!("z{}", self.letters(BASE58, 87)),
            "signature" => self.letters(BASE64URL, 86),
            "block" => self.letters(HEX, 64),
            "transaction" => self.letters(HEX, 2 * self.transaction_bytes),
            _ => unreachable!("a template of this folder names `{name}`"),
        };
        self.named.insert(name.to_owned(), value.clone());
        value
    }

    fn letters(&self, alphabet: &[u8], count: usize) -> String {
        let mut bytes = vec![0; count];
        self.clock.fill(&mut bytes);
        bytes
            .into_iter()
            .filter_map(|byte| alphabet.get(usize::from(byte) % alphabet.len()))
            .map(|letter| char::from(*letter))
            .collect()
    }

    fn below(&self, bound: u32) -> u32 {
        let mut bytes = [0; 4];
        self.clock.fill(&mut bytes);
        u32::from_ne_bytes(bytes) % bound.max(1)
    }

    fn one_of(&self, list: &[&str]) -> String {
        list.get(self.below(list.len() as u32) as usize).copied().unwrap_or_default().to_owned()
    }
}

fn date(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SystemClock};
    use expect_test::expect;
    use sealpost_core::event_type::{MATTR, OWN, TRUVERA, all_built_in};
    use serde_json::Value;

    fn sample(event_type: &str) -> Value {
        serde_json::from_str(payload(event_type, &SystemClock::start()).as_str()).unwrap()
    }

    fn members(value: &Value) -> String {
        value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_built_in_type_has_the_members_its_platform_documents() {
        let all: Vec<String> = MATTR
            .iter()
            .chain(&TRUVERA)
            .chain(&OWN)
            .map(|name| format!("{name}: {}", members(&sample(name))))
            .collect();
        expect![[r#"
            OpenIdCredentialIssued: format userId credentialProfile credentialConfigurationId credential
            OpenIdCredentialIssuedSummary: format userId credentialProfile credentialConfigurationId
            OidcIssuerCredentialIssued: issuerId format credential oidcClaims
            credential_create: id signingOps byteSize key credential
            credential_issued: id signingOps byteSize key credential
            credential_revoke: status encodedTx result
            credential_unrevoke: status encodedTx result
            did_create: status encodedTx result
            did_update_key: status encodedTx result
            did_update_controller: status encodedTx result
            did_delete: status encodedTx result
            registry_create: status encodedTx result
            registry_delete: status encodedTx result
            schema_create: status encodedTx result
            proof_submitted: id verified
            didcomm_message_received: messageId to messageType sender receivedAt
            sealpost.webhook.failing: webhookId
            sealpost.webhook.recovered: webhookId"#]]
        .assert_eq(&all.join("\n"));
    }

    #[test]
    fn nothing_is_left_to_fill_and_two_samples_differ() {
        for event_type in all_built_in() {
            let name = event_type.name.as_str();
            let (first, second) =
                (payload(name, &SystemClock::start()), payload(name, &SystemClock::start()));
            assert!(!first.as_str().contains("${"), "{name}");
            assert_ne!(first, second, "{name}");
        }
    }

    #[test]
    fn byte_size_is_that_of_the_credential_as_sent() {
        for name in ["credential_create", "credential_issued"] {
            let payload = payload(name, &SystemClock::start());
            let (before, credential) = payload.as_str().split_once(",\"credential\":").unwrap();
            let size = credential.len() - 1;
            assert!(before.contains(&format!("\"byteSize\":{size},")), "{name}: {size}");
            let parsed = sample(name);
            assert_eq!(parsed["id"], parsed["credential"]["id"]);
        }
    }

    #[test]
    fn ids_and_dates_come_from_time_and_chance_alone() {
        let at = || ManualClock::at(Timestamp::parse("2026-11-21T08:00:00.000Z").unwrap());
        let credential = payload(OPENID_CREDENTIAL_ISSUED, &at());
        assert_eq!(credential, payload(OPENID_CREDENTIAL_ISSUED, &at()));
        let credential: Value = serde_json::from_str(credential.as_str()).unwrap();
        let credential = &credential["credential"];
        assert_eq!(credential["issuanceDate"], "2026-11-21T08:00:00.000Z");
        assert_eq!(credential["expirationDate"], "2028-11-20T08:00:00.000Z");
        assert_eq!(credential["credentialSubject"]["completedOn"], "2026-11-07");
        let issuer = credential["issuer"]["id"].as_str().unwrap();
        assert!(credential["proof"]["verificationMethod"].as_str().unwrap().starts_with(issuer));
    }

    #[test]
    fn a_type_of_the_operators_own_is_marked_as_a_sample() {
        assert_eq!(
            payload("invoice.paid", &SystemClock::start()).as_str(),
            r#"{"sample":true,"type":"invoice.paid"}"#
        );
    }
}
