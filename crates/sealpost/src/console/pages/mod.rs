//! Every page on one page: what it needs, and who makes it.

mod analytics;
mod audit;
mod deliveries;
mod delivery;
mod event;
mod event_types;
mod events;
mod filters;
mod keys;
mod openid;
mod overview;
mod portal;
mod request;
mod sign_in;
mod tenants;
mod webhook;
mod webhook_delete;
mod webhook_form;
mod webhook_settings;
mod webhooks;

use sealpost_core::role::Permission::{
    Erase, ManageEventTypes, ManageKeys, ManageWebhooks, ReadAnalytics, ReadAudit, ReadDeliveries,
    ReadEventTypes, ReadPayloads, ReadSecrets, ReadWebhooks, RepairDeliveries,
};

use super::assets;
use super::page::Needs::{Nothing, Operator, Right, Session, WholeTenant};
use super::page::Page;

#[rustfmt::skip]
pub(super) static PAGES: [Page; 45] = [
    Page::get("/console", Session, |v| Box::pin(sign_in::home(v))),
    Page::get("/console/sign-in", Nothing, |v| Box::pin(sign_in::form(v))),
    Page::post("/console/sign-in", Nothing, |v| Box::pin(sign_in::sign_in(v))),
    Page::get("/console/sign-in/openid", Nothing, |v| Box::pin(openid::come_back(v))),
    Page::post("/console/sign-in/openid", Nothing, |v| Box::pin(openid::set_out(v))),
    Page::post("/console/sign-out", Session, |v| Box::pin(sign_in::sign_out(v))),
    Page::get("/console/assets/{name}", Nothing, |v| Box::pin(assets::asset(v))),

    Page::get("/console/portal/{token}", Nothing, |v| Box::pin(portal::look(v))),
    Page::post("/console/portal", Nothing, |v| Box::pin(portal::follow(v))),

    Page::get("/console/tenants", Operator, |v| Box::pin(tenants::list(v))),
    Page::post("/console/tenants", Operator, |v| Box::pin(tenants::open(v))),

    Page::get("/console/overview", WholeTenant(ReadDeliveries), |v| Box::pin(overview::show(v))),

    Page::get("/console/webhooks", Right(ReadWebhooks), |v| Box::pin(webhooks::list(v))),
    Page::get("/console/webhooks/new", Right(ManageWebhooks), |v| Box::pin(webhook_form::new(v))),
    Page::post("/console/webhooks", Right(ManageWebhooks), |v| Box::pin(webhook_form::create(v))),
    Page::get("/console/webhooks/{id}", Right(ReadWebhooks), |v| Box::pin(webhook::show(v))),
    Page::get("/console/webhooks/{id}/edit", Right(ManageWebhooks), |v| Box::pin(webhook_form::edit(v))),
    Page::post("/console/webhooks/{id}/edit", Right(ManageWebhooks), |v| Box::pin(webhook_form::replace(v))),
    Page::get("/console/webhooks/{id}/settings", Right(ManageWebhooks), |v| Box::pin(webhook_settings::form(v))),
    Page::post("/console/webhooks/{id}/settings", Right(ManageWebhooks), |v| Box::pin(webhook_settings::save(v))),
    Page::post("/console/webhooks/{id}/pause", Right(ManageWebhooks), |v| Box::pin(webhook::pause(v))),
    Page::post("/console/webhooks/{id}/resume", Right(ManageWebhooks), |v| Box::pin(webhook::resume(v))),
    Page::post("/console/webhooks/{id}/test", Right(RepairDeliveries), |v| Box::pin(webhook::test(v))),
    Page::post("/console/webhooks/{id}/secret", Right(ReadSecrets), |v| Box::pin(webhook::rotate(v))),
    Page::post("/console/webhooks/{id}/token", Right(ReadSecrets), |v| Box::pin(webhook::rotate_token(v))),
    Page::post("/console/webhooks/{id}/portal", Right(ManageWebhooks), |v| Box::pin(portal::make(v))),
    Page::get("/console/webhooks/{id}/delete", Right(ManageWebhooks), |v| Box::pin(webhook_delete::confirm(v))),
    Page::post("/console/webhooks/{id}/delete", Right(ManageWebhooks), |v| Box::pin(webhook_delete::delete(v))),

    Page::get("/console/deliveries", Right(ReadDeliveries), |v| Box::pin(deliveries::list(v))),
    Page::get("/console/deliveries/{id}", Right(ReadDeliveries), |v| Box::pin(delivery::show(v))),
    Page::post("/console/deliveries/{id}/request", Right(ReadPayloads), |v| Box::pin(delivery::reveal(v))),
    Page::post("/console/deliveries/{id}/redeliver", Right(RepairDeliveries), |v| Box::pin(delivery::redeliver(v))),
    Page::post("/console/deliveries/{id}/cancel", Right(RepairDeliveries), |v| Box::pin(delivery::cancel(v))),

    Page::get("/console/events", WholeTenant(ReadDeliveries), |v| Box::pin(events::list(v))),
    Page::get("/console/events/{id}", Right(ReadDeliveries), |v| Box::pin(event::show(v))),
    Page::post("/console/events/{id}/payload", Right(ReadPayloads), |v| Box::pin(event::reveal(v))),
    Page::get("/console/events/{id}/erase", Right(Erase), |v| Box::pin(event::confirm_erasure(v))),
    Page::post("/console/events/{id}/erase", Right(Erase), |v| Box::pin(event::erase(v))),

    Page::get("/console/event-types", Right(ReadEventTypes), |v| Box::pin(event_types::list(v))),
    Page::post("/console/event-types", Right(ManageEventTypes), |v| Box::pin(event_types::create(v))),
    Page::post("/console/event-types/delete", Right(ManageEventTypes), |v| Box::pin(event_types::delete(v))),

    Page::get("/console/keys", Session, |v| Box::pin(keys::show(v))),
    Page::post("/console/keys/rotate", Right(ManageKeys), |v| Box::pin(keys::rotate(v))),

    Page::get("/console/analytics", Right(ReadAnalytics), |v| Box::pin(analytics::list(v))),
    Page::get("/console/audit", Right(ReadAudit), |v| Box::pin(audit::list(v))),
];
