//! Analytic events: calls and the steps of deliveries in one list, as their auditor sees them. Payloads are not part of
//! it: whoever may see one asks for it on the event's page.

use maud::{Markup, html};
use sealpost_core::analytics::{AnalyticFilter, AnalyticType, Phase, Step};
use sealpost_core::role::Role;

use super::deliveries::{minute, moment};
use crate::app::analytics::{AnalyticData, AnalyticEvent};
use crate::app::clients::Caller;
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{curl, cursor, parts, pretty};

pub(super) async fn list(visit: Visit) -> Result<Reply, Refused> {
    let of = |name| visit.query.text(name);
    let query =
        [("types", of("types")), ("requestIds", of("requestIds")), ("from", of("from")), ("to", of("to"))];
    let [(_, kind), (_, request), (_, from), (_, to)] = query;
    let filter = AnalyticFilter {
        types: (!kind.is_empty()).then(|| vec![kind.to_owned()]),
        // One that is none fits nothing.
        requests: (!request.is_empty()).then(|| request.parse().into_iter().collect()),
        from: minute(from),
        to: minute(to),
        ..AnalyticFilter::default()
    };
    // As an auditor: nobody's payload is read for a list.
    let (tenant, who) = (visit.tenant()?, visit.who()?.to_owned());
    let reader = Caller { tenant, roles: Role::Auditor.into(), webhook: None, client: None, who };
    let page = visit.app().analytic_events(&reader, filter, cursor::page(&visit)).await?;
    let next = cursor::next(&page, |event| (event.at, event.id));
    let main = html! {
        p.lead { "Every webhook and custom-domain call, and every step of a delivery, newest first." }
        (filters(kind, request, from, to))
        div #analytics data-live {
            @if page.rows.is_empty() {
                @if query.iter().all(|(_, value)| value.is_empty()) {
                    (parts::empty("Nothing yet", html! { p { "Calls and deliveries will stand here." } }))
                } @else {
                    (parts::empty("Nothing fits", html! { p { a href="/console/analytics" { "Show all" } } }))
                }
            } @else {
                table {
                    thead { tr { th { "Type" } th { "Request" } th { "When" } th { "Data" } } }
                    tbody { @for event in &page.rows { (row(event)) } }
                }
                (parts::pager(&visit, &query, next.as_deref()))
            }
        }
        (curl::get(&visit, "/v1/events", &[("types", kind), ("requestIds", request)]))
    };
    Ok(Sheet::new(Section::Analytics, "Analytic events", main).live().into())
}

fn filters(kind: &str, request: &str, from: &str, to: &str) -> Markup {
    html! {
        form.filters method="get" action="/console/analytics" {
            div {
                label for="types" { "Type" }
                select id="types" name="types" {
                    option value="" { "Any" }
                    @for known in AnalyticType::all().map(AnalyticType::as_str) {
                        option value=(known) selected[known == kind] { (known) }
                    }
                }
            }
            div {
                label for="requestIds" { "Request id" }
                input id="requestIds" name="requestIds" type="text" value=(request) spellcheck="false";
            }
            (moment("from", "From (UTC)", from))
            (moment("to", "To (UTC)", to))
            button type="submit" { "Filter" }
        }
    }
}

fn row(event: &AnalyticEvent) -> Markup {
    let request = event.request.to_string();
    html! {
        tr {
            td.wide data-label="Type" {
                (parts::chip(ends(event.kind), event.kind.as_str()))
                @if let Some(client) = event.client { p.muted { "client " (parts::short(client)) } }
            }
            td data-label="Request" {
                a href={ "/console/analytics?requestIds=" (request) } { code { (request) } }
            }
            td data-label="When" { (parts::time(event.at)) }
            td data-label="Data" { (data(event.data.as_ref())) }
        }
    }
}

/// How what it tells of went.
fn ends(kind: AnalyticType) -> &'static str {
    match kind {
        AnalyticType::Call(_, Phase::Success) | AnalyticType::Delivery(Step::ProcessSuccess) => "good",
        AnalyticType::Call(_, Phase::Fail) | AnalyticType::Delivery(Step::ProcessFail) => "bad",
        AnalyticType::Call(_, Phase::Start) | AnalyticType::Delivery(_) => "plain",
    }
}

fn data(data: Option<&AnalyticData>) -> Markup {
    match data {
        None => html! { span.muted aria-label="none" { "–" } },
        Some(AnalyticData::Call(value)) => html! {
            details { summary { "Show" } pre tabindex="0" { (pretty::json(&value.to_string())) } }
        },
        Some(AnalyticData::Received { event, event_type, .. }) => html! {
            a href={ "/console/events/" (event) } { (event_type) }
        },
        Some(AnalyticData::Attempted { delivery, event_type, attempt, .. }) => html! {
            a href={ "/console/deliveries/" (delivery) } { (event_type) } p.muted { "attempt " (attempt.number) }
        },
    }
}
