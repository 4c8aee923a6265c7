//! Portal links: made on a webhook's page, or by the API, followed by whoever runs the receiver.
//!
//! Looking at a link opens nothing, so that what looks at links in messages does not use them up; a form does.

use maud::html;

use super::sign_in;
use crate::app::portal::{LINK_HOLDS, LinkRefused};
use crate::console::HOME;
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::session::Notice;
use crate::console::visit::Visit;

/// `POST /console/webhooks/{id}/portal`
pub(super) async fn make(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let by = &visit.session()?.credential;
    let page = format!("/console/webhooks/{}", webhook.id);
    let (tenant, who) = (visit.tenant()?, visit.who()?);
    match visit.app().make_portal_link(tenant, vec![webhook.id], LINK_HOLDS, by, who).await {
        Ok(link) => {
            let notice = Notice::Shown {
                name: "Portal link",
                value: link.url,
                about: "Give it to whoever runs the receiver. It opens once, within 15 minutes, and shows this webhook, its \
                        deliveries and what was sent to it. It is shown here only now.",
            };
            Ok(Reply::See(page, vec![notice]))
        }
        Err(LinkRefused::NotFound { .. }) => Err(Refused::NotFound),
        Err(LinkRefused::TooMany) => {
            Ok(Reply::failed(page, "Too many links wait to be followed. Try again later."))
        }
        Err(LinkRefused::Store(error)) => Err(error.into()),
    }
}

/// `GET /console/portal/{token}`
pub(super) async fn look(visit: Visit) -> Result<Reply, Refused> {
    let main = html! {
        p.lead { "Somebody gave you this link to look at webhooks and their deliveries." }
        form.card method="post" action="/console/portal" {
            input type="hidden" name="token" value=(visit.param("token"));
            @if visit.visitor.is_some() { p { "You are signed in; opening the link signs you out there." } }
            button.main type="submit" { "Open" }
        }
    };
    Ok(Sheet::new(Section::None, "Webhook portal", main).into())
}

/// `POST /console/portal`
pub(super) async fn follow(visit: Visit) -> Result<Reply, Refused> {
    match visit.app().follow_portal_link(visit.form.text("token")) {
        Some(credential) => sign_in::begin(&visit, credential, HOME),
        None => Err(Refused::Bad("This link was opened before, or is too old. Ask for another.".into())),
    }
}
