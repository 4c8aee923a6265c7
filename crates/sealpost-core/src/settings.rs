//! Settings of one webhook: what a caller may write, its bounds, and what holds where nothing was written.
//!
//! A setting that was not written follows the server's default, also when that changes later; so the ones with a
//! server-wide default are kept as `Option`. Header values are secrets and live in [`crate::webhook::WebhookSecrets`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits as bound;
use crate::minimise::{InvalidPointer, JsonPointer, MAX_POINTERS, PayloadLevel};
use crate::retry::RetryPolicy;
use crate::secret::Secret;
use crate::time::Span;

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureKind {
    /// RFC 9421 with the tenant's Ed25519 key.
    HttpMessageSignatures,
    /// Standard Webhooks `v1`, HMAC with the webhook's secret.
    StandardWebhooks,
    /// Standard Webhooks `v1a`, Ed25519 with the tenant's key.
    StandardWebhooksEd25519,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetentionKind {
    #[default]
    Standard,
    /// The payload goes with the end of its last delivery.
    None,
}

/// `expires` of the message signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignatureExpires {
    After(Duration),
    Off,
}

impl SignatureExpires {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "off" {
            return Ok(SignatureExpires::Off);
        }
        let span: Span = text.parse().map_err(|_| "must be a span such as 300s, or off")?;
        if (bound::SIGNATURE_EXPIRES_MIN..=bound::SIGNATURE_EXPIRES_MAX).contains(&span.0) {
            Ok(SignatureExpires::After(span.0))
        } else {
            Err("must be at least 10s and at most 7d")
        }
    }
}

impl std::fmt::Display for SignatureExpires {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SignatureExpires::After(after) => Span(*after).fmt(f),
            SignatureExpires::Off => f.write_str("off"),
        }
    }
}

impl Serialize for SignatureExpires {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SignatureExpires {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// What holds for webhooks that do not say otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerDefaults {
    pub timeout_ms: u64,
    pub retry: RetryPolicy,
    pub signature_expires: SignatureExpires,
}

impl Default for ServerDefaults {
    fn default() -> Self {
        Self {
            timeout_ms: 3000,
            retry: RetryPolicy::default(),
            signature_expires: SignatureExpires::After(Duration::from_secs(300)),
        }
    }
}

/// As written by the webhook's owner. Also how the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookSettings {
    pub description: String,
    pub payload: PayloadLevel,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    pub max_in_flight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
    pub signatures: Vec<SignatureKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_expires: Option<SignatureExpires>,
    pub retention: RetentionKind,
    pub alert_after: u32,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            description: String::new(),
            payload: PayloadLevel::Full,
            timeout_ms: None,
            retry: None,
            max_in_flight: 8,
            rate_per_second: None,
            signatures: vec![SignatureKind::HttpMessageSignatures],
            signature_expires: None,
            retention: RetentionKind::Standard,
            alert_after: 5,
        }
    }
}

impl WebhookSettings {
    pub fn timeout(&self, defaults: &ServerDefaults) -> Duration {
        Duration::from_millis(self.timeout_ms.unwrap_or(defaults.timeout_ms))
    }

    pub fn retry<'a>(&'a self, defaults: &'a ServerDefaults) -> &'a RetryPolicy {
        self.retry.as_ref().unwrap_or(&defaults.retry)
    }

    pub fn signature_expires(&self, defaults: &ServerDefaults) -> SignatureExpires {
        self.signature_expires.unwrap_or(defaults.signature_expires)
    }

    pub fn signs(&self, kind: SignatureKind) -> bool {
        self.signatures.contains(&kind)
    }
}

/// One thing wrong with one member of a body, in the shape the MATTR face reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub param: String,
    pub msg: String,
    pub value: Option<Value>,
}

impl FieldError {
    pub fn new(param: impl Into<String>, msg: impl ToString, value: Option<&Value>) -> Self {
        Self { param: param.into(), msg: msg.to_string(), value: value.cloned() }
    }
}

/// A header value as a caller wrote it: `null` keeps the stored one, which is how a read object is put back.
type HeaderList = Vec<(String, Secret<String>)>;

