//! The OpenAPI 3.1 document: paths from the route table, schemas by hand, one file for each noun, and what receivers
//! get in the `webhooks` section. Tests hold every answer against the schema it is listed with.

mod analytics;
mod deliveries;
mod domain;
mod event_types;
mod events;
mod oauth;
mod portal_links;
mod received;
mod settings;
mod tenants;
mod truvera;
mod webhooks;

use sealpost_core::limits as bound;
use sealpost_core::role::{Permission, Role};
use serde_json::{Map, Value, json};

use super::face::Face;
use super::route::{Gives, Method, Param, ParamKind, Route, Takes};
use super::routes::ROUTES;
use super::{ANALYTICS, DOMAIN, WEBHOOKS, bases};

pub(super) type Schema = (&'static str, Value);

/// The document that is served at `/openapi.json`, printed by `sealpost openapi` and kept as a snapshot.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let item = paths.entry(route.path).or_insert_with(|| path_item(route));
        if let Value::Object(item) = item {
            item.insert(route.method.key().into(), operation(route));
        }
    }
    let mut schemes = json!({
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, `spk_...`, or an access token; an operator's key, `spo_...`, for the calls of the operator"},
    });
    schemes.as_object_mut().into_iter().for_each(|all| all.extend(truvera::schemes()));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sealpost",
            "summary": "Signed, durable webhooks for verifiable-credential platforms",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "webhooks": received::webhooks(),
        "components": {
            "schemas": schemas(),
            "responses": refusals(),
            "securitySchemes": schemes,
        },
    })
}

fn path_item(route: &Route) -> Value {
    let mut item = Map::new();
    if bases(route.path).len() > 1 {
        let core = json!({"url": "/core", "description": "The same under the prefix of older MATTR clients"});
        item.insert("servers".into(), json!([{"url": "/"}, core]));
    }
    let params: Vec<Value> = route.path_params().map(|name| path_param(route, name)).collect();
    if !params.is_empty() {
        item.insert("parameters".into(), params.into());
    }
    Value::Object(item)
}

fn path_param(route: &Route, name: &str) -> Value {
    // A webhook may be called by its number everywhere but on MATTR's own paths, which know only UUIDs.
    let below = route.path.strip_prefix(WEBHOOKS).unwrap_or_default();
    let schema = match name {
        "name" => reference("EventTypeName"),
        _ if Face::of(route.path) == Face::Truvera => truvera::id(),
        _ if below.starts_with("/{id}/") => {
            json!({"anyOf": [reference("Uuid"), {"type": "string", "pattern": "^[0-9]+$"}]})
        }
        _ => reference("Uuid"),
    };
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn operation(route: &Route) -> Value {
    let mut operation = Map::new();
    operation.insert("operationId".into(), route.operation.into());
    operation.insert("summary".into(), route.summary.into());
    operation.insert("tags".into(), json!([tag(route)]));
    let roles: Vec<&str> = route.roles().map(Role::as_str).collect();
    operation.insert("x-required-roles".into(), json!(roles));
    match route.needs {
        Permission::Public => drop(operation.insert("security".into(), json!([]))),
        Permission::Operate => {
            let says = "Needs an operator's key (`sealpost bootstrap operator`).";
            operation.insert("description".into(), says.into());
        }
        _ if Face::of(route.path) == Face::Truvera => {
            operation.insert("security".into(), truvera::security());
        }
        _ => {}
    }
    let mut parameters: Vec<Value> = route.query.iter().map(query_param).collect();
    if let Takes::Events = route.takes {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header",
            "description": "Names the whole request: repeated with the same content it is answered with the first result",
            "schema": {"type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": bound::IDEMPOTENCY_KEY_BYTES},
        }));
    }
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    if let Some(body) = body(route.takes) {
        operation.insert("requestBody".into(), body);
    }
    operation.insert("responses".into(), responses(route));
    Value::Object(operation)
}

/// The noun a call is about.
fn tag(route: &Route) -> &'static str {
    if route.path.starts_with(DOMAIN) {
        return "custom domain";
    }
    if ANALYTICS.iter().any(|below| route.path.starts_with(below)) {
        return "analytics";
    }
    let Some(below) = route.path.strip_prefix(WEBHOOKS) else {
        return match route.path.split('/').nth(1) {
            Some("v1") => "tenants",
            Some("oauth" | ".well-known") => "oauth",
            Some("webhooks") => "truvera webhooks",
            _ => "operations",
        };
    };
    match below.split('/').nth(1) {
        Some("events" | "erasures") => "events",
        Some("deliveries") => "deliveries",
        Some("event-types") => "event types",
        Some("audit") => "audit",
        _ => "webhooks",
    }
}

