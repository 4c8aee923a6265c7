//! `POST/GET /v1/tenants`, `GET/DELETE /v1/tenants/{id}`, and what is set for one: its limits, its logging level.

use std::num::NonZeroU32;

use axum::response::Response;
use sealpost_core::analytics::LogLevel;
use sealpost_core::id::TenantId;
use sealpost_core::limits::TENANT_NAME_BYTES;
use sealpost_core::quota::OwnQuota;
use sealpost_core::role::{Permission, Role, Roles};
use sealpost_core::tenant::{Retention, Subdomain, Tenant};
use sealpost_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::clients::Made;
use crate::api::call::Call;
use crate::api::fields::{Fields, parsed, text};
use crate::api::problem::{Location, Problem};
use crate::api::{answer, cursor};
use crate::app::App;
use crate::app::admin::RetentionView;
use crate::app::tenants::TenantRefused;

/// Of the client that comes with a tenant.
const FIRST_CLIENT: &str = "admin";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: TenantId,
    name: String,
    /// With the base domain, if there is one: the host its calls go to.
    subdomain: String,
    created_at: Timestamp,
    retention: RetentionView,
    /// Its own; what is absent follows the installation's.
    limits: OwnQuota,
    analytics: AnalyticsShown,
    /// Only in the answer to its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Made>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<&'static str>,
}

