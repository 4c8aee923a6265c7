//! Rewriting a text while it is read, and refusing repeated member names.

use std::fmt::Write as _;

use super::reader::{Reader, Token, TokenKind};
use super::string::rewrite_string;
use super::{JsonError, JsonErrorKind, MAX_PATH_BYTES, PAIRWISE_NAMES};

/// Rewrites a text into the form `JSON.stringify` gives its strings and white space. See the module's words.
pub fn normalise(text: &str, max_depth: usize) -> Result<String, JsonError> {
    let mut reader = Reader::new(text, max_depth);
    let mut out = Out { text, written: String::with_capacity(text.len()), run_start: 0, run_end: 0 };
    let mut names: Vec<Name> = Vec::new();
    let mut frames: Vec<Frame> = Vec::new();
    while let Some(token) = reader.next_token()? {
        match token.kind {
            TokenKind::Name { escaped } => {
                let start = out.len();
                out.string(token, escaped);
                names.push(Name { start, end: out.len(), offset: token.start });
            }
            TokenKind::String { escaped } => out.string(token, escaped),
            TokenKind::ObjectOpen | TokenKind::ArrayOpen => {
                let object = token.kind == TokenKind::ObjectOpen;
                frames.push(Frame { object, first_name: names.len(), element: 0 });
                out.keep(token);
            }
            TokenKind::ObjectClose => {
                out.keep(token);
                let first_name = frames.last().map_or(0, |frame| frame.first_name);
                if names.len() - first_name > 1 {
                    out.flush();
                    if let Some(repeated) = repeated_name(&names[first_name..], &out.written) {
                        let path = path_of(&frames, &names, repeated, &out.written);
                        return Err(JsonError {
                            offset: repeated.offset,
                            kind: JsonErrorKind::DuplicateName(path),
                        });
                    }
                }
                names.truncate(first_name);
                frames.pop();
            }
            TokenKind::ArrayClose => {
                out.keep(token);
                frames.pop();
            }
            TokenKind::Comma => {
                if let Some(frame) = frames.last_mut() {
                    frame.element += 1;
                }
                out.keep(token);
            }
            TokenKind::Colon | TokenKind::Number | TokenKind::Literal => out.keep(token),
        }
    }
    out.flush();
    Ok(out.written)
}

/// A member's name while its object is open: its place in the output, and in the input for errors.
#[derive(Clone, Copy)]
struct Name {
    start: usize,
    end: usize,
    offset: usize,
}

impl Name {
    fn of(self, written: &str) -> &str {
        &written[self.start..self.end]
    }
}

/// An open array or object.
struct Frame {
    object: bool,
    first_name: usize,
    element: usize,
}

/// The output, copied from the input in runs as long as nothing changes: a text that is already in its
/// final form is one copy.
struct Out<'a> {
    text: &'a str,
    written: String,
    run_start: usize,
    run_end: usize,
}

impl Out<'_> {
    fn keep(&mut self, token: Token) {
        if token.start != self.run_end {
            self.flush();
            self.run_start = token.start;
        }
        self.run_end = token.end;
    }

    fn string(&mut self, token: Token, escaped: bool) {
        if !escaped {
            return self.keep(token);
        }
        self.flush();
        rewrite_string(&mut self.written, &self.text[token.start..token.end]);
        self.run_start = token.end;
        self.run_end = token.end;
    }

    fn flush(&mut self) {
        self.written.push_str(&self.text[self.run_start..self.run_end]);
        self.run_start = self.run_end;
    }

    /// The length of the output with the current run, and so the place of the next token in it.
    fn len(&self) -> usize {
        self.written.len() + (self.run_end - self.run_start)
    }
}

/// The repeated name that comes first in the input, if any.
fn repeated_name(names: &[Name], written: &str) -> Option<Name> {
    if names.len() <= PAIRWISE_NAMES {
        return names.iter().enumerate().find_map(|(index, name)| {
            names[..index].iter().any(|earlier| earlier.of(written) == name.of(written)).then_some(*name)
        });
    }
    // Sorting instead of hashing: nothing to seed against chosen collisions.
    let mut sorted = names.to_vec();
    sorted.sort_unstable_by(|a, b| a.of(written).cmp(b.of(written)).then(a.offset.cmp(&b.offset)));
    sorted
        .windows(2)
        .filter(|pair| pair[0].of(written) == pair[1].of(written))
        .map(|pair| pair[1])
        .min_by_key(|name| name.offset)
}

/// The path of `member` in the innermost open object, cut where it gets long.
fn path_of(frames: &[Frame], names: &[Name], member: Name, written: &str) -> String {
    let mut path = String::new();
    for (index, frame) in frames.iter().enumerate() {
        let last = index + 1 == frames.len();
        path.push('/');
        if !frame.object {
            let _ = write!(path, "{}", frame.element);
        } else {
            // The name whose value is open is the last one before the next frame's own.
            let inner_first = frames.get(index + 1).map_or(names.len(), |inner| inner.first_name);
            let name = if last { Some(&member) } else { names[frame.first_name..inner_first].last() };
            let name = name.map_or("\"\"", |name| name.of(written));
            let name = &name[1..name.len() - 1];
            path.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        if path.len() > MAX_PATH_BYTES {
            path.truncate(path.floor_char_boundary(MAX_PATH_BYTES));
            path.push('…');
            break;
        }
    }
    path
}
