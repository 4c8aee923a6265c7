//! What a signature says about itself: when it was made, until when it holds, by which key.

use super::BaseError;
use crate::structured_fields::{BareItem, MAX_INTEGER, Params, is_key, is_string, write_param, write_string};

/// A signature parameter. `Other` carries what later specifications add; verifiers pass it through.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Parameter {
    /// Unix seconds.
    Created(i64),
    /// Unix seconds.
    Expires(i64),
    Nonce(String),
    Alg(String),
    KeyId(String),
    Tag(String),
    Other(String, BareItem),
}

/// The parameters of RFC 9421, which have variants of their own.
const REGISTERED: [&str; 6] = ["created", "expires", "nonce", "alg", "keyid", "tag"];

impl Parameter {
    pub fn name(&self) -> &str {
        match self {
            Self::Created(_) => "created",
            Self::Expires(_) => "expires",
            Self::Nonce(_) => "nonce",
            Self::Alg(_) => "alg",
            Self::KeyId(_) => "keyid",
            Self::Tag(_) => "tag",
            Self::Other(name, _) => name,
        }
    }

    fn read(name: &str, value: &BareItem) -> Result<Self, BaseError> {
        let seconds = || match value {
            BareItem::Integer(seconds) => Ok(*seconds),
            _ => Err(invalid_parameter(name, "a whole number of seconds")),
        };
        let text = || match value {
            BareItem::String(text) => Ok(text.clone()),
            _ => Err(invalid_parameter(name, "a quoted text")),
        };
        Ok(match name {
            "created" => Self::Created(seconds()?),
            "expires" => Self::Expires(seconds()?),
            "nonce" => Self::Nonce(text()?),
            "alg" => Self::Alg(text()?),
            "keyid" => Self::KeyId(text()?),
            "tag" => Self::Tag(text()?),
            _ => Self::Other(name.to_owned(), value.clone()),
        })
    }

    fn check(&self) -> Result<(), BaseError> {
        match self {
            Self::Created(seconds) | Self::Expires(seconds) if !(0..=MAX_INTEGER).contains(seconds) => {
                Err(invalid_parameter(self.name(), "a number of unix seconds"))
            }
            Self::Nonce(text) | Self::Alg(text) | Self::KeyId(text) | Self::Tag(text) if !is_string(text) => {
                Err(invalid_parameter(self.name(), "printable ASCII"))
            }
            Self::Other(name, _) if !is_key(name) || REGISTERED.contains(&name.as_str()) => {
                Err(invalid_parameter(name, "a name for a parameter of one's own"))
            }
            Self::Other(name, value) if !value.is_valid() => {
                Err(invalid_parameter(name, "a value that a structured field can carry"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Created(seconds) | Self::Expires(seconds) => {
                write_param(out, self.name(), &BareItem::Integer(*seconds));
            }
            Self::Nonce(text) | Self::Alg(text) | Self::KeyId(text) | Self::Tag(text) => {
                out.push(';');
                out.push_str(self.name());
                out.push('=');
                write_string(out, text);
            }
            Self::Other(name, value) => write_param(out, name, value),
        }
    }
}

/// Signature parameters in the order they are written. No name occurs twice.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parameters(Vec<Parameter>);

impl Parameters {
    pub fn new(parameters: impl IntoIterator<Item = Parameter>) -> Result<Self, BaseError> {
        let mut list: Vec<Parameter> = Vec::new();
        for parameter in parameters {
            parameter.check()?;
            if list.iter().any(|known| known.name() == parameter.name()) {
                return Err(BaseError::DuplicateParameter { parameter: parameter.name().to_owned() });
            }
            list.push(parameter);
        }
        Ok(Self(list))
    }

    pub(crate) fn from_params(params: &Params) -> Result<Self, BaseError> {
        let read = params.0.iter().map(|(name, value)| Parameter::read(name, value));
        Self::new(read.collect::<Result<Vec<_>, _>>()?)
    }

    pub fn as_slice(&self) -> &[Parameter] {
        &self.0
    }

    pub fn created(&self) -> Option<i64> {
        self.0.iter().find_map(|p| if let Parameter::Created(seconds) = p { Some(*seconds) } else { None })
    }

    pub fn expires(&self) -> Option<i64> {
        self.0.iter().find_map(|p| if let Parameter::Expires(seconds) = p { Some(*seconds) } else { None })
    }

    pub fn alg(&self) -> Option<&str> {
        self.0.iter().find_map(|p| if let Parameter::Alg(text) = p { Some(text.as_str()) } else { None })
    }

    pub fn keyid(&self) -> Option<&str> {
        self.0.iter().find_map(|p| if let Parameter::KeyId(text) = p { Some(text.as_str()) } else { None })
    }
}

fn invalid_parameter(parameter: &str, wanted: &'static str) -> BaseError {
    BaseError::InvalidParameter { parameter: parameter.to_owned(), wanted }
}
