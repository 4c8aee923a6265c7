//! The one spelling of a string that `JSON.stringify` writes.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Writes `text` as a JSON string, quotes included, escaped as `JSON.stringify` does.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, after) = rest.split_at(plain_run(rest.as_bytes()));
        out.push_str(plain);
        let mut characters = after.chars();
        match characters.next() {
            Some(special) => write_character(out, special),
            None => break,
        }
        rest = characters.as_str();
    }
    out.push('"');
}

/// A string token in its one canonical spelling, so that equal names are equal texts.
/// `raw` includes the quotes and has passed a [`Reader`].
pub fn canonical_string(raw: &str, escaped: bool) -> Cow<'_, str> {
    if !escaped {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    rewrite_string(&mut out, raw);
    Cow::Owned(out)
}

/// Copies a string token that passed the reader, quotes included, in canonical spelling.
pub(super) fn rewrite_string(out: &mut String, raw: &str) {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        rest = rewrite_escape(out, escape);
    }
    out.push_str(rest);
}

/// Writes what the escape at the start of `text` stands for and returns what follows it.
fn rewrite_escape<'a>(out: &mut String, text: &'a str) -> &'a str {
    let Some(unit) = code_unit(text) else {
        match text.as_bytes().get(1) {
            Some(b'/') => out.push('/'),
            // The other short escapes are canonical.
            _ => out.push_str(&text[..2]),
        }
        return &text[2..];
    };
    let after = &text[6..];
    let pair = code_unit(after).map(|second| char::decode_utf16([unit, second]).next());
    match (char::from_u32(u32::from(unit)), pair) {
        (Some(character), _) => write_character(out, character),
        (None, Some(Some(Ok(character)))) => {
            out.push(character);
            return &after[6..];
        }
        (None, _) => {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    after
}

/// The code unit of a `\uXXXX` at the start of `text`.
fn code_unit(text: &str) -> Option<u16> {
    let hex = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(hex, 16).ok()
}

/// Writes one character of a string's content.
fn write_character(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\u{c}' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        '\0'..='\u{1f}' => {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        }
        _ => out.push(character),
    }
}

/// How many bytes from the start need no attention in a string: neither quote, backslash nor control
/// character. Eight at a time, since most of a credential is long base64.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let mut run = 0;
    let (chunks, tail) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
        let quote = has_zero(word ^ (ONES * u64::from(b'"')));
        let backslash = has_zero(word ^ (ONES * u64::from(b'\\')));
        // A borrow can only mark bytes above a true hit, so the lowest mark is right.
        let special = below_space | quote | backslash;
        if special != 0 {
            return run + special.trailing_zeros() as usize / 8;
        }
        run += 8;
    }
    run + tail.iter().take_while(|byte| !matches!(byte, 0..=0x1f | b'"' | b'\\')).count()
}
