//! Access tokens. The refusals of the token endpoint are OAuth's (RFC 6749, 5.2).

use serde_json::{Value, json};

use super::{Schema, object, reference};

pub(super) fn schemas() -> Vec<Schema> {
    let key = object(
        json!({
            "kty": {"const": "OKP"},
            "crv": {"const": "Ed25519"},
            "alg": {"const": "EdDSA"},
            "use": {"const": "sig"},
            "kid": {"type": "string"},
            "x": {"type": "string"},
        }),
        &["kty", "crv", "alg", "use", "kid", "x"],
    );
    let errors =
        ["access_denied", "invalid_request", "unsupported_grant_type", "invalid_scope", "invalid_target"];
    let text = || json!({"type": "string"});
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    vec![
        ("TokenRequest", request()),
        (
            "Token",
            object(
                json!({
                    "access_token": {"type": "string", "description": "A JWT of type `at+jwt` (RFC 9068), signed with EdDSA"},
                    "expires_in": {"type": "integer", "minimum": 0, "description": "Seconds"},
                    "token_type": {"const": "Bearer"},
                }),
                &["access_token", "expires_in", "token_type"],
            ),
        ),
        (
            "OAuthError",
            object(
                json!({"error": {"enum": errors}, "error_description": text()}),
                &["error", "error_description"],
            ),
        ),
        ("TokenJwks", object(json!({"keys": {"type": "array", "items": key}}), &["keys"])),
        (
            "OAuthMetadata",
            object(
                json!({
                    "issuer": text(),
                    "token_endpoint": text(),
                    "jwks_uri": text(),
                    "grant_types_supported": texts(),
                    "response_types_supported": texts(),
                    "token_endpoint_auth_methods_supported": texts(),
                }),
                &["issuer", "token_endpoint", "jwks_uri", "grant_types_supported"],
            ),
        ),
    ]
}

fn request() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "properties": {
            "grant_type": {"const": "client_credentials"},
            "client_id": {"type": "string", "description": "Also by HTTP Basic"},
            "client_secret": text(),
            "audience": {"type": "string", "description": "The tenant's URL or the installation's; the tenant's if left out"},
        },
        "required": ["grant_type"],
    })
}

pub(super) fn bodies() -> Value {
    json!({
        "application/x-www-form-urlencoded": {"schema": reference("TokenRequest")},
        "application/json": {"schema": reference("TokenRequest")},
    })
}

pub(super) fn refusal(status: u16) -> Value {
    let about = match status {
        401 => "Unknown client, wrong secret, or a client of another tenant than the host's",
        _ => "The request is wrong; `error_description` says how",
    };
    // A body that is not JSON at all is refused before it is known what it asks.
    let either = json!({"anyOf": [reference("OAuthError"), reference("Problem")]});
    let schema = if status == 401 { reference("OAuthError") } else { either };
    json!({"description": about, "content": {"application/json": {"schema": schema}}})
}
