//! One registered receiver.

use crate::dialect::Dialect;
use crate::event_type::{EventType, EventTypeName, TRUVERA};
use crate::health::Health;
use crate::id::{TenantNo, WebhookId, WebhookNo};
use crate::secret::Secret;
use crate::settings::WebhookSettings;
use crate::target_url::TargetUrl;
use crate::time::Timestamp;

/// What a webhook is subscribed to, in the order its owner gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Subscription {
    Types(Vec<EventTypeName>),
    /// Truvera's Receive All: Truvera's types and operator types marked so, later ones too; MATTR types only when named.
    ReceiveAll {
        named: Vec<EventTypeName>,
    },
}

impl Subscription {
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self {
            Subscription::Types(types) => types.contains(&event_type.name),
            Subscription::ReceiveAll { named } => event_type.receive_all || named.contains(&event_type.name),
        }
    }

    /// The types named by the owner.
    pub fn named(&self) -> &[EventTypeName] {
        match self {
            Subscription::Types(types) | Subscription::ReceiveAll { named: types } => types,
        }
    }

    /// Every type it is sent, by this catalogue: of Receive All first Truvera's in the order of its page, then the
    /// operator's, then what is named besides; each once.
    pub fn expanded<'a>(&self, catalogue: impl IntoIterator<Item = &'a EventType>) -> Vec<EventTypeName> {
        let Subscription::ReceiveAll { named } = self else { return self.named().to_vec() };
        let mut all: Vec<EventTypeName> = catalogue
            .into_iter()
            .filter(|event_type| event_type.receive_all)
            .map(|event_type| event_type.name.clone())
            .collect();
        // A stable sort: the operator's types keep the order of the catalogue behind Truvera's.
        all.sort_by_key(|name| {
            TRUVERA.iter().position(|known| *known == name.as_str()).unwrap_or(TRUVERA.len())
        });
        let besides: Vec<EventTypeName> = named.iter().filter(|name| !all.contains(name)).cloned().collect();
        all.extend(besides);
        all
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub no: WebhookNo,
    pub id: WebhookId,
    pub tenant: TenantNo,
    pub dialect: Dialect,
    pub subscription: Subscription,
    pub url: TargetUrl,
    pub disabled: bool,
    pub settings: WebhookSettings,
    pub secrets: WebhookSecrets,
    pub health: Health,
    /// Raised by disabling and deleting: deliveries accepted under an older epoch are cancelled.
    pub lane_epoch: i64,
    /// The registry version of the last change to this webhook.
    pub version: i64,
    pub created_at: Timestamp,
}

/// What only the receiver and we may know. Encrypted at rest, shown by the calls made for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebhookSecrets {
    /// Standard Webhooks keys; the first signs, older ones sign beside it until they expire.
    pub signing: Vec<SigningSecret>,
    /// Truvera's token in the body.
    pub token: Option<Secret<String>>,
    /// The owner's own request headers.
    pub headers: Vec<(String, Secret<String>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SigningSecret {
    pub bytes: Secret<[u8; 32]>,
    /// `None` for the newest.
    pub until: Option<Timestamp>,
}

impl WebhookSecrets {
    /// The keys that sign at `now`, newest first.
    pub fn signing_at(&self, now: Timestamp) -> impl Iterator<Item = &Secret<[u8; 32]>> {
        self.signing.iter().filter(move |s| s.until.is_none_or(|until| now < until)).map(|s| &s.bytes)
    }

    /// A fresh key in front; the one before it signs beside it until `until`, older ones go.
    pub fn rotate_signing(&mut self, fresh: [u8; 32], until: Timestamp) {
        let before = self.signing.drain(..).find(|s| s.until.is_none());
        self.signing.push(SigningSecret { bytes: Secret::new(fresh), until: None });
        self.signing.extend(before.map(|s| SigningSecret { until: Some(until), ..s }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_type::{Origin, all_built_in, built_in};

    #[test]
    fn receive_all_takes_truvera_types_and_what_is_named() {
        let named = vec![EventTypeName::parse("OpenIdCredentialIssued").unwrap()];
        let all = Subscription::ReceiveAll { named };
        for (name, taken) in [
            ("did_create", true),
            ("OpenIdCredentialIssued", true),
            ("OidcIssuerCredentialIssued", false),
            ("sealpost.webhook.failing", false),
        ] {
            assert_eq!(all.matches(&built_in(name).unwrap()), taken, "{name}");
        }
    }

    #[test]
    fn receive_all_expands_to_truvera_types_then_the_operators_then_what_is_named() {
        let name = |text: &str| EventTypeName::parse(text).unwrap();
        let own = |text: &str, receive_all| EventType {
            name: name(text),
            origin: Origin::Operator,
            receive_all,
            ..built_in("did_create").unwrap()
        };
        let mut catalogue = vec![own("b.all", true), own("a.some", false), own("c.all", true)];
        catalogue.extend(all_built_in().collect::<Vec<_>>().into_iter().rev());
        let named = ["OpenIdCredentialIssued", "did_create", "a.some"].map(name).to_vec();
        let all = Subscription::ReceiveAll { named }.expanded(&catalogue);
        let (truvera, more) = all.split_at(TRUVERA.len());
        assert_eq!(truvera.iter().map(EventTypeName::as_str).collect::<Vec<_>>(), TRUVERA);
        assert_eq!(more, ["b.all", "c.all", "OpenIdCredentialIssued", "a.some"].map(name));
        let some = Subscription::Types(vec![name("schema_create"), name("did_create")]);
        assert_eq!(some.expanded(&catalogue), some.named());
    }

    #[test]
    fn both_keys_sign_while_they_overlap() {
        let at = Timestamp::from_millis;
        let mut secrets = WebhookSecrets::default();
        secrets.rotate_signing([1; 32], at(0));
        secrets.rotate_signing([2; 32], at(100));
        let signing = |now| secrets.signing_at(at(now)).map(|s| s.reveal()[0]).collect::<Vec<_>>();
        assert_eq!(signing(99), [2, 1]);
        assert_eq!(signing(100), [2]);
    }
}
