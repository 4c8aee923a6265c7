//! The command line's side of the HTTP API: where the server is, which key is shown to it, and what its refusals mean
//! in a sentence and an exit code.
//!
//! Every command's `run` gives `Result<(), Failure>`; a [`Failure`] is one sentence for the screen and one code for
//! scripts. The only HTTP client is [`ApiClient`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use sealpost_core::secret::Secret;
use sealpost_egress::{ApiAnswer, ApiClient, ApiTarget, EgressError, Scheme};
use serde_json::Value;
use url::{Host, Url};

use crate::config::{self, ClientConfig, Flags, KeySource, Name};

/// What a script may act on. Zero is success.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// It was tried and did not succeed.
    Failed = 1,
    /// The command line itself is wrong; also what the argument parser ends with.
    Usage = 2,
    NotFound = 3,
    /// The server understood and said no: invalid content, a conflict, or a key that may not.
    Refused = 4,
    Unreachable = 5,
}

/// Why a command did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// For an error of this machine: a file, a port, the terminal.
    pub fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Self::failed(format!("{what}: {error}"))
    }

    pub fn code(&self) -> u8 {
        self.exit as u8
    }
}

/// Which server, and with which key. What is not given here comes from the environment and `sealpost.toml`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct ConnectArgs {
    /// The server to call [env: SEALPOST_SERVER] [default: where `serve` listens]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// An API key; better set SEALPOST_API_KEY, since other users of this machine see arguments
    #[arg(long, value_name = "KEY", value_parser = secret)]
    pub api_key: Option<Secret<String>>,
    /// A file that holds the API key [default: the `admin.key` of a server on this machine]
    #[arg(long, value_name = "FILE", conflicts_with = "api_key")]
    pub api_key_file: Option<PathBuf>,
    /// Trust these certificates too (PEM) [env: SEALPOST_SERVER_CA]
    #[arg(long, value_name = "FILE")]
    pub server_ca: Option<PathBuf>,
}

fn secret(text: &str) -> Result<Secret<String>, std::convert::Infallible> {
    Ok(Secret::new(text.to_owned()))
}

impl ConnectArgs {
    fn config(&self) -> Result<ClientConfig, Failure> {
        let mut flags = Flags { api_key_file: self.api_key_file.clone(), ..Flags::default() };
        flags.set(Name::Server, self.server.clone());
        flags.set(Name::ApiKey, self.api_key.as_ref().map(|key| key.reveal().clone()));
        flags.set(Name::ServerCa, self.server_ca.as_ref().map(|path| path.display().to_string()));
        let config = config::load(&flags).map_err(|errors| {
            let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::usage(sentences.join("\n"))
        })?;
        Ok(config.client)
    }

    /// A key file that somebody named must be there; the one beside a local store may not exist yet.
    fn key(&self, source: Option<&KeySource>) -> Result<Option<Secret<String>>, Failure> {
        match source {
            None => Ok(None),
            Some(KeySource::Given(key)) => Ok(Some(key.clone())),
            Some(KeySource::File(file)) => match std::fs::read_to_string(file) {
                Ok(text) => Ok(Some(Secret::new(text.trim().to_owned()))),
                Err(_) if self.api_key_file.is_none() => Ok(None),
                Err(error) => Err(Failure::io(format_args!("the API key file {}", file.display()), &error)),
            },
        }
    }
}

/// Where a URL points, for the HTTP client: its parts, and the path without a final slash.
pub(crate) fn target_of(url: &str) -> Result<(ApiTarget, String), Failure> {
    let wrong = || Failure::usage(format!("`{url}` is not a URL of a server, such as http://127.0.0.1:8080"));
    let parsed = Url::parse(url).map_err(|_| wrong())?;
    let scheme = match parsed.scheme() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(wrong()),
    };
    let host = match parsed.host().ok_or_else(wrong)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(Failure::usage("a server's URL holds no user name or password"));
    }
    let port = parsed.port().unwrap_or(scheme.default_port());
    let mut path = parsed.path().trim_end_matches('/').to_owned();
    if let Some(query) = parsed.query() {
        path.push('?');
        path.push_str(query);
    }
    Ok((ApiTarget { scheme, host: host.into(), port }, path))
}

/// One segment of a path: whatever a person typed as an id stays one segment.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A path with those parameters that are given.
pub fn with_query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A body and what it is.
#[derive(Clone, Debug)]
pub struct Body {
    pub content_type: &'static str,
    pub bytes: Bytes,
}

impl Body {
    pub fn json(value: &Value) -> Self {
        Self { content_type: "application/json", bytes: value.to_string().into() }
    }
}

/// A server and the credential for it.
#[derive(Debug)]
pub struct Api {
    client: ApiClient,
    prefix: String,
    /// As the caller wrote it, for messages.
    server: String,
    key: Option<Secret<String>>,
}

