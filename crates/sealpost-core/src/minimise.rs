//! How much of a payload a webhook gets: all of it, a summary, chosen claims, or only where to ask for it.
//!
//! - `full`: the payload.
//! - `summary`: the payload without `credential`, `oidcClaims`, `userClaims` and what the event type names
//!   besides. A type without a known summary form gets `thin`.
//! - `thin`: `{"id":<event id>,"href":<public URL of the event>}`. Data of a Truvera webhook carries the event
//!   id in no other place and its receivers call the platform back by the resource, so there `resourceId`
//!   follows: the payload's own top-level `id`, if that is a string or a number.
//! - `claims`: only what the listed JSON Pointers point to, in its place and in the payload's order. Arrays
//!   keep the chosen elements without gaps; a pointer that matches nothing leaves nothing behind.
//!
//! It fails closed: what cannot be read to its last byte is an error, never the full payload. Names are
//! compared unescaped. Numbers keep their spelling, since everything works on text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use crate::json::{self, JsonError, MAX_DEPTH, Members, Reader, Token, TokenKind, canonical_string};
use crate::payload::Payload;

/// Members that hold the holder's data; no summary contains them, whatever its form.
pub const NEVER_IN_A_SUMMARY: [&str; 3] = ["credential", "oidcClaims", "userClaims"];
/// Pointers in one setting; keeping is linear in them for every array passed.
pub const MAX_POINTERS: usize = 64;
/// Bytes of one pointer: a path of 64 names of common length.
pub const MAX_POINTER_BYTES: usize = 1024;

/// A webhook's `payload` setting.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadLevel {
    #[default]
    Full,
    Summary,
    Thin,
    Claims(#[serde(deserialize_with = "some_pointers")] Vec<JsonPointer>),
}

/// What an event type says of its summaries.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SummaryForm {
    /// The payload without these top-level members and without [`NEVER_IN_A_SUMMARY`].
    Without(Vec<String>),
    /// Nobody said which members are safe to send.
    #[default]
    Unknown,
}

impl SummaryForm {
    /// The form of the built-in credential events: the payload without [`NEVER_IN_A_SUMMARY`] alone.
    pub fn known() -> Self {
        Self::Without(Vec::new())
    }
}

/// What minimising needs to know besides the payload.
#[derive(Clone, Copy, Debug)]
pub struct MinimiseContext<'a> {
    pub summary: &'a SummaryForm,
    pub event_id: &'a str,
    /// The public URL of the event.
    pub href: &'a str,
    /// The receiver's dialect is Truvera's.
    pub truvera: bool,
}

/// The payload cannot be minimised, so it must not be sent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MinimiseError {
    #[error("the payload cannot be read: {0}")]
    Unreadable(#[from] JsonError),
}

/// The JSON object that takes the payload's place in a body.
pub fn minimise<'a>(
    payload: &'a Payload,
    level: &PayloadLevel,
    context: &MinimiseContext<'_>,
) -> Result<Cow<'a, str>, MinimiseError> {
    match (level, context.summary) {
        (PayloadLevel::Full, _) => Ok(Cow::Borrowed(payload.as_str())),
        (PayloadLevel::Summary, SummaryForm::Without(more)) => {
            let removed = NEVER_IN_A_SUMMARY.into_iter().chain(more.iter().map(String::as_str));
            without(payload.as_str(), removed).map(Cow::Owned)
        }
        (PayloadLevel::Summary, SummaryForm::Unknown) | (PayloadLevel::Thin, _) => {
            thin(payload.as_str(), context).map(Cow::Owned)
        }
        (PayloadLevel::Claims(pointers), _) => claims(payload.as_str(), pointers).map(Cow::Owned),
    }
}

/// The payload of an `OpenIdCredentialIssuedSummary` made from an `OpenIdCredentialIssued`: the same
/// without `credential`.
pub fn derived_summary(payload: &Payload) -> Result<Payload, MinimiseError> {
    without(payload.as_str(), ["credential"]).map(Payload::from_stored)
}

fn without<'a>(payload: &str, removed: impl IntoIterator<Item = &'a str>) -> Result<String, MinimiseError> {
    let removed: Vec<String> = removed.into_iter().map(quoted).collect();
    let mut out = String::from("{");
    for member in Members::of(payload) {
        let member = member?;
        if removed.iter().any(|name| *name == member.name) {
            continue;
        }
        separate(&mut out);
        out.push_str(&member.name);
        out.push(':');
        out.push_str(member.value);
    }
    out.push('}');
    Ok(out)
}

fn thin(payload: &str, context: &MinimiseContext<'_>) -> Result<String, MinimiseError> {
    let mut out = String::from("{\"id\":");
    json::write_string(&mut out, context.event_id);
    out.push_str(",\"href\":");
    json::write_string(&mut out, context.href);
    for member in Members::of(payload) {
        let member = member?;
        let scalar = member.value.starts_with(|c: char| matches!(c, '"' | '-' | '0'..='9'));
        if context.truvera && scalar && member.name == "\"id\"" {
            out.push_str(",\"resourceId\":");
            out.push_str(member.value);
        }
    }
    out.push('}');
    Ok(out)
}

fn claims(payload: &str, pointers: &[JsonPointer]) -> Result<String, MinimiseError> {
    let chosen = Chosen::from_pointers(pointers);
    let mut reader = Reader::new(payload, MAX_DEPTH);
    let mut out = String::from("{");
    reader.require_object()?;
    keep_members(&mut reader, &chosen, &mut out)?;
    out.push('}');
    // Only now is it certain that the object was the whole text.
    reader.next_token()?;
    Ok(out)
}

