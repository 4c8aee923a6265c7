//! Analytic events: calls and the steps of deliveries in one list, as their auditor sees them. Payloads are not part of
//! it: whoever may see one asks for it on the event's page.

use maud::{Markup, html};
use sealpost_core::analytics::{AnalyticFilter, AnalyticType, Phase, Step};
use sealpost_core::role::Role;

use super::filters::{api_time, choice, moment, not_understood, read, time};
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
    // As an auditor: nobody's payload is read for a list.
    let (tenant, who) = (visit.tenant()?, visit.who()?.to_owned());
    let reader =
        Caller { tenant, roles: Role::Auditor.into(), webhook: None, client: None, until: None, who };
    let found = match filter(kind, request, from, to) {
        Ok(filter) => Ok(visit.app().analytic_events(&reader, filter, cursor::page(&visit)).await?),
        Err(why) => Err(why),
    };
    let main = html! {
        p.lead { "Every webhook and custom-domain call, and every step of a delivery, newest first." }
        (filters(kind, request, from, to))
        div #analytics data-live {
            @match &found {
                Err(why) => (not_understood(why)),
                Ok(page) if page.rows.is_empty() => (nothing(query.iter().all(|(_, value)| value.is_empty()))),
                Ok(page) => {
                    table {
                        thead { tr { th { "Type" } th { "Request" } th { "When" } th { "Data" } } }
                        tbody { @for event in &page.rows { (row(event)) } }
                    }
                    @let next = cursor::next(page, |event| (event.at, event.id));
                    (parts::pager(&visit, &query, next.as_deref()))
                },
            }
        }
        (curl::get(&visit, "/v1/events", &[("types", kind), ("requestIds", request), ("dateFrom", &api_time(from)), ("dateTo", &api_time(to))]))
    };
    Ok(Sheet::new(Section::Analytics, "Analytic events", main).live().into())
}

fn filter(kind: &str, request: &str, from: &str, to: &str) -> Result<AnalyticFilter, &'static str> {
    let is_known = |kind: &str| AnalyticType::all().any(|known| known.as_str() == kind);
    Ok(AnalyticFilter {
        types: read(kind, |kind| is_known(kind).then(|| vec![kind.to_owned()]), "There is no such type.")?,
        requests: read(
            request,
            |id| Some(vec![id.parse().ok()?]),
            "A request id has 22 letters and digits.",
        )?,
        from: time(from)?,
        to: time(to)?,
        ..AnalyticFilter::default()
    })
}

/// `at_all`: nothing was left out.
fn nothing(at_all: bool) -> Markup {
    if at_all {
        parts::empty("Nothing yet", html! { p { "Calls and deliveries will stand here." } })
    } else {
        parts::empty("Nothing fits", html! { p { a href="/console/analytics" { "Show all" } } })
    }
}

fn filters(kind: &str, request: &str, from: &str, to: &str) -> Markup {
    html! {
        form.filters method="get" action="/console/analytics" {
            (choice("types", "Type", AnalyticType::all().map(AnalyticType::as_str), kind))
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
