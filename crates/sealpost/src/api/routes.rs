//! Every route of the service on one page: what is called how, by whom, with what, and what comes back.
//!
//! Everything below `/v1/webhooks`, `/v1/config/domain`, `/v1/events` and `/v1/analytics` is also served below `/core`.

use sealpost_core::analytics::Operation::{
    DomainCreate, DomainDelete, DomainRetrieve, DomainUpdate, DomainVerify, WebhookCreate, WebhookDelete,
    WebhookRetrieve, WebhookRetrieveList, WebhookUpdate,
};
use sealpost_core::role::Permission::{
    Erase, ManageDomain, ManageEventTypes, ManageWebhooks, Operate, Public, Publish, ReadAnalytics,
    ReadAudit, ReadDeliveries, ReadEventTypes, ReadSecrets, RepairDeliveries,
};
use sealpost_core::role::Role;

use super::management::{clients, tenants};
use super::mattr::{analytics, domain, jwks, webhooks};
use super::native::{
    audit, deliveries, erasures, event_types, events, portal_links, publish, secrets, settings, tokens,
};
use super::route::Method::{Delete, Get, Patch, Post, Put};
use super::route::Takes::{Events, Json, Optional, Token};
use super::route::{Gives, Param, ParamKind, Route};
use super::{oauth, operations, truvera};

const fn gives(status: u16, schema: &'static str, about: &'static str) -> Gives {
    Gives { status, schema: Some(schema), about }
}

const EMPTY: &[Gives] = &[Gives { status: 204, schema: None, about: "Done" }];

const fn param(name: &'static str, kind: ParamKind, about: &'static str) -> Param {
    Param { name, kind, about }
}

const LIMIT: Param = param("limit", ParamKind::Limit, "Objects on a page");
const CURSOR: Param = param("cursor", ParamKind::Text, "`nextCursor` of the page before");
const FROM: Param = param("from", ParamKind::Time, "Not before this time");
const TO: Param = param("to", ParamKind::Time, "Not after this time");
const TYPE: Param = param("type", ParamKind::Text, "Of this event type");
const WEBHOOK: Param = param("webhookId", ParamKind::Text, "To this webhook");
const EVENT: Param = param("eventId", ParamKind::Uuid, "Of this event");
const STATUS: Param =
    param("status", ParamKind::OneOf(&["pending", "delivered", "failed", "cancelled"]), "In this state");
const INCLUDE: Param =
    param("include", ParamKind::OneOf(&["payload"]), "Adds the payload (`admin`, `subscriber`)");
const DRY_RUN: Param = param("dryRun", ParamKind::OneOf(&["true", "false"]), "Only counts");
const PAGE: &[Param] = &[LIMIT, CURSOR];
const ANALYTICS: &[Param] = &[
    LIMIT,
    CURSOR,
    param("ids", ParamKind::List, "With one of these ids"),
    param("requestIds", ParamKind::List, "Of one of these requests"),
    param("categories", ParamKind::List, "Of one of these categories, or one of `types`"),
    param("types", ParamKind::List, "Of one of these types, or one of `categories`"),
    param("dateFrom", ParamKind::Time, "Not before this time"),
    param("dateTo", ParamKind::Time, "Not after this time"),
    param(
        "managementUserIds",
        ParamKind::List,
        "By one of these users: `none` without one, `*` with any; nobody calls here as one",
    ),
    param("clientIds", ParamKind::List, "By one of these clients: `none` without one, `*` with any"),
];
const COUNTED: &[Param] = &[
    param("offset", ParamKind::Offset, "Objects to leave out at the beginning"),
    param("limit", ParamKind::ShortLimit, "Objects at most"),
];

