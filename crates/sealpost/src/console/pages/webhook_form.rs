//! Add Endpoint, and changing where a webhook leads and what it gets.

use maud::{Markup, html};
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::{EventType, EventTypeName, Origin};
use sealpost_core::limits::DESCRIPTION_BYTES;
use sealpost_core::role::Permission;
use sealpost_core::settings::WebhookSettings;
use sealpost_core::target_url::{TargetUrl, UrlRules};
use sealpost_core::webhook::{Subscription, Webhook};
use sealpost_signature::WebhookSecret;

use crate::app::webhooks::{WebhookInput, WebhookPatch, WebhookRefused};
use crate::console::form::Fields;
use crate::console::parts::{self, Field};
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::session::Notice;
use crate::console::visit::{Visit, refused};

/// What somebody wrote, right or wrong.
#[derive(Debug, Default)]
struct Draft {
    url: String,
    description: String,
    dialect: Option<Dialect>,
    receive_all: bool,
    events: Vec<String>,
}

/// What the form showed to whoever wrote: a field that was left as it was shown does not undo what others changed since.
#[derive(Debug, Default)]
struct Before {
    url: Option<String>,
    description: Option<String>,
    events: Option<String>,
}

/// What is wrong with it, by field.
#[derive(Debug, Default, PartialEq)]
struct Wrong {
    url: Option<String>,
    description: Option<String>,
    dialect: Option<String>,
    events: Option<String>,
}

#[derive(Debug)]
struct Checked {
    url: TargetUrl,
    dialect: Dialect,
    subscription: Subscription,
}

impl Draft {
    fn of(form: &Fields) -> Self {
        Self {
            url: form.text("url").to_owned(),
            description: form.text("description").to_owned(),
            dialect: dialect(form.text("dialect")),
            receive_all: form.ticked("receiveAll"),
            events: form.all("events").map(str::to_owned).collect(),
        }
    }

    fn from(webhook: &Webhook) -> Self {
        Self {
            url: webhook.url.shown().to_owned(),
            description: webhook.settings.description.clone(),
            dialect: Some(webhook.dialect),
            receive_all: matches!(webhook.subscription, Subscription::ReceiveAll { .. }),
            events: webhook.subscription.named().iter().map(ToString::to_string).collect(),
        }
    }

    /// The events as one text, in whatever order they were ticked.
    fn events_text(&self) -> String {
        let mut names: Vec<&str> = self.events.iter().map(String::as_str).collect();
        names.sort_unstable();
        let all = if self.receive_all { "*," } else { "" };
        format!("{all}{}", names.join(","))
    }

    fn check(&self, rules: &UrlRules) -> Result<Checked, Wrong> {
        let mut wrong = Wrong::default();
        let url = match self.url.as_str() {
            "" => Err("Write the URL that events are sent to.".to_owned()),
            text => TargetUrl::parse(text, rules).map_err(|error| format!("The URL {error}.")),
        };
        wrong.url = url.as_ref().err().cloned();
        if self.description.len() > DESCRIPTION_BYTES {
            wrong.description = Some(format!("Write at most {DESCRIPTION_BYTES} bytes."));
        }
        if self.dialect.is_none() {
            wrong.dialect = Some("Choose a dialect.".into());
        }
        let named: Result<Vec<EventTypeName>, _> =
            self.events.iter().map(|name| EventTypeName::parse(name)).collect();
        let is_twice = self.events.iter().enumerate().any(|(at, name)| self.events[..at].contains(name));
        let subscription = match (named, self.receive_all, self.dialect) {
            (Err(_), ..) => Err("Choose event types of the list."),
            (Ok(_), ..) if is_twice => Err("Choose each event type once."),
            (_, true, Some(Dialect::Mattr)) => {
                Err("Receive All is Truvera's. Choose the event types of a MATTR webhook.")
            }
            (Ok(named), true, _) => Ok(Subscription::ReceiveAll { named }),
            (Ok(named), false, _) if named.is_empty() => Err("Choose at least one event type."),
            (Ok(named), false, _) => Ok(Subscription::Types(named)),
        };
        wrong.events = subscription.as_ref().err().map(|&why| why.to_owned());
        match (url, self.dialect, subscription) {
            (Ok(url), Some(dialect), Ok(subscription)) if wrong == Wrong::default() => {
                Ok(Checked { url, dialect, subscription })
            }
            _ => Err(wrong),
        }
    }
}

impl Before {
    fn of(form: &Fields) -> Self {
        let shown = |name| form.all(name).next().map(str::to_owned);
        Self { url: shown("shownUrl"), description: shown("shownDescription"), events: shown("shownEvents") }
    }

    fn from(draft: &Draft) -> Self {
        Self {
            url: Some(draft.url.clone()),
            description: Some(draft.description.clone()),
            events: Some(draft.events_text()),
        }
    }

