//! Structured Field Values (RFC 9651), the part that signature fields are made of: dictionaries of inner
//! lists and items with parameters.
//!
//! Stricter than the RFC where leniency would make two readers disagree: a repeated dictionary member or
//! parameter is refused instead of overwritten, base64 must be padded and canonical. Display Strings are
//! not read. Parsing never panics, never recurses, and is bounded by `limits`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::limits::{MAX_COMPONENTS, MAX_FIELD_BYTES, MAX_MEMBERS, MAX_PARAMETERS};

/// The largest integer a structured field can carry, and the negated smallest.
pub const MAX_INTEGER: i64 = 999_999_999_999_999;

/// Why a field is not well formed, and at which byte reading stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct FieldError {
    pub at: usize,
    pub reason: &'static str,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BareItem {
    Integer(i64),
    /// In thousandths, which is all the precision the format has.
    Decimal(i64),
    String(String),
    Token(String),
    Bytes(Vec<u8>),
    Boolean(bool),
    Date(i64),
}

impl BareItem {
    /// Whether the value can be written so that it reads back the same. What was read always can.
    pub fn is_valid(&self) -> bool {
        let in_range = |n: i64| (-MAX_INTEGER..=MAX_INTEGER).contains(&n);
        match self {
            Self::Integer(n) | Self::Decimal(n) | Self::Date(n) => in_range(*n),
            Self::String(text) => is_string(text),
            Self::Token(text) => {
                let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*');
                starts && text.bytes().all(continues_token)
            }
            Self::Bytes(_) | Self::Boolean(_) => true,
        }
    }
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Params(pub Vec<(String, BareItem)>);

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    pub value: BareItem,
    pub params: Params,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InnerList {
    pub items: Vec<Item>,
    pub params: Params,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Member {
    Item(Item),
    InnerList(InnerList),
}

/// A dictionary in the order received. Keys are unique.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Dictionary(pub Vec<(String, Member)>);

impl Dictionary {
    pub fn parse(field: &str) -> Result<Self, FieldError> {
        let mut reader = Reader { input: field.as_bytes(), at: 0 };
        if field.len() > MAX_FIELD_BYTES {
            return reader.fail("the field is too long");
        }
        reader.dictionary()
    }

    pub fn get(&self, key: &str) -> Option<&Member> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, member)| member)
    }

    pub fn into_member(self, key: &str) -> Option<Member> {
        self.0.into_iter().find(|(name, _)| name == key).map(|(_, member)| member)
    }
}

/// Whether `text` may stand in a structured field String.
pub fn is_string(text: &str) -> bool {
    text.bytes().all(|b| (0x20..=0x7e).contains(&b))
}

/// Whether `text` may be a dictionary key or parameter name.
pub fn is_key(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(starts_key) && bytes.all(continues_key)
}

/// Writes a String with its quotes. The caller has made sure of [`is_string`].
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Writes a Byte Sequence with its colons.
pub fn write_bytes(out: &mut String, bytes: &[u8]) {
    out.push(':');
    STANDARD.encode_string(bytes, out);
    out.push(':');
}

/// Writes one parameter in canonical form, with its semicolon.
pub fn write_param(out: &mut String, name: &str, value: &BareItem) {
    out.push(';');
    out.push_str(name);
    if *value != BareItem::Boolean(true) {
        out.push('=');
        write_bare(out, value);
    }
}

fn write_bare(out: &mut String, value: &BareItem) {
    // Writing to a String cannot fail.
    let _ = match value {
        BareItem::Integer(n) => write!(out, "{n}"),
        BareItem::Date(n) => write!(out, "@{n}"),
        BareItem::Boolean(b) => write!(out, "?{}", u8::from(*b)),
        BareItem::Token(t) => write!(out, "{t}"),
        BareItem::Decimal(thousandths) => {
            let sign = if *thousandths < 0 { "-" } else { "" };
            let size = thousandths.unsigned_abs();
            let fraction = format!("{:03}", size % 1000);
            let kept = fraction.trim_end_matches('0');
            write!(out, "{sign}{}.{}", size / 1000, if kept.is_empty() { "0" } else { kept })
        }
        BareItem::String(text) => {
            write_string(out, text);
            Ok(())
        }
        BareItem::Bytes(bytes) => {
            write_bytes(out, bytes);
            Ok(())
        }
    };
}

fn starts_key(b: u8) -> bool {
    b.is_ascii_lowercase() || b == b'*'
}

fn continues_key(b: u8) -> bool {
    starts_key(b) || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.')
}

fn continues_token(b: u8) -> bool {
    is_tchar(b) || matches!(b, b':' | b'/')
}

