//! Pictures of numbers, drawn as SVG. Each has a sentence that says the same, and shape as well as colour.

use maud::{Markup, html};
use sealpost_core::delivery::Status;
use sealpost_core::time::Timestamp;

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

/// What a part of a bar is.
pub(super) struct Bar {
    pub(super) kind: &'static str,
    pub(super) label: &'static str,
}

pub(super) struct Line<'a> {
    /// Each has its own dashes.
    pub(super) class: &'static str,
    pub(super) label: &'static str,
    /// `None`: nothing to say there.
    pub(super) values: &'a [Option<f64>],
}

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 180.0;
/// Room for what stands at the axes.
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 8.0;

/// Stacked bars, one for each time.
pub(super) fn bars(
    title: &str,
    about: &str,
    times: &[Timestamp],
    kinds: &[Bar],
    values: &[[u32; 4]],
) -> Markup {
    let sums: Vec<u32> = values.iter().map(|value| value.iter().sum()).collect();
    let top = even(nice(f64::from(sums.iter().copied().max().unwrap_or(0))));
    let step = (WIDTH - LEFT) / values.len().max(1) as f64;
    let order = ["good", "wait", "bad", "off"];
    let total: u32 = sums.iter().sum();
    let label =
        format!("{title}: {total} in all, at most {} in one part", sums.iter().copied().max().unwrap_or(0));
    let drawing = html! {
        @for (at, value) in values.iter().enumerate() {
            g {
                title { (part_title(times.get(at), value, kinds)) }
                @for (kind, y, height) in stack(value, top, &order) {
                    rect class=(kind) x=(round(LEFT + step * at as f64 + step * 0.14)) y=(round(y)) width=(round(step * 0.72)) height=(round(height)) rx="1.5" {}
                }
            }
        }
    };
    let legend = html! {
        @for bar in kinds { li { svg width="10" height="10" aria-hidden="true" { rect class=(bar.kind) width="10" height="10" rx="2" {} } (bar.label) } }
    };
    frame(title, about, &label, times, top, "", &drawing, &legend)
}

fn part_title(time: Option<&Timestamp>, value: &[u32; 4], kinds: &[Bar]) -> String {
    let order = ["good", "wait", "bad", "off"];
    let counts: Vec<String> = kinds
        .iter()
        .filter_map(|bar| {
            let count = value[order.iter().position(|kind| *kind == bar.kind)?];
            (count > 0).then(|| format!("{count} {}", bar.label))
        })
        .collect();
    let time = time.map(ToString::to_string).unwrap_or_default();
    format!(
        "{}: {}",
        time.get(..16).unwrap_or(&time),
        if counts.is_empty() { "none".into() } else { counts.join(", ") }
    )
}

/// From the ground upwards.
fn stack<'a>(value: &[u32; 4], top: f64, order: &[&'a str; 4]) -> Vec<(&'a str, f64, f64)> {
    let mut y = HEIGHT - BOTTOM;
    let mut stack = Vec::new();
    for (kind, count) in order.iter().zip(value) {
        let height = f64::from(*count) / top * (HEIGHT - BOTTOM - TOP);
        y -= height;
        if *count > 0 {
            stack.push((*kind, y, height));
        }
    }
    stack
}

/// Lines over time. `most`: the top of the scale, where it is known.
pub(super) fn lines(
    title: &str,
    about: &str,
    times: &[Timestamp],
    unit: &str,
    most: Option<f64>,
    all: &[Line<'_>],
) -> Markup {
    let known = all.iter().flat_map(|line| line.values.iter().flatten().copied());
    let top = most.unwrap_or_else(|| nice(known.fold(0.0, f64::max)));
    let step = (WIDTH - LEFT) / times.len().max(1) as f64;
    let x = |at: usize| LEFT + step * (at as f64 + 0.5);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP);
    let latest: Vec<String> = all
        .iter()
        .filter_map(|line| {
            line.values.iter().rev().flatten().next().map(|value| format!("{} {value:.0} {unit}", line.label))
        })
        .collect();
    let label = format!(
        "{title}: {}",
        if latest.is_empty() { "nothing yet".into() } else { format!("lately {}", latest.join(", ")) }
    );
    let drawing = html! {
        @for line in all {
            path class={ "line " (line.class) } d=(way(line.values, x, y)) {}
            @for (at, value) in line.values.iter().enumerate() {
                @if let Some(value) = value {
                    circle class={ "dot " (line.class) } cx=(round(x(at))) cy=(round(y(*value))) r="2.5" {
                        title { (line.label) " " (round(*value)) " " (unit) }
                    }
                }
            }
        }
    };
    let legend = html! {
        @for line in all {
            li { svg width="18" height="10" aria-hidden="true" { path class={ "line " (line.class) } d="M0 5H18" {} } (line.label) }
        }
    };
    frame(title, about, &label, times, top, unit, &drawing, &legend)
}

