//! Reading events: an object, an array, or a stream of objects, cut into requests that the server takes.
//!
//! A stream is read as it comes, so a file may be larger than memory. Nothing is judged here but where one event
//! ends: the server says what is wrong with it.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Stdin};
use std::path::Path;

use bytes::Bytes;
use sealpost_core::limits::{EVENTS_PER_REQUEST, REQUEST_BYTES};
use serde_json::value::RawValue;

use crate::cli::client::Failure;

/// Below the server's limit by what separates events.
const BATCH_BYTES: usize = REQUEST_BYTES - 4096;

pub(super) type Source = Box<dyn BufRead>;

/// The input, and its size if that is known.
pub(super) fn open(file: Option<&Path>) -> Result<(Source, Option<u64>), Failure> {
    match file {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path).map_err(|e| Failure::io(path.display(), &e))?;
            let size = file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len());
            Ok((Box::new(BufReader::with_capacity(1 << 16, file)), size))
        }
        _ => {
            let stdin: Stdin = std::io::stdin();
            Ok((Box::new(BufReader::with_capacity(1 << 16, stdin)), None))
        }
    }
}

fn all(mut source: Source) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).map_err(|e| Failure::io("the input", &e))?;
    text(bytes)
}

fn text(bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|e| {
        Failure::usage(format!("the input is not UTF-8 at byte {}", e.utf8_error().valid_up_to()))
    })
}

/// One event around a payload that is the whole input.
pub(super) fn one_payload(source: Source, event_type: &str) -> Result<Bytes, Failure> {
    let payload = all(source)?;
    let payload: &RawValue = serde_json::from_str(&payload)
        .map_err(|e| Failure::usage(format!("the payload is not JSON: {e}")))?;
    if !payload.get().starts_with('{') {
        return Err(Failure::usage("the payload must be a JSON object"));
    }
    let name = serde_json::Value::from(event_type);
    Ok(format!("{{\"type\":{name},\"payload\":{}}}", payload.get()).into())
}

/// How a batch is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    Ndjson,
    CloudEventBatch,
}

impl Shape {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Shape::Ndjson => "application/x-ndjson",
            Shape::CloudEventBatch => "application/cloudevents-batch+json",
        }
    }
}

/// One request's worth of events.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) shape: Shape,
    pub(super) body: Bytes,
    /// Where each event stands in the input.
    pub(super) lines: Vec<usize>,
    /// Whether `lines` counts lines, or the elements of an array.
    pub(super) by_line: bool,
    /// Bytes of input read up to here.
    pub(super) end: u64,
}

impl Batch {
    pub(super) fn unit(&self) -> &'static str {
        if self.by_line { "line" } else { "event" }
    }

    /// `line 7`, `lines 1 to 1000`.
    pub(super) fn span(&self) -> String {
        match self.lines.as_slice() {
            [only] => format!("{} {only}", self.unit()),
            [first, .., last] => format!("{}s {first} to {last}", self.unit()),
            [] => "nothing".to_owned(),
        }
    }
}