impl Api {
    pub fn connect(args: &ConnectArgs) -> Result<Self, Failure> {
        let config = args.config()?;
        let key = args.key(config.key.as_ref())?;
        let server = config.server.as_str().trim_end_matches('/').to_owned();
        let (target, prefix) = target_of(&server)?;
        let ca = config.ca.as_deref().map(certificates).transpose()?;
        Self::to(target, prefix, server, key, ca.as_deref())
    }

    /// A server in this process, as `demo` runs one.
    pub(crate) fn local(server: &str, key: Secret<String>) -> Result<Self, Failure> {
        let (target, prefix) = target_of(server)?;
        Self::to(target, prefix, server.to_owned(), Some(key), None)
    }

    fn to(
        target: ApiTarget,
        prefix: String,
        server: String,
        key: Option<Secret<String>>,
        ca: Option<&[u8]>,
    ) -> Result<Self, Failure> {
        let client = ApiClient::new(target, ca)
            .map_err(|error| Failure::usage(format!("the trusted certificates: {error}")))?
            .with_timeout(Duration::from_secs(60));
        Ok(Self { client, prefix, server, key })
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// One call, whatever it answers.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Body>,
        more: &[(HeaderName, HeaderValue)],
    ) -> Result<ApiAnswer, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.reveal()))
                .map_err(|_| Failure::usage("the API key holds characters that no key has"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let bytes = match body {
            None => Bytes::new(),
            Some(body) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(body.content_type));
                body.bytes
            }
        };
        for (name, value) in more {
            headers.insert(name.clone(), value.clone());
        }
        let path = format!("{}{path}", self.prefix);
        self.client.request(method, &path, headers, bytes).await.map_err(|error| self.unreachable(&error))
    }

    /// One call that must succeed; an empty answer is `null`.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let answer = self.call(method, path, body.map(Body::json), &[]).await?;
        accepted(&answer, self.has_key())
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, None).await
    }

    /// The rows of a list: one page, or with `all` every page behind it.
    pub async fn list(
        &self,
        path: &str,
        parameters: &[(&str, Option<&str>)],
        all: bool,
    ) -> Result<Page, Failure> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = parameters.to_vec();
            if cursor.is_some() {
                query.retain(|(name, _)| *name != "cursor");
                query.push(("cursor", cursor.as_deref()));
            }
            let mut page = self.get(&with_query(path, &query)).await?;
            let next = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            match page.get_mut("data").map(Value::take) {
                Some(Value::Array(data)) => rows.extend(data),
                _ => return Err(Failure::failed(format!("{} did not answer with a list", self.server))),
            }
            match next {
                // A server that names the same page again would be asked for ever.
                Some(next) if all && cursor.as_ref() != Some(&next) => cursor = Some(next),
                next => return Ok(Page { rows, next }),
            }
        }
    }

    fn unreachable(&self, error: &EgressError) -> Failure {
        let server = &self.server;
        let advice = match error {
            EgressError::Connect { .. } | EgressError::Dns { .. } => {
                "; start it with `sealpost serve`, or name another with --server or SEALPOST_SERVER"
            }
            EgressError::Tls { .. } => "; name its certificate authority with --server-ca",
            _ => "",
        };
        Failure::new(Exit::Unreachable, format!("cannot reach {server}: {error}{advice}"))
    }
}

/// Rows of a list, and where the next page begins.
#[derive(Clone, Debug)]
pub struct Page {
    pub rows: Vec<Value>,
    pub next: Option<String>,
}

/// The JSON of an answer that must be a success.
pub fn accepted(answer: &ApiAnswer, with_key: bool) -> Result<Value, Failure> {
    if !(200..300).contains(&answer.status) {
        return Err(refusal(answer, with_key));
    }
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer.body)
        .map_err(|_| Failure::failed("the answer is not JSON; is this a Sealpost server?"))
}

/// What a refusal means, in one sentence.
pub fn refusal(answer: &ApiAnswer, with_key: bool) -> Failure {
    let said = said(&answer.body);
    let reason = |otherwise: &str| said.clone().unwrap_or_else(|| otherwise.to_owned());
    let wait = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let again = wait.map_or(String::new(), |seconds| format!("; try again in {seconds} s"));
    let (exit, message) = match StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY) {
        StatusCode::UNAUTHORIZED if with_key => {
            (Exit::Refused, "the server does not accept this API key".to_owned())
        }
        StatusCode::UNAUTHORIZED => (
            Exit::Refused,
            "the server wants an API key: give one with SEALPOST_API_KEY or --api-key-file".to_owned(),
        ),
        StatusCode::FORBIDDEN => (Exit::Refused, "the role of this API key may not do that".to_owned()),
        StatusCode::NOT_FOUND => (Exit::NotFound, reason("the server knows no such thing")),
        StatusCode::TOO_MANY_REQUESTS => (Exit::Failed, format!("the server is asked too often{again}")),
        StatusCode::SERVICE_UNAVAILABLE => {
            (Exit::Failed, format!("the server cannot do this now ({}){again}", reason("it is busy")))
        }
        status if status.is_client_error() => {
            (Exit::Refused, reason(&format!("the server answered {status}")))
        }
        status => {
            (Exit::Failed, format!("the server failed ({}); its log says why", reason(&status.to_string())))
        }
    };
    Failure::new(exit, message)
}

