//! One admitted request, as its page sees it.

use std::str::FromStr;

use axum::http::request::Parts;
use axum::http::uri::Authority;
use sealpost_core::id::{TenantNo, WebhookId};
use sealpost_core::role::Permission;
use sealpost_core::secret::Secret;
use sealpost_core::webhook::Webhook;
use url::Url;

use super::ConsoleState;
use super::form::Fields;
use super::reply::Refused;
use super::session::Open;
use crate::app::App;
use crate::app::hosts::Host;
use crate::app::sign_in::Visitor;
use crate::app::webhooks::WebhookRefused;
use crate::peer::ClientInfo;

/// The way a request came.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) secure: bool,
    /// With its port; `None` if nobody trusted says.
    pub(super) host: Option<String>,
}

impl Way {
    pub(super) fn of(head: &Parts) -> Self {
        match head.extensions.get::<ClientInfo>() {
            Some(info) => Self { secure: info.secure, host: info.host.clone() },
            None => Self { secure: false, host: head.uri.authority().map(Authority::to_string) },
        }
    }

    /// Whether this is the address of the settings, where OpenID providers send people back to.
    pub(super) fn is_public(&self, app: &App) -> bool {
        let scheme = if self.secure { "https" } else { "http" };
        let here = self.host.as_ref().and_then(|host| Url::parse(&format!("{scheme}://{host}")).ok());
        let public = Url::parse(&app.config.public_url).ok();
        here.zip(public).is_some_and(|(here, public)| here.origin() == public.origin())
    }

    pub(super) fn tenant(&self, app: &App) -> Host {
        let base = app.config.base_domain.as_deref();
        Host::named(self.host.as_deref().unwrap_or_default(), base, |name| app.domains.tenant(name))
    }
}

/// Without a way to print it: parts of a path are links that open something.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) state: ConsoleState,
    pub(super) way: Way,
    pub(super) session: Option<Open>,
    pub(super) visitor: Option<Visitor>,
    /// What a browser brings that was at an OpenID provider.
    pub(super) away: Option<Secret<String>>,
    /// And no form that was sent.
    pub(super) is_look: bool,
    pub(super) path: String,
    pub(super) params: Vec<(String, String)>,
    pub(super) query: Fields,
    /// Of a `POST`.
    pub(super) form: Fields,
}

impl Visit {
    pub(super) fn app(&self) -> &App {
        &self.state.app
    }

    /// Whoever is signed in; every page has one but those for anybody.
    pub(super) fn visitor(&self) -> Result<&Visitor, Refused> {
        self.visitor.as_ref().ok_or(Refused::SignIn)
    }

    pub(super) fn session(&self) -> Result<&Open, Refused> {
        self.session.as_ref().ok_or(Refused::SignIn)
    }

    pub(super) fn csrf(&self) -> Option<&Secret<String>> {
        self.session.as_ref().map(|session| &session.csrf)
    }

    pub(super) fn tenant(&self) -> Result<TenantNo, Refused> {
        self.visitor()?.tenant.ok_or(Refused::Forbidden)
    }

    /// The visitor, as the audit log names it.
    pub(super) fn who(&self) -> Result<&str, Refused> {
        Ok(&self.visitor()?.who)
    }

    pub(super) fn may(&self, permission: Permission) -> bool {
        self.visitor.as_ref().is_some_and(|visitor| visitor.may(permission))
    }

    pub(super) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The id in the path; what is no id is not there.
    pub(super) fn id<Id: FromStr>(&self) -> Result<Id, Refused> {
        self.param("id").parse().map_err(|_| Refused::NotFound)
    }

    /// The webhook in the path, if the visitor may know of it.
    pub(super) async fn webhook(&self) -> Result<Webhook, Refused> {
        let id: WebhookId = self.id()?;
        if !self.visitor()?.sees(id) {
            return Err(Refused::NotFound);
        }
        self.app().webhook(self.tenant()?, id).await.map_err(refused)
    }
}

/// What a refused verb about a webhook means to a page that has nothing to say about it itself.
pub(super) fn refused(why: WebhookRefused) -> Refused {
    match why {
        WebhookRefused::NotFound => Refused::NotFound,
        WebhookRefused::UnknownType { .. } | WebhookRefused::TooMany | WebhookRefused::NoToken => {
            Refused::Bad(why.to_string())
        }
        WebhookRefused::Store(error) => error.into(),
    }
}
