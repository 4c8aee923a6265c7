//! `GET/POST /v1/tenants/{id}/clients`, `DELETE /v1/tenants/{id}/clients/{clientId}`.

use axum::response::Response;
use sealpost_core::id::{ClientId, WebhookId, WebhookName};
use sealpost_core::limits::CLIENT_NAME_BYTES;
use sealpost_core::role::{Permission, Roles};
use sealpost_core::time::Timestamp;
use sealpost_store::registry::Client;
use serde::Serialize;
use serde_json::Value;

use super::tenants::{name, named};
use crate::api::answer;
use crate::api::call::Call;
use crate::api::fields::{Fields, parsed};
use crate::api::problem::Problem;
use crate::app::clients::{ClientRefused, NewClient};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    client_id: ClientId,
    name: String,
    roles: Roles,
    permissions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_id: Option<WebhookId>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// A client in the answer to its creation: the only time its secret is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    client_secret: String,
    #[serde(flatten)]
    shown: Shown,
}

#[derive(Serialize)]
struct List {
    data: Vec<Shown>,
}

impl Shown {
    fn of(client: Client) -> Self {
        Self {
            client_id: client.id,
            name: client.name,
            permissions: client.roles.permissions().map(Permission::as_str).collect(),
            roles: client.roles,
            webhook_id: client.webhook,
            created_at: client.created_at,
            expires_at: client.expires_at,
        }
    }
}

impl Made {
    pub(super) fn of(new: NewClient) -> Self {
        Self { client_secret: new.key.into_revealed(), shown: Shown::of(new.client) }
    }
}

pub(in crate::api) async fn list(call: Call) -> Result<Response, Problem> {
    let tenant = named(&call).await?;
    let clients = call.app().store.clients(tenant.no).await?;
    answer::ok(&List { data: clients.into_iter().map(Shown::of).collect() })
}

pub(in crate::api) async fn create(mut call: Call) -> Result<Response, Problem> {
    let tenant = named(&call).await?;
    let body = call.json().await?;
    let app = call.app();
    let input = Input::read(body, app.clock.wall())?;
    let Input { name, roles, webhook, expires_at } = input;
    let webhook = app.subscribed(tenant.no, webhook).await.map_err(problem)?;
    let made = app.create_client(tenant.no, &name, roles, webhook, expires_at, call.operator()?).await;
    let made = made.map_err(problem)?;
    let location = format!("/v1/tenants/{}/clients/{}", tenant.id, made.client.id);
    answer::created(&location, &Made::of(made))
}

pub(in crate::api) async fn delete(call: Call) -> Result<Response, Problem> {
    let tenant = named(&call).await?;
    let id: ClientId = call.id_named("clientId")?;
    if !call.app().delete_client(tenant.no, id, call.operator()?).await? {
        return Err(Problem::no_such("clientId", call.param("clientId")));
    }
    Ok(answer::no_content())
}

pub(super) fn problem(refused: ClientRefused) -> Problem {
    match refused {
        ClientRefused::Store(error) => error.into(),
        ClientRefused::NoTenant => Problem::not_found(),
        other => Problem::Refused(other.to_string()),
    }
}

struct Input {
    name: String,
    roles: Roles,
    webhook: Option<WebhookName>,
    expires_at: Option<Timestamp>,
}

impl Input {
    fn read(body: Value, now: Timestamp) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let name = fields.required("name", |value| name(value, CLIENT_NAME_BYTES));
        let roles = fields.required("roles", |value| {
            let names = value.as_array().ok_or("must be an array")?;
            let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
            Roles::parse(names.ok_or("must hold strings")?).map_err(|error| error.to_string())
        });
        let webhook = fields.optional("webhookId", parsed::<WebhookName>);
        let expires_at = fields.optional("expiresAt", |value| match parsed::<Timestamp>(value)? {
            at if at <= now => Err("has passed".to_owned()),
            at => Ok(at),
        });
        fields.finish()?;
        Ok(Self {
            // Whatever was missing was reported by `finish`.
            name: name.ok_or(Problem::Internal)?,
            roles: roles.ok_or(Problem::Internal)?,
            webhook,
            expires_at,
        })
    }
}
