//! External OpenID providers: which of their tokens count here, and what their claims mean.
//!
//! Whether a provider signed a token is found out elsewhere. Everything after that is decided here: issuer, audience,
//! time, subject, tenant, roles. A role that Sealpost does not know is passed over; it may mean something elsewhere.

use serde_json::Value;

use crate::role::{Role, Roles};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Clocks of provider and service may differ by this much.
pub const SKEW_S: i64 = 30;
/// OpenID Connect Core, 2: a subject is not longer. The audit log shows it whole.
pub const SUBJECT_BYTES: usize = 255;
pub const ISSUER_BYTES: usize = 255;
pub const AUDIENCE_BYTES: usize = 255;
pub const CLAIM_BYTES: usize = 255;
/// A tenant's id or subdomain has 63 at most.
const TENANT_BYTES: usize = 63;

pub const TENANT_CLAIM: &str = "tenant_id";
pub const ROLES_CLAIM: &str = "roles";
/// What is asked for where nobody says otherwise; without this word an answer has no ID token.
pub const SCOPE: &str = "openid";

/// A provider whose tokens are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// Exactly as its tokens spell it, a final slash included.
    pub issuer: String,
    pub audience: String,
    /// Where its keys are; if nobody says, its discovery document does.
    pub jwks_url: Option<String>,
    pub tenant: TenantFrom,
    pub roles_claim: ClaimName,
    /// Its names for our roles, where they differ. If there are any, only these count.
    pub role_names: Vec<(String, Role)>,
    /// As whom Sealpost signs people in there; nobody can where it is missing.
    pub client: Option<Client>,
}

/// What a provider knows Sealpost by.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    pub id: String,
    pub secret: Secret<String>,
    pub scope: String,
}

/// Whose a provider's tokens are.
#[derive(Clone, Debug, PartialEq)]
pub enum TenantFrom {
    /// Each token says so.
    Claim(ClaimName),
    /// All are this tenant's.
    All(String),
}

/// A claim's name, or, beginning with `/`, a JSON pointer to what stands deeper. Names may hold dots and slashes, as
/// in `https://example.com/roles`; so nothing but the first character tells the two apart.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimName(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a claim such as roles, or a JSON pointer such as /realm_access/roles, of 1 to 255 bytes")]
pub struct InvalidClaimName;

impl ClaimName {
    pub fn parse(text: &str) -> Result<Self, InvalidClaimName> {
        let fits = (1..=CLAIM_BYTES).contains(&text.len()) && !text.contains(char::is_control);
        if fits && text != "/" { Ok(Self(text.into())) } else { Err(InvalidClaimName) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        if self.0.starts_with('/') { claims.pointer(&self.0) } else { claims.get(&self.0) }
    }
}

/// What a good token says of whoever holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// A tenant's id or subdomain; whether there is such a tenant is not known here.
    pub tenant: String,
    /// [`Roles::NONE`] if none of the token's roles is known here.
    pub roles: Roles,
    /// For the audit log.
    pub who: String,
    /// When the token expires.
    pub until: Timestamp,
}

/// Why a token that the provider signed opens nothing. For the operator's log; the caller learns none of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenFault {
    #[error("its `iss` is another")]
    Issuer,
    #[error("its `aud` does not name this service")]
    Audience,
    #[error("its `exp` is missing or no number")]
    Expiry,
    #[error("it has expired")]
    Expired,
    #[error("its `nbf` is no number")]
    Begin,
    #[error("its time has not come")]
    NotYet,
    #[error("its `sub` is missing, too long or holds control characters")]
    Subject,
    #[error("its claim for the tenant is missing or cannot be a tenant's name")]
    Tenant,
    #[error("it was made for another client")]
    Client,
    #[error("its `nonce` is not that of this sign-in")]
    Nonce,
}

