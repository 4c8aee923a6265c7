//! Where a list goes on. A cursor is unpadded base64url of form-encoded members that name the last object seen:
//! `createdAt=2022-08-22T01%3A59%3A19.620Z&id=<uuid>` (analytic events say `timestamp`), or `name=<type>` for the catalogue. Padded and standard base64
//! are read too, also with its `+` turned into a space on the way through a query.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sealpost_core::id::WebhookId;
use sealpost_core::time::Timestamp;
use sealpost_store::page::{After, Page};
use url::form_urlencoded::{Serializer, parse};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Ours have at most 200.
const BYTES_MAX: usize = 512;

/// What most cursors call the time.
pub(super) const CREATED_AT: &str = "createdAt";

pub(super) fn encode(at: Timestamp, id: impl Display) -> String {
    encode_by(CREATED_AT, at, id)
}

fn encode_by(time: &str, at: Timestamp, id: impl Display) -> String {
    encode_members(&[(time, &at.to_string()), ("id", &id.to_string())])
}

pub(super) fn decode<Id: FromStr>(time: &str, text: &str) -> Option<After<Id>> {
    let members = decode_members(text)?;
    match members.as_slice() {
        [(at_name, at), (id_name, id)] if at_name == time && id_name == "id" => {
            Some(After { at: at.parse().ok()?, id: id.parse().ok()? })
        }
        _ => None,
    }
}

/// Whether it is one that the list of webhooks gave.
pub(super) fn is_one(text: &str) -> bool {
    decode::<WebhookId>(CREATED_AT, text).is_some()
}

/// The cursor behind the last row, if anything comes after it.
pub(super) fn next<T, Id: Display>(page: &Page<T>, key: impl Fn(&T) -> (Timestamp, Id)) -> Option<String> {
    next_by(CREATED_AT, page, key)
}

pub(super) fn next_by<T, Id: Display>(
    time: &str,
    page: &Page<T>,
    key: impl Fn(&T) -> (Timestamp, Id),
) -> Option<String> {
    let (at, id) = key(page.rows.last().filter(|_| page.more)?);
    Some(encode_by(time, at, id))
}

pub(super) fn encode_name(name: &str) -> String {
    encode_members(&[("name", name)])
}

pub(super) fn decode_name(text: &str) -> Option<String> {
    match decode_members(text)?.as_slice() {
        [(member, name)] if member == "name" => Some(name.clone()),
        _ => None,
    }
}

fn encode_members(members: &[(&str, &str)]) -> String {
    BASE64.encode(Serializer::new(String::new()).extend_pairs(members).finish())
}

fn decode_members(text: &str) -> Option<Vec<(String, String)>> {
    if text.len() > BYTES_MAX {
        return None;
    }
    let url_safe: String = text
        .chars()
        .map(|c| match c {
            '+' | ' ' => '-',
            '/' => '_',
            other => other,
        })
        .collect();
    let bytes = BASE64.decode(url_safe).ok()?;
    std::str::from_utf8(&bytes).ok()?;
    Some(parse(&bytes).into_owned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = "Y3JlYXRlZEF0PTIwMjItMDgtMjJUMDElM0E1OSUzQTE5LjYyMFomaWQ9MGMwOTk2MTEtMTljNC00ZjI5LTg3MjQtNmI5ZTViYTFlZjdj";

    #[test]
    fn the_documented_cursor_is_read_and_written() {
        let after: After<WebhookId> = decode(CREATED_AT, DOCUMENTED).unwrap();
        assert_eq!(
            (after.at.to_string(), after.id.to_string()),
            ("2022-08-22T01:59:19.620Z".into(), "0c099611-19c4-4f29-8724-6b9e5ba1ef7c".into())
        );
        assert_eq!(encode(after.at, after.id), DOCUMENTED);
    }

    #[test]
    fn other_spellings_of_base64_are_read_and_nothing_else() {
        let read = |text: &str| decode::<WebhookId>(CREATED_AT, text).is_some();
        let members = "createdAt=2022-08-22T01%3A59%3A19.62Z&id=0c099611-19c4-4f29-8724-6b9e5ba1ef7c";
        let padded = base64::engine::general_purpose::STANDARD.encode(members);
        assert!(padded.ends_with('=') && read(&padded));
        // `~~>` and `~~?` give `+` and `/` in standard base64.
        let name = |c| base64::engine::general_purpose::STANDARD.encode(format!("name=a~~{c}"));
        for text in [name('>'), name('?'), name('>').replace('+', " ")] {
            assert!(decode_name(&text).is_some(), "{text}");
        }
        for bad in [
            "",
            "abc",
            "%%%",
            "bmFtZT1h",
            &"A".repeat(600),
            &base64::engine::general_purpose::STANDARD.encode("id=1&createdAt=2"),
        ] {
            assert!(!read(bad), "{bad}");
        }
    }
}
