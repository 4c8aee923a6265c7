//! The settings of a webhook, all of them, as one form. It is judged by the same rules as the API's: the form is written as
//! the body of that call.

use maud::{Markup, html};
use sealpost_core::minimise::PayloadLevel;
use sealpost_core::settings::{FieldError, RetentionKind, SignatureKind, parse};
use sealpost_core::time::Span;
use sealpost_core::webhook::Webhook;
use serde_json::{Map, Value, json};

use crate::app::webhooks::WebhookRefused;
use crate::console::form::Fields;
use crate::console::parts::{self, Field};
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::{Visit, refused};

/// The form as it is shown: texts, right or wrong.
#[derive(Default)]
struct Draft {
    description: String,
    payload: String,
    claims: String,
    timeout_ms: String,
    retry: String,
    max_in_flight: String,
    rate: String,
    standard: bool,
    standard_ed25519: bool,
    expires: String,
    retention: String,
    alert_after: String,
    headers: String,
}

impl Draft {
    fn of(form: &Fields) -> Self {
        let text = |name: &str| form.text(name).to_owned();
        Self {
            description: text("description"),
            payload: text("payload"),
            claims: text("claims"),
            timeout_ms: text("timeoutMs"),
            retry: text("retry"),
            max_in_flight: text("maxInFlight"),
            rate: text("ratePerSecond"),
            standard: form.ticked("standard"),
            standard_ed25519: form.ticked("standardEd25519"),
            expires: text("signatureExpires"),
            retention: text("retention"),
            alert_after: text("alertAfter"),
            headers: text("headers"),
        }
    }

    fn from(webhook: &Webhook) -> Self {
        let settings = &webhook.settings;
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let (payload, claims) = match &settings.payload {
            PayloadLevel::Full => ("full", String::new()),
            PayloadLevel::Summary => ("summary", String::new()),
            PayloadLevel::Thin => ("thin", String::new()),
            PayloadLevel::Claims(pointers) => {
                ("claims", lines(pointers.iter().map(|pointer| pointer.as_str().to_owned())))
            }
        };
        Self {
            description: settings.description.clone(),
            payload: payload.into(),
            claims,
            timeout_ms: number(settings.timeout_ms),
            retry: settings.retry.as_ref().map(|retry| commas(retry.waits())).unwrap_or_default(),
            max_in_flight: settings.max_in_flight.to_string(),
            rate: number(settings.rate_per_second.map(u64::from)),
            standard: settings.signs(SignatureKind::StandardWebhooks),
            standard_ed25519: settings.signs(SignatureKind::StandardWebhooksEd25519),
            expires: settings.signature_expires.map(|expires| expires.to_string()).unwrap_or_default(),
            retention: match settings.retention {
                RetentionKind::Standard => "standard".into(),
                RetentionKind::None => "none".into(),
            },
            alert_after: settings.alert_after.to_string(),
            headers: lines(webhook.secrets.headers.iter().map(|(name, _)| name.clone())),
        }
    }

    /// The body of `PUT /v1/webhooks/{id}/settings` that says the same. What is no number stays a text, which is refused by
    /// name there.
    fn body(&self) -> Value {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
        let number = |text: &str| match text.parse::<u64>() {
            Ok(number) => json!(number),
            Err(_) => json!(text),
        };
        put("description", json!(self.description));
        put(
            "payload",
            match self.payload.as_str() {
                "claims" => {
                    json!({"claims": self.claims.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>()})
                }
                level => json!(level),
            },
        );
        for (name, text) in [("timeoutMs", &self.timeout_ms), ("ratePerSecond", &self.rate)] {
            if !text.is_empty() {
                put(name, number(text));
            }
        }
        match self.retry.as_str() {
            "" => {}
            "none" => put("retry", json!({"intervals": []})),
            waits => put("retry", json!({"intervals": waits.split(',').map(str::trim).collect::<Vec<_>>()})),
        }
        put("maxInFlight", number(&self.max_in_flight));
        let kinds = [
            (true, "http-message-signatures"),
            (self.standard, "standard-webhooks"),
            (self.standard_ed25519, "standard-webhooks-ed25519"),
        ];
        put("signatures", kinds.iter().filter(|(on, _)| *on).map(|(_, kind)| *kind).collect());
        if !self.expires.is_empty() {
            put("signatureExpires", json!(self.expires));
        }
        put("retention", json!(self.retention));
        put("alertAfter", number(&self.alert_after));
        let headers = self.headers.lines().map(str::trim).filter(|line| !line.is_empty());
        let headers = headers.map(|line| match line.split_once(':') {
            // A name alone keeps the value that is stored.
            None => (line.to_owned(), Value::Null),
            Some((name, value)) => (name.trim().to_owned(), json!(value.trim())),
        });
        put("headers", Value::Object(headers.collect()));
        Value::Object(body)
    }
}