fn query_param(param: &Param) -> Value {
    let schema = match param.kind {
        ParamKind::Limit => {
            json!({"type": "integer", "minimum": 1, "maximum": bound::PAGE_MAX, "default": bound::PAGE_DEFAULT})
        }
        ParamKind::ShortLimit => {
            json!({"type": "integer", "minimum": 1, "maximum": bound::TRUVERA_PAGE_MAX, "default": bound::TRUVERA_PAGE_MAX})
        }
        ParamKind::Offset => {
            json!({"type": "integer", "minimum": 0, "maximum": bound::TRUVERA_OFFSET_MAX, "default": 0})
        }
        ParamKind::Text => json!({"type": "string"}),
        ParamKind::Time => reference("Time"),
        ParamKind::Uuid => reference("Uuid"),
        ParamKind::List => {
            let about = format!("{}; separated by commas or repeated", param.about);
            let schema =
                json!({"type": "array", "items": {"type": "string"}, "maxItems": bound::FILTER_VALUES_MAX});
            return json!({"name": param.name, "in": "query", "description": about, "explode": false, "schema": schema});
        }
        ParamKind::OneOf(values) => json!({"enum": values}),
    };
    json!({"name": param.name, "in": "query", "description": param.about, "schema": schema})
}

fn body(takes: Takes) -> Option<Value> {
    let (required, content) = match takes {
        Takes::Nothing => return None,
        Takes::Json(name) => (true, as_json(name)),
        Takes::Optional(name) => (false, as_json(name)),
        Takes::Events => (true, events::bodies()),
        Takes::Token => (true, oauth::bodies()),
    };
    Some(json!({"required": required, "content": content}))
}

fn as_json(schema: &str) -> Value {
    json!({"application/json": {"schema": reference(schema)}})
}

fn responses(route: &Route) -> Value {
    let of = match Face::of(route.path) {
        Face::Mattr => "",
        Face::Truvera => "Truvera",
    };
    let mut responses = Map::new();
    for gives in route.gives {
        responses.insert(gives.status.to_string(), response(gives));
    }
    for status in refused(route) {
        if matches!(route.takes, Takes::Token) && matches!(status, 400 | 401) {
            responses.insert(status.to_string(), oauth::refusal(status));
            continue;
        }
        responses.insert(
            status.to_string(),
            json!({"$ref": format!("#/components/responses/{of}{}", refusal(status).0)}),
        );
    }
    Value::Object(responses)
}

fn response(gives: &Gives) -> Value {
    let content = match gives.schema {
        None => return json!({"description": gives.about}),
        Some("Metrics") => json!({"text/plain": {"schema": {"type": "string"}}}),
        Some(name) => as_json(name),
    };
    let mut response = json!({"description": gives.about, "content": content});
    if gives.status == 201 {
        response["headers"] =
            json!({"Location": {"required": true, "schema": {"type": "string", "format": "uri-reference"}}});
    }
    response
}

