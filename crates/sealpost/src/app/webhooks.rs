//! Registering, changing and deleting webhooks, their settings and secrets.
//!
//! A change is acknowledged only when no send can begin any more with what it replaced: the registry in memory is
//! brought up to date, the webhook's gate moves to the new version, and writes let through before are waited for.

use std::sync::Arc;
use std::time::Duration;

use sealpost_core::audit::{Action, By};
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{TenantNo, WebhookId, WebhookName, WebhookNo};
use sealpost_core::secret::Secret;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::target_url::TargetUrl;
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::{Subscription, Webhook, WebhookSecrets};
use sealpost_store::StoreError;
use sealpost_store::page::{Page, PageRequest};
use sealpost_store::registry::{NewWebhook, WebhookChange};

use super::App;
use super::events::PublishRefused;
use super::registry::{Target, TenantEntry};
use super::samples;

#[derive(Debug, thiserror::Error)]
pub enum WebhookRefused {
    #[error("no such webhook")]
    NotFound,
    #[error("`{name}` is not a registered event type")]
    UnknownType { index: usize, name: EventTypeName },
    #[error("the tenant has reached its number of webhooks")]
    TooMany,
    #[error("only a webhook of Truvera's dialect has a token")]
    NoToken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a caller registers or replaces.
#[derive(Clone, Debug)]
pub struct WebhookInput {
    pub subscription: Subscription,
    pub url: TargetUrl,
    pub disabled: bool,
}

/// What a caller changes of a webhook; `None` leaves it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebhookPatch {
    pub subscription: Option<Subscription>,
    pub url: Option<TargetUrl>,
    pub disabled: Option<bool>,
    pub description: Option<String>,
}

impl App {
    pub async fn create_webhook(
        &self,
        tenant: TenantNo,
        dialect: Dialect,
        input: WebhookInput,
        settings: WebhookSettings,
        who: &str,
    ) -> Result<Webhook, WebhookRefused> {
        let entry = self.tenant(tenant).await?;
        known_types(&entry, &input.subscription)?;
        let now = self.clock.now();
        let mut secrets = WebhookSecrets::default();
        secrets.rotate_signing(self.clock.bytes32(), now);
        if dialect == Dialect::Truvera {
            secrets.token = Some(Secret::new(self.new_token()));
        }
        let new = NewWebhook {
            id: WebhookId::new(now, self.clock.chance()),
            tenant,
            dialect,
            subscription: input.subscription,
            url: input.url,
            disabled: input.disabled,
            settings,
            secrets,
            created_at: now,
            at_most: self.quota(&entry).webhooks,
        };
        let by = self.by(who, Action::CreateWebhook);
        let webhook = self.store.create_webhook(new, by).await?.ok_or(WebhookRefused::TooMany)?;
        self.registry.refresh_after_change(&entry).await?;
        Ok(webhook)
    }

