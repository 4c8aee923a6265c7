//! Signing in at an OpenID provider: the whole way there and back, and everything that ends it.

use std::time::Duration;

use expect_test::expect;
use sealpost::app::openid::Providers;
use sealpost_core::openid::{self, TenantFrom};
use sealpost_core::secret::Secret;
use serde_json::{Value, json};
use url::Url;

use crate::api::World;
use crate::provider::{AUDIENCE, Mood, Provider, Signer, code_exchange, documents};
use crate::support::{Browser, Console, Shown, body, form};

const BACK: &str = "/console/sign-in/openid";
const MINUTE: Duration = Duration::from_secs(60);

struct Stage {
    console: Console,
    provider: Provider,
    signer: Signer,
}

/// Where the browser was sent: what the provider is told.
struct Asked {
    url: Url,
}

impl Asked {
    fn of(shown: &Shown) -> Self {
        assert_eq!(shown.status, 200, "{}", shown.text());
        Self { url: Url::parse(&onward(shown)).unwrap() }
    }

    fn said(&self, name: &str) -> String {
        self.url.query_pairs().find(|(known, _)| known == name).expect(name).1.into_owned()
    }

    /// The way back with a code.
    fn back(&self) -> String {
        format!("{BACK}?code=c-1&state={}", self.said("state"))
    }
}

/// Where a page leads on by itself, which is also where its link leads.
fn onward(shown: &Shown) -> String {
    let (_, rest) =
        shown.text().split_once("http-equiv=\"refresh\" content=\"0;url=").expect("a page that leads on");
    let to = rest.split('"').next().unwrap();
    assert!(shown.has(&format!("<a class=\"button\" href=\"{to}\">")), "{}", shown.text());
    to.replace("&amp;", "&")
}

impl Stage {
    async fn new() -> Self {
        Self::with(World::new().await, |_| {}).await
    }

    async fn with(world: World, change: impl Fn(&mut openid::Provider)) -> Self {
        let (provider, signer) = (Provider::start().await, Signer::ed());
        provider.publish([signer.jwk("k")]);
        let mut settings = provider.settings();
        let secret = Secret::new("hunter2".to_owned());
        settings.client = Some(openid::Client { id: "console".into(), secret, scope: "openid roles".into() });
        change(&mut settings);
        let providers = Providers::new(vec![settings], documents()).with_exchange(code_exchange());
        Self { console: Console::of(world.with_providers(providers)), provider, signer }
    }

    fn browser(&self) -> Browser {
        let mut browser = self.console.browser();
        (browser.secure, browser.host) = (true, "posts.example".into());
        browser
    }

    async fn set_out(&self, browser: &mut Browser) -> Asked {
        Asked::of(&browser.post(BACK, &[("provider", "0"), ("to", "/console/webhooks")]).await)
    }

    fn now_s(&self) -> i64 {
        self.console.world.app.clock.wall().millis() / 1000
    }

    fn access(&self) -> Value {
        json!({
            "iss": self.provider.issuer, "aud": AUDIENCE, "sub": "u-1", "exp": self.now_s() + 3600,
            "tenant_id": "default", "roles": ["admin"],
        })
    }

    fn identity(&self, asked: &Asked) -> Value {
        json!({
            "iss": self.provider.issuer, "aud": "console", "sub": "u-1", "exp": self.now_s() + 300,
            "nonce": asked.said("nonce"),
        })
    }

    fn token(&self, claims: &Value) -> String {
        self.signer.token(&json!({"alg": self.signer.algorithm(), "typ": "JWT", "kid": "k"}), claims)
    }

    fn grant(&self, access: &Value, identity: &Value) {
        let (access, identity) = (self.token(access), self.token(identity));
        self.provider.exchange_for(
            json!({"access_token": access, "id_token": identity, "token_type": "Bearer", "expires_in": 300}),
        );
    }

