//! What `listen` says about a delivery: who sent it, whether it verifies, and the shape of its payload.
//!
//! Payloads are personal data, so values are shown as kinds and lengths unless they were asked for. The token in a
//! Truvera body is shown to nobody but a program that asked for whole requests.

use http::StatusCode;
use serde_json::{Value, json};

use crate::cli::output::{self, Paint};
use crate::cli::verify::check::{Mark, Report};
use crate::cli::verify::recorded::Request;
use sealpost_core::time::Timestamp;

/// What is known of one delivery.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub(super) at: Timestamp,
    pub(super) request: &'a Request,
    pub(super) answered: StatusCode,
    /// `None`: no key was at hand.
    pub(super) report: Option<&'a Report>,
    pub(super) show_payload: bool,
}

/// The parts of a body in either dialect.
struct Parts {
    event_type: Option<String>,
    webhook: Option<String>,
    payload: Option<Value>,
}

impl Parts {
    fn of(request: &Request) -> Self {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        if let Some(event) = body.get("event").filter(|event| event.is_object()) {
            return Self {
                event_type: text(event.get("type")),
                webhook: text(body.get("webhookId")),
                payload: event.get("payload").cloned(),
            };
        }
        Self { event_type: text(body.get("event")), webhook: None, payload: body.get("data").cloned() }
    }
}

pub(super) fn line_for_people(delivery: &Delivery<'_>, paint: Paint) -> String {
    let request = delivery.request;
    let parts = Parts::of(request);
    let header = |name: &str| request.header(name).map(|value| output::safe(value).into_owned());
    let event_type = parts.event_type.as_deref().map_or("(no event)".into(), output::safe);
    let mut first = format!(
        "{}  {}  attempt {}  {}",
        output::clock(delivery.at),
        paint.strong(&event_type),
        header("x-sealpost-attempt").unwrap_or_else(|| "?".into()),
        verdict(delivery.report, paint),
    );
    let answered = delivery.answered.as_u16().to_string();
    let success = delivery.answered.is_success();
    first.push_str(&format!(
        "  answered {}",
        if success { paint.good(&answered) } else { paint.careful(&answered) }
    ));
    if header("x-sealpost-test").is_some() {
        first.push_str("  (test)");
    }
    let mut lines = vec![first];
    lines.push(paint.dim(&format!(
        "  event {}  delivery {}  {}",
        header("x-sealpost-event-id").unwrap_or_else(|| "?".into()),
        header("x-sealpost-delivery-id").unwrap_or_else(|| "?".into()),
        output::bytes(request.body.len()),
    )));
    if let Some(report) = delivery.report.filter(|report| !report.verified) {
        for step in report.steps.iter().filter(|step| step.mark == Mark::Fails) {
            lines.push(paint.bad(&format!("  {}: {}", step.name, output::safe(&step.detail))));
        }
    }
    if let Some(payload) = &parts.payload {
        if delivery.show_payload {
            lines.push(serde_json::to_string_pretty(payload).unwrap_or_default());
        } else {
            lines.push(paint.dim(&format!("  payload {}", shape(payload))));
        }
    }
    lines.join("\n")
}

fn verdict(report: Option<&Report>, paint: Paint) -> String {
    match report {
        None => paint.careful("not checked (no keys)"),
        Some(report) if report.verified => paint.good(&format!("verified by {}", report.by.join(" and "))),
        Some(_) => paint.bad("NOT VERIFIED"),
    }
}

pub(super) fn line_for_machines(delivery: &Delivery<'_>) -> Value {
    let request = delivery.request;
    let parts = Parts::of(request);
    let attempt = request.header("x-sealpost-attempt").and_then(|value| value.parse::<u32>().ok());
    let mut line = json!({
        "receivedAt": delivery.at,
        "type": parts.event_type,
        "eventId": request.header("x-sealpost-event-id"),
        "deliveryId": request.header("x-sealpost-delivery-id"),
        "webhookId": request.header("x-mattr-webhook-id").map(str::to_owned).or(parts.webhook),
        "attempt": attempt,
        "test": request.header("x-sealpost-test") == Some("true"),
        "bytes": request.body.len(),
        "answered": delivery.answered.as_u16(),
        "verified": delivery.report.map(|report| report.verified),
        "by": delivery.report.map(|report| report.by.clone()),
        "problem": delivery.report.filter(|report| !report.verified).map(Report::failures),
    });
    if delivery.show_payload {
        // Fit for `sealpost verify`.
        line["request"] = json!({
            "method": request.method,
            "url": format!("{}://{}{}", request.scheme, request.authority, request.target),
            "headers": request.headers,
            "body": String::from_utf8_lossy(&request.body),
        });
    }
    line
}

const DEEPEST: usize = 3;
const MEMBERS: usize = 24;

/// Names and kinds without values: `{format: text(6), credential: {type: [2], ...}}`.
pub(super) fn shape(value: &Value) -> String {
    let mut out = String::new();
    write_shape(&mut out, value, 1);
    out
}

fn write_shape(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(_) => out.push_str("yes/no"),
        Value::Number(_) => out.push_str("number"),
        Value::String(text) => out.push_str(&format!("text({})", text.chars().count())),
        Value::Array(items) => out.push_str(&format!("[{}]", items.len())),
        Value::Object(members) if depth > DEEPEST => out.push_str(&format!("{{{} members}}", members.len())),
        Value::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                if index == MEMBERS {
                    out.push_str(&format!("{} more", members.len() - MEMBERS));
                    break;
                }
                out.push_str(&output::safe(name));
                out.push_str(": ");
                write_shape(out, value, depth + 1);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use expect_test::expect;

    fn request(body: &'static str) -> Request {
        let headers =
            [("x-sealpost-attempt", "2"), ("x-sealpost-event-id", "e1"), ("x-sealpost-delivery-id", "d1")];
        Request {
            method: "POST".into(),
            target: "/".into(),
            authority: "localhost:1".into(),
            scheme: "http",
            headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn said(body: &'static str, show_payload: bool, report: Option<&Report>) -> String {
        let at = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        let request = request(body);
        let delivery = Delivery { at, request: &request, answered: StatusCode::OK, report, show_payload };
        line_for_people(&delivery, Paint::PLAIN)
    }

    const MATTR: &str = r#"{"deliveryId":"d1","webhookId":"w1","event":{"id":"e1","type":"OpenIdCredentialIssued","payload":{"format":"ldp_vc","credential":{"type":["A"],"credentialSubject":{"name":"Hana","address":{"city":"X"}}}}}}"#;

    #[test]
    fn values_are_masked() {
        let report = Report { verified: true, by: vec!["key k1".into()], ..Report::default() };
        expect![[r#"
            2026-11-21 12:00:00Z  OpenIdCredentialIssued  attempt 2  verified by key k1  answered 200
              event e1  delivery d1  205 B
              payload {format: text(6), credential: {type: [1], credentialSubject: {name: text(4), address: {1 members}}}}"#]]
        .assert_eq(&said(MATTR, false, Some(&report)));
    }

    #[test]
    fn a_truvera_token_is_not_shown_to_people() {
        let body = r#"{"token":"s3cret","event":"proof_submitted","data":{"id":"p1","verified":true}}"#;
        for show in [false, true] {
            assert!(!said(body, show, None).contains("s3cret"));
        }
        expect![[r#"
            2026-11-21 12:00:00Z  proof_submitted  attempt 2  not checked (no keys)  answered 200
              event e1  delivery d1  79 B
              payload {id: text(2), verified: yes/no}"#]]
        .assert_eq(&said(body, false, None));
    }
}