#[derive(Serialize)]
struct AnalyticsShown {
    level: LogLevel,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    data: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl Shown {
    fn of(app: &App, tenant: Tenant) -> Self {
        let subdomain = match &app.config.base_domain {
            Some(base) => format!("{}.{base}", tenant.subdomain),
            None => tenant.subdomain.into(),
        };
        Self {
            id: tenant.id,
            name: tenant.name,
            subdomain,
            created_at: tenant.created_at,
            retention: tenant.retention.into(),
            limits: tenant.quota,
            analytics: AnalyticsShown { level: tenant.log_level },
            client: None,
            permissions: Vec::new(),
        }
    }
}

pub(in crate::api) async fn create(mut call: Call) -> Result<Response, Problem> {
    let input = Input::read(call.json().await?)?;
    let (app, who) = (call.app(), call.operator()?);
    let refused = |refused| match refused {
        TenantRefused::Store(error) => Problem::from(error),
        TenantRefused::Taken(subdomain) => {
            let msg = "is taken";
            Problem::invalid(Location::Body, "subdomain", msg, Some(subdomain.as_str().into()))
        }
        other => Problem::Refused(other.to_string()),
    };
    let tenant = app.create_tenant(&input.name, input.subdomain, input.retention, who).await;
    let tenant = tenant.map_err(refused)?;
    let first = app.create_client(tenant.no, FIRST_CLIENT, Role::Admin, None, None, who).await;
    let first = first.map_err(super::clients::problem)?;
    let location = format!("/v1/tenants/{}", tenant.id);
    let shown = Shown {
        client: Some(Made::of(first)),
        permissions: Roles::from(Role::Admin).permissions().map(Permission::as_str).collect(),
        ..Shown::of(app, tenant)
    };
    answer::created(&location, &shown)
}

/// Newest first.
pub(in crate::api) async fn list(call: Call) -> Result<Response, Problem> {
    let page = call.query.page::<TenantId>()?;
    let mut tenants = call.app().tenants().await?;
    tenants.sort_by_key(|tenant| std::cmp::Reverse((tenant.created_at, tenant.id)));
    let after = page.after.map(|after| (after.at, after.id));
    tenants.retain(|tenant| after.is_none_or(|after| (tenant.created_at, tenant.id) < after));
    let more = tenants.len() > page.limit as usize;
    tenants.truncate(page.limit as usize);
    let next_cursor =
        tenants.last().filter(|_| more).map(|tenant| cursor::encode(tenant.created_at, tenant.id));
    let data = tenants.into_iter().map(|tenant| Shown::of(call.app(), tenant)).collect();
    answer::ok(&List { data, next_cursor })
}

pub(in crate::api) async fn get(call: Call) -> Result<Response, Problem> {
    answer::ok(&Shown::of(call.app(), named(&call).await?))
}

/// `PUT /v1/tenants/{id}/limits`: replaces them; what is absent follows the installation's.
pub(in crate::api) async fn put_limits(mut call: Call) -> Result<Response, Problem> {
    let tenant = named(&call).await?;
    let mut fields = Fields::of(call.json().await?)?;
    let limit = |value: &Value| {
        let whole = value.as_u64().and_then(|number| u32::try_from(number).ok()).and_then(NonZeroU32::new);
        whole.ok_or_else(|| format!("must be a whole number from 1 to {}", u32::MAX))
    };
    let quota = OwnQuota {
        requests_per_second: fields.optional("requestsPerSecond", limit),
        events_per_second: fields.optional("eventsPerSecond", limit),
        webhooks: fields.optional("webhooks", limit),
        payload_bytes: fields.optional("payloadBytes", limit),
    };
    fields.finish()?;
    let changed = call.app().change_quota(tenant.no, |_| quota, call.operator()?).await?;
    answer::ok(&changed.ok_or_else(|| call.no_such())?.quota)
}

/// `PUT /v1/tenants/{id}/analytics`
pub(in crate::api) async fn put_analytics(mut call: Call) -> Result<Response, Problem> {
    let tenant = named(&call).await?;
    let mut fields = Fields::of(call.json().await?)?;
    let level = fields.required("level", |value| {
        let number = value.as_u64().and_then(|number| u8::try_from(number).ok()).unwrap_or_default();
        LogLevel::try_from(number).map_err(|error| error.to_string())
    });
    fields.finish()?;
    // Whatever was missing was reported by `finish`.
    let level = level.ok_or(Problem::Internal)?;
    let changed = call.app().change_log_level(tenant.no, level, call.operator()?).await?;
    answer::ok(&AnalyticsShown { level: changed.ok_or_else(|| call.no_such())?.log_level })
}

pub(in crate::api) async fn delete(call: Call) -> Result<Response, Problem> {
    let tenant = named(&call).await?;
    call.app().delete_tenant(&tenant, call.operator()?).await.map_err(|refused| match refused {
        TenantRefused::Store(error) => error.into(),
        TenantRefused::NotFound => call.no_such(),
        other => Problem::Refused(other.to_string()),
    })?;
    Ok(answer::no_content())
}

/// The tenant in the path.
pub(super) async fn named(call: &Call) -> Result<Tenant, Problem> {
    call.app().tenant_by_id(call.id()?).await?.ok_or_else(|| call.no_such())
}

struct Input {
    name: String,
    subdomain: Subdomain,
    retention: Retention,
}

impl Input {
    fn read(body: Value) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let name = fields.required("name", |value| name(value, TENANT_NAME_BYTES));
        let subdomain = fields.required("subdomain", parsed::<Subdomain>);
        let retention = fields.optional("retention", |value| {
            serde_json::from_value::<RetentionView>(value.clone()).map_err(|error| error.to_string())
        });
        // MATTR's clients name a deployment; there is one here, and it has no id.
        fields.optional("environmentId", |_| Err::<(), _>("Not supported yet".to_owned()));
        fields.finish()?;
        Ok(Self {
            // Whatever was missing was reported by `finish`.
            name: name.ok_or(Problem::Internal)?,
            subdomain: subdomain.ok_or(Problem::Internal)?,
            retention: retention.map(Retention::from).unwrap_or_default(),
        })
    }
}

pub(super) fn name(value: &Value, bytes: usize) -> Result<String, String> {
    match text(value)? {
        name if (1..=bytes).contains(&name.len()) => Ok(name.to_owned()),
        _ => Err(format!("must be 1 to {bytes} bytes")),
    }
}
