//! For operators: the tenants of the installation, and the way into one.

use maud::html;
use sealpost_core::id::TenantId;

use super::sign_in;
use crate::app::hosts::Host;
use crate::app::sign_in::Credential;
use crate::console::parts;
use crate::console::reply::{Refused, Reply, Section, Sheet};
use crate::console::visit::Visit;
use crate::console::{HOME, agrees};

pub(super) async fn list(visit: Visit) -> Result<Reply, Refused> {
    let here = visit.visitor()?.tenant;
    let mut tenants = visit.app().tenants().await?;
    if let host @ (Host::Tenant(_) | Host::Custom(_)) = visit.way.tenant(visit.app()) {
        // At a tenant's own address there is that one.
        tenants.retain(|tenant| match &host {
            Host::Custom(no) => tenant.no == *no,
            Host::Tenant(label) => tenant.subdomain.as_str() == label,
            Host::Any | Host::Elsewhere => true,
        });
    }
    let main = html! {
        p.lead { "Choose a tenant to work in. Its audit log will say that you were there, and what you did." }
        table {
            thead { tr { th { "Tenant" } th { "Name of its host" } th { "Since" } th { span.hidden { "Action" } } } }
            tbody {
                @for tenant in &tenants {
                    tr {
                        td data-label="Tenant" { strong { (tenant.name) } }
                        td data-label="Host" { code { (tenant.subdomain.as_str()) } }
                        td data-label="Since" { (parts::time(tenant.created_at)) }
                        td.act {
                            @if here == Some(tenant.no) { (parts::chip("good", "open")) } @else {
                                form.inline method="post" action="/console/tenants" {
                                    (parts::csrf(&visit))
                                    input type="hidden" name="tenant" value=(tenant.id);
                                    button type="submit" { "Open" span.hidden { " " (tenant.name) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(Sheet::new(Section::Tenants, "Tenants", main).into())
}

pub(super) async fn open(visit: Visit) -> Result<Reply, Refused> {
    let id: TenantId = visit.form.text("tenant").parse().map_err(|_| Refused::NotFound)?;
    let tenant = visit.app().tenant_by_id(id).await?.ok_or(Refused::NotFound)?;
    let Credential::Operator(operator, _) = visit.session()?.credential else {
        return Err(Refused::Forbidden);
    };
    let credential = Credential::Operator(operator, Some(tenant.no));
    let visitor = visit.app().visitor(&credential).await?.ok_or(Refused::NotFound)?;
    if !agrees(visit.app(), &visit.way.tenant(visit.app()), &visitor).await? {
        return Err(Refused::NotFound);
    }
    visit.app().open_tenant(&tenant, &visitor.who).await?;
    sign_in::begin(&visit, credential, HOME)
}
