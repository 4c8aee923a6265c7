//! The custom domain as MATTR VII shows it.

use sealpost_core::limits as bound;
use serde_json::{Value, json};

use super::{Schema, object, reference};

pub(super) fn schemas() -> Vec<Schema> {
    let facts = json!({
        "name": {"type": "string", "minLength": 1, "maxLength": bound::CUSTOM_DOMAIN_NAME_BYTES, "description": "At most 128 bytes"},
        "logoUrl": {"type": "string", "format": "iri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]://", "maxLength": bound::LOGO_URL_BYTES},
        "domain": {
            "type": "string", "maxLength": 253,
            "description": "A domain name of at least two labels, without scheme, port or path; lower-case and in ASCII when it is shown",
            "examples": ["credentials.example.com"],
        },
    });
    let with = |more: Value, required: &[&str]| {
        let mut properties = facts.clone();
        if let (Value::Object(properties), Value::Object(more)) = (&mut properties, more) {
            properties.extend(more);
        }
        object(properties, required)
    };
    let dropped = json!({"description": "Of older clients; read and dropped"});
    vec![
        (
            "CustomDomain",
            with(
                json!({
                    "verificationToken": {"$ref": "#/components/schemas/Uuid", "description": "What a TXT record at the domain must hold"},
                    "isVerified": {"type": "boolean"},
                    "verifiedAt": reference("Time"),
                }),
                &["name", "logoUrl", "domain", "verificationToken", "isVerified"],
            ),
        ),
        (
            "CustomDomainInput",
            with(json!({"id": dropped, "homepage": dropped}), &["name", "logoUrl", "domain"]),
        ),
    ]
}
