//! Tokens of external OpenID providers (`sealpost_core::openid` says what their claims mean).
//!
//! The algorithm is judged before a key is looked for, the provider is chosen among those of the settings before
//! anything is fetched, and nothing in a token's header is followed: `kid` picks one of the provider's own keys, and
//! `jwk`, `jku`, `x5c` and `x5u` are not read.

mod cache;
mod fetch;
mod jwks;
mod pending;
pub mod sign_in;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation};
use sealpost_core::openid::Provider;
use sealpost_core::time::Timestamp;
use sealpost_egress::{CodeExchange, Documents};
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::App;
use super::clients::{Caller, CannotTell};
use cache::{Found, KeyCache};
use jwks::ProviderKey;
use pending::PendingSignIns;
use sign_in::EndpointCache;

pub use fetch::KeysFault;
pub use pending::HOLDS;

/// A token of a user with many groups has some thousand bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// What an access token calls itself (RFC 9068 and before it). A token for another purpose is not one.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// The providers of the settings, with their keys. The default has none.
#[derive(Debug)]
pub struct Providers {
    all: Vec<Arc<Known>>,
    documents: Documents,
    exchange: CodeExchange,
    pending: PendingSignIns,
    /// Places for exchanges.
    exchanges: Semaphore,
}

impl Default for Providers {
    fn default() -> Self {
        Self::new(Vec::new(), Documents::default())
    }
}

#[derive(Debug)]
struct Known {
    provider: Provider,
    cache: Mutex<KeyCache>,
    /// One question at a time.
    asking: Arc<tokio::sync::Mutex<()>>,
    /// Held while they are asked for.
    endpoints: tokio::sync::Mutex<EndpointCache>,
}

impl Known {
    fn cache(&self) -> MutexGuard<'_, KeyCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Providers {
    pub fn new(providers: Vec<Provider>, documents: Documents) -> Self {
        let known = |provider| Known {
            provider,
            cache: Mutex::default(),
            asking: Arc::default(),
            endpoints: tokio::sync::Mutex::default(),
        };
        Self {
            all: providers.into_iter().map(known).map(Arc::new).collect(),
            documents,
            exchange: CodeExchange::default(),
            pending: PendingSignIns::default(),
            exchanges: sign_in::exchanges(),
        }
    }

    /// Exchanges what people bring back; without it nobody can sign in.
    pub fn with_exchange(self, exchange: CodeExchange) -> Self {
        Self { exchange, ..self }
    }

    /// Whose token with these claims would be.
    fn of(&self, claims: &Value) -> Option<&Arc<Known>> {
        self.all.iter().find(|known| known.provider.is_meant(claims).is_ok())
    }
}

/// How many keys of a provider would verify now, for whoever examines the settings.
pub async fn probe(provider: &Provider, documents: &Documents) -> Result<usize, KeysFault> {
    Ok(fetch::keys(provider, documents).await?.len())
}