fn lines(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join("\n")
}

fn commas(waits: &[Span]) -> String {
    match waits {
        [] => "none".into(),
        waits => waits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

pub(super) async fn form(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    Ok(sheet(&visit, &webhook, &Draft::from(&webhook), &[]).into())
}

/// By what it asks for, or by what it asks it of.
enum Why {
    Fields(Vec<FieldError>),
    Webhook(WebhookRefused),
}

impl From<WebhookRefused> for Why {
    fn from(refused: WebhookRefused) -> Self {
        Self::Webhook(refused)
    }
}

pub(super) async fn save(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let draft = Draft::of(&visit.form);
    let decide = |before: &Webhook| parse(&draft.body(), &before.secrets.headers).map_err(Why::Fields);
    match visit.app().put_settings(visit.tenant()?, webhook.id, visit.who()?, decide).await {
        Ok(_) => Ok(Reply::done(format!("/console/webhooks/{}", webhook.id), "The settings were saved.")),
        Err(Why::Fields(errors)) => Ok(sheet(&visit, &webhook, &draft, &errors).again().into()),
        Err(Why::Webhook(why)) => Err(refused(why)),
    }
}

fn sheet(visit: &Visit, webhook: &Webhook, draft: &Draft, errors: &[FieldError]) -> Sheet {
    let page = format!("/console/webhooks/{}", webhook.id);
    let defaults = &visit.app().config.defaults;
    let default_timeout =
        format!("Milliseconds for the whole attempt. Empty: the server's {}.", defaults.timeout_ms);
    let default_retry = format!(
        "Waits, separated by commas, or none. Empty: the server's {}.",
        commas(defaults.retry.waits())
    );
    let default_expires =
        format!("A span such as 300s, or off. Empty: the server's {}.", defaults.signature_expires);
    let payloads = [
        ("full", "Whole"),
        ("summary", "Summary, without the credential"),
        ("thin", "Id and link only"),
        ("claims", "Chosen claims"),
    ];
    let retentions =
        [("standard", "As the tenant's retention says"), ("none", "Only until its last delivery ended")];
    let main = html! {
        form method="post" action={ (page) "/settings" } {
            (parts::csrf(visit))
            p.muted { (parts::address(webhook.url.shown())) }
            (field(errors, "description", "Description", None).input("text", &draft.description, false))
            h2 { "What is sent" }
            (field(errors, "payload", "Payload", None).select(&draft.payload, &payloads))
            (area("claims", "Claims", "JSON pointers, one a line, for chosen claims.", None, &draft.claims))
            (area("headers", "Own headers", "Name: value, one a line. A name alone keeps its value, which is never shown.", wrong(errors, "headers"), &draft.headers))
            h2 { "Signatures" }
            div.field {
                label.choice { input type="checkbox" checked disabled; span { "HTTP message signatures" span.muted { "Always there." } } }
                label.choice { input type="checkbox" name="standard" value="yes" checked[draft.standard]; span { "Standard Webhooks" span.muted { "With the webhook's secret." } } }
                label.choice { input type="checkbox" name="standardEd25519" value="yes" checked[draft.standard_ed25519]; span { "Standard Webhooks, Ed25519" span.muted { "With the tenant's key." } } }
                @if let Some(wrong) = wrong(errors, "signatures") { p.wrong { (parts::mark("bad")) (wrong) } }
            }
            (field(errors, "signatureExpires", "Signatures expire after", Some(&default_expires)).input("text", &draft.expires, false))
            h2 { "Pace and patience" }
            (field(errors, "timeoutMs", "Timeout", Some(&default_timeout)).input("text", &draft.timeout_ms, false))
            (field(errors, "retry", "Retries after", Some(&default_retry)).input("text", &draft.retry, false))
            (field(errors, "maxInFlight", "Requests at a time", None).input("text", &draft.max_in_flight, true))
            (field(errors, "ratePerSecond", "Requests a second", Some("Empty: as many as come.")).input("text", &draft.rate, false))
            h2 { "Afterwards" }
            (field(errors, "retention", "Payloads are kept", None).select(&draft.retention, &retentions))
            (field(errors, "alertAfter", "Alert after failed deliveries in a row", None).input("text", &draft.alert_after, true))
            div.actions {
                button.main type="submit" { "Save settings" }
                a.button href=(page) { "Cancel" }
            }
        }
    };
    Sheet::new(Section::Webhooks, "Settings", main)
}

fn wrong<'a>(errors: &'a [FieldError], name: &str) -> Option<&'a str> {
    errors.iter().find(|error| error.param == name).map(|error| error.msg.as_str())
}