/// Reads a `PUT .../settings` body. `stored` are the headers the webhook has now.
pub fn parse(body: &Value, stored: &HeaderList) -> Result<(WebhookSettings, HeaderList), Vec<FieldError>> {
    let Value::Object(members) = body else {
        return Err(vec![FieldError::new("", "must be an object", None)]);
    };
    let mut settings = WebhookSettings::default();
    let mut headers = Vec::new();
    let mut errors = Vec::new();
    for (name, value) in members {
        let result: Result<(), String> = match name.as_str() {
            "description" => text(value, bound::DESCRIPTION_BYTES).map(|t| settings.description = t),
            "payload" => payload_level(value).map(|level| settings.payload = level),
            "timeoutMs" => optional(value, |v| whole(v, bound::TIMEOUT_MS_MIN, bound::TIMEOUT_MS_MAX))
                .map(|ms| settings.timeout_ms = ms),
            "retry" => optional(value, retry).map(|policy| settings.retry = policy),
            "maxInFlight" => {
                whole(value, 1, bound::MAX_IN_FLIGHT_MAX.into()).map(|n| settings.max_in_flight = n as u32)
            }
            "ratePerSecond" => optional(value, |v| whole(v, 1, bound::RATE_PER_SECOND_MAX.into()))
                .map(|rate| settings.rate_per_second = rate.map(|r| r as u32)),
            "ordering" if value == "none" => Ok(()),
            "encryption" if value.is_null() => Ok(()),
            "ordering" | "encryption" => Err("Not supported yet".into()),
            "headers" => header_list(value, stored).map(|list| headers = list),
            "signatures" => signatures(value).map(|list| settings.signatures = list),
            "signatureExpires" => optional(value, |v| {
                SignatureExpires::parse(v.as_str().ok_or("must be a string")?).map_err(Into::into)
            })
            .map(|expires| settings.signature_expires = expires),
            "retention" => one_of(value, "must be standard or none").map(|kind| settings.retention = kind),
            "alertAfter" => {
                whole(value, 1, bound::ALERT_AFTER_MAX.into()).map(|n| settings.alert_after = n as u32)
            }
            _ => Err("Unknown field".into()),
        };
        if let Err(msg) = result {
            // Header values are secrets: they are not repeated in an answer.
            errors.push(FieldError::new(name.clone(), msg, (name != "headers").then_some(value)));
        }
    }
    if errors.is_empty() { Ok((settings, headers)) } else { Err(errors) }
}

fn text(value: &Value, most: usize) -> Result<String, String> {
    match value.as_str() {
        Some(text) if text.len() <= most => Ok(text.into()),
        Some(_) => Err(format!("must be at most {most} bytes")),
        None => Err("must be a string".into()),
    }
}

fn whole(value: &Value, least: u64, most: u64) -> Result<u64, String> {
    value
        .as_u64()
        .filter(|n| (least..=most).contains(n))
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

fn optional<T>(value: &Value, read: impl FnOnce(&Value) -> Result<T, String>) -> Result<Option<T>, String> {
    if value.is_null() { Ok(None) } else { read(value).map(Some) }
}

/// A value of a closed kind; `wanted` says which there are.
fn one_of<T: serde::de::DeserializeOwned>(value: &Value, wanted: &str) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|_| wanted.to_owned())
}

