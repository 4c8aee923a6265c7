//! Signing people in at a provider: the authorization code flow of OpenID Connect Core with PKCE (RFC 7636).
//!
//! The provider's answer comes twice: by the browser, which may have been sent by anybody and must know what only the
//! browser knows that began; and from the token endpoint. Who it is says the access token, judged as the API judges it;
//! that it was made for this sign-in says the ID token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use sealpost_core::openid::{Client, TenantFrom, TokenFault};
use sealpost_core::secret::Secret;
use sealpost_core::time::Timestamp;
use sealpost_egress::DocumentFault;
use sealpost_store::StoreError;
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::cache::{AT_MOST, LIFETIME, PAUSE, PAUSE_WITHOUT_KEYS};
use super::fetch::{self, Endpoints, KeysFault};
use super::pending::Pending;
use super::{Known, TOKEN_BYTES_MAX};
use crate::app::App;
use crate::app::clients::{Caller, CannotTell};
use crate::app::sign_in::{Credential, Visitor};

/// Where providers send people back to, below the public URL.
pub const COME_BACK: &str = "/console/sign-in/openid";
/// A person waits for it.
const LIMIT: Duration = Duration::from_secs(5);
/// Codes exchanged at a time, all providers together.
pub(super) const EXCHANGES: usize = 32;
/// Codes are shorter; a longer one would make a large form of a small request.
const CODE_BYTES_MAX: usize = 4096;

/// A provider at which people may sign in.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Its number among the providers.
    pub no: usize,
    /// As people know it.
    pub name: String,
}

/// Whoever signed in at a provider, until the token expires.
#[derive(Debug, PartialEq)]
pub struct Person {
    caller: Caller,
    until: Timestamp,
}

impl Person {
    pub(in crate::app) fn new(caller: Caller, until: Timestamp) -> Self {
        Self { caller, until }
    }

    /// One person has many tokens in a day.
    pub fn is(&self, other: &Self) -> bool {
        (self.caller.tenant, &self.caller.who) == (other.caller.tenant, &other.caller.who)
    }
}

/// A sign-in that was begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes, which says its `state`.
    pub to: Secret<String>,
    /// What only this browser knows.
    pub browser: Secret<String>,
}

/// What the browser brings back.
pub struct CameBack<'a> {
    pub browser: Option<&'a str>,
    pub state: &'a str,
    pub code: Option<&'a str>,
    pub error: Option<&'a str>,
    /// Whom the answer is from, where it says so (RFC 9207).
    pub issuer: Option<&'a str>,
}

