//! Deleting a webhook, after a question.

use maud::html;

use crate::console::parts;
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::{Visit, refused};

pub(super) async fn confirm(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let page = format!("/console/webhooks/{}", webhook.id);
    let main = html! {
        p.lead { "Nothing is sent any more to " strong { (parts::address(webhook.url.shown())) } "." }
        p { "What waits is cancelled. The history of its deliveries stays until its time is over. This cannot be taken back." }
        form method="post" action={ (page) "/delete" } {
            (parts::csrf(&visit))
            div.actions {
                button.danger type="submit" { "Delete webhook" }
                a.button href=(page) { "Keep it" }
            }
        }
    };
    Ok(Sheet::new(Section::Webhooks, "Delete this webhook?", main).into())
}

pub(super) async fn delete(visit: Visit) -> Result<Reply, Refused> {
    let webhook = visit.webhook().await?;
    let deleted =
        visit.app().delete_webhook(visit.tenant()?, webhook.id, webhook.dialect, visit.who()?).await;
    deleted.map_err(refused)?;
    Ok(Reply::done("/console/webhooks", format!("The webhook to {} was deleted.", webhook.url.shown())))
}
