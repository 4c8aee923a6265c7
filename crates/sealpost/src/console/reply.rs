//! What a page answers, and what it refuses.

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use sealpost_store::StoreError;

use super::session::Notice;

const OFTEN: Duration = Duration::from_secs(2);
const SELDOM: Duration = Duration::from_secs(30);

/// The entry of the navigation that a page belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Section {
    Overview,
    Webhooks,
    Deliveries,
    Events,
    EventTypes,
    Keys,
    Analytics,
    Audit,
    Tenants,
    /// Signing in, and what is not there.
    None,
}

/// Without a way to print it: some pages show payloads.
pub(super) struct Sheet {
    pub(super) title: String,
    pub(super) section: Section,
    pub(super) main: Markup,
    /// The page updates itself while it is open, and is looked at this often.
    pub(super) live: Option<Duration>,
    pub(super) status: StatusCode,
    /// Where the browser goes on by itself.
    pub(super) onward: Option<String>,
    pub(super) cookies: Vec<HeaderValue>,
}

impl Sheet {
    pub(super) fn new(section: Section, title: impl Into<String>, main: Markup) -> Self {
        Self {
            title: title.into(),
            section,
            main,
            live: None,
            status: StatusCode::OK,
            onward: None,
            cookies: Vec::new(),
        }
    }

    pub(super) fn live(self) -> Self {
        Self { live: Some(OFTEN), ..self }
    }

    /// For a page that costs the store some work.
    pub(super) fn live_slowly(self) -> Self {
        Self { live: Some(SELDOM), ..self }
    }

    /// A form that is shown again because of what was in it.
    pub(super) fn again(self) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, ..self }
    }

    /// A page that only leads on. A redirect would not do: of one that answers a form the browser asks whether the form may
    /// go there, and along one from another site it keeps the session's cookie back.
    pub(super) fn onward(title: impl Into<String>, to: String) -> Self {
        let main = html! { p { a.button href=(to) { "Continue" } } };
        Self { onward: Some(to), ..Self::new(Section::None, title, main) }
    }

    pub(super) fn with_cookie(mut self, cookie: HeaderValue) -> Self {
        self.cookies.push(cookie);
        self
    }
}

pub(super) enum Reply {
    Sheet(Sheet),
    /// After a change: go and look at this page, which shows the notices.
    See(String, Vec<Notice>),
    Raw(Response),
}

impl Reply {
    pub(super) fn see(path: impl Into<String>) -> Self {
        Reply::See(path.into(), Vec::new())
    }

    pub(super) fn done(path: impl Into<String>, what: impl Into<String>) -> Self {
        Reply::See(path.into(), vec![Notice::Done(what.into())])
    }

    pub(super) fn failed(path: impl Into<String>, why: impl Into<String>) -> Self {
        Reply::See(path.into(), vec![Notice::Failed(why.into())])
    }
}

impl From<Sheet> for Reply {
    fn from(sheet: Sheet) -> Self {
        Reply::Sheet(sheet)
    }
}

#[derive(Debug)]
pub(super) enum Refused {
    /// Nobody is signed in.
    SignIn,
    /// Without TLS, from elsewhere.
    Insecure,
    Forbidden,
    NotFound,
    /// The form was sent by somebody else's page, or is older than the session.
    Foreign,
    /// A sentence for people.
    Bad(String),
    /// The tenant is ahead of its rate; after so long it may go on.
    TooFast(Duration),
    Unavailable(&'static str),
    Internal,
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Refused::Unavailable("The disk of the service is full."),
            StoreError::Busy => Refused::Unavailable("The service is busy."),
            StoreError::Closed => Refused::Unavailable("The service is stopping."),
            error => {
                tracing::error!(%error, "a page failed in the store");
                Refused::Internal
            }
        }
    }
}

impl Refused {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Refused::SignIn => StatusCode::UNAUTHORIZED,
            Refused::Insecure | Refused::Forbidden | Refused::Foreign => StatusCode::FORBIDDEN,
            Refused::NotFound => StatusCode::NOT_FOUND,
            Refused::Bad(_) => StatusCode::BAD_REQUEST,
            Refused::TooFast(_) => StatusCode::TOO_MANY_REQUESTS,
            Refused::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refused::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The header that belongs to it, if one does.
    pub(super) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let Refused::TooFast(wait) = self else { return None };
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Some((RETRY_AFTER, HeaderValue::from(seconds.max(1))))
    }

    /// Heading and sentence.
    pub(super) fn words(&self) -> (&'static str, &str) {
        match self {
            Refused::SignIn => ("Signed out", "Sign in to go on."),
            Refused::Insecure => (
                "Not safe here",
                "The console is served over HTTPS, or on this machine as localhost. Behind a proxy, see SEALPOST_TRUSTED_PROXIES and X-Forwarded-Proto.",
            ),
            Refused::Forbidden => {
                ("Not allowed", "Your role does not include this. An administrator can change that.")
            }
            Refused::NotFound => ("Not found", "There is nothing here, or nothing that you may see."),
            Refused::Foreign => (
                "Not done",
                "This form was not sent from a current page of this console. Go back, reload the page, and try again.",
            ),
            Refused::Bad(why) => ("Not understood", why),
            Refused::TooFast(_) => (
                "Too many requests",
                "This tenant asks for more than it may. Wait a moment, and reload the page.",
            ),
            Refused::Unavailable(why) => ("Not now", why),
            Refused::Internal => ("Something failed", "Nothing was changed. The service's log says more."),
        }
    }
}
