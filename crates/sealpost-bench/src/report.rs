//! What a run says: a table, a JSON file and a chart.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::figure::{Bar, Summary};
use crate::process::Failure;

/// Bars of the chart: the shares of the ceiling.
const SHARE: &str = " share of raw";

pub(crate) fn table(summaries: &[Summary]) -> String {
    let mut text = String::new();
    for s in summaries {
        let (bar, verdict) = match (s.bar, s.holds()) {
            (Bar::AtLeast(bar), Some(true)) => (format!(">= {bar}"), "ok"),
            (Bar::AtMost(bar), Some(true)) => (format!("<= {bar:.3}"), "ok"),
            (Bar::AtLeast(bar), _) => (format!(">= {bar}"), "SHORT"),
            (Bar::AtMost(bar), _) => (format!("<= {bar:.3}"), "SHORT"),
            (Bar::None, _) => (String::new(), ""),
        };
        let spread =
            if s.rounds > 1 { format!("{} .. {}", short(s.least), short(s.most)) } else { String::new() };
        let line =
            format!("{:48} {:>11} {:7} {bar:>10} {verdict:6} {spread}", s.name, short(s.median), s.unit);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    }
}

pub(crate) fn write(folder: &Path, summaries: &[Summary], quick: bool) -> Result<(), Failure> {
    let figures: Vec<_> = summaries
        .iter()
        .map(|s| {
            json!({
                "name": s.name, "unit": s.unit, "median": finite(s.median), "least": finite(s.least),
                "most": finite(s.most), "rounds": s.rounds, "bar": s.bar, "holds": s.holds(),
            })
        })
        .collect();
    let document = json!({"version": env!("CARGO_PKG_VERSION"), "quick": quick, "figures": figures});
    std::fs::write(folder.join("results.json"), serde_json::to_string_pretty(&document)?)?;
    Ok(std::fs::write(folder.join("results.svg"), chart(summaries))?)
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The shares of the ceiling as bars, each with the mark it is held against.
fn chart(summaries: &[Summary]) -> String {
    let shares: Vec<_> = summaries.iter().filter(|s| s.name.ends_with(SHARE)).collect();
    let (left, width, row) = (110.0, 520.0, 26.0);
    let most = shares.iter().map(|s| s.median).fold(0.3, f64::max);
    let height = row * shares.len() as f64 + 60.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<title>Deliveries a second as a share of the raw POST rate</title>\n\
         <rect width=\"720\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">Deliveries a second as a share of the raw POST rate of the same run</text>\n"
    );
    for (at, s) in shares.iter().enumerate() {
        let (y, long) = (40.0 + row * at as f64, width * s.median / most);
        let colour = if s.holds() == Some(false) { "#c2410c" } else { "#0f766e" };
        let name = s.name.trim_end_matches(SHARE);
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{left}\" y=\"{y}\" width=\"{long:.1}\" height=\"18\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{:.3}</text>",
            left - 8.0,
            y + 14.0,
            left + long + 6.0,
            y + 14.0,
            s.median
        );
        if let Bar::AtLeast(bar) = s.bar {
            let x = left + width * bar / most;
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"black\" stroke-width=\"2\"/>",
                y - 2.0,
                y + 20.0
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_short_of_its_bar_is_shown_as_short() {
        let share = |median: f64| Summary {
            name: format!("one-64{SHARE}"),
            unit: "",
            median,
            least: median,
            most: median,
            rounds: 1,
            bar: Bar::AtLeast(0.12),
        };
        assert!(table(&[share(0.1)]).contains("SHORT"));
        assert!(table(&[share(0.2)]).contains(">= 0.12 ok"));
        assert!(chart(&[share(0.1)]).contains(">one-64</text>"));
    }
}
