//! The event that is sent, and the mark in it by which the sink knows which one it got and how long that took.
//!
//! Every event is a real `OpenIdCredentialIssued` of about 1.5 KB whose payload begins with a mark: its number in the
//! run and the time it was sent, on the clock that all processes of the machine share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A credential issued over OpenID4VCI by real software, without its line's end.
const EVENT: &str = include_str!("event.json");
const BEGIN: &str = "\"mark\":\"";
const HEX: usize = 16;

/// Since some fixed point that all processes agree on.
pub(crate) fn now() -> Duration {
    let at = clock_gettime(ClockId::Monotonic);
    Duration::new(at.tv_sec.max(0) as u64, at.tv_nsec.max(0) as u32)
}

/// Events of one kind, cut where the mark goes.
pub(crate) struct Template {
    before: &'static str,
    after: &'static str,
}

impl Template {
    pub(crate) fn new() -> Self {
        let (before, after) = EVENT.trim_end().split_once("\"payload\":{").expect("the event has a payload");
        Self { before, after }
    }

    /// Appends the event's JSON.
    pub(crate) fn write(&self, out: &mut String, number: u64) {
        use std::fmt::Write as _;
        out.push_str(self.before);
        let sent = now().as_nanos() as u64;
        write!(out, "\"payload\":{{{BEGIN}{number:016x}{sent:016x}\",").expect("a string takes everything");
        out.push_str(self.after);
    }

    pub(crate) fn bytes(&self) -> usize {
        let mut one = String::new();
        self.write(&mut one, 0);
        one.len()
    }
}

/// What a received body says: the event's number, and how long ago it was sent.
pub(crate) fn read(body: &[u8]) -> Option<(u64, Duration)> {
    let text = std::str::from_utf8(body).ok()?;
    let at = text.find(BEGIN)? + BEGIN.len();
    let number = |from: usize| u64::from_str_radix(text.get(from..from + HEX)?, 16).ok();
    let sent = Duration::from_nanos(number(at + HEX)?);
    Some((number(at)?, now().saturating_sub(sent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_read_back_and_is_a_valid_event() {
        let mut text = String::new();
        Template::new().write(&mut text, 77);
        let (number, age) = read(text.as_bytes()).unwrap();
        assert_eq!(number, 77);
        assert!(age < Duration::from_secs(1));
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["type"], "OpenIdCredentialIssued");
        assert!((1400..1800).contains(&text.len()), "{}", text.len());
    }
}