fn field<'a>(errors: &'a [FieldError], name: &'a str, label: &'a str, help: Option<&'a str>) -> Field<'a> {
    Field { name, label, help, wrong: wrong(errors, name) }
}

fn area(name: &str, label: &str, help: &str, wrong: Option<&str>, value: &str) -> Markup {
    let field = Field { name, label, help: Some(help), wrong };
    field.around(&html! {
        textarea id=(name) name=(name) rows="3" spellcheck="false" autocomplete="off" aria-describedby=[field.described_by()]
            aria-invalid=[wrong.map(|_| "true")] { (value) }
    })
}

#[cfg(test)]
mod tests {
    use sealpost_core::secret::Secret;
    use sealpost_core::settings::WebhookSettings;

    use super::*;

    fn form(text: &str) -> Draft {
        Draft::of(&Fields::parse(text.as_bytes()))
    }

    const PLAIN: &str = "payload=full&maxInFlight=8&retention=standard&alertAfter=5";

    #[test]
    fn an_empty_form_is_the_defaults() {
        let (settings, headers) = parse(&form(PLAIN).body(), &Vec::new()).unwrap();
        assert_eq!((settings, headers.len()), (WebhookSettings::default(), 0));
    }

    #[test]
    fn what_was_read_can_be_put_back() {
        let given = "payload=claims&claims=/a/b%0D%0A/c&maxInFlight=3&retention=none&alertAfter=9&timeoutMs=500&retry=1s,+2m\
                     &ratePerSecond=7&standard=yes&signatureExpires=off&description=d&headers=X-A:+b:c%0D%0Ax-kept";
        let kept = vec![("x-kept".to_owned(), Secret::new("v".to_owned()))];
        let (settings, headers) = parse(&form(given).body(), &kept).unwrap();
        assert_eq!(headers, [("x-a".to_owned(), Secret::new("b:c".to_owned())), kept[0].clone()]);
        assert_eq!(serde_json::to_value(&settings).unwrap()["retry"], json!(["1s", "120s"]));
        assert!(
            settings.signs(SignatureKind::StandardWebhooks)
                && !settings.signs(SignatureKind::StandardWebhooksEd25519)
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_name() {
        let given = "payload=none&maxInFlight=many&retention=standard&alertAfter=5&retry=soon&timeoutMs=1&headers=host:+x";
        let errors = parse(&form(given).body(), &Vec::new()).unwrap_err();
        let names: Vec<&str> = errors.iter().map(|error| error.param.as_str()).collect();
        assert_eq!(names, ["payload", "timeoutMs", "retry", "maxInFlight", "headers"]);
    }
}
