//! Access tokens (RFC 6749 client credentials, RFC 9068 `at+jwt`), signed with Ed25519 (RFC 8037).
//!
//! A token says which client holds it and nothing that outlives that client: whether the client is still there, and
//! what it may, is asked at each call. So deleting a client ends its tokens at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use sealpost_core::audit::Action;
use sealpost_core::id::ClientId;
use sealpost_core::key_ring::{KeyRecord, KeyRing, KeyState};
use sealpost_core::role::Roles;
use sealpost_core::tenant::Tenant;
use sealpost_core::time::Timestamp;
use sealpost_store::StoreError;
use sealpost_store::registry::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::App;
use super::clients::hash;
use super::keys::new_key;
use super::tenants::INSTALLATION;

/// A token's life, and how long a retired key is still known for the last ones it signed.
pub const LIFETIME_S: i64 = 86_400;
/// Clocks of one installation differ by less.
const SKEW_S: i64 = 30;
/// Ours have some 700 bytes.
const TOKEN_BYTES_MAX: usize = 4096;
const REMEMBERED: usize = 10_000;
const TYPE: &str = "at+jwt";
/// PKCS #8 of an Ed25519 seed (RFC 8410, 7) is this and the seed.
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[derive(Debug, Deserialize, Serialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    iat: i64,
    exp: i64,
    jti: String,
    client_id: ClientId,
    tenant_id: String,
    roles: Roles,
}

/// What was issued.
#[derive(Debug)]
pub struct Issued {
    pub token: String,
    pub expires_in_s: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    /// Unknown client, wrong secret, expired client, or a client of another tenant than the host's: nobody learns which.
    #[error("Unauthorized")]
    Credentials,
    #[error("the audience must be {0}, or be left out")]
    Audience(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The keys, and tokens whose signature was checked before.
#[derive(Debug, Default)]
pub struct Tokens {
    keys: RwLock<Option<Arc<KeyRing>>>,
    checked: Mutex<HashMap<[u8; 32], Checked>>,
}

#[derive(Clone, Debug)]
struct Checked {
    client: ClientId,
    audience: String,
    expires_at: Timestamp,
}

impl Tokens {
    fn keys(&self) -> Option<Arc<KeyRing>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, ring: KeyRing) -> Arc<KeyRing> {
        let ring = Arc::new(ring);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&ring));
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).clear();
        ring
    }

    fn checked(&self, token: &[u8; 32]) -> Option<Checked> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn remember(&self, token: [u8; 32], checked: Checked) {
        let mut all = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(token, checked);
    }
}