    /// Truvera's token: 64 characters, base64url of 48 random bytes.
    fn new_token(&self) -> String {
        use base64::Engine as _;
        let mut bytes = [0; 48];
        self.clock.fill(&mut bytes);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    pub async fn webhook(&self, tenant: TenantNo, id: WebhookId) -> Result<Webhook, WebhookRefused> {
        self.store.webhook(tenant, id).await?.ok_or(WebhookRefused::NotFound)
    }

    pub async fn webhooks(
        &self,
        tenant: TenantNo,
        dialect: Option<Dialect>,
        page: PageRequest<WebhookId>,
    ) -> Result<Page<Webhook>, StoreError> {
        self.store.webhooks(tenant, dialect, page).await
    }

    /// As [`Self::webhooks`], for callers who count: at most `limit` behind the first `offset`.
    pub async fn webhooks_behind(
        &self,
        tenant: TenantNo,
        dialect: Dialect,
        offset: u32,
        limit: u32,
    ) -> Result<Vec<Webhook>, StoreError> {
        self.store.webhooks_behind(tenant, dialect, offset, limit).await
    }

    /// The id of a webhook however it is named; one given by its id may still not be there.
    pub async fn webhook_named(
        &self,
        tenant: TenantNo,
        name: WebhookName,
    ) -> Result<Option<WebhookId>, StoreError> {
        match name {
            WebhookName::Id(id) => Ok(Some(id)),
            WebhookName::No(no) => self.webhook_numbered(tenant, no).await,
        }
    }

    /// The id of the tenant's webhook with this number.
    pub async fn webhook_numbered(
        &self,
        tenant: TenantNo,
        no: WebhookNo,
    ) -> Result<Option<WebhookId>, StoreError> {
        let entry = self.tenant(tenant).await?;
        let known = || entry.target(no).map(|target| target.webhook.id);
        if let Some(id) = known() {
            return Ok(Some(id));
        }
        // It may have been made since, by another process on the same store.
        self.registry.refresh(&entry).await?;
        Ok(known())
    }

    /// Replaces URL, events and the disabled flag. `dialect`: a webhook of another face is not found.
    pub async fn replace_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        dialect: Dialect,
        input: WebhookInput,
        who: &str,
    ) -> Result<Webhook, WebhookRefused> {
        let entry = self.tenant(tenant).await?;
        if self.webhook(tenant, id).await?.dialect != dialect {
            return Err(WebhookRefused::NotFound);
        }
        known_types(&entry, &input.subscription)?;
        let change = WebhookChange {
            subscription: Some(input.subscription),
            url: Some(input.url),
            disabled: Some(input.disabled),
            ..WebhookChange::default()
        };
        self.change(&entry, id, change, self.by(who, Action::ChangeWebhook)).await
    }

    /// Changes what `decide` names of the webhook as it is; where it names nothing, nothing is written. `dialect`: a
    /// webhook of another face is not found.
    pub async fn patch_webhook<E: From<WebhookRefused>>(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        dialect: Dialect,
        who: &str,
        decide: impl FnOnce(&Webhook) -> Result<WebhookPatch, E>,
    ) -> Result<Webhook, E> {
        let entry = self.tenant(tenant).await.map_err(WebhookRefused::from)?;
        let _alone = entry.changing.lock().await;
        let before = self.webhook(tenant, id).await?;
        if before.dialect != dialect {
            return Err(WebhookRefused::NotFound.into());
        }
        let patch = decide(&before)?;
        if patch == WebhookPatch::default() {
            return Ok(before);
        }
        let WebhookPatch { subscription, url, disabled, description } = patch;
        if let Some(subscription) = &subscription {
            known_types(&entry, subscription)?;
        }
        let settings = description.map(|description| WebhookSettings { description, ..before.settings });
        let change = WebhookChange { subscription, url, disabled, settings, ..WebhookChange::default() };
        Ok(self.change(&entry, id, change, self.by(who, Action::ChangeWebhook)).await?)
    }

    /// Replaces settings and owner's headers by what `decide` makes of the webhook as it is.
    pub async fn put_settings<E: From<WebhookRefused>>(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        who: &str,
        decide: impl FnOnce(&Webhook) -> Result<(WebhookSettings, Vec<(String, Secret<String>)>), E>,
    ) -> Result<Webhook, E> {
        let entry = self.tenant(tenant).await.map_err(WebhookRefused::from)?;
        let _alone = entry.changing.lock().await;
        let before = self.webhook(tenant, id).await?;
        let (settings, headers) = decide(&before)?;
        let secrets = WebhookSecrets { headers, ..before.secrets };
        let change =
            WebhookChange { settings: Some(settings), secrets: Some(secrets), ..WebhookChange::default() };
        Ok(self.change(&entry, id, change, self.by(who, Action::ChangeSettings)).await?)
    }

    /// The newest Standard Webhooks secret; the reading is audited first.
    pub async fn read_secret(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        who: &str,
    ) -> Result<Secret<[u8; 32]>, WebhookRefused> {
        let webhook = self.webhook(tenant, id).await?;
        self.store.audit(tenant, self.by(who, Action::ReadSecret), id.to_string()).await?;
        let newest = webhook.secrets.signing_at(self.clock.now()).next().cloned();
        newest.ok_or(WebhookRefused::Store(StoreError::Corrupt { what: "webhook without a secret" }))
    }

