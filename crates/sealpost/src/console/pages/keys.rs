//! The tenant's signing keys: what receivers verify with, and the step to the next one.

use maud::{Markup, html};
use sealpost_core::key_ring::{KeyRecord, KeyState, RETIRED_FOR};
use sealpost_core::role::Permission;

use crate::app::keys::KeyRefused;
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{curl, parts};

const PATH: &str = "/console/keys";

pub(super) async fn show(visit: Visit) -> Result<Reply, Refused> {
    let ring = visit.app().key_ring(visit.tenant()?).await?;
    let ahead = visit.app().config.publish_ahead;
    let usable_from = ring.next().map(|key| key.created_at + ahead);
    let now = visit.app().clock.now();
    let main = html! {
        p.lead {
            "Every request is signed with the current key. Receivers verify with the public keys, which anybody may fetch as a \
             JSON Web Key Set; they are known to load it once, so the next key is there long before it signs."
        }
        table {
            thead { tr { th { "Key id" } th { "State" } th { "Made" } th { "Then" } } }
            tbody {
                @for key in ring.published(now) {
                    tr {
                        td.wide data-label="Key id" { (parts::copyable("Key id", &key.kid)) }
                        td data-label="State" { (state(key)) }
                        td data-label="Made" { (parts::time(key.created_at)) }
                        td data-label="Then" {
                            @match key.state {
                                KeyState::Current => "signs",
                                KeyState::Next => { "may sign from " (parts::time(key.created_at + ahead)) },
                                KeyState::Retired { since } => { "published until " (parts::time(since + RETIRED_FOR)) },
                            }
                        }
                    }
                }
            }
        }
        @if visit.may(Permission::ManageKeys) {
            section.danger-zone {
                h2 { "Rotate" }
                div.bar {
                    form method="post" action="/console/keys/rotate" {
                        (parts::csrf(&visit))
                        p { "The next key signs from now on, the current one retires and stays published for 30 days, a new next one is made." }
                        @if let Some(from) = usable_from.filter(|from| now < *from) {
                            label.choice {
                                input type="checkbox" name="now" value="yes";
                                span {
                                    "Rotate although receivers may not know the next key"
                                    span.muted { "Not needed from " (parts::time(from)) " on. Do it if the current key is compromised." }
                                }
                            }
                        }
                        button.danger type="submit" { "Rotate keys" }
                    }
                }
            }
        }
        (curl::get(&visit, "/v1/webhooks/jwks", &[]))
    };
    Ok(Sheet::new(Section::Keys, "Keys", main).into())
}

fn state(key: &KeyRecord) -> Markup {
    let kind = match key.state {
        KeyState::Current => "good",
        KeyState::Next => "wait",
        KeyState::Retired { .. } => "off",
    };
    parts::chip(kind, key.state.as_str())
}

pub(super) async fn rotate(visit: Visit) -> Result<Reply, Refused> {
    let at_once = visit.form.ticked("now");
    match visit.app().rotate_keys(visit.tenant()?, at_once, visit.who()?).await {
        Ok(_) => Ok(Reply::done(PATH, "The keys were rotated.")),
        Err(KeyRefused::Refused(_)) => Ok(Reply::failed(
            PATH,
            "The next key is too young: receivers may not know it yet. Tick the box to rotate all the same.",
        )),
        Err(KeyRefused::Store(error)) => Err(error.into()),
    }
}
