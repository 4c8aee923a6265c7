//! What an attempt's result means.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The classes of decisions section 5. Everything but `Delivered` is a failed attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A 2xx head arrived in time.
    Delivered,
    /// Another status.
    HttpStatus,
    Timeout,
    Dns,
    AddressRefused,
    Connect,
    Tls,
    Protocol,
    /// The process died while sending; whether the receiver got it is not known.
    Unknown,
}

impl Outcome {
    pub const ALL: [Outcome; 9] = [
        Outcome::Delivered,
        Outcome::HttpStatus,
        Outcome::Timeout,
        Outcome::Dns,
        Outcome::AddressRefused,
        Outcome::Connect,
        Outcome::Tls,
        Outcome::Protocol,
        Outcome::Unknown,
    ];

    /// Any 2xx in time is delivered; every other status, redirects and 410 included, is an ordinary failure.
    pub fn of_status(status: u16) -> Self {
        if (200..300).contains(&status) { Outcome::Delivered } else { Outcome::HttpStatus }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::HttpStatus => "http_status",
            Outcome::Timeout => "timeout",
            Outcome::Dns => "dns",
            Outcome::AddressRefused => "address_refused",
            Outcome::Connect => "connect",
            Outcome::Tls => "tls",
            Outcome::Protocol => "protocol",
            Outcome::Unknown => "unknown",
        }
    }

    /// A short name for one byte of a row. Never renumber.
    pub const fn code(self) -> u8 {
        match self {
            Outcome::Delivered => 1,
            Outcome::HttpStatus => 2,
            Outcome::Timeout => 3,
            Outcome::Dns => 4,
            Outcome::AddressRefused => 5,
            Outcome::Connect => 6,
            Outcome::Tls => 7,
            Outcome::Protocol => 8,
            Outcome::Unknown => 9,
        }
    }

    pub fn from_code(code: u8) -> Option<Self> {
        Outcome::ALL.into_iter().find(|outcome| outcome.code() == code)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long a `Retry-After` asks to wait (RFC 9110 10.2.3): seconds, or an HTTP date. `None` for anything else,
/// a past date included: a receiver cannot make a wait shorter.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than u64 holds still mean "very long"; the caller clamps.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let at = http_date(value)?;
    let wait = at.since(now);
    (!wait.is_zero()).then_some(wait)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that senders may still generate.
fn http_date(text: &str) -> Option<Timestamp> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let (day, month, year, clock, zone) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || zone != "GMT" || year.len() != 4 || day.len() != 2 {
        return None;
    }
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        .iter()
        .position(|name| *name == month)?
        + 1;
    Timestamp::parse(&format!("{year}-{month:02}-{day}T{clock}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_2xx_is_delivered() {
        for (status, outcome) in [
            (100, Outcome::HttpStatus),
            (199, Outcome::HttpStatus),
            (200, Outcome::Delivered),
            (204, Outcome::Delivered),
            (299, Outcome::Delivered),
            (300, Outcome::HttpStatus),
            (302, Outcome::HttpStatus),
            (410, Outcome::HttpStatus),
            (429, Outcome::HttpStatus),
            (503, Outcome::HttpStatus),
        ] {
            assert_eq!(Outcome::of_status(status), outcome, "{status}");
        }
    }

    #[test]
    fn codes_are_distinct_and_read_back() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_code(outcome.code()), Some(outcome));
        }
        assert_eq!(Outcome::from_code(0), None);
    }

    #[test]
    fn retry_after_takes_both_forms_and_nothing_else() {
        let now = Timestamp::parse("1994-11-06T08:49:07Z").unwrap();
        for (value, wait) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", None),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("é, 06 Nov 1994", None),
        ] {
            assert_eq!(retry_after(value, now), wait.map(Duration::from_secs), "{value}");
        }
    }
}
