//! An OpenID provider on loopback: publishes its keys, rotates them, fails in several ways, and counts who asks. Its
//! tokens are signed with other code than the service verifies them with.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealpost_core::openid::{self, ClaimName, TenantFrom};
use sealpost_egress::{CodeExchange, Documents, Egress, EgressConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub(crate) const AUDIENCE: &str = "https://posts.example";

pub(crate) enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        Signer::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(crate) fn ec() -> Self {
        Signer::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn ed() -> Self {
        Signer::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Signer::Rsa(_) => "RS256",
            Signer::Ec(_) => "ES256",
            Signer::Ed(_) => "EdDSA",
        }
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Signer::Rsa(key) => {
                let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
                let (n, e) =
                    (b64(n.big_endian_without_leading_zero()), b64(e.big_endian_without_leading_zero()));
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e})
            }
            Signer::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(&point[1..33]), "y": b64(&point[33..])})
            }
            Signer::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(key.public_key().as_ref())})
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let chance = SystemRandom::new();
        match self {
            Signer::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &chance, message, &mut signature).unwrap();
                signature
            }
            Signer::Ec(key) => key.sign(&chance, message).unwrap().as_ref().to_vec(),
            Signer::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// Signs whatever header and claims say.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = b64(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// How the provider answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mood {
    Well,
    Down,
    /// Its document is another issuer's.
    Stranger,
    Redirects,
    Html,
    Huge,
}

pub(crate) struct Provider {
    pub(crate) issuer: String,
    published: Arc<Published>,
}

struct Published {
    base: String,
    keys: Mutex<Vec<Value>>,
    mood: Mutex<Mood>,
    discoveries: AtomicUsize,
    fetches: AtomicUsize,
    /// What codes are exchanged for, and what was asked with: credentials and form.
    tokens: Mutex<Value>,
    exchanges: Mutex<Vec<(String, String)>>,
    /// Closed: questions wait.
    door: Semaphore,
}

/// Held while the provider makes everybody wait.
pub(crate) struct Held<'a>(&'a Semaphore);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let published = Arc::new(Published {
            base: base.clone(),
            keys: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            discoveries: AtomicUsize::new(0),
            fetches: AtomicUsize::new(0),
            tokens: Mutex::default(),
            exchanges: Mutex::default(),
            door: Semaphore::new(Semaphore::MAX_PERMITS / 2),
        });
        let router = Router::new()
            .route("/realm/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(exchange))
            .with_state(Arc::clone(&published));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { issuer: format!("{base}/realm/"), published }
    }

    pub(crate) fn publish(&self, keys: impl IntoIterator<Item = Value>) {
        *self.published.keys.lock().unwrap() = keys.into_iter().collect();
    }

    /// From now on codes are exchanged for this; for nothing, they are refused.
    pub(crate) fn exchange_for(&self, tokens: Value) {
        *self.published.tokens.lock().unwrap() = tokens;
    }

    /// The credentials and the form of each exchange.
    pub(crate) fn exchanges(&self) -> Vec<(String, String)> {
        self.published.exchanges.lock().unwrap().clone()
    }

    pub(crate) fn turn(&self, mood: Mood) {
        *self.published.mood.lock().unwrap() = mood;
    }

    pub(crate) fn hold(&self) -> Held<'_> {
        self.published.door.forget_permits(Semaphore::MAX_PERMITS);
        Held(&self.published.door)
    }

    /// How often discovery document and keys were asked for.
    pub(crate) fn asked(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (count(&self.published.discoveries), count(&self.published.fetches))
    }

    pub(crate) fn settings(&self) -> openid::Provider {
        settings(&self.issuer)
    }

    /// Where its keys are.
    pub(crate) fn jwks_url(&self) -> String {
        format!("{}/keys", self.published.base)
    }
}

/// A provider that nobody has to run.
pub(crate) fn settings(issuer: &str) -> openid::Provider {
    openid::Provider {
        issuer: issuer.into(),
        audience: AUDIENCE.into(),
        jwks_url: None,
        tenant: TenantFrom::Claim(ClaimName::parse(openid::TENANT_CLAIM).unwrap()),
        roles_claim: ClaimName::parse(openid::ROLES_CLAIM).unwrap(),
        role_names: Vec::new(),
        client: None,
    }
}

/// What the service fetches with, on loopback.
pub(crate) fn documents() -> Documents {
    egress().documents()
}

pub(crate) fn code_exchange() -> CodeExchange {
    egress().code_exchange()
}

fn egress() -> Arc<Egress> {
    let config = EgressConfig { plain_http_loopback: true, native_roots: false, ..EgressConfig::default() };
    Arc::new(Egress::new(config).unwrap())
}

async fn discovery(State(published): State<Arc<Published>>) -> Response {
    published.discoveries.fetch_add(1, Ordering::SeqCst);
    let issuer = match *published.mood.lock().unwrap() {
        Mood::Stranger => "https://else.example/".to_owned(),
        _ => format!("{}/realm/", published.base),
    };
    let at = |path: &str| format!("{}/{path}", published.base);
    let document = json!({
        "issuer": issuer, "jwks_uri": at("keys"), "authorization_endpoint": at("authorize?realm=a"),
        "token_endpoint": at("token"),
    });
    answer(&published, document).await
}

async fn exchange(State(published): State<Arc<Published>>, headers: HeaderMap, form: String) -> Response {
    let credentials = headers["authorization"].to_str().unwrap().to_owned();
    published.exchanges.lock().unwrap().push((credentials, form));
    let tokens = published.tokens.lock().unwrap().clone();
    match tokens {
        Value::Null => (StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#).into_response(),
        tokens => answer(&published, tokens).await,
    }
}

async fn keys(State(published): State<Arc<Published>>) -> Response {
    published.fetches.fetch_add(1, Ordering::SeqCst);
    let keys = published.keys.lock().unwrap().clone();
    answer(&published, json!({ "keys": keys })).await
}

async fn answer(published: &Published, document: Value) -> Response {
    let _permit = published.door.acquire().await.unwrap();
    let mood = *published.mood.lock().unwrap();
    match mood {
        Mood::Well | Mood::Stranger => document.to_string().into_response(),
        Mood::Down => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Redirects => Redirect::temporary("/keys").into_response(),
        Mood::Html => "<html>".into_response(),
        Mood::Huge => (document.to_string() + &" ".repeat(300_000)).into_response(),
    }
}
