//! Which parts of a request a signature may cover, and how each is named in a signature base.

use std::borrow::Cow;
use std::fmt;

use super::BaseError;
use crate::limits::MAX_COMPONENTS;
use crate::structured_fields::{BareItem, Item, is_string, is_tchar, write_string};

/// One covered part of a request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Component {
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    /// `@query-param` of this name, percent-encoded as RFC 9421 2.2.8 asks.
    QueryParam(Cow<'static, str>),
    /// A header field, lower-case. [`Component::parse`] checks the name.
    Field(Cow<'static, str>),
}

impl Component {
    /// Reads a name without parameters: `@method`, `content-type`.
    pub fn parse(name: &str) -> Result<Self, BaseError> {
        Ok(match name {
            "@method" => Self::Method,
            "@target-uri" => Self::TargetUri,
            "@authority" => Self::Authority,
            "@scheme" => Self::Scheme,
            "@request-target" => Self::RequestTarget,
            "@path" => Self::Path,
            "@query" => Self::Query,
            "@query-param" => return Err(BaseError::MissingQueryName),
            _ if name.starts_with('@') => {
                return Err(BaseError::UnknownDerivedComponent { component: name.to_owned() });
            }
            _ if name.is_empty() || !name.bytes().all(|b| is_tchar(b) && !b.is_ascii_uppercase()) => {
                return Err(BaseError::InvalidComponentName { component: name.to_owned() });
            }
            _ => Self::Field(Cow::Owned(name.to_owned())),
        })
    }

    fn from_item(item: &Item) -> Result<Self, BaseError> {
        let BareItem::String(name) = &item.value else {
            return Err(BaseError::InvalidComponentName { component: format!("{:?}", item.value) });
        };
        let unsupported = |parameter: &str| BaseError::UnsupportedParameter {
            component: name.clone(),
            parameter: parameter.to_owned(),
        };
        match item.params.0.as_slice() {
            [] => Self::parse(name),
            [(parameter, value)] if name == "@query-param" && parameter == "name" => match value {
                BareItem::String(query_name) => Ok(Self::QueryParam(Cow::Owned(query_name.clone()))),
                _ => Err(BaseError::MissingQueryName),
            },
            params => {
                let other = params.iter().find(|(p, _)| !(name == "@query-param" && p == "name"));
                Err(unsupported(other.map_or("name", |(p, _)| p)))
            }
        }
    }

    /// The name without parameters.
    pub fn name(&self) -> &str {
        match self {
            Self::Method => "@method",
            Self::TargetUri => "@target-uri",
            Self::Authority => "@authority",
            Self::Scheme => "@scheme",
            Self::RequestTarget => "@request-target",
            Self::Path => "@path",
            Self::Query => "@query",
            Self::QueryParam(_) => "@query-param",
            Self::Field(name) => name,
        }
    }

    pub(super) fn write_identifier(&self, out: &mut String) {
        write_string(out, self.name());
        if let Self::QueryParam(name) = self {
            out.push_str(";name=");
            write_string(out, name);
        }
    }
}

/// The component identifier as it stands in a signature base.
impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write_identifier(&mut out);
        f.write_str(&out)
    }
}

/// The ordered list of what a signature covers. No component occurs twice.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Components(Vec<Component>);

impl Components {
    pub fn new(components: impl IntoIterator<Item = Component>) -> Result<Self, BaseError> {
        let mut list: Vec<Component> = Vec::new();
        for component in components {
            if list.contains(&component) {
                return Err(BaseError::DuplicateComponent { component: component.to_string() });
            }
            if list.len() == MAX_COMPONENTS {
                return Err(BaseError::TooManyComponents);
            }
            // The variants are open to callers, so what a network or a person wrote is checked here too.
            match &component {
                Component::Field(name) if !matches!(Component::parse(name)?, Component::Field(_)) => {
                    return Err(BaseError::InvalidComponentName { component: name.to_string() });
                }
                Component::QueryParam(name) if !is_string(name) => {
                    return Err(BaseError::NotRepresentable { component: "@query-param".to_owned() });
                }
                _ => {}
            }
            list.push(component);
        }
        Ok(Self(list))
    }

    /// Reads names without parameters.
    pub fn parse(names: &[&str]) -> Result<Self, BaseError> {
        Self::new(names.iter().map(|name| Component::parse(name)).collect::<Result<Vec<_>, _>>()?)
    }

    pub(crate) fn from_items(items: &[Item]) -> Result<Self, BaseError> {
        Self::new(items.iter().map(Component::from_item).collect::<Result<Vec<_>, _>>()?)
    }

    pub fn as_slice(&self) -> &[Component] {
        &self.0
    }

    pub fn contains(&self, component: &Component) -> bool {
        self.0.contains(component)
    }
}

pub(super) fn write_list(out: &mut String, components: &[Component]) {
    out.push('(');
    for (index, component) in components.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        component.write_identifier(out);
    }
    out.push(')');
}