impl Provider {
    /// Whether a token with these claims is meant to be this provider's, and for us. Says nothing of who made it.
    pub fn is_meant(&self, claims: &Value) -> Result<(), TokenFault> {
        // A list of issuers is no issuer, though some libraries take one.
        if claims["iss"] != *self.issuer {
            return Err(TokenFault::Issuer);
        }
        if is_for(claims, &self.audience) { Ok(()) } else { Err(TokenFault::Audience) }
    }

    /// Whether an ID token whose signature holds answers the question that `client` asked with this nonce (OpenID Connect
    /// Core, 3.1.3.7).
    pub fn judge_identity(
        &self,
        claims: &Value,
        client: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<(), TokenFault> {
        if claims["iss"] != *self.issuer {
            return Err(TokenFault::Issuer);
        }
        // One for several must say who asked for it.
        let asked = match (&claims["azp"], &claims["aud"]) {
            (Value::Null, Value::Array(all)) => all.len() == 1,
            (Value::Null, _) => true,
            (party, _) => *party == *client,
        };
        if !asked || !is_for(claims, client) {
            return Err(TokenFault::Client);
        }
        timely(claims, now)?;
        if claims["nonce"] == *nonce { Ok(()) } else { Err(TokenFault::Nonce) }
    }

    /// Reads the claims of a token whose signature holds.
    pub fn judge(&self, claims: &Value, now: Timestamp) -> Result<Holder, TokenFault> {
        self.is_meant(claims)?;
        let until = timely(claims, now)?;
        let printable =
            |sub: &&str| (1..=SUBJECT_BYTES).contains(&sub.len()) && !sub.contains(char::is_control);
        let sub = claims["sub"].as_str().filter(printable).ok_or(TokenFault::Subject)?;
        let tenant = match &self.tenant {
            TenantFrom::All(tenant) => tenant,
            TenantFrom::Claim(name) => name
                .of(claims)
                .and_then(Value::as_str)
                .filter(|tenant| (1..=TENANT_BYTES).contains(&tenant.len()))
                .ok_or(TokenFault::Tenant)?,
        };
        let roles = self.roles_claim.of(claims).map_or(Roles::NONE, |said| self.roles(said));
        Ok(Holder { tenant: tenant.to_owned(), roles, who: format!("openid {} {sub}", self.issuer), until })
    }

    /// An array of names, or names with spaces between.
    fn roles(&self, said: &Value) -> Roles {
        let names: Vec<&str> = match said {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            Value::String(text) => text.split_ascii_whitespace().collect(),
            _ => Vec::new(),
        };
        Role::ALL
            .into_iter()
            .filter(|role| comes_from_outside(*role) && names.iter().any(|name| self.means(name, *role)))
            .fold(Roles::NONE, Roles::and)
    }

    fn means(&self, name: &str, role: Role) -> bool {
        if self.role_names.is_empty() {
            return role.as_str() == name;
        }
        self.role_names.iter().any(|(theirs, ours)| theirs == name && *ours == role)
    }
}

/// A subscriber is bound to one webhook, which no provider knows.
pub fn comes_from_outside(role: Role) -> bool {
    role != Role::Subscriber
}

fn is_for(claims: &Value, audience: &str) -> bool {
    match &claims["aud"] {
        Value::Array(all) => all.iter().any(|one| *one == *audience),
        one => *one == *audience,
    }
}

/// When it expires. Times are numbers of seconds and may have fractions (RFC 7519, 2). As floats they are exact to far beyond any year
/// that a token may name, and the largest is no overflow.
fn timely(claims: &Value, now: Timestamp) -> Result<Timestamp, TokenFault> {
    let (now, skew) = (now.millis() as f64 / 1000.0, SKEW_S as f64);
    let expires = claims["exp"].as_f64().ok_or(TokenFault::Expiry)?;
    if now >= expires + skew {
        return Err(TokenFault::Expired);
    }
    match &claims["nbf"] {
        Value::Null => {}
        begin if begin.as_f64().ok_or(TokenFault::Begin)? > now + skew => return Err(TokenFault::NotYet),
        _ => {}
    }
    Ok(Timestamp::from_millis((expires * 1000.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW_S: i64 = 1_767_323_045;

    fn provider() -> Provider {
        Provider {
            issuer: "https://id.example/".into(),
            audience: "https://posts.example".into(),
            jwks_url: None,
            tenant: TenantFrom::Claim(ClaimName::parse("tenant_id").unwrap()),
            roles_claim: ClaimName::parse("roles").unwrap(),
            role_names: Vec::new(),
            client: None,
        }
    }

    fn claims() -> Value {
        json!({
            "iss": "https://id.example/", "aud": "https://posts.example", "exp": NOW_S + 60, "sub": "u-1",
            "tenant_id": "acme", "roles": ["issuer"],
        })
    }

    fn judged(provider: &Provider, claims: &Value) -> String {
        match provider.judge(claims, Timestamp::from_millis(NOW_S * 1000)) {
            Ok(Holder { tenant, roles, who, .. }) => format!("{tenant} [{roles}] {who}"),
            Err(fault) => fault.to_string(),
        }
    }

    fn with(name: &str, value: Value) -> String {
        let mut claims = claims();
        claims[name] = value;
        judged(&provider(), &claims)
    }

    const GOOD: &str = "acme [issuer] openid https://id.example/ u-1";

    #[test]
    fn every_claim_must_be_right() {
        assert_eq!(judged(&provider(), &claims()), GOOD);
        for (name, value, said) in [
            ("iss", json!("https://id.example"), "its `iss` is another"),
            ("iss", json!("HTTPS://id.example/"), "its `iss` is another"),
            ("iss", json!(["https://id.example/"]), "its `iss` is another"),
            ("iss", Value::Null, "its `iss` is another"),
            ("aud", json!(["a", "https://posts.example"]), GOOD),
            ("aud", json!(["a", ["https://posts.example"]]), "its `aud` does not name this service"),
            ("aud", json!("https://posts.example/"), "its `aud` does not name this service"),
            ("aud", json!({"https://posts.example": 1}), "its `aud` does not name this service"),
            ("aud", json!([]), "its `aud` does not name this service"),
            ("exp", json!(NOW_S - 29), GOOD),
            ("exp", json!(NOW_S as f64 - 29.5), GOOD),
            ("exp", json!(NOW_S - 30), "it has expired"),
            ("exp", json!(-1), "it has expired"),
            ("exp", json!(u64::MAX), GOOD),
            ("exp", json!((NOW_S + 60).to_string()), "its `exp` is missing or no number"),
            ("exp", Value::Null, "its `exp` is missing or no number"),
            ("nbf", json!(NOW_S + 30), GOOD),
            ("nbf", json!(NOW_S + 31), "its time has not come"),
            ("nbf", json!("soon"), "its `nbf` is no number"),
            ("sub", Value::Null, "its `sub` is missing, too long or holds control characters"),
            ("sub", json!(""), "its `sub` is missing, too long or holds control characters"),
            ("sub", json!("a\nb"), "its `sub` is missing, too long or holds control characters"),
            ("sub", json!("s".repeat(256)), "its `sub` is missing, too long or holds control characters"),
            ("tenant_id", Value::Null, "its claim for the tenant is missing or cannot be a tenant's name"),
            (
                "tenant_id",
                json!(["acme"]),
                "its claim for the tenant is missing or cannot be a tenant's name",
            ),
            ("tenant_id", json!(""), "its claim for the tenant is missing or cannot be a tenant's name"),
        ] {
            assert_eq!(with(name, value.clone()), said, "{name}: {value}");
        }
        assert_eq!(judged(&provider(), &json!([])), "its `iss` is another");
        assert_eq!(judged(&provider(), &json!("x")), "its `iss` is another");
    }

    #[test]
    fn an_id_token_is_for_the_client_that_asked_and_for_this_sign_in() {
        let now = Timestamp::from_millis(NOW_S * 1000);
        let good = json!({"iss": "https://id.example/", "aud": "console", "exp": NOW_S + 60, "nonce": "n-1"});
        let judged = |claims: &Value| match provider().judge_identity(claims, "console", "n-1", now) {
            Ok(()) => "good".to_owned(),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(judged(&good), "good");
        for (changes, said) in [
            (json!({"iss": "https://id.example"}), "its `iss` is another"),
            (json!({"aud": "https://posts.example"}), "it was made for another client"),
            (json!({"aud": ["console"]}), "good"),
            (json!({"aud": ["console", "b"]}), "it was made for another client"),
            (json!({"aud": ["console", "b"], "azp": "console"}), "good"),
            (json!({"azp": "b"}), "it was made for another client"),
            (json!({"aud": "b", "azp": "console"}), "it was made for another client"),
            (json!({"exp": NOW_S - 30}), "it has expired"),
            (json!({"exp": null}), "its `exp` is missing or no number"),
            (json!({"nonce": "n-2"}), "its `nonce` is not that of this sign-in"),
            (json!({"nonce": null}), "its `nonce` is not that of this sign-in"),
        ] {
            let mut claims = good.clone();
            for (name, value) in changes.as_object().unwrap() {
                claims[name] = value.clone();
            }
            assert_eq!(judged(&claims), said, "{changes}");
        }
    }

    #[test]
    fn a_holder_holds_it_until_it_expires() {
        let until = |exp: Value| {
            let mut claims = claims();
            claims["exp"] = exp;
            provider().judge(&claims, Timestamp::from_millis(NOW_S * 1000)).unwrap().until.millis()
        };
        assert_eq!(until(json!(NOW_S + 60)), (NOW_S + 60) * 1000);
        assert_eq!(until(json!(NOW_S as f64 + 0.5)), NOW_S * 1000 + 500);
        assert_eq!(until(json!(u64::MAX)), 253_402_300_799_999, "the end of the year 9999");
    }

    #[test]
    fn roles_come_in_two_shapes_and_strangers_are_passed_over() {
        let shown = |roles: Value| with("roles", roles).split_once(" openid").unwrap().0.to_owned();
        for (roles, said) in [
            (json!(["publisher", "auditor", "publisher"]), "acme [publisher,auditor]"),
            (json!("offline_access  auditor admin"), "acme [admin,auditor]"),
            (json!(["Admin", "root", 7, {"admin": true}, "admin,issuer"]), "acme []"),
            (json!(["subscriber", "issuer"]), "acme [issuer]"),
            (json!({"admin": true}), "acme []"),
            (Value::Null, "acme []"),
        ] {
            assert_eq!(shown(roles.clone()), said, "{roles}");
        }
    }

    #[test]
    fn where_names_are_mapped_only_these_count() {
        let names = [("ops", Role::Auditor), ("ops", Role::Publisher), ("boss", Role::Admin)];
        let provider = Provider {
            roles_claim: ClaimName::parse("/realm_access/roles").unwrap(),
            role_names: names.map(|(theirs, ours)| (theirs.to_owned(), ours)).into(),
            tenant: TenantFrom::All("default".into()),
            ..provider()
        };
        let mut claims = claims();
        claims["realm_access"] = json!({"roles": ["ops", "admin"]});
        assert_eq!(judged(&provider, &claims), "default [publisher,auditor] openid https://id.example/ u-1");
    }

    #[test]
    fn a_claim_is_found_by_its_whole_name_or_by_a_pointer() {
        let claims = json!({"https://a.example/roles": 1, "a": {"b/c": 2}, "a.b": 3});
        for (name, found) in [
            ("https://a.example/roles", Some(1)),
            ("/a/b~1c", Some(2)),
            ("a.b", Some(3)),
            ("a", None),
            ("/b", None),
        ] {
            let value = ClaimName::parse(name).unwrap().of(&claims).and_then(Value::as_i64);
            assert_eq!(value, found, "{name}");
        }
        for name in ["", "/", "a\tb", &"c".repeat(256)] {
            assert!(ClaimName::parse(name).is_err(), "{name}");
        }
    }
}