/// What may go wrong follows from the row; what does not is listed there.
fn refused(route: &Route) -> Vec<u16> {
    let mut statuses = vec![400];
    if route.needs != Permission::Public {
        // 404 also where nothing is named in the path: the host may name a tenant that does not exist.
        statuses.extend([401, 403, 404, 503]);
        if route.needs != Permission::Operate {
            statuses.push(429);
        }
    }
    if route.method != Method::Get {
        statuses.extend([408, 415]);
    }
    if !matches!(route.takes, Takes::Nothing) {
        statuses.push(413);
    }
    statuses.extend(route.fails);
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn refusal(status: u16) -> (&'static str, &'static str) {
    match status {
        401 => ("Unauthorized", "No credential, a wrong one, or one of another tenant than the host's"),
        402 => ("LimitReached", "The tenant has all it may have"),
        403 => ("Forbidden", "The credential's role may not make this call"),
        404 => ("NotFound", "There is no such thing, or not for this caller"),
        405 => ("MethodNotAllowed", "The path has no such method"),
        408 => ("RequestTimeout", "The body did not arrive in time"),
        409 => ("Conflict", "It contradicts what is stored"),
        413 => ("PayloadTooLarge", "More bytes than the limit"),
        415 => ("UnsupportedMediaType", "The body is of a type or encoding that this call does not read"),
        429 => ("TooManyRequests", "The tenant is ahead of its rate; repeat it after `Retry-After` seconds"),
        503 => {
            ("ServiceUnavailable", "Nothing is wrong with the request; repeat it after `Retry-After` seconds")
        }
        _ => ("BadRequest", "The request is wrong; `details` names the parts"),
    }
}

fn refusals() -> Value {
    let mut all = Map::new();
    for status in [400, 401, 403, 404, 408, 409, 413, 415, 429, 503] {
        let (name, about) = refusal(status);
        let mut response = match status {
            401 => {
                json!({"description": about, "content": {"text/plain": {"schema": {"const": "Unauthorized"}}}})
            }
            403 => json!({"description": about, "content": {"text/plain": {"schema": {"const": ""}}}}),
            _ => json!({"description": about, "content": as_json("Problem")}),
        };
        if matches!(status, 429 | 503) {
            response["headers"] =
                json!({"Retry-After": {"required": true, "schema": {"type": "integer", "minimum": 0}}});
        }
        all.insert(name.into(), response);
    }
    let of_truvera = truvera::refusals(&all);
    all.extend(of_truvera);
    Value::Object(all)
}

fn schemas() -> Value {
    let all = [
        common(),
        webhooks::schemas(),
        domain::schemas(),
        analytics::schemas(),
        events::schemas(),
        deliveries::schemas(),
        settings::schemas(),
        event_types::schemas(),
        portal_links::schemas(),
        tenants::schemas(),
        truvera::schemas(),
        oauth::schemas(),
    ];
    Value::Object(all.into_iter().flatten().map(|(name, schema)| (name.to_owned(), schema)).collect())
}

fn common() -> Vec<Schema> {
    let detail = json!({
        "type": "object",
        "properties": {
            "value": {"description": "What was given; absent where nothing was, and where it may be personal data"},
            "msg": {"type": "string"},
            "param": {"type": "string", "description": "Which part, such as `url` or `[3].timestamp`"},
            "location": {"enum": ["body", "params", "query", "headers"]},
        },
        "required": ["msg", "param", "location"],
        "additionalProperties": false,
    });
    let codes = [
        "BadRequest",
        "NotFound",
        "MethodNotAllowed",
        "RequestTimeout",
        "Conflict",
        "PayloadTooLarge",
        "UnsupportedMediaType",
        "TooManyRequests",
        "ServiceUnavailable",
    ];
    vec![
        ("Uuid", json!({"type": "string", "format": "uuid"})),
        ("Time", json!({"type": "string", "format": "date-time", "examples": ["2022-08-30T01:26:38.308Z"]})),
        ("Span", json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "examples": ["10s", "24h"]})),
        (
            "EventTypeName",
            json!({"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9._-]*$", "maxLength": bound::EVENT_TYPE_BYTES}),
        ),
        ("Count", object(json!({"count": {"type": "integer", "minimum": 0}}), &["count"])),
        (
            "Problem",
            object(
                json!({
                    "code": {"enum": codes},
                    "message": {"type": "string"},
                    "details": {"type": "array", "minItems": 1, "items": detail},
                }),
                &["code", "message"],
            ),
        ),
        ("AuditEntry", audit_entry()),
        ("AuditList", list("AuditEntry")),
        ("Health", object(json!({"status": {"enum": ["live", "ready"]}}), &["status"])),
        ("Anything", json!({"type": "object"})),
    ]
}

fn audit_entry() -> Value {
    let members = ["id", "timestamp", "who", "what", "object"];
    let text = |about: &str| json!({"type": "string", "description": about});
    object(
        json!({
            "id": text("Newer entries have larger numbers"),
            "timestamp": reference("Time"),
            "who": text("A client, an operator, or the command line"),
            "what": text("What was done, such as `rotate secret`"),
            "object": text("To what: an id or a name, never content"),
            "before": {"type": "object", "description": "What it was; of a change the members that differ. Secrets are left out"},
            "after": {"type": "object", "description": "What it is now"},
        }),
        &members,
    )
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// An object with exactly these members.
fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A page of objects.
fn list(of: &str) -> Value {
    object(
        json!({
            "data": {"type": "array", "items": reference(of), "maxItems": bound::PAGE_MAX},
            "nextCursor": {"type": "string", "description": "There only if another page exists"},
        }),
        &["data"],
    )
}