impl App {
    /// The caller behind a token of a provider; `None` if it is not good, whatever the reason.
    pub(super) async fn caller_of_provider(&self, token: &str) -> Result<Option<Caller>, CannotTell> {
        if self.openid.all.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Ok(None);
        }
        let Some(known) = unproven(token).and_then(|claims| self.openid.of(&claims).cloned()) else {
            return Ok(None);
        };
        Ok(self.judged(&known, token).await?.map(|(caller, _until)| caller))
    }

    /// The caller behind a token of this provider, and when it expires.
    async fn judged(
        &self,
        known: &Arc<Known>,
        token: &str,
    ) -> Result<Option<(Caller, Timestamp)>, CannotTell> {
        if token.len() > TOKEN_BYTES_MAX || named_key(token).is_none() {
            return Ok(None);
        }
        let Some(claims) = unproven(token) else { return Ok(None) };
        let issuer = &known.provider.issuer;
        // Before the key, so that no old or foreign token makes anybody ask for keys.
        let holder = match known.provider.judge(&claims, self.clock.wall()) {
            Ok(holder) => holder,
            Err(fault) => {
                tracing::debug!(issuer, %fault, "a token of a provider is refused");
                return Ok(None);
            }
        };
        if !self.is_own(known, token).await? {
            return Ok(None);
        }
        let Some(tenant) = self.tenant_named(&holder.tenant).await? else {
            tracing::debug!(issuer, "a token of a provider is refused: there is no such tenant");
            return Ok(None);
        };
        let (roles, until) = (holder.roles, Some(holder.until));
        let caller = Caller { tenant, roles, webhook: None, client: None, until, who: holder.who };
        Ok(Some((caller, holder.until)))
    }

    /// Whether one of the provider's keys signed it.
    async fn is_own(&self, known: &Arc<Known>, token: &str) -> Result<bool, CannotTell> {
        let issuer = &known.provider.issuer;
        let Some((kid, algorithm)) = named_key(token) else { return Ok(false) };
        let Some(key) = self.provider_key(known, &kid, algorithm).await? else {
            tracing::debug!(issuer, "a token of a provider is refused: none of its keys has this `kid`");
            return Ok(false);
        };
        if !is_signed(token, &key) {
            tracing::debug!(issuer, "a token of a provider is refused: the signature is wrong");
            return Ok(false);
        }
        Ok(true)
    }

    async fn provider_key(
        &self,
        known: &Arc<Known>,
        kid: &str,
        algorithm: Algorithm,
    ) -> Result<Option<Arc<ProviderKey>>, CannotTell> {
        let find = || known.cache().find(kid, algorithm, self.clock.boot());
        let mut found = find();
        match &found {
            Found::Ask => {
                let (app, known, kid) = (self.clone(), Arc::clone(known), kid.to_owned());
                // In a task of its own: a caller who hangs up must not take the answer from the others.
                let asked = tokio::spawn(async move { app.ask(&known, &kid, algorithm).await }).await;
                if asked.is_err() {
                    tracing::error!("asking a provider for its keys broke off");
                }
                found = find();
            }
            Found::Key { ask: true, .. } => self.ask_beside(known, kid, algorithm),
            Found::Key { .. } | Found::Nobody | Found::Unknown(_) => {}
        }
        match found {
            Found::Key { key, .. } => Ok(Some(key)),
            Found::Nobody => Ok(None),
            Found::Unknown(again_in) => Err(CannotTell::Keys { again_in }),
            Found::Ask => Err(CannotTell::Keys { again_in: cache::PAUSE_WITHOUT_KEYS }),
        }
    }

    /// Whoever waited here finds what the one before brought.
    async fn ask(&self, known: &Known, kid: &str, algorithm: Algorithm) {
        let _alone = known.asking.lock().await;
        let asked = self.clock.boot();
        if !matches!(known.cache().find(kid, algorithm, asked), Found::Ask) {
            return;
        }
        self.fetch_keys(known, asked).await;
    }

    /// Nobody waits for it; where somebody asks already, that will do.
    fn ask_beside(&self, known: &Arc<Known>, kid: &str, algorithm: Algorithm) {
        let Ok(alone) = Arc::clone(&known.asking).try_lock_owned() else { return };
        let asked = self.clock.boot();
        if !matches!(known.cache().find(kid, algorithm, asked), Found::Key { ask: true, .. }) {
            return;
        }
        let (app, known) = (self.clone(), Arc::clone(known));
        tokio::spawn(async move {
            app.fetch_keys(&known, asked).await;
            drop(alone);
        });
    }

    async fn fetch_keys(&self, known: &Known, asked: Duration) {
        let answer = fetch::keys(&known.provider, &self.openid.documents).await;
        let now = self.clock.boot();
        match answer {
            Ok(keys) => known.cache().put(keys, asked, now),
            Err(fault) => {
                let issuer = &known.provider.issuer;
                tracing::warn!(issuer, %fault, "the keys of an OpenID provider could not be fetched");
                known.cache().put_failure(now);
            }
        }
    }
}

/// The key that a token names, if it says what it is in a way that is accepted at all.
fn named_key(token: &str) -> Option<(String, Algorithm)> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let algorithm = match header.alg {
        Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => header.alg,
        _ => return None,
    };
    let is_access = header.typ.is_none_or(|typ| TYPES.iter().any(|known| known.eq_ignore_ascii_case(&typ)));
    // What a token marks as critical must be understood (RFC 7515, 4.1.11), and nothing of it is.
    let plain = header.crit.is_none();
    header.kid.filter(|_| is_access && plain).map(|kid| (kid, algorithm))
}

/// What a token says; whether anybody may believe it is not known yet.
fn unproven(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// The signature alone; claims are judged by our own clock.
fn is_signed(token: &str, key: &ProviderKey) -> bool {
    let mut rules = Validation::new(key.algorithm);
    rules.validate_exp = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    jsonwebtoken::decode::<IgnoredAny>(token, &key.key, &rules).is_ok()
}