/// Events one after the other.
enum Events {
    /// One event a line.
    Lines { source: Source, line: usize, read: u64 },
    /// Everything was read, because one event spans several lines or all stand in an array.
    Texts { texts: std::vec::IntoIter<(usize, String)>, read: u64 },
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

#[derive(Debug)]
pub(super) struct Batches {
    events: Events,
    by_line: bool,
    shape: Shape,
    /// Read, but too much for the batch before.
    held: Option<(usize, String)>,
    ended: bool,
}

impl Batches {
    pub(super) fn read(mut source: Source, shape: Shape) -> Result<Self, Failure> {
        let mut before = 0;
        // The first line that says anything decides how the rest is read.
        let (first, line) = loop {
            let mut first = Vec::new();
            let count = read_line(&mut source, &mut first)?;
            before += 1;
            if count == 0 || !first.trim_ascii().is_empty() {
                break (first, before);
            }
        };
        let whole_line = serde_json::from_slice::<&RawValue>(&first).is_ok();
        let array = first.trim_ascii_start().starts_with(b"[");
        let batches = |events, by_line, held| Self { events, by_line, shape, held, ended: false };
        if first.is_empty() {
            return Ok(batches(Events::Texts { texts: Vec::new().into_iter(), read: 0 }, true, None));
        }
        if whole_line && !array {
            let read = first.len() as u64;
            return Ok(batches(Events::Lines { source, line, read }, true, Some((line, text(first)?))));
        }
        let text = all(Box::new(Cursor::new(first).chain(source)))?;
        let (texts, by_line) = if array { (elements(&text)?, false) } else { (objects(&text, line)?, true) };
        Ok(batches(Events::Texts { texts: texts.into_iter(), read: 0 }, by_line, None))
    }

    fn next_event(&mut self) -> Result<Option<(usize, String)>, Failure> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        match &mut self.events {
            Events::Texts { texts, read } => {
                let event = texts.next();
                // With what separates it from the next one: near enough to say how far it is.
                *read += event.as_ref().map_or(0, |(_, text)| text.len() as u64 + 1);
                Ok(event)
            }
            Events::Lines { source, line, read } => loop {
                let mut bytes = Vec::new();
                let count = read_line(source, &mut bytes)?;
                if count == 0 {
                    return Ok(None);
                }
                *line += 1;
                *read += count as u64;
                if bytes.trim_ascii().is_empty() {
                    continue;
                }
                let event = String::from_utf8(bytes)
                    .map_err(|_| Failure::usage(format!("line {line} of the input is not UTF-8")))?;
                return Ok(Some((*line, event)));
            },
        }
    }

    fn end(&self) -> u64 {
        match &self.events {
            Events::Lines { read, .. } | Events::Texts { read, .. } => *read,
        }
    }

    fn batch(&mut self) -> Result<Option<Batch>, Failure> {
        let mut body = String::new();
        let mut lines = Vec::new();
        while lines.len() < EVENTS_PER_REQUEST {
            let Some((line, event)) = self.next_event()? else { break };
            if !lines.is_empty() && body.len() + event.len() > BATCH_BYTES {
                self.held = Some((line, event));
                break;
            }
            let separator = match (self.shape, lines.is_empty()) {
                (Shape::CloudEventBatch, true) => "[",
                (Shape::CloudEventBatch, false) => ",",
                (Shape::Ndjson, true) => "",
                (Shape::Ndjson, false) => "\n",
            };
            body.push_str(separator);
            // JSON strings hold no line ends, so these are white space.
            body.extend(event.trim_ascii().chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
            lines.push(line);
        }
        if lines.is_empty() {
            return Ok(None);
        }
        if self.shape == Shape::CloudEventBatch {
            body.push(']');
        }
        let (shape, by_line) = (self.shape, self.by_line);
        Ok(Some(Batch { shape, body: body.into(), lines, by_line, end: self.end() }))
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let batch = self.batch().transpose();
        self.ended = !matches!(batch, Some(Ok(_)));
        batch
    }
}

/// A line longer than a request can be is no event; what follows it could not be found again.
fn read_line(source: &mut Source, line: &mut Vec<u8>) -> Result<usize, Failure> {
    let count = source
        .by_ref()
        .take(REQUEST_BYTES as u64 + 1)
        .read_until(b'\n', line)
        .map_err(|e| Failure::io("the input", &e))?;
    // An array is read whole elsewhere, whatever its size.
    if line.len() > REQUEST_BYTES && !line.trim_ascii_start().starts_with(b"[") {
        return Err(Failure::usage("a line of the input has more than 16 MiB"));
    }
    Ok(count)
}

fn elements(text: &str) -> Result<Vec<(usize, String)>, Failure> {
    let items: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|e| Failure::usage(format!("the input is not JSON: {e}")))?;
    Ok(items.into_iter().enumerate().map(|(index, item)| (index + 1, item.get().to_owned())).collect())
}