    /// A fresh secret; the one before it signs beside it for `overlap`. Returns when the old one ends.
    pub async fn rotate_secret(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        overlap: Duration,
        who: &str,
    ) -> Result<(Secret<[u8; 32]>, Timestamp), WebhookRefused> {
        let entry = self.tenant(tenant).await?;
        let _alone = entry.changing.lock().await;
        let mut secrets = self.webhook(tenant, id).await?.secrets;
        let (now, fresh) = (self.clock.now(), self.clock.bytes32());
        secrets.rotate_signing(fresh, now + overlap);
        let change = WebhookChange { secrets: Some(secrets), ..WebhookChange::default() };
        self.change(&entry, id, change, self.by(who, Action::RotateSecret)).await?;
        Ok((Secret::new(fresh), now + overlap))
    }

    /// A fresh token; no send with the old one begins once this returns.
    pub async fn rotate_token(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        who: &str,
    ) -> Result<Secret<String>, WebhookRefused> {
        let entry = self.tenant(tenant).await?;
        let _alone = entry.changing.lock().await;
        let before = self.webhook(tenant, id).await?;
        if before.dialect != Dialect::Truvera {
            return Err(WebhookRefused::NoToken);
        }
        let fresh = Secret::new(self.new_token());
        let secrets = WebhookSecrets { token: Some(fresh.clone()), ..before.secrets };
        let change = WebhookChange { secrets: Some(secrets), ..WebhookChange::default() };
        self.change(&entry, id, change, self.by(who, Action::RotateToken)).await?;
        Ok(fresh)
    }

    pub async fn delete_webhook(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        dialect: Dialect,
        who: &str,
    ) -> Result<(), WebhookRefused> {
        let entry = self.tenant(tenant).await?;
        if self.webhook(tenant, id).await?.dialect != dialect {
            return Err(WebhookRefused::NotFound);
        }
        let target = entry.target_by_id(id);
        let by = self.by(who, Action::DeleteWebhook);
        self.store.delete_webhook(tenant, id, by).await?.ok_or(WebhookRefused::NotFound)?;
        self.registry.refresh_after_change(&entry).await?;
        if let Some(target) = target {
            self.silence(&target).await?;
        }
        Ok(())
    }

    /// After a change: waits for the writes that were let through before it, and gives back what is parked, which is of
    /// the state before.
    pub(super) async fn silence(&self, target: &Target) -> Result<(), StoreError> {
        target.gate.settled().await;
        self.sight.reaches_all().await;
        self.unpark(self.lanes.withdraw(Some(target.webhook.no), |_| true)).await
    }

    async fn change(
        &self,
        entry: &Arc<TenantEntry>,
        id: WebhookId,
        change: WebhookChange,
        by: By,
    ) -> Result<Webhook, WebhookRefused> {
        let changed = self.store.change_webhook(entry.tenant.no, id, change, by).await?;
        let webhook = changed.ok_or(WebhookRefused::NotFound)?;
        self.registry.refresh_after_change(entry).await?;
        if let Some(target) = entry.target_by_id(id) {
            self.silence(&target).await?;
        }
        Ok(webhook)
    }

    /// Sends a realistic sample event to one webhook, through the ordinary path. `None`: no such webhook.
    pub async fn send_test(
        &self,
        tenant: TenantNo,
        id: WebhookId,
        event_type: Option<EventTypeName>,
    ) -> Result<Option<sealpost_store::inbox::AcceptedEvent>, PublishRefused> {
        let Some(webhook) = self.store.webhook(tenant, id).await? else { return Ok(None) };
        let first = webhook.subscription.named().first().cloned();
        let receive_all = || EventTypeName::parse("credential_issued").ok();
        let Some(name) = event_type.or(first).or_else(receive_all) else { return Ok(None) };
        let payload = samples::payload(name.as_str(), self.clock.as_ref());
        self.publish_test(tenant, id, name, payload).await
    }
}

fn known_types(entry: &TenantEntry, subscription: &Subscription) -> Result<(), WebhookRefused> {
    for (index, name) in subscription.named().iter().enumerate() {
        if entry.event_type(name.as_str()).is_none() {
            return Err(WebhookRefused::UnknownType { index, name: name.clone() });
        }
    }
    Ok(())
}
