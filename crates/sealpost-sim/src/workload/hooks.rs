//! Webhooks come, change and go. One change of a webhook at a time, so that an answer that was not heard leaves a doubt
//! about one thing only.

use std::time::Duration;

use sealpost::app::webhooks::{WebhookInput, WebhookRefused};
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::id::{TenantNo, WebhookId};
use sealpost_core::retry::RetryPolicy;
use sealpost_core::settings::{RetentionKind, WebhookSettings};
use sealpost_core::target_url::{TargetUrl, UrlPolicy, UrlRules};
use sealpost_core::webhook::{Subscription, Webhook};

use super::{Callers, SUBSCRIBED, WHO};
use crate::ledger::{Hook, HookChange, HookState, Seq};
use crate::memory::{Disk, WebhookRow};
use crate::receivers::RECEIVERS;
use crate::world::{Inner, World};

/// Live webhooks at one time.
const HOOKS_MOST: usize = 14;
const RULES: UrlRules =
    UrlRules { policy: UrlPolicy::Strict, allow_localhost: false, plain_http_loopback: false };

pub(crate) fn url(hook: u32, version: u32) -> Option<TargetUrl> {
    let receiver = hook as usize % RECEIVERS;
    TargetUrl::parse(&format!("https://r{receiver}.example.com/h{hook}/v{version}"), &RULES).ok()
}

fn input(number: u32, state: &HookState) -> Option<WebhookInput> {
    let types = state.types.iter().filter_map(|name| EventTypeName::parse(name).ok()).collect();
    Some(WebhookInput {
        subscription: Subscription::Types(types),
        url: url(number, state.url_version)?,
        disabled: state.disabled,
    })
}

fn some_settings(inner: &mut Inner) -> WebhookSettings {
    let dice = &mut inner.dice;
    let waits: &[u64] = match dice.between(0, 5) {
        0 => &[],
        1 => &[1],
        2 => &[1, 2, 3],
        _ => &[10, 60, 360],
    };
    let retry = RetryPolicy::new(waits.iter().map(|s| Duration::from_secs(*s)).collect()).ok();
    WebhookSettings {
        retry,
        timeout_ms: dice.one_in(3).then(|| dice.of(&[100, 700, 10_000])),
        max_in_flight: dice.of(&[1, 2, 8]),
        rate_per_second: dice.one_in(5).then(|| dice.of(&[1, 5])),
        retention: if dice.one_in(4) { RetentionKind::None } else { RetentionKind::Standard },
        alert_after: dice.of(&[0, 2, 5]),
        ..WebhookSettings::default()
    }
}

fn waits(settings: &WebhookSettings) -> Vec<u64> {
    let default = RetryPolicy::default();
    let policy = settings.retry.as_ref().unwrap_or(&default);
    policy.waits().iter().map(|wait| wait.0.as_millis() as u64).collect()
}

/// What the store says of a webhook.
fn stored(row: &WebhookRow) -> HookState {
    let webhook = &row.webhook;
    let version = webhook.url.as_str().rsplit("/v").next().and_then(|text| text.parse().ok());
    let named = webhook.subscription.named();
    let types = SUBSCRIBED.iter().copied().filter(|name| named.iter().any(|own| own.as_str() == *name));
    HookState {
        exists: !row.deleted,
        disabled: webhook.disabled,
        url_version: version.unwrap_or(0),
        types: types.collect(),
        token: webhook.secrets.token.as_ref().map(|token| token.reveal().clone()),
    }
}

/// Where the process before did not say what became of a change, the next one begins with what is stored.
pub fn resolve_doubts(world: &World, disk: &Disk) {
    let mut inner = world.inner();
    let state = disk.state();
    let numbers: Vec<u32> = inner.ledger.hooks.keys().copied().collect();
    for number in numbers {
        let seq = inner.next_seq();
        let Some(hook) = inner.ledger.hooks.get_mut(&number) else { continue };
        hook.busy = false;
        if !hook.in_doubt() {
            continue;
        }
        let row = state.webhooks.values().find(|row| is_of(row, number));
        let after = row.map_or_else(nothing, stored);
        hook.id = hook.id.or(row.map(|row| (row.webhook.id, row.webhook.no)));
        hook.changes.push(HookChange { began: seq, heard: Some(seq), after });
    }
}

fn is_of(row: &WebhookRow, number: u32) -> bool {
    row.webhook.url.as_str().contains(&format!("/h{number}/"))
}