/// A gap where nothing is known.
fn way(values: &[Option<f64>], x: impl Fn(usize) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut way = String::new();
    let mut pen_down = false;
    for (at, value) in values.iter().enumerate() {
        let Some(value) = value else {
            pen_down = false;
            continue;
        };
        way.push_str(&format!("{}{} {}", if pen_down { "L" } else { "M" }, round(x(at)), round(y(*value))));
        pen_down = true;
    }
    way
}

#[expect(clippy::too_many_arguments, reason = "one frame for both kinds of picture")]
fn frame(
    title: &str,
    about: &str,
    label: &str,
    times: &[Timestamp],
    top: f64,
    unit: &str,
    drawing: &Markup,
    legend: &Markup,
) -> Markup {
    html! {
        figure.chart {
            figcaption { h2 { (title) } p.muted { (about) } }
            svg role="img" aria-label=(label) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
                @for part in [0.0, 0.5, 1.0] {
                    @let y = HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP);
                    line.grid x1=(LEFT) x2=(WIDTH) y1=(round(y)) y2=(round(y)) {}
                    text x=(LEFT - 8.0) y=(round(y + 4.0)) text-anchor="end" { (round(top * part)) @if !unit.is_empty() { " " (unit) } }
                }
                (drawing)
                @for (at, time) in ticks(times) {
                    text x=(round(LEFT + (WIDTH - LEFT) * at)) y=(HEIGHT - 4.0) text-anchor=(if at > 0.9 { "end" } else { "start" }) { (time) }
                }
            }
            ul.legend { (legend) }
        }
    }
}

/// Four times along the axis, as hours, or as days where the span is long.
fn ticks(times: &[Timestamp]) -> Vec<(f64, String)> {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return Vec::new() };
    let long = last.since(*first).as_secs() > 2 * 86_400;
    (0..4)
        .filter_map(|quarter| {
            let at = times.len() * quarter / 4;
            let text = times.get(at)?.to_string();
            let text = if long { text.get(5..10)? } else { text.get(11..16)? };
            Some((at as f64 / times.len() as f64, text.to_owned()))
        })
        .collect()
}

/// The next number that reads well: 1, 2 or 5 and zeros.
fn nice(most: f64) -> f64 {
    let mut scale = 1.0;
    for _ in 0..12 {
        for step in [1.0, 2.0, 5.0] {
            if most <= step * scale {
                return (step * scale).max(2.0);
            }
        }
        scale *= 10.0;
    }
    most
}

/// So that the line in the middle stands for a whole number too.
fn even(top: f64) -> f64 {
    (top / 2.0).ceil() * 2.0
}

/// A tenth of a point is fine enough.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_numbers_that_read_well() {
        for (most, top) in
            [(0.0, 2.0), (1.0, 2.0), (3.0, 5.0), (5.0, 5.0), (7.0, 10.0), (120.0, 200.0), (4999.0, 5000.0)]
        {
            assert!((nice(most) - top).abs() < 1e-9, "{most}");
            assert!((even(top) / 2.0).fract().abs() < 1e-9, "{most}");
        }
        assert!(nice(1e300) >= 1e300);
    }

    #[test]
    fn a_line_has_a_gap_where_nothing_is_known() {
        let values = [Some(1.0), Some(2.0), None, Some(3.0)];
        assert_eq!(way(&values, |at| at as f64, |value| value), "M0 1L1 2M3 3");
    }

    #[test]
    fn a_picture_says_in_words_what_it_shows() {
        let picture = sparkline(&[Status::Delivered, Status::Failed, Status::Delivered]).into_string();
        assert!(picture.contains("aria-label=\"Last 3: 2 delivered, 1 failed\""), "{picture}");
    }
}