#[rustfmt::skip]
pub(super) static ROUTES: [Route; 59] = [
    // MATTR VII's own
    Route::new(Post, "/v1/webhooks", ManageWebhooks, "createWebhook", "Register a webhook", |c| Box::pin(webhooks::create(c)))
        .takes(Json("WebhookInput")).gives(&[gives(201, "Webhook", "Registered")]).fails(&[409]).records(WebhookCreate),
    Route::new(Get, "/v1/webhooks", ManageWebhooks, "listWebhooks", "List webhooks, newest first", |c| Box::pin(webhooks::list(c)))
        .query(PAGE).gives(&[gives(200, "WebhookList", "One page")]).records(WebhookRetrieveList),
    Route::new(Get, "/v1/webhooks/jwks", Public, "getWebhookJwks", "The keys that sign deliveries", |c| Box::pin(jwks::get(c)))
        .gives(&[gives(200, "Jwks", "Signing key, next one and retired ones")]).fails(&[404, 503]),
    Route::new(Get, "/v1/webhooks/{id}", ManageWebhooks, "getWebhook", "Get a webhook", |c| Box::pin(webhooks::get(c)))
        .gives(&[gives(200, "Webhook", "Found")]).records(WebhookRetrieve),
    Route::new(Put, "/v1/webhooks/{id}", ManageWebhooks, "updateWebhook", "Replace a webhook", |c| Box::pin(webhooks::replace(c)))
        .takes(Json("WebhookReplacement")).gives(&[gives(200, "Webhook", "Replaced")]).records(WebhookUpdate),
    Route::new(Delete, "/v1/webhooks/{id}", ManageWebhooks, "deleteWebhook", "Delete a webhook", |c| Box::pin(webhooks::delete(c)))
        .gives(EMPTY).records(WebhookDelete),
    Route::new(Post, "/v1/config/domain", ManageDomain, "createCustomDomain", "Configure the custom domain", |c| Box::pin(domain::create(c)))
        .takes(Json("CustomDomainInput")).gives(&[gives(201, "CustomDomain", "Configured, and not verified yet")]).records(DomainCreate),
    Route::new(Get, "/v1/config/domain", ManageDomain, "getCustomDomain", "Get the custom domain", |c| Box::pin(domain::get(c)))
        .gives(&[gives(200, "CustomDomain", "Found")]).records(DomainRetrieve),
    Route::new(Put, "/v1/config/domain", ManageDomain, "updateCustomDomain", "Replace the custom domain; another domain must be verified again", |c| Box::pin(domain::replace(c)))
        .takes(Json("CustomDomainInput")).gives(&[gives(200, "CustomDomain", "Replaced")]).records(DomainUpdate),
    Route::new(Delete, "/v1/config/domain", ManageDomain, "deleteCustomDomain", "Delete the custom domain", |c| Box::pin(domain::delete(c)))
        .gives(EMPTY).records(DomainDelete),
    Route::new(Post, "/v1/config/domain/verify", ManageDomain, "verifyCustomDomain", "Look for the verification token in the TXT records of the custom domain", |c| Box::pin(domain::verify(c)))
        .gives(EMPTY).records(DomainVerify),
    Route::new(Put, "/v1/config/domain/verify", ManageDomain, "verifyCustomDomainByPut", "The same as `POST`, for older MATTR clients", |c| Box::pin(domain::verify(c)))
        .gives(EMPTY).records(DomainVerify),
    Route::new(Get, "/v1/events", ReadAnalytics, "listAnalyticEvents", "List analytic events, newest first", |c| Box::pin(analytics::list(c)))
        .query(ANALYTICS).gives(&[gives(200, "AnalyticEventList", "One page")]),
    Route::new(Get, "/v1/analytics/events", ReadAnalytics, "listAnalyticEventsByOlderPath", "The same as `GET /v1/events`, for older MATTR clients", |c| Box::pin(analytics::list(c)))
        .query(ANALYTICS).gives(&[gives(200, "AnalyticEventList", "One page")]),
    Route::new(Get, "/v1/analytics/event-types", ReadAnalytics, "listAnalyticEventTypes", "List what analytic events there are", |c| Box::pin(analytics::types(c)))
        .gives(&[gives(200, "AnalyticEventTypes", "All of them")]),

    // Truvera's own. Each of them shows the token, so whoever may read secrets may call them.
    Route::new(Post, "/webhooks", ReadSecrets, "createTruveraWebhook", "Register a webhook", |c| Box::pin(truvera::webhooks::create(c)))
        .takes(Json("TruveraWebhookInput")).gives(&[gives(200, "TruveraWebhook", "Registered")]).fails(&[402]),
    Route::new(Get, "/webhooks", ReadSecrets, "listTruveraWebhooks", "List webhooks, newest first", |c| Box::pin(truvera::webhooks::list(c)))
        .query(COUNTED).gives(&[gives(200, "TruveraWebhookList", "A part of the list")]),
    Route::new(Get, "/webhooks/{id}", ReadSecrets, "getTruveraWebhook", "Get a webhook", |c| Box::pin(truvera::webhooks::get(c)))
        .gives(&[gives(200, "TruveraWebhook", "Found")]).fails(&[405]),
    Route::new(Patch, "/webhooks/{id}", ReadSecrets, "updateTruveraWebhook", "Change a webhook; what is absent stays", |c| Box::pin(truvera::webhooks::update(c)))
        .takes(Json("TruveraWebhookPatch")).gives(&[gives(200, "TruveraWebhook", "Changed")]).fails(&[405]),
    Route::new(Delete, "/webhooks/{id}", ReadSecrets, "deleteTruveraWebhook", "Delete a webhook", |c| Box::pin(truvera::webhooks::delete(c)))
        .gives(&[gives(200, "Nothing", "Deleted")]).fails(&[405]),

    // Publishing
    Route::new(Post, "/v1/webhooks/events", Publish, "publishEvents", "Publish one event or several", |c| Box::pin(publish::publish(c)))
        .takes(Events).gives(&[gives(202, "Published", "Stored, and delivered from now on"), gives(200, "Published", "Accepted before: the first result")]).fails(&[409]),
    Route::new(Get, "/v1/webhooks/events", ReadDeliveries, "listEvents", "List events, newest first", |c| Box::pin(events::list(c)))
        .refuses(&[Role::Subscriber]).query(&[TYPE, FROM, TO, LIMIT, CURSOR]).gives(&[gives(200, "EventList", "One page")]),
    Route::new(Get, "/v1/webhooks/events/{id}", ReadDeliveries, "getEvent", "Get an event and its deliveries", |c| Box::pin(events::get(c)))
        .query(&[INCLUDE]).gives(&[gives(200, "Event", "Found")]),
    Route::new(Delete, "/v1/webhooks/events/{id}/payload", Erase, "erasePayload", "Erase the payload of an event", |c| Box::pin(erasures::erase_one(c)))
        .gives(EMPTY),
    Route::new(Post, "/v1/webhooks/erasures", Erase, "erasePayloads", "Erase payloads by subject, event or time", |c| Box::pin(erasures::erase(c)))
        .takes(Json("ErasureInput")).gives(&[gives(202, "Erasure", "Nothing opens any more")]),

    // Deliveries
    Route::new(Get, "/v1/webhooks/deliveries", ReadDeliveries, "listDeliveries", "List deliveries, newest first", |c| Box::pin(deliveries::list(c)))
        .query(&[WEBHOOK, EVENT, STATUS, TYPE, FROM, TO, LIMIT, CURSOR]).gives(&[gives(200, "DeliveryList", "One page")]),
    Route::new(Get, "/v1/webhooks/deliveries/{id}", ReadDeliveries, "getDelivery", "Get a delivery and its attempts", |c| Box::pin(deliveries::get(c)))
        .gives(&[gives(200, "DeliveryDetail", "Found")]),
    Route::new(Post, "/v1/webhooks/deliveries/{id}/redeliver", RepairDeliveries, "redeliver", "Deliver an event to its webhook again", |c| Box::pin(deliveries::redeliver(c)))
        .gives(&[gives(202, "Delivery", "The new delivery")]).fails(&[409]),
    Route::new(Post, "/v1/webhooks/deliveries/{id}/cancel", RepairDeliveries, "cancelDelivery", "Cancel a pending delivery", |c| Box::pin(deliveries::cancel(c)))
        .gives(&[gives(200, "Delivery", "No attempt begins any more")]).fails(&[409]),
    Route::new(Post, "/v1/webhooks/{id}/redeliver", RepairDeliveries, "redeliverAll", "Deliver many events to a webhook again", |c| Box::pin(deliveries::redeliver_all(c)))
        .query(&[DRY_RUN]).takes(Json("RedeliveryFilter")).gives(&[gives(202, "Count", "So many are made (dry run: would be)")]).fails(&[409]),
    Route::new(Post, "/v1/webhooks/{id}/test", RepairDeliveries, "testWebhook", "Send a realistic sample event to a webhook", |c| Box::pin(publish::test(c)))
        .takes(Optional("TestInput")).gives(&[gives(202, "PublishedEvent", "Accepted")]),

    // Settings and secrets of a webhook
    Route::new(Get, "/v1/webhooks/{id}/settings", ManageWebhooks, "getSettings", "Get the settings of a webhook", |c| Box::pin(settings::get(c)))
        .gives(&[gives(200, "Settings", "Every setting with the value in force")]),
    Route::new(Put, "/v1/webhooks/{id}/settings", ManageWebhooks, "putSettings", "Replace the settings of a webhook", |c| Box::pin(settings::put(c)))
        .takes(Json("SettingsInput")).gives(&[gives(200, "Settings", "Every setting with the value in force")]),
    Route::new(Get, "/v1/webhooks/{id}/secret", ReadSecrets, "getSecret", "Get the Standard Webhooks secret", |c| Box::pin(secrets::get(c)))
        .gives(&[gives(200, "Secret", "The newest secret")]),
    Route::new(Post, "/v1/webhooks/{id}/secret/rotate", ReadSecrets, "rotateSecret", "Make a new Standard Webhooks secret", |c| Box::pin(secrets::rotate(c)))
        .takes(Optional("RotationInput")).gives(&[gives(200, "RotatedSecret", "The new secret")]),
    Route::new(Post, "/v1/webhooks/{id}/token/rotate", ReadSecrets, "rotateToken", "Make a new token for a webhook of Truvera's face; the old one is not sent any more", |c| Box::pin(tokens::rotate(c)))
        .gives(&[gives(200, "WebhookToken", "The new token")]).fails(&[409]),

    Route::new(Post, "/v1/webhooks/portal-links", ManageWebhooks, "createPortalLink", "Make a link into the console to some webhooks, for whoever runs the receivers", |c| Box::pin(portal_links::create(c)))
        .takes(Json("PortalLinkInput")).gives(&[gives(200, "PortalLink", "Made; it is shown only now")]),

    // The catalogue of event types
    Route::new(Get, "/v1/webhooks/event-types", ReadEventTypes, "listEventTypes", "List event types by name", |c| Box::pin(event_types::list(c)))
        .query(PAGE).gives(&[gives(200, "EventTypeList", "One page")]),
    Route::new(Post, "/v1/webhooks/event-types", ManageEventTypes, "createEventType", "Register an event type", |c| Box::pin(event_types::create(c)))
        .takes(Json("EventTypeInput")).gives(&[gives(201, "EventType", "Registered")]).fails(&[409]),
    Route::new(Get, "/v1/webhooks/event-types/{name}", ReadEventTypes, "getEventType", "Get an event type", |c| Box::pin(event_types::get(c)))
        .gives(&[gives(200, "EventType", "Found")]),
    Route::new(Put, "/v1/webhooks/event-types/{name}", ManageEventTypes, "putEventType", "Replace an event type", |c| Box::pin(event_types::replace(c)))
        .takes(Json("EventTypeReplacement")).gives(&[gives(200, "EventType", "Replaced")]).fails(&[409]),
    Route::new(Delete, "/v1/webhooks/event-types/{name}", ManageEventTypes, "deleteEventType", "Delete an event type", |c| Box::pin(event_types::delete(c)))
        .gives(EMPTY).fails(&[409]),

    Route::new(Get, "/v1/webhooks/audit", ReadAudit, "listAudit", "List who changed or read what, newest first", |c| Box::pin(audit::list(c)))
        .query(PAGE).gives(&[gives(200, "AuditList", "One page")]),

    // The operator's own
    Route::new(Post, "/v1/tenants", Operate, "createTenant", "Create a tenant with signing keys and a first client", |c| Box::pin(tenants::create(c)))
        .takes(Json("TenantInput")).gives(&[gives(201, "NewTenant", "Created; the secret is shown only now")]),
    Route::new(Get, "/v1/tenants", Operate, "listTenants", "List tenants, newest first", |c| Box::pin(tenants::list(c)))
        .query(PAGE).gives(&[gives(200, "TenantList", "One page")]),
    Route::new(Get, "/v1/tenants/{id}", Operate, "getTenant", "Get a tenant", |c| Box::pin(tenants::get(c)))
        .gives(&[gives(200, "Tenant", "Found")]),
    Route::new(Put, "/v1/tenants/{id}/limits", Operate, "putTenantLimits", "Replace the tenant's own limits", |c| Box::pin(tenants::put_limits(c)))
        .takes(Json("TenantLimits")).gives(&[gives(200, "TenantLimits", "In force; what is absent follows the installation's")]),
    Route::new(Put, "/v1/tenants/{id}/analytics", Operate, "putTenantAnalytics", "Set how much the tenant's analytic events tell", |c| Box::pin(tenants::put_analytics(c)))
        .takes(Json("AnalyticsInput")).gives(&[gives(200, "AnalyticsInput", "In force for what happens from now on")]),
    Route::new(Delete, "/v1/tenants/{id}", Operate, "deleteTenant", "Delete a tenant, its webhooks, clients and payloads", |c| Box::pin(tenants::delete(c)))
        .gives(EMPTY),
    Route::new(Get, "/v1/tenants/{id}/clients", Operate, "listClients", "List the clients of a tenant", |c| Box::pin(clients::list(c)))
        .gives(&[gives(200, "ClientList", "All of them")]),
    Route::new(Post, "/v1/tenants/{id}/clients", Operate, "createClient", "Create a client of a tenant", |c| Box::pin(clients::create(c)))
        .takes(Json("ClientInput")).gives(&[gives(201, "NewClient", "Created; the secret is shown only now")]),
    Route::new(Delete, "/v1/tenants/{id}/clients/{clientId}", Operate, "deleteClient", "Delete a client; its secret stops working at once", |c| Box::pin(clients::delete(c)))
        .gives(EMPTY),

    // OAuth 2.0
    Route::new(Post, "/oauth/token", Public, "getToken", "Get an access token with a client's credentials", |c| Box::pin(oauth::token(c)))
        .takes(Token).gives(&[gives(200, "Token", "Issued")]).fails(&[401, 404, 503]),
    Route::new(Get, "/.well-known/jwks.json", Public, "getTokenJwks", "The keys that sign access tokens", |c| Box::pin(oauth::jwks(c)))
        .gives(&[gives(200, "TokenJwks", "Signing key and retired ones")]).fails(&[503]),
    Route::new(Get, "/.well-known/oauth-authorization-server", Public, "getTokenMetadata", "Where and how tokens are issued", |c| Box::pin(oauth::metadata(c)))
        .gives(&[gives(200, "OAuthMetadata", "RFC 8414")]),

    // Operations
    Route::new(Get, "/livez", Public, "livez", "Whether the process answers", |c| Box::pin(operations::livez(c)))
        .gives(&[gives(200, "Health", "It does")]),
    Route::new(Get, "/readyz", Public, "readyz", "Whether events are taken and delivered", |c| Box::pin(operations::readyz(c)))
        .gives(&[gives(200, "Health", "They are")]).fails(&[503]),
    Route::new(Get, "/openapi.json", Public, "openapi", "This document", |c| Box::pin(operations::openapi(c)))
        .gives(&[gives(200, "Anything", "OpenAPI 3.1")]),
    Route::new(Get, "/metrics", Operate, "metrics", "Counters for Prometheus", |c| Box::pin(operations::metrics(c)))
        .gives(&[gives(200, "Metrics", "Prometheus text")]),
];