/// The pointers as one tree, so that the payload is read once.
#[derive(Default)]
struct Chosen {
    /// A pointer ends here: the value is kept whole.
    whole: bool,
    /// By reference token, as a canonical JSON string.
    below: BTreeMap<String, Chosen>,
}

impl Chosen {
    fn from_pointers(pointers: &[JsonPointer]) -> Self {
        let mut root = Self::default();
        for pointer in pointers {
            let mut node = &mut root;
            for token in pointer.tokens() {
                node = node.below.entry(quoted(&token)).or_default();
            }
            node.whole = true;
        }
        root
    }

    /// The chosen elements of an array, in ascending order.
    fn elements(&self) -> Vec<(usize, &Self)> {
        let index = |name: &String| array_index(&name[1..name.len() - 1]);
        let mut elements: Vec<_> =
            self.below.iter().filter_map(|(name, below)| Some((index(name)?, below))).collect();
        elements.sort_unstable_by_key(|(index, _)| *index);
        elements
    }
}

/// Writes what is chosen of the value that `first` begins, and says whether that was anything. Depth is
/// bounded by the reader.
fn keep(reader: &mut Reader<'_>, first: Token, chosen: &Chosen, out: &mut String) -> Result<bool, JsonError> {
    if chosen.whole {
        out.push_str(reader.finish_value(first)?);
        return Ok(true);
    }
    let (close, kept) = match first.kind {
        TokenKind::ObjectOpen => {
            out.push('{');
            ('}', keep_members(reader, chosen, out)?)
        }
        TokenKind::ArrayOpen => {
            out.push('[');
            (']', keep_elements(reader, chosen, out)?)
        }
        _ => return Ok(false),
    };
    out.push(close);
    Ok(kept)
}

fn keep_members(reader: &mut Reader<'_>, chosen: &Chosen, out: &mut String) -> Result<bool, JsonError> {
    let mut kept = false;
    loop {
        let token = reader.require_token()?;
        match token.kind {
            TokenKind::ObjectClose => return Ok(kept),
            TokenKind::Name { escaped } => {
                let name = canonical_string(reader.raw(token), escaped);
                let value = reader.member_value()?;
                let Some(below) = chosen.below.get(name.as_ref()) else {
                    reader.finish_value(value)?;
                    continue;
                };
                let before = out.len();
                separate(out);
                out.push_str(&name);
                out.push(':');
                if keep(reader, value, below, out)? {
                    kept = true;
                } else {
                    out.truncate(before);
                }
            }
            _ => {}
        }
    }
}

fn keep_elements(reader: &mut Reader<'_>, chosen: &Chosen, out: &mut String) -> Result<bool, JsonError> {
    let chosen = chosen.elements();
    let mut next = chosen.iter().peekable();
    let (mut index, mut kept) = (0, false);
    loop {
        let token = reader.require_token()?;
        match token.kind {
            TokenKind::ArrayClose => return Ok(kept),
            TokenKind::Comma => index += 1,
            _ => {
                let Some((_, below)) = next.next_if(|(at, _)| *at == index) else {
                    reader.finish_value(token)?;
                    continue;
                };
                let before = out.len();
                separate(out);
                if keep(reader, token, below, out)? {
                    kept = true;
                } else {
                    out.truncate(before);
                }
            }
        }
    }
}

/// Writes the comma before a member or element, unless it is the first.
fn separate(out: &mut String) {
    if !out.ends_with(['{', '[']) {
        out.push(',');
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    json::write_string(&mut out, text);
    out
}

/// An array index as RFC 6901 writes it: no sign, no leading zero.
fn array_index(token: &str) -> Option<usize> {
    let well_formed =
        token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    if well_formed { token.parse().ok() } else { None }
}

/// A JSON Pointer (RFC 6901) to something inside a payload; the empty pointer, to all of it, is refused.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct JsonPointer(String);

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPointer {
    #[error("a JSON Pointer to a claim must begin with `/`")]
    NoSlash,
    #[error("`~` in a JSON Pointer must be followed by 0 or 1")]
    BadEscape,
    #[error("a JSON Pointer must be at most 1024 bytes long")]
    TooLong,
    #[error("`claims` must list 1 to 64 JSON Pointers")]
    Count,
}

impl JsonPointer {
    pub fn parse(text: &str) -> Result<Self, InvalidPointer> {
        if text.len() > MAX_POINTER_BYTES {
            return Err(InvalidPointer::TooLong);
        }
        if !text.starts_with('/') {
            return Err(InvalidPointer::NoSlash);
        }
        if text.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
            return Err(InvalidPointer::BadEscape);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The reference tokens, unescaped.
    fn tokens(&self) -> impl Iterator<Item = String> {
        self.0.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"))
    }
}

impl fmt::Debug for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonPointer({:?})", self.0)
    }
}

impl Serialize for JsonPointer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for JsonPointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

fn some_pointers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<JsonPointer>, D::Error> {
    let pointers = Vec::<JsonPointer>::deserialize(deserializer)?;
    if !(1..=MAX_POINTERS).contains(&pointers.len()) {
        return Err(D::Error::custom(InvalidPointer::Count));
    }
    Ok(pointers)
}
