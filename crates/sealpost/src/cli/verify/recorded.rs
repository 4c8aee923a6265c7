//! A request as somebody wrote it down: raw HTTP, or JSON `{method, url, headers, body}`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

/// A request as the receiver got it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// In origin form, as on the wire.
    pub target: String,
    pub authority: String,
    pub scheme: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Request {
    pub fn header_refs(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Reads either form; what is wrong is said in a sentence.
pub fn parse(input: &[u8]) -> Result<Request, String> {
    match input.trim_ascii_start().first() {
        None => Err("the recorded request is empty".into()),
        Some(b'{') => json(input),
        Some(_) => raw(input),
    }
}

fn raw(input: &[u8]) -> Result<Request, String> {
    let input = input.trim_ascii_start();
    let mut rest = input;
    let mut lines = Vec::new();
    loop {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            // A request without an empty line has no body.
            lines.push(rest);
            rest = &[];
            break;
        };
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut lines = lines.into_iter().filter(|line| !line.is_empty()).map(String::from_utf8_lossy);
    let first = lines.next().unwrap_or_default().into_owned();
    let mut words = first.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err("the first line is not a request line such as `POST /hook HTTP/1.1`".into());
    };
    if words.next().is_some_and(|version| !version.starts_with("HTTP/")) {
        return Err("the first line is not a request line such as `POST /hook HTTP/1.1`".into());
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("`{line}` is not a header line `name: value`"))?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let of =
        |wanted: &str| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, v)| v);
    if of("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"))
        && rest
            .split(|b| *b == b'\n')
            .next()
            .is_some_and(|line| u64::from_str_radix(String::from_utf8_lossy(line).trim(), 16).is_ok())
    {
        return Err("the body is recorded in chunks; record it as the receiver's application saw it".into());
    }
    // Whatever a tool or an editor put behind the body was not sent.
    let length = of("content-length").and_then(|length| length.parse::<usize>().ok());
    let body = length.and_then(|length| rest.get(..length)).unwrap_or(rest);
    request(method.to_owned(), target, headers, Bytes::copy_from_slice(body))
}

#[derive(Deserialize)]
struct Written<'a> {
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: Value,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

fn json(input: &[u8]) -> Result<Request, String> {
    let text = std::str::from_utf8(input).map_err(|_| "the recorded request is not UTF-8")?;
    let written: Written<'_> = serde_json::from_str(text)
        .map_err(|error| format!("the recorded request is not {{method, url, headers, body}}: {error}"))?;
    let body = match written.body.map(RawValue::get) {
        None | Some("null") => Bytes::new(),
        Some(text) if text.starts_with('"') => {
            serde_json::from_str::<String>(text).map_err(|error| format!("body: {error}"))?.into()
        }
        // A body that was recorded as JSON and not as text: what stands here is the best there is.
        Some(json) => Bytes::copy_from_slice(json.as_bytes()),
    };
    let headers = header_list(&written.headers)?;
    request(written.method.unwrap_or_else(|| "POST".to_owned()), &written.url, headers, body)
}

/// An object of texts or arrays of texts, or an array of pairs.
fn header_list(value: &Value) -> Result<Vec<(String, String)>, String> {
    let wrong = || "headers must be an object of names and values, or an array of pairs".to_owned();
    let mut list = Vec::new();
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::Array(values) => {
                        for value in values {
                            list.push((name.clone(), value.as_str().ok_or_else(wrong)?.to_owned()));
                        }
                    }
                    value => list.push((name.clone(), value.as_str().ok_or_else(wrong)?.to_owned())),
                }
            }
        }
        Value::Array(pairs) => {
            for pair in pairs {
                let name = pair.get(0).and_then(Value::as_str).ok_or_else(wrong)?;
                let value = pair.get(1).and_then(Value::as_str).ok_or_else(wrong)?;
                list.push((name.to_owned(), value.to_owned()));
            }
        }
        _ => return Err(wrong()),
    }
    Ok(list)
}

/// A target in absolute form names the authority; otherwise the `Host` header does.
fn request(
    method: String,
    target: &str,
    headers: Vec<(String, String)>,
    body: Bytes,
) -> Result<Request, String> {
    let host =
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, value)| value.clone());
    let absolute = ["https", "http"]
        .into_iter()
        .find_map(|scheme| Some((scheme, target.strip_prefix(scheme)?.strip_prefix("://")?)));
    match absolute {
        None if target.starts_with('/') => Ok(Request {
            method,
            target: target.to_owned(),
            authority: host.unwrap_or_default(),
            scheme: "https",
            headers,
            body,
        }),
        None => Err(format!("`{target}` is neither a path nor a URL")),
        Some((scheme, rest)) => {
            Url::parse(target).map_err(|error| format!("`{target}` is not a URL: {error}"))?;
            let path = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(path);
            let path = path.split('#').next().unwrap_or_default();
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            let authority = host.unwrap_or_else(|| authority.to_owned());
            Ok(Request { method, target: path, authority, scheme, headers, body })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(input: &str) -> String {
        match parse(input.as_bytes()) {
            Err(sentence) => sentence,
            Ok(r) => format!(
                "{} {} at {} {:?} {:?}",
                r.method,
                r.target,
                r.authority,
                r.headers,
                String::from_utf8_lossy(&r.body)
            ),
        }
    }

    #[test]
    fn both_forms_give_the_same_request() {
        let want = r#"POST /in?a=1 at a.example [("Host", "a.example"), ("X", "1")] "{}""#;
        for input in [
            "POST /in?a=1 HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n{}",
            "POST /in?a=1 HTTP/1.1\nHost: a.example\nX:1\n\n{}",
            "\nPOST https://a.example/in?a=1 HTTP/1.1\nHost: a.example\nX: 1\n\n{}",
            r#"{"method":"POST","url":"https://a.example/in?a=1#x","headers":{"Host":"a.example","X":"1"},"body":"{}"}"#,
            r#"{"url":"/in?a=1","headers":[["Host","a.example"],["X","1"]],"body":{}}"#,
            r#"{"url":"/in?a=1","headers":{"Host":["a.example"],"X":["1"]},"body":"{}"}"#,
        ] {
            assert_eq!(said(input), want, "{input}");
        }
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let input = "POST / HTTP/1.1\nContent-Length: 2\n\n{}\n";
        assert!(said(input).ends_with(r#""{}""#), "{}", said(input));
        let longer = "POST / HTTP/1.1\nContent-Length: 9\n\n{}\n";
        assert!(said(longer).ends_with(r#""{}\n""#), "{}", said(longer));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (input, sentence) in [
            ("  ", "the recorded request is empty"),
            ("POST", "the first line is not a request line such as `POST /hook HTTP/1.1`"),
            ("POST / HTTP/1.1\nX\n\n", "`X` is not a header line `name: value`"),
            ("POST x HTTP/1.1\n\n", "`x` is neither a path nor a URL"),
            (
                "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n2\r\n{}\r\n0\r\n\r\n",
                "the body is recorded in chunks; record it as the receiver's application saw it",
            ),
            (
                r#"{"url":"/","headers":7}"#,
                "headers must be an object of names and values, or an array of pairs",
            ),
        ] {
            assert_eq!(said(input), sentence);
        }
    }
}