fn nothing() -> HookState {
    HookState { exists: false, disabled: false, url_version: 0, types: Vec::new(), token: None }
}

/// A webhook that was taken for one change.
struct Taken {
    number: u32,
    tenant: TenantNo,
    id: WebhookId,
    truvera: bool,
    before: HookState,
}

impl Taken {
    fn dialect(&self) -> Dialect {
        if self.truvera { Dialect::Truvera } else { Dialect::Mattr }
    }
}

impl Callers {
    pub(super) async fn create_hook(&self) {
        let tenant = self.any_tenant();
        let (number, truvera, state, settings) = {
            let mut inner = self.world.inner();
            let live =
                inner.ledger.hooks.values().filter(|hook| hook.last().is_some_and(|state| state.exists));
            if live.count() >= HOOKS_MOST {
                return;
            }
            let number = inner.ledger.hooks.keys().last().map_or(1, |last| last + 1);
            let settings = some_settings(&mut inner);
            let types = SUBSCRIBED.iter().copied().filter(|_| inner.dice.one_in(2)).collect();
            let state = HookState { exists: true, disabled: inner.dice.one_in(12), types, ..nothing() };
            let truvera = inner.dice.one_in(2);
            (number, truvera, state, settings)
        };
        if state.types.is_empty() {
            return;
        }
        self.make(number, tenant, truvera, state, settings).await;
    }

    /// Makes a webhook, and says which; `None`: its making was not heard of.
    pub(crate) async fn make(
        &self,
        number: u32,
        tenant: TenantNo,
        truvera: bool,
        state: HookState,
        settings: WebhookSettings,
    ) -> Option<Webhook> {
        let input = input(number, &state)?;
        {
            let mut inner = self.world.inner();
            let began = inner.next_seq();
            let absent = HookChange { began: 0, heard: Some(0), after: nothing() };
            let hook = Hook {
                tenant,
                number,
                truvera,
                id: None,
                changes: vec![absent, HookChange { began, heard: None, after: state }],
                policies: vec![waits(&settings)],
                busy: true,
            };
            inner.ledger.hooks.insert(number, hook);
            inner.note("create", &[&number.to_le_bytes()]);
        }
        let dialect = if truvera { Dialect::Truvera } else { Dialect::Mattr };
        let made = self.app.create_webhook(tenant, dialect, input, settings, WHO).await;
        let stored = self.disk.state().webhooks.values().find(|row| is_of(row, number)).cloned();
        let mut inner = self.world.inner();
        let seq = inner.next_seq();
        let hook = inner.ledger.hooks.get_mut(&number)?;
        hook.busy = false;
        // Made or not, nobody was told; whoever looks finds it.
        hook.id = stored.map(|row| (row.webhook.id, row.webhook.no));
        let webhook = made.ok()?;
        hook.id = Some((webhook.id, webhook.no));
        let last = hook.changes.last_mut()?;
        last.heard = Some(seq);
        last.after.token = webhook.secrets.token.as_ref().map(|token| token.reveal().clone());
        inner.coverage.count("create webhook");
        Some(webhook)
    }

    /// Takes a webhook nobody else is changing, and says what it is to become. What changes one thing only is not asked of
    /// one whose last change is in doubt: its success would not say what became of that.
    fn take_hook(&self, doubtful_too: bool, after: impl FnOnce(&mut Inner, &mut HookState)) -> Option<Taken> {
        let mut inner = self.world.inner();
        let free: Vec<u32> = inner
            .ledger
            .hooks
            .values()
            .filter(|hook| !hook.busy && (doubtful_too || !hook.in_doubt()))
            .filter(|hook| hook.id.is_some() && hook.last().is_some_and(|state| state.exists))
            .map(|hook| hook.number)
            .collect();
        if free.is_empty() {
            return None;
        }
        let number = inner.dice.of(&free);
        let before = inner.ledger.hooks.get(&number)?.last()?.clone();
        let mut wanted = before.clone();
        after(&mut inner, &mut wanted);
        let began = inner.next_seq();
        inner.note("change", &[&number.to_le_bytes()]);
        let hook = inner.ledger.hooks.get_mut(&number)?;
        hook.busy = true;
        if wanted != before {
            hook.changes.push(HookChange { began, heard: None, after: wanted.clone() });
        }
        let (id, _) = hook.id?;
        Some(Taken { number, tenant: hook.tenant, id, truvera: hook.truvera, before })
    }

