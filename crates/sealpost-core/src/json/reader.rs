//! Reading a JSON text token by token, or an object member by member, without building anything.

use std::borrow::Cow;

use super::string::{canonical_string, plain_run};
use super::{JsonError, JsonErrorKind, MAX_DEPTH};

/// One lexical element, as a range of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenKind {
    ObjectOpen,
    ObjectClose,
    ArrayOpen,
    ArrayClose,
    Colon,
    Comma,
    /// A member name, quotes included. `escaped`: it holds a backslash.
    Name {
        escaped: bool,
    },
    String {
        escaped: bool,
    },
    Number,
    /// `true`, `false` or `null`.
    Literal,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Container {
    Object,
    Array,
}

/// What the grammar allows next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Due {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

impl Due {
    fn name(self) -> &'static str {
        match self {
            Self::Value => "a value",
            Self::ValueOrEnd => "a value or `]`",
            Self::Name => "a member name",
            Self::NameOrEnd => "a member name or `}`",
            Self::Colon => "`:`",
            Self::CommaOrEnd => "`,` or the end of the array or object",
            Self::Nothing => "the end of the text",
        }
    }
}

/// Reads a text token by token and checks the whole grammar on the way; repeated names are
/// [`normalise`]'s business.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Container>,
    max_depth: usize,
    due: Due,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str, max_depth: usize) -> Self {
        Self { text, at: 0, open: Vec::new(), max_depth, due: Due::Value }
    }

    /// How many arrays and objects are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// The text of a token of this reader, quotes included.
    pub fn raw(&self, token: Token) -> &'a str {
        &self.text[token.start..token.end]
    }

    /// The next token, or `None` at the end of a complete text.
    pub fn next_token(&mut self) -> Result<Option<Token>, JsonError> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.at) {
            self.at += 1;
        }
        let start = self.at;
        let Some(&byte) = bytes.get(start) else {
            return match self.due {
                Due::Nothing => Ok(None),
                due => Err(self.error(start, JsonErrorKind::UnexpectedEnd(due.name()))),
            };
        };
        let kind = match (self.due, byte) {
            (Due::Value | Due::ValueOrEnd, b'{') => self.enter(Container::Object)?,
            (Due::Value | Due::ValueOrEnd, b'[') => self.enter(Container::Array)?,
            (Due::Value | Due::ValueOrEnd, b'"') => {
                let escaped = self.string()?;
                self.value_ended();
                TokenKind::String { escaped }
            }
            (Due::Value | Due::ValueOrEnd, b'-' | b'0'..=b'9') => {
                self.number()?;
                self.value_ended();
                TokenKind::Number
            }
            (Due::Value | Due::ValueOrEnd, b't') => self.literal("true")?,
            (Due::Value | Due::ValueOrEnd, b'f') => self.literal("false")?,
            (Due::Value | Due::ValueOrEnd, b'n') => self.literal("null")?,
            (Due::Name | Due::NameOrEnd, b'"') => {
                let escaped = self.string()?;
                self.due = Due::Colon;
                TokenKind::Name { escaped }
            }
            (Due::Colon, b':') => self.punctuation(TokenKind::Colon, Due::Value),
            (Due::CommaOrEnd, b',') => {
                let due = if self.open.last() == Some(&Container::Object) { Due::Name } else { Due::Value };
                self.punctuation(TokenKind::Comma, due)
            }
            (Due::NameOrEnd | Due::CommaOrEnd, b'}') if self.open.last() == Some(&Container::Object) => {
                self.leave(TokenKind::ObjectClose)
            }
            (Due::ValueOrEnd | Due::CommaOrEnd, b']') if self.open.last() == Some(&Container::Array) => {
                self.leave(TokenKind::ArrayClose)
            }
            (Due::Nothing, _) => return Err(self.error(start, JsonErrorKind::TrailingText)),
            (due, _) => return Err(self.error(start, JsonErrorKind::Unexpected(due.name()))),
        };
        Ok(Some(Token { kind, start, end: self.at }))
    }

    /// The next token of a text that is not complete yet.
    pub fn require_token(&mut self) -> Result<Token, JsonError> {
        let due = self.due;
        self.next_token()?.ok_or_else(|| self.error(self.at, JsonErrorKind::UnexpectedEnd(due.name())))
    }

    /// The rest of the value that `first` begins, as raw text.
    pub fn finish_value(&mut self, first: Token) -> Result<&'a str, JsonError> {
        let mut last = first;
        if matches!(first.kind, TokenKind::ObjectOpen | TokenKind::ArrayOpen) {
            let outside = self.depth() - 1;
            while self.depth() > outside {
                last = self.require_token()?;
            }
        }
        Ok(&self.text[first.start..last.end])
    }

    /// Enters the object that must begin here.
    pub fn require_object(&mut self) -> Result<(), JsonError> {
        let token = self.require_token()?;
        if token.kind != TokenKind::ObjectOpen {
            return Err(self.error(token.start, JsonErrorKind::Unexpected("an object")));
        }
        Ok(())
    }

    /// The first token of a member's value, after its name.
    pub fn member_value(&mut self) -> Result<Token, JsonError> {
        // The grammar lets nothing but the colon follow a name.
        self.require_token()?;
        self.require_token()
    }

    fn error(&self, offset: usize, kind: JsonErrorKind) -> JsonError {
        JsonError { offset, kind }
    }

    fn enter(&mut self, container: Container) -> Result<TokenKind, JsonError> {
        if self.open.len() >= self.max_depth {
            return Err(self.error(self.at, JsonErrorKind::TooDeep(self.max_depth)));
        }
        self.open.push(container);
        self.at += 1;
        let (kind, due) = match container {
            Container::Object => (TokenKind::ObjectOpen, Due::NameOrEnd),
            Container::Array => (TokenKind::ArrayOpen, Due::ValueOrEnd),
        };
        self.due = due;
        Ok(kind)
    }

    fn leave(&mut self, kind: TokenKind) -> TokenKind {
        self.open.pop();
        self.at += 1;
        self.value_ended();
        kind
    }

    fn punctuation(&mut self, kind: TokenKind, due: Due) -> TokenKind {
        self.at += 1;
        self.due = due;
        kind
    }

    fn value_ended(&mut self) {
        self.due = if self.open.is_empty() { Due::Nothing } else { Due::CommaOrEnd };
    }

    fn literal(&mut self, word: &'static str) -> Result<TokenKind, JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error(self.at, JsonErrorKind::Unexpected(self.due.name())));
        }
        self.at += word.len();
        self.value_ended();
        Ok(TokenKind::Literal)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        let mut rest = &self.text.as_bytes()[start..];
        if let [b'-', after @ ..] = rest {
            rest = after;
        }
        let whole = digits(rest);
        let mut well_formed = whole == 1 || (whole > 1 && rest[0] != b'0');
        rest = &rest[whole..];
        if let [b'.', after @ ..] = rest {
            let fraction = digits(after);
            well_formed &= fraction > 0;
            rest = &after[fraction..];
        }
        if let [b'e' | b'E', after @ ..] = rest {
            let after = match after {
                [b'+' | b'-', after @ ..] => after,
                _ => after,
            };
            let exponent = digits(after);
            well_formed &= exponent > 0;
            rest = &after[exponent..];
        }
        if !well_formed {
            return Err(self.error(start, JsonErrorKind::BadNumber));
        }
        self.at = self.text.len() - rest.len();
        Ok(())
    }

    /// Moves past a string and says whether it holds an escape.
    fn string(&mut self) -> Result<bool, JsonError> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        let mut escaped = false;
        loop {
            at += plain_run(&bytes[at..]);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += match &bytes[at + 1..] {
                        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
                        [b'u', a, b, c, d, ..]
                            if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
                        {
                            6
                        }
                        _ => return Err(self.error(at, JsonErrorKind::BadEscape)),
                    };
                }
                Some(_) => return Err(self.error(at, JsonErrorKind::ControlCharacter)),
                None => return Err(self.error(at, JsonErrorKind::UnexpectedEnd("`\"`"))),
            }
        }
        self.at = at + 1;
        Ok(escaped)
    }
}