/// All of it may be worth a sign-in.
impl fmt::Debug for CameBack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CameBack")
    }
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum NotSignedIn {
    #[error("there is no such provider")]
    NoProvider,
    /// Not begun in this browser, finished before, or too old.
    #[error("no such sign-in was begun")]
    NotBegun,
    #[error("the provider signed nobody in")]
    Declined,
    #[error("the provider is not reached")]
    Away,
    #[error("too many sign-ins at a time")]
    Busy,
    #[error("what the provider answered is not good")]
    NotGood,
    #[error("whoever signed in has no role here")]
    NoRole,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was wrong with an answer; for the operator's log.
#[derive(Debug, thiserror::Error)]
enum AnswerFault {
    #[error("its token endpoint: {0}")]
    Exchange(#[source] DocumentFault),
    #[error("its token endpoint sent no `access_token` and `id_token`")]
    NoTokens,
    #[error("its ID token: {0}")]
    Identity(#[source] TokenFault),
    #[error("its ID token is none, or not signed by a key of its own")]
    NotSigned,
    #[error("its access token is not one that the API takes")]
    Access,
    #[error("its answer names another issuer")]
    OtherIssuer,
}

/// The places of a provider as they were found last, kept as its keys are: asked for again after their lifetime, and still
/// good for a while if it does not answer then. Nobody who begins makes it be asked more often.
#[derive(Debug, Default)]
pub(super) struct EndpointCache {
    found: Option<(Arc<Endpoints>, Duration)>,
    /// When the last question failed.
    failed: Option<Duration>,
}

impl EndpointCache {
    /// `None`: the provider is to be asked.
    fn get(&self, now: Duration) -> Option<Result<Arc<Endpoints>, ()>> {
        if let Some(fresh) = self.younger_than(LIFETIME, now) {
            return Some(Ok(fresh));
        }
        let serving = self.serving(now);
        let pause = if serving.is_some() { PAUSE } else { PAUSE_WITHOUT_KEYS };
        let fails = self.failed.is_some_and(|at| now.saturating_sub(at) < pause);
        fails.then(|| serving.ok_or(()))
    }

    fn put(&mut self, found: Result<Endpoints, ()>, now: Duration) {
        match found {
            Ok(endpoints) => *self = Self { found: Some((Arc::new(endpoints), now)), failed: None },
            Err(()) => self.failed = Some(now),
        }
    }

    fn serving(&self, now: Duration) -> Option<Arc<Endpoints>> {
        self.younger_than(AT_MOST, now)
    }

    fn younger_than(&self, age: Duration, now: Duration) -> Option<Arc<Endpoints>> {
        let (endpoints, at) = self.found.as_ref()?;
        (now.saturating_sub(*at) < age).then(|| Arc::clone(endpoints))
    }
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    id_token: String,
}

impl Known {
    fn client(&self) -> Option<&Client> {
        self.provider.client.as_ref()
    }

    fn host(&self) -> String {
        let url = Url::parse(&self.provider.issuer).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| self.provider.issuer.clone())
    }
}

impl App {
    /// Where people may sign in, as the settings list them.
    pub fn offers(&self) -> Vec<Offer> {
        let all = self.openid.all.iter().enumerate().filter(|(_, known)| known.client().is_some());
        let hosts: Vec<(usize, &Arc<Known>, String)> =
            all.map(|(no, known)| (no, known, known.host())).collect();
        let is_shared = |host: &str| hosts.iter().filter(|(_, _, other)| other == host).count() > 1;
        let name = |known: &Known, host: &str| match &known.provider.tenant {
            // Of two at one host people must be able to tell which is theirs.
            TenantFrom::All(tenant) if is_shared(host) => format!("{host} for {tenant}"),
            _ => host.to_owned(),
        };
        hosts.iter().map(|(no, known, host)| Offer { no: *no, name: name(known, host) }).collect()
    }

    /// Begins a sign-in that leads `to` a page.
    pub async fn begin_sign_in(&self, provider: usize, to: &str) -> Result<Begun, NotSignedIn> {
        let known = self.openid.all.get(provider).ok_or(NotSignedIn::NoProvider)?;
        let client = known.client().ok_or(NotSignedIn::NoProvider)?;
        let endpoints = self.endpoints(known).await?;
        let random = || URL_SAFE_NO_PAD.encode(self.clock.bytes32());
        let (browser, state, nonce, verifier) = (random(), random(), random(), random());
        let mut url = endpoints.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", &self.come_back())
            .append_pair("scope", &client.scope)
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge(&verifier))
            .append_pair("code_challenge_method", "S256")
            // Some providers make a token for us only if they are told for whom; the others pass it over.
            .append_pair("audience", &known.provider.audience);
        let pending = Pending { provider, nonce, verifier: Secret::new(verifier), to: to.to_owned() };
        self.openid.pending.put(&browser, &state, pending, self.clock.now());
        Ok(Begun { to: Secret::new(url.into()), browser: Secret::new(browser) })
    }

    /// Who came back, and the page that was wanted. Nothing of this sign-in is pending afterwards, whatever comes of it, except
    /// where too many come back at a time: whoever finds no place may come again.
    pub async fn end_sign_in(&self, back: CameBack<'_>) -> Result<(Credential, String), NotSignedIn> {
        let place = self.openid.exchanges.try_acquire().map_err(|_| NotSignedIn::Busy)?;
        let pending = self.openid.pending.take(back.browser, back.state, self.clock.now());
        let pending = pending.ok_or(NotSignedIn::NotBegun)?;
        let known = self.openid.all.get(pending.provider).ok_or(NotSignedIn::NoProvider)?;
        if back.issuer.is_some_and(|issuer| issuer != known.provider.issuer) {
            return Err(not_good(known, &AnswerFault::OtherIssuer));
        }
        let code = match (back.error, back.code) {
            (None, Some(code)) if code.len() <= CODE_BYTES_MAX => code,
            _ => return Err(NotSignedIn::Declined),
        };
        let tokens = self.exchange(known, &pending, code).await?;
        drop(place);
        self.is_answer(known, &tokens.id_token, &pending.nonce).await?;
        let holder = self.judged(known, &tokens.access_token).await.map_err(cannot_tell)?;
        let Some((caller, until)) = holder else { return Err(not_good(known, &AnswerFault::Access)) };
        if caller.roles.iter().next().is_none() {
            return Err(NotSignedIn::NoRole);
        }
        Ok((Credential::Person(Arc::new(Person::new(caller, until))), pending.to))
    }

    /// Whoever signed in is that, as long as the token holds and the tenant is there.
    pub(in crate::app) async fn person(&self, person: &Person) -> Result<Option<Visitor>, StoreError> {
        let holds = self.clock.wall() < person.until;
        if !holds || !self.store.tenants().await?.iter().any(|tenant| tenant.no == person.caller.tenant) {
            return Ok(None);
        }
        Ok(Some(person.caller.clone().into()))
    }

    fn come_back(&self) -> String {
        format!("{}{COME_BACK}", self.config.public_url)
    }

    /// Whoever waited here finds what the one before brought.
    async fn endpoints(&self, known: &Known) -> Result<Arc<Endpoints>, NotSignedIn> {
        let mut cache = known.endpoints.lock().await;
        if let Some(found) = cache.get(self.clock.boot()) {
            return found.map_err(|()| NotSignedIn::Away);
        }
        let found = fetch::endpoints(&known.provider, &self.openid.documents).await;
        let found = found.map_err(|fault: KeysFault| {
            let issuer = &known.provider.issuer;
            tracing::warn!(issuer, %fault, "where people sign in at an OpenID provider could not be asked");
        });
        let now = self.clock.boot();
        cache.put(found, now);
        cache.serving(now).ok_or(NotSignedIn::Away)
    }

    async fn exchange(&self, known: &Known, pending: &Pending, code: &str) -> Result<Tokens, NotSignedIn> {
        let client = known.client().ok_or(NotSignedIn::NoProvider)?;
        let endpoints = self.endpoints(known).await?;
        let form = Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.come_back())
            .append_pair("code_verifier", pending.verifier.reveal())
            .finish();
        let credentials = basic(client).ok_or(NotSignedIn::NoProvider)?;
        let answer = self.openid.exchange.send(&endpoints.token, credentials, form, LIMIT).await;
        let answer = answer.map_err(|fault| {
            // A refused code is an answer; anything else is none.
            let answered = matches!(fault, DocumentFault::Status { status: 400..=499, .. });
            let refused = not_good(known, &AnswerFault::Exchange(fault));
            if answered { refused } else { NotSignedIn::Away }
        })?;
        serde_json::from_slice(&answer).map_err(|_| not_good(known, &AnswerFault::NoTokens))
    }

    /// The ID token is this provider's, for us, and for this sign-in.
    async fn is_answer(&self, known: &Arc<Known>, token: &str, nonce: &str) -> Result<(), NotSignedIn> {
        let client = known.client().ok_or(NotSignedIn::NoProvider)?;
        let claims = super::unproven(token).filter(|_| token.len() <= TOKEN_BYTES_MAX);
        let claims = claims.ok_or_else(|| not_good(known, &AnswerFault::NotSigned))?;
        let judged = known.provider.judge_identity(&claims, &client.id, nonce, self.clock.wall());
        judged.map_err(|fault| not_good(known, &AnswerFault::Identity(fault)))?;
        match self.is_own(known, token).await.map_err(cannot_tell)? {
            true => Ok(()),
            false => Err(not_good(known, &AnswerFault::NotSigned)),
        }
    }
}