    /// There and back with good tokens.
    async fn walk(&self, browser: &mut Browser) -> Shown {
        let asked = self.set_out(browser).await;
        self.grant(&self.access(), &self.identity(&asked));
        browser.arrive(&asked.back()).await
    }

    /// There, and back to a page that says why nobody is signed in and leaves nothing pending.
    async fn failed(&self, access: &Value, identity: &Value) -> String {
        let mut browser = self.browser();
        let asked = self.set_out(&mut browser).await;
        let mut identity = identity.clone();
        if identity["nonce"] == "its own" {
            identity["nonce"] = json!(asked.said("nonce"));
        }
        self.grant(access, &identity);
        let away = browser.away.clone();
        let said = sentence(&mut browser, &asked.back()).await;
        browser.away = away;
        self.grant(&self.access(), &self.identity(&asked));
        assert_eq!(sentence(&mut browser, &asked.back()).await, NOT_BEGUN, "something was left pending");
        said
    }
}

const NOT_BEGUN: &str =
    "This sign-in was not begun in this browser, has ended, or took longer than 10 minutes. Begin again.";

/// The one sentence of a sign-in that failed.
async fn sentence(browser: &mut Browser, path: &str) -> String {
    let shown = browser.arrive(path).await;
    assert_eq!((shown.status, browser.cookie.as_deref(), browser.away.as_deref()), (422, None, None));
    assert!(shown.has("name=\"key\"") && shown.has("Sign in with 127.0.0.1"), "one can begin again");
    told(&shown)
}

fn told(shown: &Shown) -> String {
    let (_, rest) = shown.text().split_once("role=\"alert\">").expect("an alert");
    let text = rest.split_once("</p>").unwrap().0;
    text.rsplit_once('>').unwrap().1.replace("&#39;", "'").trim().to_owned()
}