/// A member of an object, read by [`Members`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member<'a> {
    /// In canonical spelling, quotes included.
    pub name: Cow<'a, str>,
    /// As it was written.
    pub value: &'a str,
}

/// The members of the object that a whole text is, in order. The text's grammar has been checked
/// completely only when this ends without an error.
#[derive(Debug)]
pub struct Members<'a> {
    reader: Reader<'a>,
    done: bool,
}

impl<'a> Members<'a> {
    pub fn of(text: &'a str) -> Self {
        Self { reader: Reader::new(text, MAX_DEPTH), done: false }
    }

    fn advance(&mut self) -> Result<Option<Member<'a>>, JsonError> {
        if self.reader.depth() == 0 {
            self.reader.require_object()?;
        }
        loop {
            let token = self.reader.require_token()?;
            match token.kind {
                TokenKind::Name { escaped } => {
                    let name = canonical_string(self.reader.raw(token), escaped);
                    let value = self.reader.member_value()?;
                    return Ok(Some(Member { name, value: self.reader.finish_value(value)? }));
                }
                TokenKind::ObjectClose => {
                    self.done = true;
                    return self.reader.next_token().map(|_| None);
                }
                _ => {}
            }
        }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.advance();
        self.done |= next.is_err();
        next.transpose()
    }
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}
