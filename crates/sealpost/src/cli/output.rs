//! What commands print: aligned tables and sentences for people, JSON for machines.
//!
//! Everything a person asked for goes to standard output, everything about the doing to standard error. Colour is
//! used only on a terminal and never with `NO_COLOR`. Text from outside is printed without control characters, so
//! that nobody's event moves the cursor of whoever reads it.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use sealpost_core::time::Timestamp;
use serde_json::Value;

use super::client::Failure;

/// How to print.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// Print without colour
    #[arg(long, env = "NO_COLOR", value_parser = clap::builder::FalseyValueParser::new(), hide_env = true)]
    pub no_color: bool,
}

impl OutputArgs {
    pub fn paint(&self) -> Paint {
        Paint { on: !self.no_color && !self.json && std::io::stdout().is_terminal() }
    }
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    pub on: bool,
}

impl Paint {
    pub const PLAIN: Paint = Paint { on: false };

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn careful(self, text: &str) -> String {
        self.with("33", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// A delivery's status in the colour of its meaning.
    pub fn status(self, status: &str) -> String {
        match status {
            "delivered" => self.good(status),
            "failed" => self.bad(status),
            "pending" => self.careful(status),
            _ => self.dim(status),
        }
    }
}

/// Prints one line. A reader that went away (`| head`) is no failure of ours.
pub fn line(text: impl AsRef<str>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::io("standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Prints a note about the doing; what cannot be said there is lost.
pub fn note(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// One JSON document, indented.
pub fn json(value: &Value) -> Result<(), Failure> {
    line(serde_json::to_string_pretty(value).unwrap_or_default())
}

/// One JSON document a line.
pub fn json_line(value: &Value) -> Result<(), Failure> {
    line(value.to_string())
}

/// Columns of a width of their own under their names; never coloured, so that columns can be cut by programs.
pub fn table<R>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Text from outside, fit for a terminal.
pub fn safe(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

/// The text of a member, `-` if there is none.
pub fn text(value: &Value, member: &str) -> String {
    match value.get(member) {
        Some(Value::String(text)) => safe(text).into_owned(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// `2026-11-21 21:47:23` in UTC, and how long ago that was.
pub fn time(at: &str, now: Timestamp) -> String {
    match Timestamp::parse(at) {
        Err(_) => safe(at).into_owned(),
        Ok(at) => format!("{} ({})", clock(at), ago(at, now)),
    }
}

/// To the second, in UTC.
pub fn clock(at: Timestamp) -> String {
    let iso = at.to_string();
    format!("{} {}Z", iso.get(..10).unwrap_or_default(), iso.get(11..19).unwrap_or_default())
}

/// `3 min ago`, `in 10 s`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let (since, until) = (now.since(at), at.since(now));
    if !until.is_zero() {
        format!("in {}", span(until))
    } else if since < Duration::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", span(since))
    }
}

/// The one or two leading units of a span.
pub fn span(span: Duration) -> String {
    let s = span.as_secs();
    match s {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{s} s"),
        60..3600 => format!("{} min", s / 60),
        3600..172_800 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
}

/// `1.7 KB`, in powers of 1000 as file listings count.
pub fn bytes(count: usize) -> String {
    match count {
        0..1000 => format!("{count} B"),
        1000..1_000_000 => format!("{}.{} KB", count / 1000, count % 1000 / 100),
        _ => format!("{}.{} MB", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

/// `1 event`, `2 events`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn tables_align_and_carry_no_trailing_blanks() {
        let rows = [
            ["0c099611".to_owned(), "delivered".to_owned(), "did_create".to_owned()],
            ["7".to_owned(), "failed".to_owned(), "-".to_owned()],
        ];
        expect![[r#"
            ID        STATUS     TYPE
            0c099611  delivered  did_create
            7         failed     -"#]]
        .assert_eq(&table(&["id", "status", "type"], rows));
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        for (at, said) in [
            ("2026-11-21T11:59:59.500Z", "2026-11-21 11:59:59Z (now)"),
            ("2026-11-21T11:57:00Z", "2026-11-21 11:57:00Z (3 min ago)"),
            ("2026-11-20T12:00:00Z", "2026-11-20 12:00:00Z (24 h ago)"),
            ("2026-11-11T12:00:00Z", "2026-11-11 12:00:00Z (10 d ago)"),
            ("2026-11-21T12:00:10Z", "2026-11-21 12:00:10Z (in 10 s)"),
            ("soon\u{7}", "soon\u{fffd}"),
        ] {
            assert_eq!(time(at, now), said);
        }
    }

    #[test]
    fn sizes_and_numbers() {
        assert_eq!([bytes(999), bytes(84_215), bytes(16_777_216)], ["999 B", "84.2 KB", "16.7 MB"]);
        assert_eq!([count(1, "event"), count(0, "event")], ["1 event", "0 events"]);
    }

    #[test]
    fn colour_is_only_for_terminals() {
        assert_eq!(Paint::PLAIN.good("ok"), "ok");
        assert_eq!(Paint { on: true }.bad("no"), "\u{1b}[31mno\u{1b}[0m");
    }
}