    /// The change is over; `heard`: it succeeded.
    fn give_back(&self, number: u32, what: &'static str, heard: bool) {
        let mut inner = self.world.inner();
        let seq = inner.next_seq();
        if heard {
            inner.coverage.count(what);
            inner.note(what, &[&number.to_le_bytes()]);
        }
        let Some(hook) = inner.ledger.hooks.get_mut(&number) else { return };
        hook.busy = false;
        if heard {
            // Whatever was in doubt before, all of it is what was written now.
            hook.changes.iter_mut().filter(|change| change.heard.is_none()).for_each(|change| {
                change.heard = Some(seq as Seq);
            });
        }
    }

    pub(super) async fn change_hook(&self) {
        let which = self.world.inner().dice.between(0, 9);
        match which {
            0..4 => self.replace().await,
            4 => self.delete_hook().await,
            5 | 6 => self.change_settings().await,
            7 => self.rotate_secret().await,
            _ => self.rotate_token().await,
        }
    }

    /// Everything that a PUT replaces.
    async fn replace(&self) {
        let mut what = "change url";
        let taken = self.take_hook(true, |inner, state| match inner.dice.between(0, 3) {
            0 => {
                state.disabled = !state.disabled;
                what = if state.disabled { "disable" } else { "enable" };
            }
            _ => state.url_version += 1,
        });
        let Some(taken) = taken else { return };
        let wanted = self.world.inner().ledger.hooks.get(&taken.number).and_then(|hook| hook.last().cloned());
        let Some(input) = wanted.and_then(|wanted| input(taken.number, &wanted)) else { return };
        let answer = self.app.replace_webhook(taken.tenant, taken.id, taken.dialect(), input, WHO).await;
        self.give_back(taken.number, what, answer.is_ok());
    }

    pub(crate) async fn delete_hook(&self) {
        let Some(taken) = self.take_hook(true, |_, state| state.exists = false) else { return };
        let answer = self.app.delete_webhook(taken.tenant, taken.id, taken.dialect(), WHO).await;
        // Asked before without hearing of it: it is gone either way, but nothing was promised.
        self.give_back(taken.number, "delete webhook", answer.is_ok());
    }

    async fn change_settings(&self) {
        let Some(taken) = self.take_hook(true, |_, _| {}) else { return };
        let settings = {
            let mut inner = self.world.inner();
            let settings = some_settings(&mut inner);
            if let Some(hook) = inner.ledger.hooks.get_mut(&taken.number) {
                hook.policies.push(waits(&settings));
            }
            settings
        };
        let decide = |webhook: &Webhook| Ok::<_, WebhookRefused>((settings, webhook.secrets.headers.clone()));
        let answer = self.app.put_settings(taken.tenant, taken.id, WHO, decide).await;
        self.let_be(&taken, "change settings", answer.is_ok());
    }

    async fn rotate_secret(&self) {
        let Some(taken) = self.take_hook(true, |_, _| {}) else { return };
        let hour = Duration::from_secs(3600);
        let answer = self.app.rotate_secret(taken.tenant, taken.id, hour, WHO).await;
        self.let_be(&taken, "rotate secret", answer.is_ok());
    }

    async fn rotate_token(&self) {
        let Some(taken) = self.take_hook(false, |_, state| state.token = None) else { return };
        let answer = self.app.rotate_token(taken.tenant, taken.id, WHO).await;
        if taken.before.token.is_none() {
            return self.let_be(&taken, "rotate token", answer.is_ok());
        }
        if let Ok(token) = &answer {
            let mut inner = self.world.inner();
            let changes = inner.ledger.hooks.get_mut(&taken.number).map(|hook| &mut hook.changes);
            if let Some(last) = changes.and_then(|changes| changes.last_mut()) {
                last.after.token = Some(token.reveal().clone());
            }
        }
        let mut inner = self.world.inner();
        let seq = inner.next_seq();
        if answer.is_ok() {
            inner.coverage.count("rotate token");
        }
        if let Some(hook) = inner.ledger.hooks.get_mut(&taken.number) {
            hook.busy = false;
            if let Some(last) = hook.changes.last_mut().filter(|_| answer.is_ok()) {
                last.heard = Some(seq);
            }
        }
    }

    /// A change that its receiver cannot see is over. What was in doubt stays in doubt.
    fn let_be(&self, taken: &Taken, what: &'static str, heard: bool) {
        let mut inner = self.world.inner();
        if heard {
            inner.coverage.count(what);
        }
        if let Some(hook) = inner.ledger.hooks.get_mut(&taken.number) {
            hook.busy = false;
        }
    }
}