    fn fields(&self) -> Markup {
        let all =
            [("shownUrl", &self.url), ("shownDescription", &self.description), ("shownEvents", &self.events)];
        html! {
            @for (name, value) in all {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
        }
    }
}

/// What somebody changed of a webhook as it is now.
fn patch(webhook: &Webhook, draft: &Draft, before: &Before, checked: Checked) -> WebhookPatch {
    let Checked { url, subscription, .. } = checked;
    let wrote = |shown: &Option<String>, written: &str| shown.as_deref() != Some(written);
    let (url_is_new, events_are_new, description_is_new) = (
        wrote(&before.url, &draft.url) && url != webhook.url,
        wrote(&before.events, &draft.events_text()) && subscription != webhook.subscription,
        wrote(&before.description, &draft.description) && draft.description != webhook.settings.description,
    );
    WebhookPatch {
        url: url_is_new.then_some(url),
        subscription: events_are_new.then_some(subscription),
        description: description_is_new.then(|| draft.description.clone()),
        disabled: None,
    }
}

fn dialect(text: &str) -> Option<Dialect> {
    match text {
        "mattr" => Some(Dialect::Mattr),
        "truvera" => Some(Dialect::Truvera),
        _ => None,
    }
}

pub(super) async fn new(visit: Visit) -> Result<Reply, Refused> {
    let draft = Draft { dialect: Some(Dialect::Mattr), ..Draft::default() };
    Ok(add_sheet(&visit, &draft, &Wrong::default()).await?.into())
}

pub(super) async fn create(visit: Visit) -> Result<Reply, Refused> {
    let draft = Draft::of(&visit.form);
    let checked = match draft.check(&visit.app().config.url_rules) {
        Ok(checked) => checked,
        Err(wrong) => return Ok(add_sheet(&visit, &draft, &wrong).await?.again().into()),
    };
    let Checked { url, dialect, subscription } = checked;
    let settings = WebhookSettings { description: draft.description.clone(), ..WebhookSettings::default() };
    let input = WebhookInput { subscription, url, disabled: false };
    let created = visit.app().create_webhook(visit.tenant()?, dialect, input, settings, visit.who()?).await;
    let webhook = match created.map_err(told) {
        Ok(webhook) => webhook,
        Err(Ok(wrong)) => return Ok(add_sheet(&visit, &draft, &wrong).await?.again().into()),
        Err(Err(refused)) => return Err(refused),
    };
    let mut notices = vec![Notice::Done("The webhook was created.".into())];
    if visit.may(Permission::ReadSecrets) {
        notices.extend(secrets(&webhook));
    }
    Ok(Reply::See(format!("/console/webhooks/{}", webhook.id), notices))
}

pub(super) async fn edit(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let draft = Draft::from(&webhook);
    Ok(edit_sheet(&visit, &webhook, &draft, &Before::from(&draft), &Wrong::default()).await?.into())
}

pub(super) async fn replace(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let draft = Draft { dialect: Some(webhook.dialect), ..Draft::of(&visit.form) };
    let before = Before::of(&visit.form);
    let wrong = match draft.check(&visit.app().config.url_rules) {
        Ok(checked) => {
            let decide = |now: &Webhook| Ok::<_, WebhookRefused>(patch(now, &draft, &before, checked));
            let (app, tenant, who) = (visit.app(), visit.tenant()?, visit.who()?);
            match app.patch_webhook(tenant, webhook.id, webhook.dialect, who, decide).await.map_err(told) {
                Ok(_) => {
                    let page = format!("/console/webhooks/{}", webhook.id);
                    return Ok(Reply::done(page, "The webhook was changed."));
                }
                Err(told) => told?,
            }
        }
        Err(wrong) => wrong,
    };
    Ok(edit_sheet(&visit, &webhook, &draft, &before, &wrong).await?.again().into())
}

/// What the form can say of a refusal; otherwise what the page does.
fn told(why: WebhookRefused) -> Result<Wrong, Refused> {
    match why {
        WebhookRefused::UnknownType { .. } => Ok(Wrong { events: Some(sentence(&why)), ..Wrong::default() }),
        WebhookRefused::TooMany => Ok(Wrong { url: Some(sentence(&why)), ..Wrong::default() }),
        other => Err(refused(other)),
    }
}

fn sentence(why: &WebhookRefused) -> String {
    let why = why.to_string();
    let mut letters = why.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// What the receiver checks with, shown once.
fn secrets(webhook: &Webhook) -> Vec<Notice> {
    if let Some(token) = &webhook.secrets.token {
        return vec![Notice::Shown {
            name: "Secret token",
            value: token.clone(),
            about: "Each request carries this token in its body; check it first. It is shown here only now.",
        }];
    }
    let newest = webhook
        .secrets
        .signing
        .first()
        .and_then(|secret| WebhookSecret::from_bytes(secret.bytes.reveal()).ok());
    let shown = newest.map(|secret| Notice::Shown {
        name: "Signing secret",
        value: sealpost_core::secret::Secret::new(secret.reveal().to_string()),
        about: "For Standard Webhooks signatures, if you switch them on. Message signatures need no secret: they verify \
                with the public keys. It is shown here only now.",
    });
    shown.into_iter().collect()
}

async fn add_sheet(visit: &Visit, draft: &Draft, wrong: &Wrong) -> Result<Sheet, Refused> {
    let types = types(visit).await?;
    let main = html! {
        p.lead { "Events of the types you choose are sent to this URL as they happen, signed, and retried until it answers." }
        form method="post" action="/console/webhooks" {
            (parts::csrf(visit))
            (where_to(draft, wrong))
            (which_dialect(draft, wrong))
            (which_events(draft, wrong, &types))
            div.actions {
                button.main type="submit" { "Create Webhook" }
                a.button href="/console/webhooks" { "Cancel" }
            }
        }
    };
    Ok(Sheet::new(Section::Webhooks, "Add Endpoint", main))
}

async fn edit_sheet(
    visit: &Visit,
    webhook: &Webhook,
    draft: &Draft,
    before: &Before,
    wrong: &Wrong,
) -> Result<Sheet, Refused> {
    let types = types(visit).await?;
    let page = format!("/console/webhooks/{}", webhook.id);
    let main = html! {
        form method="post" action={ (page) "/edit" } {
            (parts::csrf(visit))
            (before.fields())
            (where_to(draft, wrong))
            (which_events(draft, wrong, &types))
            div.actions {
                button.main type="submit" { "Save" }
                a.button href=(page) { "Cancel" }
            }
        }
    };
    Ok(Sheet::new(Section::Webhooks, "Change webhook", main))
}

fn where_to(draft: &Draft, wrong: &Wrong) -> Markup {
    let url = Field {
        name: "url",
        label: "Endpoint URL",
        help: Some("https, a host name, no query and no fragment."),
        wrong: wrong.url.as_deref(),
    };
    let description = Field {
        name: "description",
        label: "Description (optional)",
        help: None,
        wrong: wrong.description.as_deref(),
    };
    html! {
        (url.input("url", &draft.url, true))
        (description.input("text", &draft.description, false))
    }
}

fn which_dialect(draft: &Draft, wrong: &Wrong) -> Markup {
    let choices = [
        (
            Dialect::Mattr,
            "mattr",
            "MATTR",
            "{deliveryId, webhookId, event} and message signatures that verify with public keys.",
        ),
        (
            Dialect::Truvera,
            "truvera",
            "Truvera",
            "{token, event, data}; the secret token in each body, message signatures besides.",
        ),
    ];
    html! {
        fieldset.field {
            legend { "Dialect" }
            div.choices {
                @for (dialect, value, name, about) in choices {
                    label.choice {
                        input type="radio" name="dialect" value=(value) required checked[draft.dialect == Some(dialect)];
                        span { strong { (name) } span.muted { (about) } }
                    }
                }
            }
            @if let Some(wrong) = &wrong.dialect { p.wrong { (parts::mark("bad")) (wrong) } }
        }
    }
}

fn which_events(draft: &Draft, wrong: &Wrong, types: &[EventType]) -> Markup {
    let groups = [
        (Origin::Mattr, "OpenID credentials"),
        (Origin::Truvera, "Credentials, DIDs, registries, schemas and proofs"),
        (Origin::Operator, "Your own"),
        (Origin::Own, "Health of webhooks"),
    ];
    let chosen = |name: &EventTypeName| draft.events.iter().any(|chosen| chosen == name.as_str());
    html! {
        fieldset.field aria-describedby=[wrong.events.as_ref().map(|_| "events-wrong")] {
            legend { "Endpoint Events" }
            @if let Some(wrong) = &wrong.events { p.wrong id="events-wrong" { (parts::mark("bad")) (wrong) } }
            label.choice {
                input type="checkbox" name="receiveAll" value="yes" checked[draft.receive_all];
                span {
                    strong { "Receive All" }
                    span.muted { "Truvera's types and those of your own that are marked so, also later ones." }
                }
            }
            @for (origin, title) in groups {
                @let group: Vec<_> = types.iter().filter(|event_type| event_type.origin == origin).collect();
                @if !group.is_empty() {
                    fieldset.group {
                        legend { (title) }
                        @for event_type in group {
                            label.choice {
                                input type="checkbox" name="events" value=(event_type.name) checked[chosen(&event_type.name)];
                                span {
                                    code { (event_type.name) }
                                    @if !event_type.description.is_empty() { span.muted { (event_type.description) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// In the order of the documents, then the tenant's own by name.
async fn types(visit: &Visit) -> Result<Vec<EventType>, Refused> {
    let registered = visit.app().tenant(visit.tenant()?).await?.event_types();
    let own =
        registered.iter().map(|entry| entry.event_type.clone()).filter(|t| t.origin == Origin::Operator);
    Ok(sealpost_core::event_type::all_built_in().chain(own).collect())
}