/// Three parts between dots: what a key of ours never is.
pub fn looks_like_a_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl App {
    /// A token for whoever knows a client's secret. `host`: the tenant that the call's host names, if it names one.
    pub async fn issue_token(
        &self,
        client: &str,
        secret: &str,
        audience: Option<&str>,
        host: Option<&Tenant>,
    ) -> Result<Issued, TokenRefused> {
        let found = match client.parse::<ClientId>() {
            Ok(id) => self.store.client_by_id(id).await?,
            Err(_) => None,
        };
        // The same work whether the client is known or not.
        let expected = found.as_ref().map_or([0; 32], |client| client.key_hash);
        let right = aws_lc_rs::constant_time::verify_slices_are_equal(&expected, &hash(secret)).is_ok();
        let client = found.filter(|_| right).ok_or(TokenRefused::Credentials)?;
        let now = self.clock.wall();
        if client.expires_at.is_some_and(|at| at <= now) || host.is_some_and(|host| host.no != client.tenant)
        {
            return Err(TokenRefused::Credentials);
        }
        let tenant = self.tenant(client.tenant).await?.tenant.clone();
        let own = self.tenant_url(&tenant);
        let audience = match audience.map(|audience| audience.trim_end_matches('/')) {
            None => own,
            Some(audience) if audience == own || audience == self.config.public_url => audience.to_owned(),
            Some(_) => return Err(TokenRefused::Audience(own)),
        };
        Ok(self.signed(&client, &tenant, audience, now).await?)
    }

    async fn signed(
        &self,
        client: &Client,
        tenant: &Tenant,
        audience: String,
        now: Timestamp,
    ) -> Result<Issued, StoreError> {
        let issued_at = now.millis().div_euclid(1000);
        let until = client.expires_at.map_or(i64::MAX, |at| at.millis().div_euclid(1000));
        let expires = (issued_at + LIFETIME_S).min(until);
        let claims = Claims {
            iss: self.config.public_url.clone(),
            sub: format!("{}@clients", client.id),
            aud: audience,
            iat: issued_at,
            exp: expires,
            jti: sealpost_core::id::uuid_v7(now, self.clock.chance()).to_string(),
            client_id: client.id,
            tenant_id: tenant.id.to_string(),
            roles: client.roles,
        };
        let ring = self.token_ring().await?;
        let key = ring.current().ok_or(StoreError::Corrupt { what: "keys for tokens" })?;
        let header =
            Header { typ: Some(TYPE.into()), kid: Some(key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        let mut der = PKCS8_ED25519.to_vec();
        der.extend_from_slice(key.seed.reveal());
        let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&der));
        let token =
            token.map_err(|error| StoreError::Backend(format!("a token could not be signed: {error}")))?;
        Ok(Issued { token, expires_in_s: expires - issued_at })
    }

    /// The client that a token of ours names, if the token is good now. The client itself is asked for by the caller.
    pub(super) async fn client_of_token(&self, token: &str) -> Result<Option<Client>, StoreError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Ok(None);
        }
        let name = hash(token);
        let checked = match self.tokens.checked(&name) {
            Some(checked) => checked,
            None => {
                let ring = self.token_ring().await?;
                let Some(checked) = self.check(token, &ring) else { return Ok(None) };
                self.tokens.remember(name, checked.clone());
                checked
            }
        };
        if checked.expires_at <= self.clock.wall() {
            return Ok(None);
        }
        let Some(client) = self.client(checked.client).await? else { return Ok(None) };
        let tenant = self.tenant(client.tenant).await?;
        let own = self.tenant_url(&tenant.tenant);
        let ours = checked.audience == own || checked.audience == self.config.public_url;
        Ok(ours.then_some(client))
    }

    fn check(&self, token: &str, ring: &KeyRing) -> Option<Checked> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        // Nothing in the header is followed; the key is one of ours or none.
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TYPE) {
            return None;
        }
        let kid = header.kid?;
        let now = self.clock.wall();
        let key = ring.keys.iter().find(|key| key.kid == kid && is_known(key, now))?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        // By our own clock, below.
        rules.validate_exp = false;
        // Which audiences are right depends on the client's tenant.
        rules.validate_aud = false;
        rules.set_issuer(&[&self.config.public_url]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims =
            jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ed_der(&key.public), &rules).ok()?;
        let claims = claims.claims;
        let now_s = now.millis().div_euclid(1000);
        let timely = claims.iat <= now_s + SKEW_S && claims.exp - claims.iat <= LIFETIME_S;
        let expires_at = Timestamp::from_millis(claims.exp.checked_mul(1000)?);
        timely.then_some(Checked { client: claims.client_id, audience: claims.aud, expires_at })
    }

    /// Where a tenant's calls go: what tokens for it are made for.
    pub fn tenant_url(&self, tenant: &Tenant) -> String {
        let public = &self.config.public_url;
        match &self.config.base_domain {
            None => public.clone(),
            Some(base) => {
                let scheme = public.split_once("://").map_or("https", |(scheme, _)| scheme);
                format!("{scheme}://{}.{base}", tenant.subdomain)
            }
        }
    }

    /// The keys that sign tokens; the first is made when it is first needed.
    async fn token_ring(&self) -> Result<Arc<KeyRing>, StoreError> {
        if let Some(ring) = self.tokens.keys() {
            return Ok(ring);
        }
        let ring = self.store.token_keys().await?;
        if ring.current().is_some() {
            return Ok(self.tokens.put(ring));
        }
        self.rotate_token_keys(INSTALLATION).await
    }

    /// Another process may have made a key. Nothing happens before the first one is needed here.
    pub(super) async fn reload_token_keys(&self) -> Result<(), StoreError> {
        let Some(known) = self.tokens.keys() else { return Ok(()) };
        let ring = self.store.token_keys().await?;
        if ring != *known {
            self.tokens.put(ring);
        }
        Ok(())
    }

    /// A fresh key signs from now on; tokens of the one before stay good for the rest of their life.
    pub async fn rotate_token_keys(&self, who: &str) -> Result<Arc<KeyRing>, StoreError> {
        let now = self.clock.now();
        let forget = Timestamp::from_millis(now.millis() - (LIFETIME_S + SKEW_S) * 1000);
        let fresh = new_key(self.clock.as_ref(), KeyState::Current);
        self.store.add_token_key(fresh, forget, self.by(who, Action::RotateTokenKeys)).await?;
        let ring = self.store.token_keys().await?;
        Ok(self.tokens.put(ring))
    }

    /// The document at `/.well-known/jwks.json`.
    pub async fn token_jwks(&self) -> Result<Bytes, StoreError> {
        let (ring, now) = (self.token_ring().await?, self.clock.wall());
        let keys: Vec<Value> = ring.keys.iter().filter(|key| is_known(key, now)).filter_map(public).collect();
        Ok(json!({ "keys": keys }).to_string().into())
    }
}

fn is_known(key: &KeyRecord, now: Timestamp) -> bool {
    match key.state {
        KeyState::Retired { since } => now.millis() < since.millis() + (LIFETIME_S + SKEW_S) * 1000,
        KeyState::Current | KeyState::Next => true,
    }
}

fn public(key: &KeyRecord) -> Option<Value> {
    let x = sealpost_signature::VerifyingKey::from_bytes(&key.public).ok()?.to_base64url();
    Some(json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key.kid, "x": x}))
}
