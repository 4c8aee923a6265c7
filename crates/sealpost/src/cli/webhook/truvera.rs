//! Webhooks of Truvera's dialect on the command line: the same commands, by that face's calls.
//!
//! The face shows the token in every answer. Here it is printed where it is made, and taken out of everything else.

use http::Method;
use serde_json::{Value, json};

use super::super::client::{Api, Failure, segment, with_query};
use super::super::output;
use super::{Common, deleted, named, path, rows, show};

/// What the server gives at most in one answer.
const PAGE: u32 = 64;

/// What `update` names.
pub(super) struct Change {
    pub(super) url: Option<String>,
    pub(super) events: Option<Vec<String>>,
    pub(super) enabled: Option<bool>,
}

/// On this face ids are numbers; the other's are UUIDs.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

pub(super) async fn create(
    url: &str,
    events: &[String],
    disabled: bool,
    common: &Common,
) -> Result<(), Failure> {
    let body = json!({"url": url, "events": events, "status": u8::from(!disabled)});
    let webhook = Api::connect(&common.connect)?.send(Method::POST, "/webhooks", Some(&body)).await?;
    show(&webhook, &common.output)?;
    if common.output.json {
        return Ok(());
    }
    output::line(format!("token   {}", output::text(&webhook, "secret")))?;
    output::note(
        "keep the token: the receiver compares it with `token` in each body; it is not shown again here",
    );
    Ok(())
}

pub(super) async fn list(
    limit: u32,
    cursor: Option<&str>,
    all: bool,
    common: &Common,
) -> Result<(), Failure> {
    if cursor.is_some() {
        return Err(Failure::usage("webhooks of Truvera's dialect have no cursors: use --limit or --all"));
    }
    let api = Api::connect(&common.connect)?;
    let most = if all { usize::MAX } else { limit as usize };
    let mut webhooks: Vec<Value> = Vec::new();
    let more = loop {
        let (offset, page) = (webhooks.len().to_string(), PAGE.to_string());
        let query = [("offset", Some(offset.as_str())), ("limit", Some(page.as_str()))];
        let Value::Array(found) = api.get(&with_query("/webhooks", &query)).await? else {
            return Err(Failure::failed(format!("{} did not answer with a list", api.server())));
        };
        let last = found.len() < PAGE as usize;
        webhooks.extend(found.into_iter().map(without_token));
        if last || webhooks.len() > most {
            break webhooks.len() > most;
        }
    };
    webhooks.truncate(most);
    if common.output.json {
        return output::json(&Value::from(webhooks));
    }
    output::line(rows(&webhooks))?;
    if more {
        output::note("there is more: --all, or a larger --limit");
    }
    Ok(())
}

pub(super) async fn get(id: &str, common: &Common) -> Result<(), Failure> {
    let webhook = Api::connect(&common.connect)?.get(&of(id)).await.map_err(named(id))?;
    show(&without_token(webhook), &common.output)
}

pub(super) async fn update(id: &str, change: Change, common: &Common) -> Result<(), Failure> {
    let mut body = json!({});
    let members = [
        ("url", change.url.map(Value::from)),
        ("events", change.events.map(Value::from)),
        ("status", change.enabled.map(|enabled| u8::from(enabled).into())),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    let api = Api::connect(&common.connect)?;
    let webhook = api.send(Method::PATCH, &of(id), Some(&body)).await.map_err(named(id))?;
    show(&without_token(webhook), &common.output)
}

pub(super) async fn delete(id: &str, common: &Common) -> Result<(), Failure> {
    Api::connect(&common.connect)?.send(Method::DELETE, &of(id), None).await.map_err(named(id))?;
    deleted(id, &common.output)
}

/// Takes a UUID as well: it is a call of Sealpost's own.
pub(super) async fn rotate_token(id: &str, common: &Common) -> Result<(), Failure> {
    let api = Api::connect(&common.connect)?;
    let answer = api.send(Method::POST, &path(id, "/token/rotate"), None).await.map_err(named(id))?;
    if common.output.json {
        return output::json(&answer);
    }
    let token = answer.get("token").and_then(Value::as_str);
    output::line(token.ok_or_else(|| Failure::failed("the server answered without a token"))?)
}

fn of(id: &str) -> String {
    format!("/webhooks/{}", segment(id))
}

fn without_token(mut webhook: Value) -> Value {
    if let Some(members) = webhook.as_object_mut() {
        members.shift_remove("secret");
    }
    webhook
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_the_faces_apart_and_tokens_are_taken_out() {
        for (text, number) in [("17", true), ("", false), ("0190c0de-0000-7000-8000-000000000000", false)] {
            assert_eq!(is_id(text), number, "{text}");
        }
        let webhook = json!({"id": "17", "secret": "abc", "status": 1});
        assert_eq!(without_token(webhook).to_string(), r#"{"id":"17","status":1}"#);
    }
}
