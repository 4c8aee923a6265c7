//! The catalogue of event types: built-in ones and the operator's, with their JSON Schemas.

use sealpost_core::audit::Action;
use sealpost_core::event_type::{EventType, EventTypeName, built_in};
use sealpost_core::id::TenantNo;
use sealpost_core::payload::Payload;
use sealpost_store::StoreError;
use serde_json::Value;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ReferencingError, ValidationError};

use super::App;

#[derive(Debug, thiserror::Error)]
pub enum EventTypeRefused {
    #[error("`{0}` is built in and cannot be changed")]
    BuiltIn(EventTypeName),
    #[error("the schema is not usable: {0}")]
    Schema(String),
    #[error("the tenant has reached its number of event types")]
    TooMany,
    #[error("some webhook is subscribed to `{0}`")]
    InUse(EventTypeName),
    #[error("`{0}` is not a registered event type")]
    NotFound(EventTypeName),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Draft 2020-12 unless the schema names another. References leave the document only towards the drafts
/// themselves: nothing is fetched.
pub fn compile(schema: &Value) -> Result<jsonschema::Validator, String> {
    if !schema.is_object() && !schema.is_boolean() {
        return Err("must be an object or a boolean".into());
    }
    jsonschema::options().build(schema).map_err(|error| unusable(&error))
}

/// The first violation, told without the offending value: payloads are not repeated in answers.
pub fn check(schema: &jsonschema::Validator, payload: &Payload) -> Result<(), String> {
    let value: Value =
        serde_json::from_str(payload.as_str()).map_err(|_| "does not fit its schema".to_owned())?;
    match schema.iter_errors(&value).next() {
        None => Ok(()),
        Some(error) => Err(without_values(&error)),
    }
}

/// Schemas are the operator's own, and still not repeated.
fn unusable(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Referencing(ReferencingError::Unretrievable { .. }) => {
            "external references are not allowed".into()
        }
        ValidationErrorKind::Referencing(_) => "a reference leads nowhere".into(),
        _ => without_values(error),
    }
}

fn without_values(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let rule = error.schema_path().to_string();
    let place = if place.is_empty() { "/".to_owned() } else { place };
    // The name of a member is the schema's word, not the payload's.
    match error.kind() {
        ValidationErrorKind::Required { property: Value::String(name) } => {
            format!("does not fit its schema at {place} (rule {rule}): member `{name}` is missing")
        }
        _ => format!("does not fit its schema at {place} (rule {rule})"),
    }
}

impl App {
    /// Registers or replaces an operator's type.
    pub async fn put_event_type(
        &self,
        tenant: TenantNo,
        event_type: EventType,
        who: &str,
    ) -> Result<(), EventTypeRefused> {
        if built_in(event_type.name.as_str()).is_some() {
            return Err(EventTypeRefused::BuiltIn(event_type.name));
        }
        if let Some(schema) = &event_type.schema {
            compile(schema).map_err(EventTypeRefused::Schema)?;
        }
        let by = self.by(who, Action::PutEventType);
        self.store.put_event_type(tenant, event_type, by).await?.ok_or(EventTypeRefused::TooMany)?;
        let entry = self.tenant(tenant).await?;
        Ok(self.registry.refresh(&entry).await?)
    }

    pub async fn delete_event_type(
        &self,
        tenant: TenantNo,
        name: EventTypeName,
        who: &str,
    ) -> Result<(), EventTypeRefused> {
        if built_in(name.as_str()).is_some() {
            return Err(EventTypeRefused::BuiltIn(name));
        }
        let entry = self.tenant(tenant).await?;
        if entry.is_subscribed(&name) {
            return Err(EventTypeRefused::InUse(name));
        }
        if !self.store.delete_event_type(tenant, name.clone(), self.by(who, Action::DeleteEventType)).await? {
            return Err(EventTypeRefused::NotFound(name));
        }
        Ok(self.registry.refresh(&entry).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_violation_is_told_without_the_value() {
        let schema = compile(&json!({"properties": {"n": {"type": "number"}}})).unwrap();
        let bad = Payload::parse(r#"{"n":"Maria Muster"}"#).unwrap();
        assert_eq!(
            check(&schema, &bad).unwrap_err(),
            "does not fit its schema at /n (rule /properties/n/type)"
        );
        assert!(check(&schema, &Payload::parse(r#"{"n":1}"#).unwrap()).is_ok());
    }

    #[test]
    fn a_missing_member_is_named() {
        let schema = json!({"properties": {"holder": {"required": ["did", "name"]}}});
        let bad = Payload::parse(r#"{"holder":{"did":"did:web:x"}}"#).unwrap();
        assert_eq!(
            check(&compile(&schema).unwrap(), &bad).unwrap_err(),
            "does not fit its schema at /holder (rule /properties/holder/required): member `name` is missing"
        );
    }

    #[test]
    fn nothing_is_fetched_for_a_schema() {
        for (schema, said) in [
            (json!({"$ref": "https://example.com/schema.json"}), "external references are not allowed"),
            (json!({"$ref": "file:///etc/passwd"}), "external references are not allowed"),
            (json!({"properties": {"a": {"$ref": "other.json#/x"}}}), "external references are not allowed"),
            (json!({"$ref": "#/$defs/none"}), "a reference leads nowhere"),
            (json!({"type": 7}), "does not fit its schema at /type (rule /properties/type/anyOf)"),
            (json!([1]), "must be an object or a boolean"),
        ] {
            assert_eq!(compile(&schema).unwrap_err(), said, "{schema}");
        }
        assert!(compile(&json!({"$ref": "#/$defs/a", "$defs": {"a": {}}})).is_ok());
    }
}
