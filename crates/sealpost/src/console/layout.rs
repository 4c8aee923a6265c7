//! The frame around every page: head, navigation, notices.

use maud::{DOCTYPE, Markup, html};
use sealpost_core::role::Permission;

use super::assets::{SCRIPT, SIGN, STYLE};
use super::parts;
use super::reply::{Refused, Section, Sheet};
use super::session::Notice;
use super::visit::Visit;

/// The whole document. `notices` are shown by this page and by no other.
pub(super) async fn document(visit: &Visit, sheet: &Sheet, notices: &[Notice]) -> Result<Markup, Refused> {
    let tenant = match visit.visitor.as_ref().and_then(|visitor| visitor.tenant) {
        Some(no) => Some(visit.app().tenant(no).await?),
        None => None,
    };
    let tenant = tenant.as_ref().map(|entry| entry.tenant.name.as_str());
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                @if let Some(to) = &sheet.onward { meta http-equiv="refresh" content={ "0;url=" (to) }; }
                title { (sheet.title) " · Sealpost" }
                link rel="icon" type="image/svg+xml" href=(SIGN.path());
                link rel="stylesheet" href=(STYLE.path());
                script src=(SCRIPT.path()) defer {}
            }
            body class=[visit.visitor.is_none().then_some("outside")] {
                a.skip href="#main" { "Skip to content" }
                @if visit.visitor.is_some() { (side(visit, sheet.section, tenant)) }
                main #main tabindex="-1" data-live-page[sheet.live.is_some()] {
                    div.page {
                        @if visit.visitor.is_none() { (brand()) }
                        h1 { (parts::address(&sheet.title)) }
                        @for notice in notices { (shown(notice)) }
                        (sheet.main)
                    }
                }
            }
        }
    })
}

fn brand() -> Markup {
    html! {
        a.brand href="/console" {
            img src=(SIGN.path()) alt="" width="24" height="24";
            span { "Sealpost" }
        }
    }
}

/// What of the console is for this visitor, in the order people look for it.
fn sections(visit: &Visit) -> Vec<(Section, &'static str, &'static str)> {
    let whole = visit.visitor.as_ref().is_some_and(|visitor| visitor.only.is_none());
    let in_tenant = visit.visitor.as_ref().is_some_and(|visitor| visitor.tenant.is_some());
    let operator = visit.visitor.as_ref().is_some_and(|visitor| visitor.is_operator);
    let may = |permission| in_tenant && visit.may(permission);
    let all = [
        (may(Permission::ReadDeliveries) && whole, Section::Overview, "/console/overview", "Overview"),
        (may(Permission::ReadWebhooks), Section::Webhooks, "/console/webhooks", "Webhooks"),
        (may(Permission::ReadDeliveries), Section::Deliveries, "/console/deliveries", "Deliveries"),
        (may(Permission::ReadDeliveries) && whole, Section::Events, "/console/events", "Events"),
        (may(Permission::ReadEventTypes), Section::EventTypes, "/console/event-types", "Event types"),
        (in_tenant, Section::Keys, "/console/keys", "Keys"),
        (may(Permission::ReadAnalytics), Section::Analytics, "/console/analytics", "Analytic events"),
        (may(Permission::ReadAudit), Section::Audit, "/console/audit", "Audit"),
        (operator, Section::Tenants, "/console/tenants", "Tenants"),
    ];
    all.into_iter().filter(|entry| entry.0).map(|(_, section, path, name)| (section, path, name)).collect()
}

/// The page that a visitor begins with.
pub(super) fn first_page(visit: &Visit) -> &'static str {
    match sections(visit).first() {
        Some((_, path, _)) => path,
        None => "/console/keys",
    }
}

fn side(visit: &Visit, here: Section, tenant: Option<&str>) -> Markup {
    html! {
        header.side {
            (brand())
            nav aria-label="Console" {
                ul {
                    @for (section, path, name) in sections(visit) {
                        li { a href=(path) aria-current=[(section == here).then_some("page")] { (name) } }
                    }
                }
            }
            div.who {
                @if let Some(tenant) = tenant { p { span.label { "Tenant" } " " strong { (tenant) } } }
                @if let Some(visitor) = &visit.visitor {
                    p.muted {
                        @if visitor.is_operator { "operator" } @else { (visitor.roles) }
                    }
                }
                form method="post" action="/console/sign-out" {
                    (parts::csrf(visit))
                    button.quiet type="submit" { "Sign out" }
                }
            }
        }
    }
}

fn shown(notice: &Notice) -> Markup {
    match notice {
        Notice::Done(what) => html! { p.notice.good role="status" { (parts::mark("good")) (what) } },
        Notice::Failed(why) => html! { p.notice.bad role="alert" { (parts::mark("bad")) (why) } },
        Notice::Shown { name, value, about } => html! {
            section.notice.secret aria-label=(name) {
                h2 { (name) }
                p { (about) }
                (parts::copyable(name, value.reveal()))
            }
        },
    }
}

/// What a page says that cannot be shown.
pub(super) fn apology(sentence: &str) -> Markup {
    html! {
        p.lead { (sentence) }
        p { a href="/console" { "Back to the console" } }
    }
}
