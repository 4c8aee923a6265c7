//! `/v1/config/domain`: the one custom domain of the caller's tenant, and its verification.

use axum::response::Response;
use sealpost_core::domain::{CustomDomain, DisplayName, DomainFacts, DomainName, LogoUrl};
use sealpost_core::id::VerificationToken;
use sealpost_core::time::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::answer;
use crate::api::call::Call;
use crate::api::fields::{Fields, text};
use crate::api::problem::Problem;
use crate::app::domains::DomainRefused;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a str,
    logo_url: &'a str,
    domain: &'a str,
    verification_token: VerificationToken,
    is_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_at: Option<Timestamp>,
}

impl<'a> Shown<'a> {
    fn of(domain: &'a CustomDomain) -> Self {
        Self {
            name: domain.facts.name.as_str(),
            logo_url: domain.facts.logo_url.as_str(),
            domain: domain.facts.domain.as_str(),
            verification_token: domain.token,
            is_verified: domain.verified_at.is_some(),
            verified_at: domain.verified_at,
        }
    }
}

pub(in crate::api) async fn create(mut call: Call) -> Result<Response, Problem> {
    let facts = facts(call.json().await?, call.app().config.base_domain.as_deref())?;
    let created = call.app().create_domain(call.tenant()?, facts, call.who()?).await?;
    let answer = answer::created(&format!("{}/v1/config/domain", call.base), &Shown::of(&created))?;
    Ok(answer::telling(answer, told(&created)))
}

pub(in crate::api) async fn get(call: Call) -> Result<Response, Problem> {
    shown(&call.app().domain(call.tenant()?).await?)
}

pub(in crate::api) async fn replace(mut call: Call) -> Result<Response, Problem> {
    let facts = facts(call.json().await?, call.app().config.base_domain.as_deref())?;
    let replaced = call.app().replace_domain(call.tenant()?, facts, call.who()?).await?;
    shown(&replaced)
}

fn shown(domain: &CustomDomain) -> Result<Response, Problem> {
    Ok(answer::telling(answer::ok(&Shown::of(domain))?, told(domain)))
}

/// In analytic events the time of the verification is a number.
fn told(domain: &CustomDomain) -> Value {
    let mut told = json!(Shown::of(domain));
    if let Some(at) = domain.verified_at {
        told["verifiedAt"] = json!(at.millis());
    }
    told
}

pub(in crate::api) async fn delete(call: Call) -> Result<Response, Problem> {
    call.app().delete_domain(call.tenant()?, call.who()?).await?;
    Ok(answer::no_content())
}

pub(in crate::api) async fn verify(call: Call) -> Result<Response, Problem> {
    call.app().verify_domain(call.tenant()?, call.who()?).await?;
    Ok(answer::no_content())
}

/// Reads `{name, logoUrl, domain}`. Older clients send `id` and `homepage` too, which mean nothing any more.
fn facts(body: Value, base_domain: Option<&str>) -> Result<DomainFacts, Problem> {
    let mut fields = Fields::of(body)?;
    for dropped in ["id", "homepage"] {
        fields.optional(dropped, |_| Ok(()));
    }
    let name = fields.required("name", |v| DisplayName::parse(text(v)?).map_err(|e| e.to_string()));
    let logo_url = fields.required("logoUrl", |v| LogoUrl::parse(text(v)?).map_err(|e| e.to_string()));
    let domain =
        fields.required("domain", |v| DomainName::parse(text(v)?, base_domain).map_err(|e| e.to_string()));
    fields.finish()?;
    match (name, logo_url, domain) {
        (Some(name), Some(logo_url), Some(domain)) => Ok(DomainFacts { name, logo_url, domain }),
        // Whatever was missing was reported by `finish`.
        _ => Err(Problem::Internal),
    }
}

impl From<DomainRefused> for Problem {
    fn from(refused: DomainRefused) -> Self {
        match refused {
            DomainRefused::NotFound => Problem::not_found(),
            DomainRefused::UnderWay => Problem::Unavailable {
                message: "A verification of the custom domain is under way",
                retry_after_s: 1,
            },
            DomainRefused::Store(error) => error.into(),
            DomainRefused::Exists
            | DomainRefused::Taken
            | DomainRefused::NoRecord(_)
            | DomainRefused::OtherRecord(_)
            | DomainRefused::LookUp { .. }
            | DomainRefused::Changed => Problem::Refused(refused.to_string()),
        }
    }
}