fn strings(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

fn payload_level(value: &Value) -> Result<PayloadLevel, String> {
    const WANTED: &str = r#"must be "full", "summary", "thin" or {"claims": [JSON pointers]}"#;
    let claims = match value {
        Value::Object(members) if members.len() == 1 => members.get("claims"),
        _ => return one_of(value, WANTED),
    };
    let pointers = claims.and_then(strings).ok_or(WANTED)?;
    if !(1..=MAX_POINTERS).contains(&pointers.len()) {
        return Err(InvalidPointer::Count.to_string());
    }
    let parsed = pointers.into_iter().map(JsonPointer::parse).collect::<Result<_, _>>();
    parsed.map(PayloadLevel::Claims).map_err(|error| error.to_string())
}

fn retry(value: &Value) -> Result<RetryPolicy, String> {
    let Value::Object(members) = value else { return Err("must be an object {intervals}".into()) };
    if let Some(unknown) = members.keys().find(|name| *name != "intervals") {
        return Err(format!("Unknown field `{unknown}`"));
    }
    let wanted = "intervals must be an array of spans such as 10s";
    let texts = strings(members.get("intervals").ok_or("must hold intervals")?).ok_or(wanted)?;
    let waits = texts.into_iter().map(|text| text.parse::<Span>().map(|span| span.0));
    let waits = waits.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    RetryPolicy::new(waits).map_err(|e| e.to_string())
}

fn signatures(value: &Value) -> Result<Vec<SignatureKind>, String> {
    let wanted =
        "must be an array of http-message-signatures, standard-webhooks and standard-webhooks-ed25519";
    let kinds: Vec<SignatureKind> = one_of(value, wanted)?;
    if kinds.is_empty() {
        return Err("must name at least one signature".into());
    }
    if kinds.iter().enumerate().any(|(i, kind)| kinds.iter().take(i).any(|k| k == kind)) {
        return Err("must not repeat a signature".into());
    }
    // Decisions 6: every request carries exactly one message signature; the others are added to it.
    if !kinds.contains(&SignatureKind::HttpMessageSignatures) {
        return Err("must include http-message-signatures".into());
    }
    Ok(kinds)
}

fn header_list(value: &Value, stored: &HeaderList) -> Result<HeaderList, String> {
    let Value::Object(members) = value else {
        return Err("must be an object of header names and values".into());
    };
    if members.len() > bound::HEADERS_MAX {
        return Err(format!("must hold at most {} headers", bound::HEADERS_MAX));
    }
    let mut list: HeaderList = Vec::with_capacity(members.len());
    let mut bytes = 0;
    for (name, value) in members {
        let name = name.to_ascii_lowercase();
        header_name(&name)?;
        if list.iter().any(|(earlier, _)| *earlier == name) {
            return Err(format!("header `{name}` is given twice"));
        }
        let value = match value {
            Value::Null => stored.iter().find(|(known, _)| *known == name).map(|(_, secret)| secret.clone()),
            Value::String(text) => Some(Secret::new(text.clone())),
            _ => None,
        };
        let value = value.ok_or_else(|| format!("header `{name}` must have a string value"))?;
        let legal = |b: u8| b == b'\t' || (0x20..0x7F).contains(&b);
        let trimmed = value.reveal().trim_matches([' ', '\t']).len() == value.reveal().len();
        if !value.reveal().bytes().all(legal) || !trimmed {
            return Err(format!("header `{name}` must be printable ASCII without outer white space"));
        }
        bytes += name.len() + value.reveal().len();
        list.push((name, value));
    }
    if bytes > bound::HEADERS_BYTES_MAX {
        return Err(format!("must hold at most {} bytes in all", bound::HEADERS_BYTES_MAX));
    }
    Ok(list)
}

/// Names an owner may set: not hop-by-hop, not about the body, not ours.
fn header_name(name: &str) -> Result<(), String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
        return Err(format!("`{}` is not a header name", name.chars().take(128).collect::<String>()));
    }
    const EXACT: [&str; 12] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "expect",
        "user-agent",
        "accept-encoding",
        "http2-settings",
    ];
    const PREFIXES: [&str; 6] = ["content-", "signature", "webhook-", "x-mattr-", "x-sealpost-", "proxy-"];
    if EXACT.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(format!("header `{name}` is set by Sealpost"));
    }
    Ok(())
}

