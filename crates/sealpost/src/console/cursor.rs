//! Where a list goes on: time and id of the last row that was seen, as one word of a link.

use std::fmt::Display;
use std::str::FromStr;

use sealpost_core::time::Timestamp;
use sealpost_store::page::{After, Page, PageRequest};

use super::visit::Visit;

/// A page for people is shorter than one for programs.
pub(super) const ROWS: u32 = 50;

/// The page that a visit asks for; a cursor that is none begins at the top.
pub(super) fn page<Id: FromStr>(visit: &Visit) -> PageRequest<Id> {
    PageRequest { limit: ROWS, after: visit.query.given("after").and_then(decode) }
}

fn decode<Id: FromStr>(text: &str) -> Option<After<Id>> {
    let (at, id) = text.split_once('.')?;
    let at = at.parse().ok()?;
    Some(After { at: Timestamp::from_millis(at), id: id.parse().ok()? })
}

/// The cursor behind the last row, if anything comes after it.
pub(super) fn next<T, Id: Display>(page: &Page<T>, key: impl Fn(&T) -> (Timestamp, Id)) -> Option<String> {
    let (at, id) = key(page.rows.last().filter(|_| page.more)?);
    Some(format!("{}.{id}", at.millis()))
}
