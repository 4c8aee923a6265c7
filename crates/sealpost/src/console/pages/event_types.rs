//! The catalogue of event types, and registering one's own.

use maud::{Markup, html};
use sealpost_core::event_type::{EventType, EventTypeName, Origin};
use sealpost_core::limits::DESCRIPTION_BYTES;
use sealpost_core::minimise::SummaryForm;
use sealpost_core::role::Permission;
use serde_json::Value;

use crate::app::event_types::EventTypeRefused;
use crate::console::parts::{self, Field};
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{curl, pretty};

const PATH: &str = "/console/event-types";

/// What somebody wrote, and what was wrong with it.
#[derive(Debug, Default)]
struct Draft<'a> {
    name: &'a str,
    description: &'a str,
    schema: &'a str,
    receive_all: bool,
    wrong_name: Option<String>,
    wrong_description: Option<String>,
    wrong_schema: Option<String>,
}

pub(super) async fn list(visit: Visit) -> Result<Reply, Refused> {
    Ok(sheet(&visit, &Draft::default()).await?.into())
}

pub(super) async fn create(visit: Visit) -> Result<Reply, Refused> {
    let form = &visit.form;
    let mut draft = Draft {
        name: form.text("name"),
        description: form.text("description"),
        schema: form.text("schema"),
        receive_all: form.ticked("receiveAll"),
        ..Draft::default()
    };
    let event_type = match read(&mut draft) {
        Some(event_type) => event_type,
        None => return Ok(sheet(&visit, &draft).await?.again().into()),
    };
    let tenant = visit.tenant()?;
    if visit.app().tenant(tenant).await?.event_type(event_type.name.as_str()).is_some() {
        draft.wrong_name = Some("A type of this name is registered already.".into());
        return Ok(sheet(&visit, &draft).await?.again().into());
    }
    match visit.app().put_event_type(tenant, event_type, visit.who()?).await {
        Ok(()) => return Ok(Reply::done(PATH, format!("The type {} was registered.", draft.name))),
        Err(EventTypeRefused::Store(error)) => return Err(error.into()),
        Err(why @ EventTypeRefused::Schema(_)) => draft.wrong_schema = Some(why.to_string()),
        Err(why) => draft.wrong_name = Some(why.to_string()),
    }
    Ok(sheet(&visit, &draft).await?.again().into())
}

/// `None`: the draft says what is wrong.
fn read(draft: &mut Draft<'_>) -> Option<EventType> {
    let name = EventTypeName::parse(draft.name)
        .map_err(|error| draft.wrong_name = Some(format!("The name {error}.")));
    if draft.description.len() > DESCRIPTION_BYTES {
        draft.wrong_description = Some(format!("Write at most {DESCRIPTION_BYTES} bytes."));
    }
    let schema: Result<Option<Value>, ()> = match draft.schema {
        "" => Ok(None),
        text => serde_json::from_str(text)
            .map(Some)
            .map_err(|_| draft.wrong_schema = Some("The schema is not JSON.".into())),
    };
    let (Ok(name), Ok(schema), None) = (name, schema, &draft.wrong_description) else { return None };
    Some(EventType {
        name,
        origin: Origin::Operator,
        description: draft.description.to_owned(),
        schema,
        summary: SummaryForm::Unknown,
        receive_all: draft.receive_all,
    })
}

pub(super) async fn delete(visit: Visit) -> Result<Reply, Refused> {
    let name = EventTypeName::parse(visit.form.text("name")).map_err(|_| Refused::NotFound)?;
    match visit.app().delete_event_type(visit.tenant()?, name.clone(), visit.who()?).await {
        Ok(()) => Ok(Reply::done(PATH, format!("The type {name} was deleted."))),
        Err(EventTypeRefused::NotFound(_)) => Err(Refused::NotFound),
        Err(EventTypeRefused::Store(error)) => Err(error.into()),
        Err(why) => Ok(Reply::failed(PATH, format!("Not deleted: {why}."))),
    }
}

async fn sheet(visit: &Visit, draft: &Draft<'_>) -> Result<Sheet, Refused> {
    let types = visit.app().tenant(visit.tenant()?).await?.event_types();
    let may = visit.may(Permission::ManageEventTypes);
    let main = html! {
        p.lead { "What can be published and subscribed to. Types with a JSON Schema take only payloads that satisfy it." }
        table {
            thead { tr { th { "Type" } th { "From" } th { "Receive All" } th { "Schema" } @if may { th { span.hidden { "Action" } } } } }
            tbody {
                @for entry in types {
                    @let event_type = &entry.event_type;
                    tr {
                        td.wide data-label="Type" { code { (event_type.name) } p.muted { (event_type.description) } }
                        td data-label="From" { (origin(event_type.origin)) }
                        td data-label="Receive All" { @if event_type.receive_all { "yes" } @else { span.muted { "no" } } }
                        td data-label="Schema" { (schema(event_type)) }
                        @if may {
                            td.act {
                                @if event_type.origin == Origin::Operator {
                                    form.inline method="post" action="/console/event-types/delete" {
                                        (parts::csrf(visit))
                                        input type="hidden" name="name" value=(event_type.name);
                                        button.danger type="submit" { "Delete" span.hidden { " " (event_type.name) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if may { (register(visit, draft)) }
        (curl::get(visit, "/v1/webhooks/event-types", &[]))
    };
    Ok(Sheet::new(Section::EventTypes, "Event types", main))
}

fn schema(event_type: &EventType) -> Markup {
    html! {
        @match &event_type.schema {
            Some(schema) => details { summary { "Show" } pre tabindex="0" { (pretty::json(&schema.to_string())) } },
            None => span.muted aria-label="none" { "–" },
        }
    }
}

fn register(visit: &Visit, draft: &Draft<'_>) -> Markup {
    let name = Field {
        name: "name",
        label: "Name",
        help: Some("Letters, digits and . _ -"),
        wrong: draft.wrong_name.as_deref(),
    };
    let description = Field {
        name: "description",
        label: "Description",
        help: None,
        wrong: draft.wrong_description.as_deref(),
    };
    let schema = Field {
        name: "schema",
        label: "JSON Schema (optional)",
        help: None,
        wrong: draft.wrong_schema.as_deref(),
    };
    html! {
        form method="post" action=(PATH) {
            (parts::csrf(visit))
            h2 { "Register a type of your own" }
            (name.input("text", draft.name, true))
            (description.input("text", draft.description, false))
            (schema.around(&html! {
                textarea id="schema" name="schema" rows="4" spellcheck="false" aria-describedby=[schema.described_by()]
                    aria-invalid=[schema.wrong.map(|_| "true")] { (draft.schema) }
            }))
            label.choice {
                input type="checkbox" name="receiveAll" value="yes" checked[draft.receive_all];
                span { "Sent to webhooks with Receive All" }
            }
            div.actions { button.main type="submit" { "Register type" } }
        }
    }
}

const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Mattr => "MATTR",
        Origin::Truvera => "Truvera",
        Origin::Own => "Sealpost",
        Origin::Operator => "you",
    }
}