/// `{code, message, details:[{param, msg, value}]}` as `url: must use https`.
fn said(body: &[u8]) -> Option<String> {
    let problem: Value = serde_json::from_slice(body).ok()?;
    let message = problem.get("message").and_then(Value::as_str)?;
    let details: Vec<String> = problem
        .get("details")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(|detail| {
            let msg = detail.get("msg").and_then(Value::as_str)?;
            let param = detail.get("param").and_then(Value::as_str).filter(|param| !param.is_empty());
            let value = detail.get("value").and_then(Value::as_str);
            // Without the value: there was none, or none that can be shown.
            let msg = if msg == "Invalid value" && value.is_none() { "missing or invalid" } else { msg };
            Some(match (param, value) {
                (Some(param), Some(value)) => format!("{param}: {msg} (`{value}`)"),
                (Some(param), None) => format!("{param}: {msg}"),
                (None, _) => msg.to_owned(),
            })
        })
        .collect();
    Some(if details.is_empty() { message.to_owned() } else { details.join("; ") })
}

/// A document at any URL, such as a key set.
pub(crate) async fn fetch(url: &str, ca: Option<&Path>) -> Result<Bytes, Failure> {
    let (target, path) = target_of(url)?;
    let ca = ca.map(certificates).transpose()?;
    let api = Api::to(target, String::new(), url.to_owned(), None, ca.as_deref())?;
    let path = if path.is_empty() { "/".to_owned() } else { path };
    let answer = api.call(Method::GET, &path, None, &[]).await?;
    if answer.status == 200 {
        Ok(answer.body)
    } else {
        Err(Failure::failed(format!("{url} answered {}", answer.status)))
    }
}

fn certificates(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|e| Failure::io(format_args!("the certificate file {}", file.display()), &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Failure {
        let answer =
            ApiAnswer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) };
        refusal(&answer, true)
    }

    #[test]
    fn refusals_become_sentences_and_codes() {
        for (status, body, code, sentence) in [
            (
                400,
                r#"{"code":"BadRequest","message":"Validation Error","details":[{"location":"body","msg":"must use https","param":"url","value":"http://x.example"}]}"#,
                4,
                "url: must use https (`http://x.example`)",
            ),
            (
                400,
                r#"{"code":"BadRequest","message":"Validation Error","details":[{"location":"body","msg":"Invalid value","param":"[0].payload"}]}"#,
                4,
                "[0].payload: missing or invalid",
            ),
            (
                400,
                r#"{"code":"BadRequest","message":"Domain already verified"}"#,
                4,
                "Domain already verified",
            ),
            (
                404,
                r#"{"code":"NotFound","message":"Validation Error","details":[{"location":"params","msg":"Resource Not Found","param":"id","value":"7"}]}"#,
                3,
                "id: Resource Not Found (`7`)",
            ),
            (401, "Unauthorized", 4, "the server does not accept this API key"),
            (403, "", 4, "the role of this API key may not do that"),
            (409, r#"{"code":"Conflict","message":"the payload was erased"}"#, 4, "the payload was erased"),
            (500, "", 1, "the server failed (500 Internal Server Error); its log says why"),
            (503, r#"{"message":"disk full"}"#, 1, "the server cannot do this now (disk full)"),
        ] {
            let failure = answered(status, body);
            assert_eq!((failure.code(), failure.message.as_str()), (code, sentence));
        }
    }

    #[test]
    fn a_server_is_named_by_a_url() {
        let (target, path) = target_of("https://[::1]:8443/base/").unwrap();
        assert_eq!((&*target.host, target.port, path.as_str()), ("::1", 8443, "/base"));
        for wrong in ["", "example.com", "ftp://example.com", "http://user:pass@localhost"] {
            assert_eq!(target_of(wrong).unwrap_err().code(), 2, "{wrong}");
        }
    }

    #[test]
    fn ids_and_parameters_stay_what_they_are() {
        assert_eq!(segment("a/b?c é"), "a%2Fb%3Fc%20%C3%A9");
        let query = [("type", Some("a b")), ("from", None), ("cursor", Some("x=&"))];
        assert_eq!(with_query("/v1", &query), "/v1?type=a+b&cursor=x%3D%26");
        assert_eq!(with_query("/v1", &[]), "/v1");
    }
}
