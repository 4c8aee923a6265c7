//! What a page is: one row of the table in [`super::pages`], from which router and role check are made.

use std::pin::Pin;

use axum::routing::MethodFilter;
use sealpost_core::role::Permission;

use super::reply::{Refused, Reply};
use super::visit::Visit;
use crate::app::sign_in::Visitor;

pub(super) type Handler = fn(Visit) -> Pin<Box<dyn Future<Output = Result<Reply, Refused>> + Send>>;

/// Looking changes nothing; every change is sent as a form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Method {
    Get,
    Post,
}

impl Method {
    pub(super) const fn filter(self) -> MethodFilter {
        match self {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Needs {
    Nothing,
    /// Somebody signed in, whoever it is.
    Session,
    /// An operator.
    Operator,
    /// Somebody in a tenant who may do this there.
    Right(Permission),
    /// The same, but no subscriber: the page is about more than single webhooks.
    WholeTenant(Permission),
}

impl Needs {
    /// Whether the page is for this visitor, or why not.
    pub(super) fn judge(self, visitor: Option<&Visitor>) -> Result<(), Refused> {
        let right = |permission, visitor: &Visitor| visitor.tenant.is_some() && visitor.may(permission);
        match (self, visitor) {
            (Needs::Nothing, _) | (Needs::Session, Some(_)) => Ok(()),
            (_, None) => Err(Refused::SignIn),
            (Needs::Operator, Some(visitor)) if visitor.is_operator => Ok(()),
            (Needs::Right(permission), Some(visitor)) if right(permission, visitor) => Ok(()),
            (Needs::WholeTenant(permission), Some(visitor))
                if right(permission, visitor) && visitor.only.is_none() =>
            {
                Ok(())
            }
            _ => Err(Refused::Forbidden),
        }
    }
}

pub(super) struct Page {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    pub(super) handler: Handler,
}

impl Page {
    pub(super) const fn get(path: &'static str, needs: Needs, handler: Handler) -> Self {
        Self { method: Method::Get, path, needs, handler }
    }

    pub(super) const fn post(path: &'static str, needs: Needs, handler: Handler) -> Self {
        Self { method: Method::Post, path, needs, handler }
    }
}