/// Whether `b` may stand in an HTTP token (RFC 9110, 5.6.2).
pub(crate) fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn fail<T>(&self, reason: &'static str) -> Result<T, FieldError> {
        Err(FieldError { at: self.at, reason })
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&skipped) {
            self.at += 1;
        }
    }

    fn dictionary(&mut self) -> Result<Dictionary, FieldError> {
        let mut members: Vec<(String, Member)> = Vec::new();
        self.skip(|b| b == b' ');
        while self.peek().is_some() {
            let key = self.key()?;
            if members.iter().any(|(name, _)| *name == key) {
                return self.fail("a member is repeated");
            }
            if members.len() == MAX_MEMBERS {
                return self.fail("there are too many members");
            }
            let member = if self.take(b'=') {
                self.member()?
            } else {
                Member::Item(Item { value: BareItem::Boolean(true), params: self.params()? })
            };
            members.push((key, member));
            self.skip(|b| matches!(b, b' ' | b'\t'));
            if self.peek().is_none() {
                break;
            }
            if !self.take(b',') {
                return self.fail("a comma was expected");
            }
            self.skip(|b| matches!(b, b' ' | b'\t'));
            if self.peek().is_none() {
                return self.fail("the field ends with a comma");
            }
        }
        Ok(Dictionary(members))
    }

    fn member(&mut self) -> Result<Member, FieldError> {
        if !self.take(b'(') {
            return Ok(Member::Item(self.item()?));
        }
        let mut items = Vec::new();
        loop {
            self.skip(|b| b == b' ');
            if self.take(b')') {
                return Ok(Member::InnerList(InnerList { items, params: self.params()? }));
            }
            if items.len() == MAX_COMPONENTS {
                return self.fail("the inner list is too long");
            }
            items.push(self.item()?);
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return self.fail("a space or a closing parenthesis was expected");
            }
        }
    }

    fn item(&mut self) -> Result<Item, FieldError> {
        Ok(Item { value: self.bare()?, params: self.params()? })
    }

    fn params(&mut self) -> Result<Params, FieldError> {
        let mut params: Vec<(String, BareItem)> = Vec::new();
        while self.take(b';') {
            self.skip(|b| b == b' ');
            let key = self.key()?;
            if params.iter().any(|(name, _)| *name == key) {
                return self.fail("a parameter is repeated");
            }
            if params.len() == MAX_PARAMETERS {
                return self.fail("there are too many parameters");
            }
            let value = if self.take(b'=') { self.bare()? } else { BareItem::Boolean(true) };
            params.push((key, value));
        }
        Ok(Params(params))
    }

    fn key(&mut self) -> Result<String, FieldError> {
        let start = self.at;
        if !self.peek().is_some_and(starts_key) {
            return self.fail("a key was expected");
        }
        self.skip(continues_key);
        Ok(self.text_from(start))
    }

    fn bare(&mut self) -> Result<BareItem, FieldError> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'"') => self.string(),
            Some(b':') => self.bytes(),
            Some(b'?') => {
                self.at += 1;
                if self.take(b'1') {
                    Ok(BareItem::Boolean(true))
                } else if self.take(b'0') {
                    Ok(BareItem::Boolean(false))
                } else {
                    self.fail("a boolean is ?0 or ?1")
                }
            }
            Some(b'@') => {
                self.at += 1;
                match self.number()? {
                    BareItem::Integer(seconds) => Ok(BareItem::Date(seconds)),
                    _ => self.fail("a date is a whole number"),
                }
            }
            Some(b) if b.is_ascii_alphabetic() || b == b'*' => {
                let start = self.at;
                self.skip(continues_token);
                Ok(BareItem::Token(self.text_from(start)))
            }
            _ => self.fail("a value was expected"),
        }
    }

    fn number(&mut self) -> Result<BareItem, FieldError> {
        let negative = self.take(b'-');
        let (whole, digits) = self.digits(15)?;
        let sign = if negative { -1 } else { 1 };
        if !self.take(b'.') {
            return Ok(BareItem::Integer(sign * whole));
        }
        if digits > 12 {
            return self.fail("the decimal is too long");
        }
        let (fraction, places) = self.digits(3)?;
        let scale = [1, 100, 10, 1].get(places).copied().unwrap_or(1);
        Ok(BareItem::Decimal(sign * (whole * 1000 + fraction * scale)))
    }

    /// Reads 1 to `most` digits; `most` keeps the sum far inside an `i64`.
    fn digits(&mut self, most: usize) -> Result<(i64, usize), FieldError> {
        let (mut sum, mut count) = (0_i64, 0);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if count == most {
                return self.fail("the number is too long");
            }
            sum = sum * 10 + i64::from(digit - b'0');
            count += 1;
            self.at += 1;
        }
        if count == 0 { self.fail("a digit was expected") } else { Ok((sum, count)) }
    }

    fn string(&mut self) -> Result<BareItem, FieldError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(BareItem::String(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(escaped @ (b'"' | b'\\')) => text.push(char::from(escaped)),
                        _ => return self.fail("only a quote or a backslash may be escaped"),
                    }
                }
                Some(b @ 0x20..=0x7e) => text.push(char::from(b)),
                Some(_) => return self.fail("a string holds printable ASCII only"),
                None => return self.fail("the string does not end"),
            }
            self.at += 1;
        }
    }

    fn bytes(&mut self) -> Result<BareItem, FieldError> {
        self.at += 1;
        let start = self.at;
        self.skip(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        let encoded = self.text_from(start);
        if !self.take(b':') {
            return self.fail("the byte sequence does not end");
        }
        match STANDARD.decode(&encoded) {
            Ok(bytes) => Ok(BareItem::Bytes(bytes)),
            Err(_) => self.fail("the byte sequence is not canonical base64"),
        }
    }

    /// The text from `start` to here, all of it bytes that were checked to be ASCII.
    fn text_from(&self, start: usize) -> String {
        self.input.get(start..self.at).unwrap_or_default().iter().copied().map(char::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(field: &str) -> String {
        match Dictionary::parse(field) {
            Err(error) => error.to_string(),
            Ok(dictionary) => {
                let mut out = String::new();
                for (key, member) in &dictionary.0 {
                    out.push_str(&format!("[{key}]"));
                    let params = match member {
                        Member::Item(item) => {
                            write_bare(&mut out, &item.value);
                            &item.params
                        }
                        Member::InnerList(list) => {
                            out.push('(');
                            for item in &list.items {
                                write_bare(&mut out, &item.value);
                                item.params.0.iter().for_each(|(n, v)| write_param(&mut out, n, v));
                                out.push('|');
                            }
                            out.push(')');
                            &list.params
                        }
                    };
                    params.0.iter().for_each(|(n, v)| write_param(&mut out, n, v));
                }
                out
            }
        }
    }

    #[test]
    fn what_is_well_formed_is_read_and_written_canonically() {
        for (field, wanted) in [
            ("", ""),
            ("a", "[a]?1"),
            ("  a=?0 ", "[a]?0"),
            ("a=1,\t b=-02", "[a]1[b]-2"),
            (
                "a=(  \"x\";sf  \"y\" );created=1;  keyid=\"k\\\"\"",
                "[a](\"x\";sf|\"y\"|);created=1;keyid=\"k\\\"\"",
            ),
            ("a=()", "[a]()"),
            ("a=:aGk=:", "[a]:aGk=:"),
            ("a=::", "[a]::"),
            ("a=1.50, b=-0.001, c=2.0", "[a]1.5[b]-0.001[c]2.0"),
            ("a=*tok/en:x;q", "[a]*tok/en:x;q"),
            ("a=@1659578233", "[a]@1659578233"),
            ("a=999999999999999", "[a]999999999999999"),
        ] {
            assert_eq!(parsed(field), wanted, "{field}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_refused_with_its_place() {
        for (field, wanted) in [
            ("a,", "the field ends with a comma at byte 2"),
            ("a b", "a comma was expected at byte 2"),
            ("a=1, a=2", "a member is repeated at byte 6"),
            ("a;b=1;b=2", "a parameter is repeated at byte 7"),
            ("A=1", "a key was expected at byte 0"),
            ("a=", "a value was expected at byte 2"),
            ("a=(\"x\"\"y\")", "a space or a closing parenthesis was expected at byte 6"),
            ("a=(\"x\"", "a space or a closing parenthesis was expected at byte 6"),
            ("a=(\"x\" ", "a value was expected at byte 7"),
            ("a=((\"x\"))", "a value was expected at byte 3"),
            ("a=\"x", "the string does not end at byte 4"),
            ("a=\"\\n\"", "only a quote or a backslash may be escaped at byte 4"),
            ("a=\"é\"", "a string holds printable ASCII only at byte 3"),
            ("a=:aGk:", "the byte sequence is not canonical base64 at byte 7"),
            ("a=:aGl=:", "the byte sequence is not canonical base64 at byte 8"),
            ("a=:aG k=:", "the byte sequence does not end at byte 5"),
            ("a=1000000000000000", "the number is too long at byte 17"),
            ("a=1234567890123.0", "the decimal is too long at byte 16"),
            ("a=1.", "a digit was expected at byte 4"),
            ("a=-", "a digit was expected at byte 3"),
            ("a=?2", "a boolean is ?0 or ?1 at byte 3"),
            ("a=%\"x\"", "a value was expected at byte 2"),
        ] {
            assert_eq!(parsed(field), wanted, "{field}");
        }
    }

    #[test]
    fn every_bound_holds() {
        let members: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("k{n}")).collect();
        assert!(parsed(&members.join(",")).starts_with("there are too many members"));
        let params: String = (0..=MAX_PARAMETERS).map(|n| format!(";p{n}")).collect();
        assert!(parsed(&format!("a{params}")).starts_with("there are too many parameters"));
        let items = vec!["1"; MAX_COMPONENTS + 1].join(" ");
        assert!(parsed(&format!("a=({items})")).starts_with("the inner list is too long"));
        assert_eq!(parsed(&"a".repeat(MAX_FIELD_BYTES + 1)), "the field is too long at byte 0");
    }
}
