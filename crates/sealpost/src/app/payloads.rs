//! Showing a stored payload to whoever may see it.
//!
//! An administrator sees a payload as it was accepted. A subscriber sees what its webhook is entitled to: the same as in the
//! request it got, except that a webhook with `thin` payloads is told to come here for the whole.

use std::sync::Arc;

use sealpost_core::dialect::Dialect;
use sealpost_core::event::Event;
use sealpost_core::event_type::OPENID_CREDENTIAL_ISSUED_SUMMARY;
use sealpost_core::id::{EventNo, TenantNo, WebhookId};
use sealpost_core::minimise::{
    MinimiseContext, MinimiseError, PayloadLevel, SummaryForm, derived_summary, minimise,
};
use sealpost_core::outcome::Outcome;
use sealpost_core::payload::Payload;
use sealpost_core::secret::Secret;
use sealpost_core::webhook::Webhook;
use sealpost_store::StoreError;
use sealpost_store::history::{DeliveryDetail, EventRecord, PayloadRead, PayloadState};

use super::App;
use super::registry::Target;
use super::request::{Attempt, Draft, draft};

#[derive(Clone, Debug, PartialEq)]
pub enum PayloadSeen {
    Text(Secret<String>),
    Gone(PayloadState),
}

#[derive(Clone, Debug)]
pub enum RequestSeen {
    Draft(Box<Draft>, Arc<Target>),
    Gone(PayloadState),
    /// It was deleted, and with it what its requests are made of.
    NoWebhook,
}

#[derive(Debug, thiserror::Error)]
pub enum PayloadRefused {
    #[error("the event has not been sent to the reader's webhook")]
    NotSent,
    #[error("no such event")]
    NotFound,
    #[error("the payload cannot be reduced to what its reader may see")]
    Unreadable,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// The payload as `who` may see it; the reading is audited. `only`: the webhooks of a subscriber, who sees what was sent
    /// to one of them.
    pub async fn show_payload(
        &self,
        tenant: TenantNo,
        event: &EventRecord,
        only: Option<&[WebhookId]>,
        who: &str,
    ) -> Result<PayloadSeen, PayloadRefused> {
        let webhook = match only {
            None => None,
            Some(only) => Some(self.sent_to(tenant, event, only).await?.ok_or(PayloadRefused::NotSent)?),
        };
        let payload = match self.read_payload(tenant, event.id, who).await? {
            PayloadRead::Payload(payload) => payload,
            PayloadRead::Gone(state) => return Ok(PayloadSeen::Gone(state)),
            PayloadRead::NotFound => return Err(PayloadRefused::NotFound),
        };
        let summary = self.tenant(tenant).await?.event_type(event.event_type.as_str());
        let summary = summary.map_or(SummaryForm::Unknown, |entry| entry.event_type.summary.clone());
        let seen = entitled(event, &payload, webhook.as_ref(), &summary, &self.config.public_url);
        seen.map(|text| PayloadSeen::Text(Secret::new(text))).map_err(|error| {
            tracing::error!(event = %event.id, %error, "a payload could not be reduced to what its reader may see");
            PayloadRefused::Unreadable
        })
    }

    /// The request of a delivery as its last attempt made it, from what is stored now: neither signatures nor bodies are kept.
    /// The reading of the payload is audited. A subscriber sees it if it may have got it.
    pub async fn show_request(
        &self,
        tenant: TenantNo,
        detail: &DeliveryDetail,
        is_subscriber: bool,
        who: &str,
    ) -> Result<RequestSeen, PayloadRefused> {
        if is_subscriber && !may_have_got(detail) {
            return Err(PayloadRefused::NotSent);
        }
        match self.read_payload(tenant, detail.delivery.event, who).await? {
            PayloadRead::Payload(payload) => self.draft_request(tenant, detail, &payload).await,
            PayloadRead::Gone(state) => Ok(RequestSeen::Gone(state)),
            PayloadRead::NotFound => Err(PayloadRefused::NotFound),
        }
    }