#[tokio::test]
async fn a_person_signs_in_at_the_provider_and_is_that_person_here() {
    let stage = Stage::new().await;
    let mut browser = stage.browser();
    let page = browser.get("/console/sign-in?to=%2Fconsole%2Fwebhooks").await;
    assert!(page.has("Sign in with 127.0.0.1") && page.has("name=\"key\""));
    assert_eq!(stage.provider.asked(), (0, 0), "looking asks nobody");

    let shown = browser.post(BACK, &[("provider", "0"), ("to", "/console/webhooks")]).await;
    let asked = Asked::of(&shown);
    let secrets = ["state", "nonce", "code_challenge"].map(|name| asked.said(name));
    assert!(secrets.iter().all(|secret| secret.len() == 43), "256 bits: {secrets:?}");
    let mut written =
        asked.url.to_string().replace(&stage.provider.issuer.replace("/realm/", ""), "PROVIDER");
    for (name, secret) in ["STATE", "NONCE", "CHALLENGE"].iter().zip(&secrets) {
        written = written.replace(secret, name);
    }
    expect![[r#"
        PROVIDER/authorize?realm=a
        &response_type=code
        &client_id=console
        &redirect_uri=https%3A%2F%2Fposts.example%2Fconsole%2Fsign-in%2Fopenid
        &scope=openid+roles
        &state=STATE
        &nonce=NONCE
        &code_challenge=CHALLENGE
        &code_challenge_method=S256
        &audience=https%3A%2F%2Fposts.example"#]]
    .assert_eq(&written.replace('&', "\n&"));
    let token = browser.away.clone().unwrap();
    let (_, token) = token.split_once('=').unwrap();
    assert!(token.len() == 43 && !asked.url.as_str().contains(token), "the browser's own is not told");
    expect!["__Host-sealpost-openid=TOKEN; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"]
        .assert_eq(&shown.header("set-cookie").unwrap().replace(token, "TOKEN"));
    assert_eq!(browser.cookie, None, "nobody is signed in yet");

    stage.grant(&stage.access(), &stage.identity(&asked));
    let shown = browser.arrive(&asked.back()).await;
    assert_eq!((shown.status, onward(&shown).as_str()), (200, "/console/webhooks"));
    assert!(browser.cookie.is_some() && browser.away.is_none(), "a session in place of the sign-in");
    assert_eq!(browser.get("/console/webhooks").await.status, 200);

    let [(credentials, form)] = &stage.provider.exchanges()[..] else { panic!("one exchange") };
    assert_eq!(credentials, "Basic Y29uc29sZTpodW50ZXIy", "console:hunter2");
    let verifier = form.rsplit_once("code_verifier=").unwrap().1;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    assert_eq!(crate::provider::b64(digest), secrets[2], "the verifier is that of the challenge");
    expect!["grant_type=authorization_code&code=c-1&redirect_uri=https%3A%2F%2Fposts.example%2Fconsole%2Fsign-in%2Fopenid&code_verifier=VERIFIER"].assert_eq(&form.replace(verifier, "VERIFIER"));

    let made = [("url", "https://example.com/in"), ("events", "did_create"), ("dialect", "mattr")];
    assert_eq!(browser.post("/console/webhooks", &made).await.status, 303);
    let audit = stage.console.world.get("/v1/webhooks/audit?limit=1").await.json();
    assert_eq!(audit["data"][0]["who"], format!("openid {} u-1", stage.provider.issuer));
}

#[tokio::test]
async fn without_a_client_there_is_nothing() {
    let stage = Stage::with(World::new().await, |settings| settings.client = None).await;
    let mut browser = stage.browser();
    assert!(!browser.get("/console/sign-in").await.has("Sign in with"));
    assert_eq!(browser.post(BACK, &[("provider", "0")]).await.status, 404);
    let stage = Stage::new().await;
    for provider in ["1", "-1", "", "99999999999999999999"] {
        assert_eq!(stage.browser().post(BACK, &[("provider", provider)]).await.status, 404, "{provider}");
    }
}

#[tokio::test]
async fn one_comes_back_with_what_one_took_along_and_once() {
    let stage = Stage::new().await;
    let good = async || {
        let mut browser = stage.browser();
        let asked = stage.set_out(&mut browser).await;
        stage.grant(&stage.access(), &stage.identity(&asked));
        (browser, asked)
    };

    let (mut browser, asked) = good().await;
    let away = browser.away.clone();
    assert_eq!(browser.arrive(&asked.back()).await.status, 200);
    let mut second = stage.browser();
    second.away = away;
    assert_eq!(sentence(&mut second, &asked.back()).await, NOT_BEGUN, "used twice");

    let (mut browser, asked) = good().await;
    let away = browser.away.clone();
    for path in [format!("{BACK}?code=c-1&state=other"), format!("{BACK}?code=c-1"), BACK.to_owned()] {
        assert_eq!(sentence(&mut browser, &path).await, NOT_BEGUN, "{path}");
        browser.away.clone_from(&away);
    }
    assert_eq!(sentence(&mut browser, &asked.back()).await, NOT_BEGUN, "a wrong state ended it");

    let (mut browser, asked) = good().await;
    let away = browser.away.take();
    assert_eq!(sentence(&mut browser, &asked.back()).await, NOT_BEGUN, "without its cookie");
    browser.away = away;
    assert_eq!(sentence(&mut browser, &asked.back()).await, NOT_BEGUN, "which ended it");

    let (mut browser, asked) = good().await;
    stage.console.world.clock.advance(10 * MINUTE);
    assert_eq!(sentence(&mut browser, &asked.back()).await, NOT_BEGUN, "too late");
    let exchanged = stage.provider.exchanges().len();
    assert_eq!(exchanged, 1, "only the first was worth a question");
}

/// Somebody begins a sign-in, and sends another person along its way back, who would then work in a stranger's name.
#[tokio::test]
async fn nobody_is_signed_in_by_the_sign_in_of_another() {
    let stage = Stage::new().await;
    let mut stranger = stage.browser();
    let theirs = stage.set_out(&mut stranger).await;
    stage.grant(&stage.access(), &stage.identity(&theirs));
    assert_eq!(sentence(&mut stage.browser(), &theirs.back()).await, NOT_BEGUN);

    let theirs = stage.set_out(&mut stranger).await;
    stage.grant(&stage.access(), &stage.identity(&theirs));
    let mut person = stage.browser();
    stage.set_out(&mut person).await;
    assert_eq!(
        sentence(&mut person, &theirs.back()).await,
        NOT_BEGUN,
        "with one of the person's own pending"
    );

    let begun = form(BACK).header("sec-fetch-site", "cross-site").body(body(&[("provider", "0")])).unwrap();
    let mut person = stage.browser();
    assert_eq!((person.send(begun).await.status, person.away), (403, None), "nor begun from elsewhere");
}

#[tokio::test]
async fn both_tokens_must_be_good() {
    let stage = Stage::new().await;
    let (access, identity) = (
        stage.access(),
        json!({
            "iss": stage.provider.issuer, "aud": "console", "sub": "u-1", "exp": stage.now_s() + 300, "nonce": "its own",
        }),
    );
    let but = |claims: &Value, name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let not_good = "The provider's answer does not open this console. The service's log says why.";
    for (name, value) in [
        ("nonce", json!("another")),
        ("nonce", Value::Null),
        ("aud", json!("another")),
        ("aud", json!(AUDIENCE)),
        ("iss", json!("https://else.example")),
        ("exp", json!(stage.now_s() - 60)),
    ] {
        let said = stage.failed(&access, &but(&identity, name, value.clone())).await;
        assert_eq!(said, not_good, "ID token with {name} {value}");
    }
    for (name, value, want) in [
        ("aud", json!("console"), not_good),
        ("iss", json!("https://else.example"), not_good),
        ("exp", json!(stage.now_s() - 60), not_good),
        // The API would take it for its half minute more; a session would have ended.
        ("exp", json!(stage.now_s() - 10), not_good),
        ("tenant_id", json!("nobody"), not_good),
        ("roles", json!([]), "Your account has no role in this service. An administrator can change that."),
        (
            "roles",
            json!(["offline_access"]),
            "Your account has no role in this service. An administrator can change that.",
        ),
    ] {
        let said = stage.failed(&but(&access, name, value.clone()), &identity).await;
        assert_eq!(said, want, "access token with {name} {value}");
    }
    let mut browser = stage.browser();
    let walked = stage.walk(&mut browser).await;
    assert_eq!(walked.status, 200, "unchanged they are good");

    // Signed by somebody else, who uses the name of the provider's key.
    let forger = Signer::ed();
    for forged in ["access_token", "id_token"] {
        let mut browser = stage.browser();
        let asked = stage.set_out(&mut browser).await;
        let (access, identity) = (stage.access(), stage.identity(&asked));
        let mut tokens = json!({"access_token": stage.token(&access), "id_token": stage.token(&identity)});
        let claims = if forged == "id_token" { identity } else { access };
        tokens[forged] = json!(forger.token(&json!({"alg": "EdDSA", "typ": "JWT", "kid": "k"}), &claims));
        stage.provider.exchange_for(tokens);
        assert_eq!(sentence(&mut browser, &asked.back()).await, not_good, "a forged {forged}");
    }
    for tokens in [json!({"access_token": "a"}), json!({}), json!("tokens"), Value::Null] {
        let mut browser = stage.browser();
        let asked = stage.set_out(&mut browser).await;
        stage.provider.exchange_for(tokens.clone());
        assert_eq!(sentence(&mut browser, &asked.back()).await, not_good, "{tokens}");
    }
}

#[tokio::test]
async fn the_provider_may_sign_nobody_in() {
    let stage = Stage::new().await;
    let declined = "The provider signed nobody in. Begin again, or sign in with a key.";
    let long = format!("code={}", "c".repeat(5000));
    for (answer, want) in [
        ("error=access_denied&error_description=%3Cscript%3E", declined),
        ("error=access_denied&code=c-1", declined),
        ("", declined),
        (long.as_str(), declined),
        (
            "code=c-1&iss=https%3A%2F%2Felse.example",
            "The provider's answer does not open this console. The service's log says why.",
        ),
    ] {
        let mut browser = stage.browser();
        let asked = stage.set_out(&mut browser).await;
        stage.grant(&stage.access(), &stage.identity(&asked));
        let path = format!("{BACK}?{answer}&state={}", asked.said("state"));
        let shown = browser.arrive(&path).await;
        assert!(!shown.has("access_denied") && !shown.has("script&gt;"), "its words are not ours");
        assert_eq!((shown.status, told(&shown).as_str(), browser.cookie), (422, want, None), "{answer}");
    }
    assert_eq!(stage.provider.exchanges().len(), 0);

    let mut browser = stage.browser();
    let asked = stage.set_out(&mut browser).await;
    stage.grant(&stage.access(), &stage.identity(&asked));
    let issuer: String = url::form_urlencoded::byte_serialize(stage.provider.issuer.as_bytes()).collect();
    assert_eq!(
        browser.arrive(&format!("{}&iss={issuer}", asked.back())).await.status,
        200,
        "its own name is good"
    );
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be_and_is_not_asked_by_everybody() {
    let stage = Stage::new().await;
    let away = "The provider cannot be reached. Try again in a minute, or sign in with a key.";
    for mood in [Mood::Down, Mood::Stranger, Mood::Redirects, Mood::Html, Mood::Huge] {
        stage.provider.turn(mood);
        stage.console.world.clock.advance(MINUTE / 6);
        let before = stage.provider.asked().0;
        for _ in 0..5 {
            let mut browser = stage.browser();
            let shown = browser.post(BACK, &[("provider", "0")]).await;
            assert_eq!((shown.status, told(&shown).as_str(), browser.away), (422, away, None), "{mood:?}");
        }
        assert_eq!(stage.provider.asked().0, before + 1, "{mood:?}");
    }
    stage.provider.turn(Mood::Well);
    stage.console.world.clock.advance(MINUTE / 6);
    let before = stage.provider.asked().0;
    for _ in 0..5 {
        stage.set_out(&mut stage.browser()).await;
    }
    assert_eq!(stage.provider.asked().0, before + 1, "what it said holds for a while");

    let mut browser = stage.browser();
    let asked = stage.set_out(&mut browser).await;
    stage.grant(&stage.access(), &stage.identity(&asked));
    stage.provider.turn(Mood::Down);
    assert_eq!(sentence(&mut browser, &asked.back()).await, away, "when the code is exchanged");
    assert_eq!(
        stage.console.admin().await.get("/console/keys").await.status,
        200,
        "a key opens all the same"
    );
}

#[tokio::test]
async fn where_people_sign_in_is_remembered_while_the_provider_does_not_say() {
    let stage = Stage::new().await;
    stage.set_out(&mut stage.browser()).await;
    stage.provider.turn(Mood::Down);
    stage.console.world.clock.advance(10 * MINUTE);
    let before = stage.provider.asked().0;
    for _ in 0..3 {
        stage.set_out(&mut stage.browser()).await;
    }
    assert_eq!(stage.provider.asked().0, before + 1);
    stage.console.world.clock.advance(MINUTE);
    stage.set_out(&mut stage.browser()).await;
    assert_eq!(stage.provider.asked().0, before + 2, "once a minute");
    stage.console.world.clock.advance(49 * MINUTE);
    let shown = stage.browser().post(BACK, &[("provider", "0")]).await;
    assert_eq!(shown.status, 422, "an hour after it said so");
    stage.provider.turn(Mood::Well);
    stage.console.world.clock.advance(MINUTE / 6);
    stage.set_out(&mut stage.browser()).await;
}

#[tokio::test]
async fn who_finds_no_place_may_come_again() {
    let stage = Stage::new().await;
    let mut begun = Vec::new();
    for _ in 0..33 {
        let mut browser = stage.browser();
        let asked = stage.set_out(&mut browser).await;
        begun.push((browser, asked));
    }
    let (mut late, asked) = begun.pop().unwrap();
    stage.grant(&stage.access(), &stage.identity(&asked));
    let held = stage.provider.hold();
    let others = begun.iter_mut().map(|(browser, asked)| async move { browser.arrive(&asked.back()).await });
    let others = futures_util::future::join_all(others);
    let one_more = async {
        while stage.provider.exchanges().len() < 32 {
            tokio::task::yield_now().await;
        }
        let shown = late.arrive(&asked.back()).await;
        assert_eq!((shown.status, late.cookie.as_deref()), (422, None));
        assert!(told(&shown).starts_with("Too many people") && late.away.is_some());
        drop(held);
    };
    let (_, ()) = tokio::join!(others, one_more);
    let shown = late.arrive(&asked.back()).await;
    assert_eq!((shown.status, onward(&shown).as_str()), (200, "/console/webhooks"));
    assert!(late.cookie.is_some() && late.away.is_none());
}

#[tokio::test]
async fn a_session_ends_with_the_token_with_the_tenant_and_by_itself() {
    let stage = Stage::new().await;
    let world = &stage.console.world;
    let signed_in = async |exp: i64, tenant: &str| {
        let mut browser = stage.browser();
        let asked = stage.set_out(&mut browser).await;
        let mut access = stage.access();
        (access["exp"], access["tenant_id"]) = (json!(stage.now_s() + exp), json!(tenant));
        stage.grant(&access, &stage.identity(&asked));
        assert_eq!(browser.arrive(&asked.back()).await.status, 200);
        assert_eq!(browser.get("/console/keys").await.status, 200);
        browser
    };
    let mut browser = signed_in(300, "default").await;
    world.clock.advance(Duration::from_secs(298));
    assert_eq!(browser.get("/console/keys").await.status, 200);
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(browser.get("/console/keys").await.status, 303, "no half minute more");

    let mut browser = signed_in(86_400, "default").await;
    world.clock.advance(30 * MINUTE);
    assert_eq!(browser.get("/console/keys").await.status, 303, "left alone");

    let acme = world.app.create_tenant("a", "acme".parse().unwrap(), Default::default(), "t").await.unwrap();
    let mut browser = signed_in(3600, "acme").await;
    world.app.delete_tenant(&acme, "test").await.unwrap();
    assert_eq!(browser.get("/console/keys").await.status, 303, "the tenant is gone");
}

/// A link is worth what whoever made it still may.
#[tokio::test]
async fn a_portal_link_ends_with_the_token_of_whoever_made_it() {
    let stage = Stage::new().await;
    let webhook = stage.console.world.webhook(&["did_create"]).await;
    let mut browser = stage.browser();
    stage.walk(&mut browser).await;
    let shown = browser.submit(&format!("/console/webhooks/{webhook}/portal"), &[]).await;
    let (_, token) = shown.text().split_once("https://posts.example/console/portal/").expect("a link");
    let token = token.split('<').next().unwrap().to_owned();
    let mut guest = stage.browser();
    assert_eq!(guest.post("/console/portal", &[("token", &token)]).await.to(), "/console");
    assert_eq!(guest.get("/console/webhooks").await.status, 200);
    for _ in 0..3 {
        stage.console.world.clock.advance(19 * MINUTE);
        guest.get("/console/webhooks").await;
    }
    assert_eq!(guest.get("/console/webhooks").await.status, 200);
    stage.console.world.clock.advance(3 * MINUTE);
    assert_eq!(guest.get("/console/webhooks").await.status, 303);
}

/// The same where a program made it with a token of the provider.
#[tokio::test]
async fn a_link_of_the_api_ends_with_the_token_that_made_it() {
    let stage = Stage::new().await;
    let world = &stage.console.world;
    let webhook = world.webhook(&["did_create"]).await;
    let token = stage.token(&stage.access());
    let ask = crate::api::post("/v1/webhooks/portal-links", json!({"webhookIds": [webhook]}));
    let made = world.call(ask.by(&token)).await;
    assert_eq!(made.status, 200, "{made}");
    let url = made.text_of("url");
    let mut guest = stage.browser();
    let opened = guest.post("/console/portal", &[("token", url.rsplit('/').next().unwrap())]).await;
    assert_eq!(opened.to(), "/console");
    for _ in 0..3 {
        world.clock.advance(19 * MINUTE);
        assert_eq!(guest.get("/console/webhooks").await.status, 200);
    }
    world.clock.advance(3 * MINUTE);
    assert_eq!(guest.get("/console/webhooks").await.status, 303);
}

#[tokio::test]
async fn one_signs_in_at_the_public_address_and_elsewhere_is_led_there() {
    let stage = Stage::with(World::with(Some("tenants.example"), 0).await, |_| {}).await;
    let mut browser = stage.browser();
    for (host, secure, is_public) in [
        ("posts.example", true, true),
        ("POSTS.example:443", true, true),
        ("posts.example:8443", true, false),
        ("default.tenants.example", true, false),
        ("localhost:8080", false, false),
    ] {
        (browser.host, browser.secure) = (host.into(), secure);
        let page = browser.get("/console/sign-in").await;
        let link = "<a href=\"https://posts.example/console/sign-in\">Sign in with 127.0.0.1</a>";
        assert_eq!((page.has("name=\"provider\""), page.has(link)), (is_public, !is_public), "{host}");
        let shown = browser.post(BACK, &[("provider", "0")]).await;
        assert_eq!(shown.status, if is_public { 200 } else { 422 }, "{host}");
    }
}

#[tokio::test]
async fn an_account_of_one_tenant_opens_nothing_at_the_address_of_another() {
    // The public address is itself a tenant's.
    let stage = Stage::with(World::with(Some("example"), 0).await, |_| {}).await;
    let world = &stage.console.world;
    world.app.create_tenant("p", "posts".parse().unwrap(), Default::default(), "test").await.unwrap();
    let mut browser = stage.browser();
    let shown = stage.walk(&mut browser).await;
    assert_eq!(told(&shown), "Your account is of another tenant than this address.");
    assert_eq!((shown.status, browser.cookie), (422, None));
}

#[tokio::test]
async fn of_two_providers_at_one_host_one_can_tell_which_is_which() {
    let provider = Provider::start().await;
    let of = |tenant: &str| {
        let mut settings = provider.settings();
        let secret = Secret::new("s".to_owned());
        settings.client = Some(openid::Client { id: tenant.into(), secret, scope: "openid".into() });
        settings.tenant = TenantFrom::All(tenant.into());
        settings
    };
    let providers = Providers::new(vec![of("acme"), provider.settings(), of("umbrella")], documents());
    let console = Console::of(World::new().await.with_providers(providers));
    let mut browser = console.browser();
    (browser.secure, browser.host) = (true, "posts.example".into());
    let page = browser.get("/console/sign-in").await;
    assert!(page.has("Sign in with 127.0.0.1 for acme") && page.has("Sign in with 127.0.0.1 for umbrella"));
    assert_eq!(page.text().matches("Sign in with").count(), 2);
    let asked = Asked::of(&browser.post(BACK, &[("provider", "2")]).await);
    assert_eq!(asked.said("client_id"), "umbrella");
}