pub(super) fn exchanges() -> Semaphore {
    Semaphore::new(EXCHANGES)
}

fn not_good(known: &Known, fault: &AnswerFault) -> NotSignedIn {
    tracing::warn!(issuer = known.provider.issuer, %fault, "a sign-in at an OpenID provider failed");
    NotSignedIn::NotGood
}

fn cannot_tell(why: CannotTell) -> NotSignedIn {
    match why {
        CannotTell::Keys { .. } => NotSignedIn::Away,
        CannotTell::Store(error) => NotSignedIn::Store(error),
    }
}

/// RFC 7636, 4.2.
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// Name and secret are written as in a form first (RFC 6749, 2.3.1), so that a colon in a name is no end of it.
fn basic(client: &Client) -> Option<HeaderValue> {
    let written = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", written(&client.id), written(client.secret.reveal()));
    HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_the_rfc() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(
            challenge(verifier),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "RFC 7636, appendix B"
        );
    }

    #[test]
    fn what_a_browser_takes_along_prints_nothing() {
        let some = Some("worth-a-sign-in");
        let back =
            CameBack { browser: some, state: "worth-a-sign-in", code: some, error: None, issuer: None };
        let begun = Begun { to: Secret::new("worth-a-sign-in".into()), browser: Secret::new("worth".into()) };
        assert!(!format!("{back:?} {begun:?}").contains("worth"));
    }

    #[test]
    fn name_and_secret_are_told_apart_whatever_is_in_them() {
        let client =
            Client { id: "a:b c".into(), secret: Secret::new("p%:ä".into()), scope: "openid".into() };
        let header = basic(&client).unwrap();
        let pair = STANDARD.decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(pair, b"a%3Ab+c:p%25%3A%C3%A4");
    }
}