    /// The same for any payload, which decides over body, digest and signature and over nothing else.
    pub async fn draft_request(
        &self,
        tenant: TenantNo,
        detail: &DeliveryDetail,
        payload: &Payload,
    ) -> Result<RequestSeen, PayloadRefused> {
        let delivery = &detail.delivery;
        let entry = self.tenant(tenant).await?;
        let record = self.event(tenant, delivery.event).await?.ok_or(PayloadRefused::NotFound)?;
        let (Some(target), Some(key)) = (entry.target_by_id(delivery.webhook), entry.keys().signing.clone())
        else {
            return Ok(RequestSeen::NoWebhook);
        };
        let event_type = entry.event_type(record.event_type.as_str());
        let summary = event_type.map_or(SummaryForm::Unknown, |entry| entry.event_type.summary.clone());
        let event = Event {
            no: EventNo(0),
            id: record.id,
            event_type: record.event_type,
            timestamp: record.timestamp,
            test: record.test,
        };
        let attempt = Attempt {
            target: &target,
            event: &event,
            payload,
            summary: &summary,
            delivery_id: &delivery.id.to_string(),
            number: delivery.attempts_used.max(1),
            key: &key,
            now: detail.attempts.last().map_or_else(|| self.clock.wall(), |attempt| attempt.started_at),
            public_url: &self.config.public_url,
            defaults: &self.config.defaults,
        };
        match draft(&attempt) {
            Ok(draft) => Ok(RequestSeen::Draft(Box::new(draft), target)),
            Err(error) => {
                tracing::error!(delivery = %delivery.id, %error, "a request could not be made to be shown");
                Err(PayloadRefused::Unreadable)
            }
        }
    }

    /// The first of the webhooks that the event may have reached: by an attempt that ended, or by one that is under way now,
    /// since a receiver may fetch the payload before it answers. What waits may still be cancelled, so its payload is
    /// nobody's yet.
    async fn sent_to(
        &self,
        tenant: TenantNo,
        event: &EventRecord,
        only: &[WebhookId],
    ) -> Result<Option<Webhook>, StoreError> {
        for delivery in event.deliveries.iter().filter(|delivery| only.contains(&delivery.webhook)) {
            let Some(detail) = self.delivery(tenant, delivery.id).await? else { continue };
            if may_have_got(&detail) {
                return self.store.webhook(tenant, delivery.webhook).await;
            }
        }
        Ok(None)
    }
}

fn may_have_got(detail: &DeliveryDetail) -> bool {
    let under_way = usize::from(detail.delivery.attempts_used) > detail.attempts.len();
    under_way || detail.attempts.iter().any(|attempt| may_have_reached(attempt.outcome))
}

/// The others end before the first byte of a request.
const fn may_have_reached(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Delivered
        | Outcome::HttpStatus
        | Outcome::Timeout
        | Outcome::Protocol
        | Outcome::Unknown => true,
        Outcome::Dns | Outcome::AddressRefused | Outcome::Connect | Outcome::Tls => false,
    }
}

/// What the reader may see of a payload; `webhook` is a subscriber's.
fn entitled(
    event: &EventRecord,
    payload: &Payload,
    webhook: Option<&Webhook>,
    summary: &SummaryForm,
    public_url: &str,
) -> Result<String, MinimiseError> {
    // A summary shares the stored payload of the event it was derived from; the credential is not part of it.
    let reduced;
    let payload = if event.event_type.as_str() == OPENID_CREDENTIAL_ISSUED_SUMMARY {
        reduced = derived_summary(payload)?;
        &reduced
    } else {
        payload
    };
    let Some(webhook) = webhook else { return Ok(payload.as_str().to_owned()) };
    let level = match &webhook.settings.payload {
        PayloadLevel::Thin => &PayloadLevel::Full,
        other => other,
    };
    let context = MinimiseContext {
        summary,
        event_id: &event.id.to_string(),
        href: &format!("{public_url}/v1/webhooks/events/{}", event.id),
        truvera: webhook.dialect == Dialect::Truvera,
    };
    Ok(minimise(payload, level, &context)?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_prints_nothing() {
        let seen = PayloadSeen::Text(Secret::new("of-a-person".into()));
        assert!(!format!("{seen:?}").contains("of-a-person"));
    }
}
