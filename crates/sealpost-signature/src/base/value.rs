//! The value of one component, written into a signature base. Whatever is written stays on one line and
//! within ASCII, so nothing a request holds can add a line to the base.

use std::borrow::Cow;

use super::{BaseError, Component, RequestParts};
use crate::structured_fields::is_tchar;

/// What the form encoding leaves as it is (WHATWG URL, application/x-www-form-urlencoded).
fn is_kept_in_forms(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"*-._".contains(&b)
}

pub(super) fn write(
    out: &mut String,
    component: &Component,
    parts: &RequestParts<'_>,
) -> Result<(), BaseError> {
    let refused = || BaseError::NotRepresentable { component: component.to_string() };
    let visible = |text: &str| {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) { Ok(()) } else { Err(refused()) }
    };
    match component {
        Component::Method => {
            if parts.method.is_empty() || !parts.method.bytes().all(is_tchar) {
                return Err(refused());
            }
            out.push_str(parts.method);
        }
        Component::RequestTarget => {
            visible(parts.request_target)?;
            out.push_str(parts.request_target);
        }
        Component::Scheme => {
            visible(parts.scheme)?;
            push_lower(out, parts.scheme);
        }
        Component::Authority => {
            visible(parts.authority)?;
            push_authority(out, parts);
        }
        Component::TargetUri => {
            visible(parts.scheme)?;
            visible(parts.authority)?;
            let (path, query) = path_and_query(parts).ok_or_else(refused)?;
            push_lower(out, parts.scheme);
            out.push_str("://");
            push_authority(out, parts);
            out.push_str(path);
            if let Some(query) = query {
                out.push('?');
                out.push_str(query);
            }
        }
        Component::Path => out.push_str(path_and_query(parts).ok_or_else(refused)?.0),
        Component::Query => {
            out.push('?');
            out.push_str(path_and_query(parts).ok_or_else(refused)?.1.unwrap_or_default());
        }
        Component::QueryParam(name) => {
            let query = path_and_query(parts).ok_or_else(refused)?.1.unwrap_or_default();
            write_query_param(out, query, name)?;
        }
        Component::Field(name) => write_field(out, name, parts)?,
    }
    Ok(())
}

/// Writes the combined value of a field: lines trimmed, folds undone, joined with `, `.
pub(crate) fn write_field(out: &mut String, name: &str, parts: &RequestParts<'_>) -> Result<(), BaseError> {
    let refused = || BaseError::NotRepresentable { component: name.to_owned() };
    let mut present = false;
    for line in parts.lines(name) {
        if present {
            out.push_str(", ");
        }
        present = true;
        let line = line.trim_matches([' ', '\t', '\r', '\n']);
        let mut folds = line.split('\n').peekable();
        while let Some(fold) = folds.next() {
            let last = folds.peek().is_none();
            // Only a line break followed by blank space is a fold; any other would start a new line.
            if folds.peek().is_some_and(|next| !next.starts_with([' ', '\t'])) {
                return Err(refused());
            }
            let fold = if last { fold } else { fold.strip_suffix('\r').unwrap_or(fold) };
            let fold = fold.trim_matches([' ', '\t']);
            if !fold.bytes().all(|b| b == b'\t' || (0x20..=0x7e).contains(&b)) {
                return Err(refused());
            }
            out.push_str(fold);
            if !last {
                out.push(' ');
            }
        }
    }
    if present { Ok(()) } else { Err(BaseError::MissingComponent { component: name.to_owned() }) }
}

/// Path and query of an origin-form target; `None` for any other form.
fn path_and_query<'a>(parts: &RequestParts<'a>) -> Option<(&'a str, Option<&'a str>)> {
    let target = parts.request_target;
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    match path {
        "" => Some(("/", query)),
        _ if path.starts_with('/') => Some((path, query)),
        _ => None,
    }
}

/// Lower case, without the port that the scheme implies.
fn push_authority(out: &mut String, parts: &RequestParts<'_>) {
    let implied = |port: &str| match port {
        "" => true,
        "443" => parts.scheme.eq_ignore_ascii_case("https"),
        "80" => parts.scheme.eq_ignore_ascii_case("http"),
        _ => false,
    };
    let host = match parts.authority.rsplit_once(':') {
        Some((host, port)) if implied(port) => host,
        _ => parts.authority,
    };
    push_lower(out, host);
}

fn push_lower(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| c.to_ascii_lowercase()));
}

fn write_query_param(out: &mut String, query: &str, wanted: &str) -> Result<(), BaseError> {
    let mut found = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if recoded(name) == wanted && found.replace(value).is_some() {
            return Err(BaseError::RepeatedQueryParameter { name: wanted.to_owned() });
        }
    }
    let value = found.ok_or_else(|| BaseError::MissingComponent {
        component: Component::QueryParam(Cow::Owned(wanted.to_owned())).to_string(),
    })?;
    out.push_str(&recoded(value));
    Ok(())
}

/// Undoes form encoding and encodes again in the one way RFC 9421 2.2.8 asks for.
fn recoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match (first, tail) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (other, _) => *other,
        });
    }
    let mut out = String::with_capacity(bytes.len());
    for b in String::from_utf8_lossy(&bytes).bytes() {
        if is_kept_in_forms(b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}
