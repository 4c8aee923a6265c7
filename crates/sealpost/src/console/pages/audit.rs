//! Who changed or read what.

use maud::{Markup, html};
use sealpost_store::audit::Change;
use sealpost_store::history::AuditEntry;
use serde_json::Value;

use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{curl, cursor, parts, pretty};

pub(super) async fn list(visit: Visit) -> Result<Reply, Refused> {
    let page = visit.app().store.audit_entries(visit.tenant()?, cursor::page(&visit)).await?;
    let next = cursor::next(&page, |entry| (entry.at, entry.no));
    let main = html! {
        p.lead { "Every change, and every look at a payload or secret, newest first." }
        div #audit data-live {
            @if page.rows.is_empty() {
                (parts::empty("Nothing yet", html! { p { "The first change will stand here." } }))
            } @else {
                table {
                    thead { tr { th { "What" } th { "Who" } th { "When" } th { "Change" } } }
                    tbody { @for entry in &page.rows { (row(entry)) } }
                }
                (parts::pager(&visit, &[], next.as_deref()))
            }
        }
        (curl::get(&visit, "/v1/webhooks/audit", &[]))
    };
    Ok(Sheet::new(Section::Audit, "Audit", main).live().into())
}

fn row(entry: &AuditEntry) -> Markup {
    html! {
        tr {
            td.wide data-label="What" { strong { (entry.what) } p.muted { code { (entry.object) } } }
            td data-label="Who" { (entry.who) }
            td data-label="When" { (parts::time(entry.at)) }
            td data-label="Change" { (change(&entry.change)) }
        }
    }
}

fn change(change: &Change) -> Markup {
    let side = |label: &str, value: &Option<Value>| {
        html! {
            @if let Some(value) = value { p.muted { (label) } pre tabindex="0" { (pretty::json(&value.to_string())) } }
        }
    };
    html! {
        @if change.before.is_none() && change.after.is_none() { span.muted aria-label="none" { "–" } } @else {
            details { summary { "Show" } (side("Before", &change.before)) (side("After", &change.after)) }
        }
    }
}
