//! Pictures of numbers, drawn as SVG. Each has a sentence that says the same, and shape as well as colour.

use maud::{Markup, html};
use sealpost_core::delivery::Status;

/// One bar a delivery, oldest first: full height delivered, half pending, a short one below a gap failed or cancelled.
pub(super) fn sparkline(states: &[Status]) -> Markup {
    if states.is_empty() {
        return html! { span.muted { "–" } };
    }
    let of = |status: Status| states.iter().filter(|state| **state == status).count();
    let counts: Vec<String> = Status::ALL
        .iter()
        .filter(|status| of(**status) > 0)
        .map(|status| format!("{} {status}", of(*status)))
        .collect();
    let label = format!("Last {}: {}", states.len(), counts.join(", "));
    let width = states.len() * 5;
    html! {
        svg.spark role="img" aria-label=(label) width=(width) height="20" viewBox={ "0 0 " (width) " 20" } {
            title { (label) }
            @for (at, status) in states.iter().enumerate() {
                @let (kind, y, height) = match status {
                    Status::Delivered => ("good", 2, 16),
                    Status::Pending => ("wait", 10, 8),
                    Status::Failed => ("bad", 12, 6),
                    Status::Cancelled => ("off", 15, 3),
                };
                rect class=(kind) x=(at * 5) y=(y) width="3" height=(height) rx="1" {}
            }
        }
    }
}