/// What `GET .../settings` answers: every setting with the value in force; header values stay unsaid.
pub fn view(settings: &WebhookSettings, header_names: &[&str], defaults: &ServerDefaults) -> Value {
    let headers: serde_json::Map<String, Value> =
        header_names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    serde_json::json!({
        "description": settings.description,
        "payload": settings.payload,
        "timeoutMs": settings.timeout(defaults).as_millis() as u64,
        "retry": { "intervals": settings.retry(defaults) },
        "maxInFlight": settings.max_in_flight,
        "ratePerSecond": settings.rate_per_second,
        "ordering": "none",
        "headers": headers,
        "signatures": settings.signatures,
        "signatureExpires": settings.signature_expires(defaults),
        "encryption": null,
        "retention": settings.retention,
        "alertAfter": settings.alert_after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(body: Value) -> String {
        let stored = vec![("x-key".to_owned(), Secret::new("kept".to_owned()))];
        match parse(&body, &stored) {
            Ok((settings, headers)) => {
                let headers: Vec<String> =
                    headers.iter().map(|(n, v)| format!("{n}={}", v.reveal())).collect();
                format!("{} {}", serde_json::to_string(&settings).unwrap(), headers.join(","))
            }
            Err(errors) => {
                errors.iter().map(|e| format!("{}: {}", e.param, e.msg)).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn nothing_written_is_the_seeds_behaviour() {
        expect_test::expect![[r#"{"description":"","payload":"full","maxInFlight":8,"signatures":["http-message-signatures"],"retention":"standard","alertAfter":5} "#]]
            .assert_eq(&said(json!({})));
    }

    #[test]
    fn what_was_read_can_be_put_back() {
        let defaults = ServerDefaults::default();
        let stored = vec![("x-key".to_owned(), Secret::new("kept".to_owned()))];
        let shown = view(&WebhookSettings::default(), &["x-key"], &defaults);
        let (settings, headers) = parse(&shown, &stored).unwrap();
        assert_eq!(headers, stored);
        assert_eq!(view(&settings, &["x-key"], &defaults), shown);
    }

    #[test]
    fn each_refusal_names_its_setting() {
        for (body, want) in [
            (json!([]), ": must be an object"),
            (json!({"x": 1}), "x: Unknown field"),
            (json!({"ordering": "key"}), "ordering: Not supported yet"),
            (json!({"encryption": {"jwk": {}}}), "encryption: Not supported yet"),
            (json!({"timeoutMs": 99}), "timeoutMs: must be a whole number from 100 to 30000"),
            (json!({"timeoutMs": 3.5}), "timeoutMs: must be a whole number from 100 to 30000"),
            (json!({"maxInFlight": 0}), "maxInFlight: must be a whole number from 1 to 256"),
            (json!({"retry": {"intervals": ["10s"], "x": 1}}), "retry: Unknown field `x`"),
            (json!({"retry": {"intervals": ["0s"]}}), "retry: a wait must be at least 1s and at most 30d"),
            (
                json!({"retry": {"intervals": ["soon"]}}),
                "retry: must be a span such as 10s, 500ms, 5m, 24h or 7d",
            ),
            (json!({"retry": {"intervals": [10]}}), "retry: intervals must be an array of spans such as 10s"),
            (
                json!({"payload": "some"}),
                r#"payload: must be "full", "summary", "thin" or {"claims": [JSON pointers]}"#,
            ),
            (
                json!({"payload": {"claims": ["/a"], "x": 1}}),
                r#"payload: must be "full", "summary", "thin" or {"claims": [JSON pointers]}"#,
            ),
            (
                json!({"payload": {"claims": [1]}}),
                r#"payload: must be "full", "summary", "thin" or {"claims": [JSON pointers]}"#,
            ),
            (json!({"payload": {"claims": []}}), "payload: `claims` must list 1 to 64 JSON Pointers"),
            (json!({"payload": {"claims": ["a"]}}), "payload: a JSON Pointer to a claim must begin with `/`"),
            (json!({"retention": "forever"}), "retention: must be standard or none"),
            (
                json!({"signatures": ["hmac"]}),
                "signatures: must be an array of http-message-signatures, standard-webhooks and standard-webhooks-ed25519",
            ),
            (json!({"signatures": []}), "signatures: must name at least one signature"),
            (
                json!({"signatures": ["standard-webhooks"]}),
                "signatures: must include http-message-signatures",
            ),
            (json!({"signatureExpires": "1s"}), "signatureExpires: must be at least 10s and at most 7d"),
            (json!({"headers": {"Host": "x"}}), "headers: header `host` is set by Sealpost"),
            (
                json!({"headers": {"Content-Language": "x"}}),
                "headers: header `content-language` is set by Sealpost",
            ),
            (json!({"headers": {"X-Sealpost-A": "x"}}), "headers: header `x-sealpost-a` is set by Sealpost"),
            (
                json!({"headers": {"a": "x\r\ny: z"}}),
                "headers: header `a` must be printable ASCII without outer white space",
            ),
            (json!({"headers": {"a b": "x"}}), "headers: `a b` is not a header name"),
            (json!({"headers": {"A": "x", "a": "y"}}), "headers: header `a` is given twice"),
            (json!({"headers": {"new": null}}), "headers: header `new` must have a string value"),
            (json!({"headers": {"a": "x".repeat(8192)}}), "headers: must hold at most 8192 bytes in all"),
            (
                json!({"alertAfter": 0, "description": 7}),
                "alertAfter: must be a whole number from 1 to 1000; description: must be a string",
            ),
        ] {
            assert_eq!(said(body.clone()), want, "{body}");
        }
    }

    #[test]
    fn header_values_are_kept_by_null() {
        assert!(said(json!({"headers": {"X-Key": null, "x-new": "v"}})).ends_with(" x-key=kept,x-new=v"));
    }
}