/// Objects that span lines, one after the other; each is named by the line where it begins.
fn objects(text: &str, first_line: usize) -> Result<Vec<(usize, String)>, Failure> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let (mut found, mut line, mut counted) = (Vec::new(), first_line, 0);
    loop {
        match stream.next() {
            None => return Ok(found),
            Some(Err(error)) => return Err(Failure::usage(format!("the input is not JSON: {error}"))),
            Some(Ok(value)) => {
                let end = stream.byte_offset();
                let begin = end.saturating_sub(value.get().len());
                line += text.get(counted..begin).unwrap_or_default().matches('\n').count();
                counted = begin;
                found.push((line, value.get().to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Box::new(Cursor::new(text.as_bytes().to_vec()))
    }

    fn batches(text: &str, shape: Shape) -> Result<Vec<Batch>, Failure> {
        Batches::read(source(text), shape)?.collect()
    }

    fn said(text: &str) -> String {
        match batches(text, Shape::Ndjson) {
            Err(failure) => failure.message,
            Ok(batches) => batches
                .iter()
                .map(|batch| format!("{}: {}", batch.span(), String::from_utf8_lossy(&batch.body)))
                .collect::<Vec<_>>()
                .join(" || "),
        }
    }

    #[test]
    fn every_form_of_input_becomes_one_event_a_line() {
        for (input, becomes) in [
            ("", ""),
            ("\n\n", ""),
            (r#"{"type":"a","payload":{"n":1.0}}"#, r#"line 1: {"type":"a","payload":{"n":1.0}}"#),
            ("{\"a\":1}\n\n{\"b\":2}\r\n", "lines 1 to 3: {\"a\":1}\n{\"b\":2}"),
            ("\n{\n \"a\": 1\n}\n{ \"b\":\n2 }", "lines 2 to 5: {  \"a\": 1 }\n{ \"b\": 2 }"),
            ("[{\"a\":1},\n {\"b\":1e400}]", "events 1 to 2: {\"a\":1}\n{\"b\":1e400}"),
            ("[]", ""),
            ("{\"a\":", "the input is not JSON: EOF while parsing a value at line 1 column 5"),
        ] {
            assert_eq!(said(input), becomes, "{input:?}");
        }
    }

    #[test]
    fn batches_keep_the_servers_limits() {
        let many = "{\"a\":1}\n".repeat(2500);
        let sizes: Vec<usize> =
            batches(&many, Shape::Ndjson).unwrap().iter().map(|batch| batch.lines.len()).collect();
        assert_eq!(sizes, [1000, 1000, 500]);

        let large = format!("{{\"a\":\"{}\"}}\n", "x".repeat(1_000_000)).repeat(40);
        let found = batches(&large, Shape::Ndjson).unwrap();
        assert!(found.iter().all(|batch| batch.body.len() <= REQUEST_BYTES));
        assert_eq!(found.iter().map(|batch| batch.lines.len()).collect::<Vec<_>>(), [16, 16, 8]);
    }

    #[test]
    fn cloud_events_travel_as_an_array() {
        let found = batches("{\"a\":1}\n{\"b\":2}\n", Shape::CloudEventBatch).unwrap();
        assert_eq!(found.first().map(|batch| &*batch.body), Some(&b"[{\"a\":1},{\"b\":2}]"[..]));
    }

    #[test]
    fn a_payload_keeps_its_numbers() {
        let body = one_payload(source("{\"n\": 12345678901234567890.0}\n"), "did_create").unwrap();
        assert_eq!(&*body, &br#"{"type":"did_create","payload":{"n": 12345678901234567890.0}}"#[..]);
        assert_eq!(one_payload(source("[1]"), "a").unwrap_err().code(), 2);
    }
}
