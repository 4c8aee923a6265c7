//! Tenants and their clients.

use sealpost_core::limits as bound;
use sealpost_core::role::{Permission, Role};
use serde_json::{Value, json};

use super::{Schema, list, object, reference};

pub(super) fn schemas() -> Vec<Schema> {
    let secret = json!({"type": "string", "description": "Shown only now; a bearer key, and the secret for `/oauth/token`"});
    let mut new_client = client();
    new_client["clientSecret"] = secret;
    let mut new_tenant = tenant();
    new_tenant["client"] = reference("NewClient");
    new_tenant["permissions"] = permissions();
    vec![
        ("Retention", retention()),
        ("Role", json!({"enum": Role::ALL.map(Role::as_str)})),
        ("Tenant", object(tenant(), &TENANT)),
        ("NewTenant", object(new_tenant, &[&TENANT[..], &["client", "permissions"]].concat())),
        ("TenantLimits", limits()),
        ("TenantList", list("Tenant")),
        ("TenantInput", object(input(), &["name", "subdomain"])),
        ("Client", object(client(), &CLIENT)),
        ("NewClient", object(new_client, &[&CLIENT[..], &["clientSecret"]].concat())),
        ("ClientList", object(json!({"data": {"type": "array", "items": reference("Client")}}), &["data"])),
        ("ClientInput", object(client_input(), &["name", "roles"])),
    ]
}

const TENANT: [&str; 7] = ["id", "name", "subdomain", "createdAt", "retention", "limits", "analytics"];
const CLIENT: [&str; 5] = ["clientId", "name", "roles", "permissions", "createdAt"];

fn tenant() -> Value {
    json!({
        "id": reference("Uuid"),
        "name": {"type": "string"},
        "subdomain": {"type": "string", "description": "With the base domain, if there is one"},
        "createdAt": reference("Time"),
        "retention": reference("Retention"),
        "limits": reference("TenantLimits"),
        "analytics": reference("AnalyticsInput"),
    })
}

/// Each is optional; 0 is not a limit but a mistake.
fn limits() -> Value {
    let limit = |about: &str| {
        let about = format!("{about}; absent: the installation's");
        json!({"type": "integer", "minimum": 1, "maximum": u32::MAX, "description": about})
    };
    object(
        json!({
            "requestsPerSecond": limit("API calls; a second's worth at once"),
            "eventsPerSecond": limit("Published events; a batch is taken whole and paid for afterwards"),
            "webhooks": limit("Webhooks"),
            "payloadBytes": limit("Bytes of one event's payload"),
        }),
        &[],
    )
}

fn input() -> Value {
    json!({
        "name": {"type": "string", "minLength": 1, "maxLength": bound::TENANT_NAME_BYTES},
        "subdomain": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"},
        "retention": reference("Retention"),
    })
}

fn retention() -> Value {
    let members = ["payloadAfterDelivered", "payloadAfterFailed", "metadata"];
    let span = || reference("Span");
    object(
        json!({"payloadAfterDelivered": span(), "payloadAfterFailed": span(), "metadata": span()}),
        &members,
    )
}

fn roles() -> Value {
    json!({"type": "array", "minItems": 1, "uniqueItems": true, "items": reference("Role")})
}

fn permissions() -> Value {
    json!({"type": "array", "items": {"enum": Permission::OF_ROLES.map(Permission::as_str)}})
}

fn client() -> Value {
    json!({
        "clientId": reference("Uuid"),
        "name": {"type": "string"},
        "roles": roles(),
        "permissions": permissions(),
        "webhookId": reference("Uuid"),
        "createdAt": reference("Time"),
        "expiresAt": reference("Time"),
    })
}

fn client_input() -> Value {
    json!({
        "name": {"type": "string", "minLength": 1, "maxLength": bound::CLIENT_NAME_BYTES},
        "roles": roles(),
        "webhookId": {"anyOf": [reference("Uuid"), super::truvera::id()], "description": "The one webhook a `subscriber` is bound to"},
        "expiresAt": reference("Time"),
    })
}
