//! Signing in at an OpenID provider: the way there, and the way back.
//!
//! Both answer with a page that leads on. What came of it is said in one plain sentence of ours: nothing that the provider or
//! the address says is shown.

use maud::{Markup, html};

use super::sign_in::{failed, is_ours, ours, session};
use crate::app::openid::sign_in::{COME_BACK, CameBack, NotSignedIn};
use crate::console::reply::{Refused, Reply, Sheet};
use crate::console::visit::Visit;
use crate::console::{SIGN_IN, agrees, cookie};

/// A button for each provider; at another address than the public one, where nobody comes back to, the way to it.
pub(super) fn ways(visit: &Visit, to: &str) -> Markup {
    let offers = visit.app().offers();
    let is_public = visit.way.is_public(visit.app());
    html! {
        @for offer in &offers {
            @if is_public {
                form.card method="post" action=(COME_BACK) {
                    input type="hidden" name="provider" value=(offer.no);
                    @if is_ours(to) { input type="hidden" name="to" value=(to); }
                    button type="submit" { "Sign in with " (offer.name) }
                }
            } @else {
                p { a href={ (visit.app().config.public_url) (SIGN_IN) } { "Sign in with " (offer.name) } }
            }
        }
    }
}

/// `POST /console/sign-in/openid`
pub(super) async fn set_out(visit: Visit) -> Result<Reply, Refused> {
    let provider = visit.form.text("provider").parse().map_err(|_| Refused::NotFound)?;
    if !visit.way.is_public(visit.app()) {
        return Ok(failed(
            &visit,
            "Signing in with a provider begins at the public address of this service.",
        )
        .into());
    }
    match visit.app().begin_sign_in(provider, ours(visit.form.text("to"))).await {
        Ok(begun) => {
            let away = cookie::set_away(begun.browser.reveal(), visit.way.secure).ok_or(Refused::Internal)?;
            Ok(Sheet::onward("Signing in", begun.to.into_revealed()).with_cookie(away).into())
        }
        Err(why) => Ok(failed(&visit, sentence(why)?).into()),
    }
}

/// `GET /console/sign-in/openid`: where the provider sends people back to.
pub(super) async fn come_back(visit: Visit) -> Result<Reply, Refused> {
    let (sheet, again) = match back(&visit).await? {
        Ok(sheet) => (sheet, false),
        Err(Failed { sentence, again }) => (failed(&visit, sentence), again),
    };
    let over = || cookie::clear_away(visit.way.secure);
    Ok(if again { sheet } else { sheet.with_cookie(over()) }.into())
}

struct Failed {
    sentence: &'static str,
    /// Whoever comes back by the same way once more may be signed in.
    again: bool,
}

/// The page that leads on, or why nobody is signed in.
async fn back(visit: &Visit) -> Result<Result<Sheet, Failed>, Refused> {
    let back = CameBack {
        browser: visit.away.as_ref().map(|token| token.reveal().as_str()),
        state: visit.query.text("state"),
        code: visit.query.given("code"),
        error: visit.query.given("error"),
        issuer: visit.query.given("iss"),
    };
    let (credential, to) = match visit.app().end_sign_in(back).await {
        Ok(back) => back,
        Err(why) => {
            let again = matches!(why, NotSignedIn::Busy);
            return Ok(Err(Failed { sentence: sentence(why)?, again }));
        }
    };
    let Some(visitor) = visit.app().visitor(&credential).await? else {
        return Ok(Err(Failed { sentence: sentence(NotSignedIn::NotGood)?, again: false }));
    };
    if !agrees(visit.app(), &visit.way.tenant(visit.app()), &visitor).await? {
        let sentence = "Your account is of another tenant than this address.";
        return Ok(Err(Failed { sentence, again: false }));
    }
    Ok(Ok(Sheet::onward("Signed in", to).with_cookie(session(visit, credential)?)))
}

fn sentence(why: NotSignedIn) -> Result<&'static str, Refused> {
    Ok(match why {
        NotSignedIn::NoProvider => return Err(Refused::NotFound),
        NotSignedIn::Store(error) => return Err(error.into()),
        NotSignedIn::NotBegun => {
            "This sign-in was not begun in this browser, has ended, or took longer than 10 minutes. Begin again."
        }
        NotSignedIn::Declined => "The provider signed nobody in. Begin again, or sign in with a key.",
        NotSignedIn::Away => "The provider cannot be reached. Try again in a minute, or sign in with a key.",
        NotSignedIn::Busy => {
            "Too many people are signing in at the moment. Reload this page in some seconds."
        }
        NotSignedIn::NotGood => {
            "The provider's answer does not open this console. The service's log says why."
        }
        NotSignedIn::NoRole => "Your account has no role in this service. An administrator can change that.",
    })
}
