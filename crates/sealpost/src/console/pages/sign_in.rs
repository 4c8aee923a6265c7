//! Signing in with a key, and out. Signing in elsewhere is [`super::openid`].
//!
//! [`session`] is the one place where a session begins, however its credential was proven.

use axum::http::HeaderValue;
use maud::{Markup, html};
use sealpost_core::secret::Secret;

use super::openid;
use crate::app::sign_in::Credential;
use crate::console::parts::{Field, mark};
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{HOME, SIGN_IN, agrees, cookie, layout, see_other_with};

/// No key of ours is longer; the operator's own bootstrap key may be.
const KEY_BYTES_MAX: usize = 4096;

/// `GET /console`
pub(super) async fn home(visit: Visit) -> Result<Reply, Refused> {
    let path = match visit.visitor()?.tenant {
        Some(_) => layout::first_page(&visit),
        None => "/console/tenants",
    };
    Ok(Reply::see(path))
}

pub(super) async fn form(visit: Visit) -> Result<Reply, Refused> {
    if visit.visitor.is_some() {
        return Ok(Reply::see(HOME));
    }
    Ok(sheet(&visit, visit.query.text("to"), None).into())
}

fn sheet(visit: &Visit, to: &str, wrong: Option<&str>) -> Sheet {
    let main = html! { (key_form(to, wrong)) (openid::ways(visit, to)) };
    Sheet::new(Section::None, "Sign in", main)
}

/// The page again, after a way that was not a key.
pub(super) fn failed(visit: &Visit, sentence: &str) -> Sheet {
    let main = html! {
        p.notice.bad role="alert" { (mark("bad")) (sentence) }
        (key_form("", None))
        (openid::ways(visit, ""))
    };
    Sheet::new(Section::None, "Sign in", main).again()
}

fn key_form(to: &str, wrong: Option<&str>) -> Markup {
    let help = "An API key of a tenant (spk_…), or an operator's key (spo_…).";
    let field = Field { name: "key", label: "Key", help: Some(help), wrong };
    html! {
        form.card method="post" action=(SIGN_IN) {
            @if is_ours(to) { input type="hidden" name="to" value=(to); }
            (field.around(&html! {
                input id="key" name="key" type="password" required autocomplete="current-password" spellcheck="false"
                    autofocus aria-describedby=[field.described_by()] aria-invalid=[wrong.map(|_| "true")];
            }))
            button.main type="submit" { "Sign in" }
        }
    }
}

pub(super) async fn sign_in(visit: Visit) -> Result<Reply, Refused> {
    let key = visit.form.text("key");
    let credential = match key.len() {
        1..=KEY_BYTES_MAX => visit.app().credential(key).await?,
        _ => None,
    };
    let to = visit.form.text("to");
    let Some(credential) = credential else {
        return Ok(sheet(&visit, to, Some("This key is unknown, expired or deleted.")).again().into());
    };
    let visitor = visit.app().visitor(&credential).await?.ok_or(Refused::SignIn)?;
    if !agrees(visit.app(), &visit.way.tenant(visit.app()), &visitor).await? {
        return Ok(sheet(&visit, to, Some("This key is of another tenant than this address."))
            .again()
            .into());
    }
    begin(&visit, credential, ours(to))
}

pub(super) fn begin(visit: &Visit, credential: Credential, to: &str) -> Result<Reply, Refused> {
    see_other_with(to, Some(session(visit, credential)?))
}

/// A new session in place of the one there may be: nobody keeps a token from before. Answers with its cookie.
pub(super) fn session(visit: &Visit, credential: Credential) -> Result<HeaderValue, Refused> {
    if let Some(before) = &visit.session {
        visit.state.sessions.end(before.key);
    }
    let begun = visit.state.sessions.begin(credential, visit.app().clock.as_ref());
    let token: Secret<String> =
        begun.map_err(|_full| Refused::Unavailable("Too many people are signed in. Try again later."))?;
    cookie::set(token.reveal(), visit.way.secure).ok_or(Refused::Internal)
}

pub(super) async fn sign_out(visit: Visit) -> Result<Reply, Refused> {
    visit.state.sessions.end(visit.session()?.key);
    see_other_with(SIGN_IN, Some(cookie::clear(visit.way.secure)))
}

pub(super) fn ours(to: &str) -> &str {
    if is_ours(to) { to } else { HOME }
}

/// A page of the console, whatever somebody put into a link to the sign-in page.
pub(super) fn is_ours(to: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"/-_.".contains(&b);
    to.starts_with("/console/") && to.bytes().all(safe) && to.len() <= 200
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_to_our_pages_only() {
        for (to, ours) in [
            ("/console/webhooks", true),
            ("/console/deliveries/0190c0de-0000-7000-8000-000000000000", true),
            ("/console", false),
            ("//evil.example", false),
            ("https://evil.example/console/", false),
            ("/console/\\evil.example", false),
            ("/console/x?y=z", false),
            ("/console/\r\nset-cookie: a=b", false),
            ("", false),
        ] {
            assert_eq!(is_ours(to), ours, "{to}");
        }
    }
}
