//! Every page on one page: what it needs, and who makes it.

mod deliveries;
mod delivery;
mod keys;
mod sign_in;
mod tenants;
mod webhook;
mod webhook_delete;
mod webhook_form;
mod webhook_settings;
mod webhooks;

use sealpost_core::role::Permission::{
    ManageKeys, ManageWebhooks, ReadDeliveries, ReadSecrets, ReadWebhooks, RepairDeliveries,
};

use super::assets;
use super::page::Needs::{Nothing, Operator, Right, Session};
use super::page::Page;

#[rustfmt::skip]
pub(super) static PAGES: [Page; 27] = [
    Page::get("/console", Session, |v| Box::pin(sign_in::home(v))),
    Page::get("/console/sign-in", Nothing, |v| Box::pin(sign_in::form(v))),
    Page::post("/console/sign-in", Nothing, |v| Box::pin(sign_in::sign_in(v))),
    Page::post("/console/sign-out", Session, |v| Box::pin(sign_in::sign_out(v))),
    Page::get("/console/assets/{name}", Nothing, |v| Box::pin(assets::asset(v))),

    Page::get("/console/tenants", Operator, |v| Box::pin(tenants::list(v))),
    Page::post("/console/tenants", Operator, |v| Box::pin(tenants::open(v))),

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
    Page::get("/console/webhooks/{id}/delete", Right(ManageWebhooks), |v| Box::pin(webhook_delete::confirm(v))),
    Page::post("/console/webhooks/{id}/delete", Right(ManageWebhooks), |v| Box::pin(webhook_delete::delete(v))),

    Page::get("/console/deliveries", Right(ReadDeliveries), |v| Box::pin(deliveries::list(v))),
    Page::get("/console/deliveries/{id}", Right(ReadDeliveries), |v| Box::pin(delivery::show(v))),
    Page::post("/console/deliveries/{id}/redeliver", Right(RepairDeliveries), |v| Box::pin(delivery::redeliver(v))),
    Page::post("/console/deliveries/{id}/cancel", Right(RepairDeliveries), |v| Box::pin(delivery::cancel(v))),

    Page::get("/console/keys", Session, |v| Box::pin(keys::show(v))),
    Page::post("/console/keys/rotate", Right(ManageKeys), |v| Box::pin(keys::rotate(v))),
];
