//! The signature base of RFC 9421 for requests: which parts of a request are covered, under which
//! parameters, and the exact text that is signed.
//!
//! A component that is missing, unknown, repeated or not representable is an error, never an empty value.
//! Not offered: responses, and the component parameters `sf`, `key`, `bs`, `tr` and `req`.

use crate::limits::MAX_COMPONENTS;
use crate::structured_fields::InnerList;

mod component;
mod parameter;
mod value;

pub use component::{Component, Components};
pub use parameter::{Parameter, Parameters};
pub(crate) use value::write_field;

/// Why a signature base cannot be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BaseError {
    #[error("`{component}` is covered, but the request does not have it")]
    MissingComponent { component: String },
    #[error("`{component}` is covered twice")]
    DuplicateComponent { component: String },
    #[error("`{component}` is not a component of requests that RFC 9421 defines")]
    UnknownDerivedComponent { component: String },
    #[error("`{component}` is not a lower-case field name")]
    InvalidComponentName { component: String },
    #[error("component parameter `{parameter}` of `{component}` is not supported")]
    UnsupportedParameter { component: String, parameter: String },
    #[error("`@query-param` needs a text parameter `name`")]
    MissingQueryName,
    #[error("query parameter `{name}` occurs more than once and cannot be covered")]
    RepeatedQueryParameter { name: String },
    #[error("`{component}` holds bytes that a signature base cannot carry")]
    NotRepresentable { component: String },
    #[error("more than {MAX_COMPONENTS} components are covered")]
    TooManyComponents,
    #[error("signature parameter `{parameter}` is not {wanted}")]
    InvalidParameter { parameter: String, wanted: &'static str },
    #[error("signature parameter `{parameter}` is given twice")]
    DuplicateParameter { parameter: String },
}

/// The request as the signature sees it.
///
/// `authority` is the `Host` header or `:authority`; `request_target` is the origin form, exactly as on
/// the wire; `headers` are the field lines in order, a repeated name once per line. A value that is not
/// text may be left out or decoded lossily: covering it is then an error.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    pub method: &'a str,
    pub request_target: &'a str,
    pub authority: &'a str,
    pub scheme: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'a> RequestParts<'a> {
    /// The lines of one field, in order.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let headers = self.headers;
        headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// The exact text that is signed.
pub fn signature_base(
    parts: &RequestParts<'_>,
    components: &Components,
    parameters: &Parameters,
) -> Result<String, BaseError> {
    let params = signature_params(components.as_slice(), parameters);
    write_base(parts, components.as_slice(), &params, None)
}

/// Reads what a member of `Signature-Input` covers and promises.
pub fn read_input(list: &InnerList) -> Result<(Components, Parameters), BaseError> {
    Ok((Components::from_items(&list.items)?, Parameters::from_params(&list.params)?))
}

/// The value of `@signature-params`, which is also the value in `Signature-Input`.
pub(crate) fn signature_params(components: &[Component], parameters: &Parameters) -> String {
    let mut out = String::with_capacity(256);
    component::write_list(&mut out, components);
    parameters.as_slice().iter().for_each(|parameter| parameter.write(&mut out));
    out
}

/// `content_digest` stands in for the header that the sender is about to add.
pub(crate) fn write_base(
    parts: &RequestParts<'_>,
    components: &[Component],
    signature_params: &str,
    content_digest: Option<&str>,
) -> Result<String, BaseError> {
    let mut out = String::with_capacity(signature_params.len() + 64 + 96 * components.len());
    for component in components {
        component.write_identifier(&mut out);
        out.push_str(": ");
        match (component, content_digest) {
            (Component::Field(name), Some(digest)) if name == "content-digest" => out.push_str(digest),
            _ => value::write(&mut out, component, parts)?,
        }
        out.push('\n');
    }
    out.push_str("\"@signature-params\": ");
    out.push_str(signature_params);
    Ok(out)
}
