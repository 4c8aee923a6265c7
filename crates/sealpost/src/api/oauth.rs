//! `POST /oauth/token` (RFC 6749, 4.4), its metadata (RFC 8414) and its keys (RFC 7517).
//!
//! Refusals have OAuth's own shape. Wrong credentials are answered as MATTR answers them. Parameters that the RFC does
//! not know are passed over, as it demands (3.2); a scope is refused, because roles come from the client alone.

use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealpost_core::limits::SMALL_REQUEST_BYTES;
use sealpost_core::secret::Secret;
use serde_json::{Value, json};

use super::answer;
use super::call::Call;
use super::problem::Problem;
use crate::app::tokens::TokenRefused;

const FORM: &str = "application/x-www-form-urlencoded";
/// Ours have 47 and the operator's own are not longer than this.
const SECRET_BYTES_MAX: usize = 1024;

/// A refusal of the token endpoint.
struct Refused {
    status: StatusCode,
    error: &'static str,
    description: String,
    /// The client used HTTP Basic and is told so (RFC 6749, 5.2).
    basic: bool,
}

impl Refused {
    fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description: description.into(), basic: false }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error": self.error, "error_description": self.description}).to_string();
        let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
        let mut response = (self.status, headers, body).into_response();
        if self.basic {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"oauth\""));
        }
        response
    }
}

/// What a client asks with.
#[derive(Default)]
struct TokenRequest {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Secret<String>>,
    audience: Option<String>,
    scope: Option<String>,
}

pub(super) async fn token(mut call: Call) -> Result<Response, Problem> {
    let host = call.host.own_tenant(call.app()).await?;
    let request = match read(&mut call).await? {
        Ok(request) => request,
        Err(refused) => return Ok(refused.into_response()),
    };
    let (client, secret, basic) = match credentials(&call.headers, request.client_id, request.client_secret) {
        Ok(credentials) => credentials,
        Err(refused) => return Ok(refused.into_response()),
    };
    let refused = match request.grant_type.as_deref() {
        Some("client_credentials") => None,
        None => Some(Refused::new("invalid_request", "grant_type is missing")),
        Some(_) => Some(Refused::new("unsupported_grant_type", "grant_type must be client_credentials")),
    };
    let scoped = request.scope.is_some_and(|scope| !scope.is_empty());
    let refused = refused
        .or_else(|| scoped.then(|| Refused::new("invalid_scope", "there are no scopes; leave it out")));
    if let Some(refused) = refused {
        return Ok(refused.into_response());
    }
    let issued =
        call.app().issue_token(&client, secret.reveal(), request.audience.as_deref(), host.as_ref()).await;
    match issued {
        Ok(issued) => {
            let body = json!({
                "access_token": issued.token,
                "expires_in": issued.expires_in_s,
                "token_type": "Bearer",
            });
            let mut response = answer::ok(&body)?;
            answer::not_to_be_stored(&mut response);
            Ok(response)
        }
        Err(TokenRefused::Store(error)) => Err(error.into()),
        Err(refused @ TokenRefused::Audience(_)) => {
            Ok(Refused::new("invalid_target", refused.to_string()).into_response())
        }
        Err(refused @ TokenRefused::Credentials) => {
            let status = StatusCode::UNAUTHORIZED;
            Ok(Refused { status, basic, ..Refused::new("access_denied", refused.to_string()) }
                .into_response())
        }
    }
}

async fn read(call: &mut Call) -> Result<Result<TokenRequest, Refused>, Problem> {
    let content_type =
        call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media_type != FORM {
        return Ok(of_json(call.json().await?));
    }
    let whole = call.whole(SMALL_REQUEST_BYTES).await?;
    Ok(of_pairs(
        url::form_urlencoded::parse(&whole.bytes)
            .map(|(name, value)| (name.into_owned(), value.into_owned())),
    ))
}

fn of_json(body: Value) -> Result<TokenRequest, Refused> {
    let Value::Object(members) = body else {
        return Err(Refused::new("invalid_request", "the body must be an object"));
    };
    let mut pairs = Vec::new();
    for (name, value) in members {
        match (is_known(&name), value) {
            (true, Value::String(value)) => pairs.push((name, value)),
            (true, _) => return Err(Refused::new("invalid_request", format!("{name} must be a string"))),
            (false, _) => {}
        }
    }
    of_pairs(pairs)
}

fn is_known(name: &str) -> bool {
    matches!(name, "grant_type" | "client_id" | "client_secret" | "audience" | "scope")
}

fn of_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Result<TokenRequest, Refused> {
    let mut request = TokenRequest::default();
    for (name, value) in pairs {
        let twice = match name.as_str() {
            "grant_type" => request.grant_type.replace(value).is_some(),
            "client_id" => request.client_id.replace(value).is_some(),
            "client_secret" => request.client_secret.replace(Secret::new(value)).is_some(),
            "audience" => request.audience.replace(value).is_some(),
            "scope" => request.scope.replace(value).is_some(),
            _ => false,
        };
        if twice {
            return Err(Refused::new("invalid_request", format!("{name} is given twice")));
        }
    }
    Ok(request)
}

/// From the body (`client_secret_post`) or from the header (`client_secret_basic`), never from both.
fn credentials(
    headers: &HeaderMap,
    id: Option<String>,
    secret: Option<Secret<String>>,
) -> Result<(String, Secret<String>, bool), Refused> {
    let missing = || Refused::new("invalid_request", "client_id and client_secret are needed");
    let (id, secret, basic) = match headers.get(AUTHORIZATION) {
        None => (id.ok_or_else(missing)?, secret.ok_or_else(missing)?, false),
        Some(_) if secret.is_some() => {
            return Err(Refused::new("invalid_request", "the client's secret is given in two places"));
        }
        Some(value) => {
            let (user, password) = basic_pair(value).ok_or_else(|| {
                Refused::new("invalid_request", "the Authorization header is not HTTP Basic")
            })?;
            if id.is_some_and(|id| id != user) {
                return Err(Refused::new("invalid_request", "two different clients are named"));
            }
            (user, password, true)
        }
    };
    if secret.reveal().len() > SECRET_BYTES_MAX {
        return Err(Refused::new("invalid_request", "the client's secret is too long"));
    }
    Ok((id, secret, basic))
}

/// Both parts are form-encoded before they are joined (RFC 6749, 2.3.1).
fn basic_pair(value: &HeaderValue) -> Option<(String, Secret<String>)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((form_decoded(user), Secret::new(form_decoded(password))))
}

fn form_decoded(text: &str) -> String {
    let pair = format!("v={}", text.replace('&', "%26").replace(';', "%3B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

pub(super) async fn jwks(call: Call) -> Result<Response, Problem> {
    let document = call.app().token_jwks().await?;
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=300")];
    Ok((headers, document).into_response())
}

pub(super) async fn metadata(call: Call) -> Result<Response, Problem> {
    let issuer = &call.app().config.public_url;
    answer::ok(&json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth/token"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }))
}
