//! JSON as text: a strict reader that never builds a tree, and [`normalise`], which rewrites a text into
//! the white space and string escapes of ECMAScript's `JSON.stringify` and changes nothing else.
//!
//! Member order and the spelling of every number stay, so 64-bit integers and `1e-07` survive. The grammar
//! is RFC 8259 to the letter. Member names that are equal after unescaping are refused: two readers of one
//! signed body must not see different values. Lone surrogates stay escaped, as `JSON.stringify` writes them.
//!
//! Time is linear but for a sort of the names of large objects; depth is bounded and nothing recurses.

mod normalise;
mod reader;
mod string;

use std::fmt;

pub use normalise::normalise;
pub use reader::{Member, Members, Reader, Token, TokenKind};
pub use string::{canonical_string, write_string};

/// Nested arrays and objects in one text. Real credentials stay below 20; readers elsewhere recurse.
pub const MAX_DEPTH: usize = 64;
/// Objects up to this many members are searched for repeated names pairwise, which needs no sort.
pub const PAIRWISE_NAMES: usize = 16;
/// How much of a member's path an error repeats.
pub const MAX_PATH_BYTES: usize = 200;

/// Where a text stops being acceptable JSON, and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    /// Byte offset in the text as it was given.
    pub offset: usize,
    pub kind: JsonErrorKind,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JsonErrorKind {
    /// The text ends where something was still due.
    UnexpectedEnd(&'static str),
    Unexpected(&'static str),
    BadNumber,
    BadEscape,
    /// A character below U+0020 stands unescaped in a string.
    ControlCharacter,
    TrailingText,
    TooDeep(usize),
    /// The member's path, as a JSON Pointer over escaped names.
    DuplicateName(String),
}

impl fmt::Display for JsonErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedEnd(due) => write!(f, "the text ends where {due} was expected,"),
            Self::Unexpected(due) => write!(f, "expected {due}"),
            Self::BadNumber => f.write_str("malformed number"),
            Self::BadEscape => f.write_str("malformed escape in a string"),
            Self::ControlCharacter => f.write_str("unescaped control character in a string"),
            Self::TrailingText => f.write_str("text after the end of the value"),
            Self::TooDeep(limit) => write!(f, "more than {limit} nested arrays and objects"),
            Self::DuplicateName(path) => write!(f, "repeated member name `{path}`"),
        }
    }
}
