//! Tokens of OpenID providers: what they open, whose keys verify them and for how long, and what is not taken for one.

use std::collections::BTreeSet;
use std::time::Duration;

use expect_test::expect;
use sealpost_core::openid::{ClaimName, TenantFrom};
use sealpost_core::role::Role;
use serde_json::{Value, json};

use crate::provider::{AUDIENCE, Mood, Provider, Signer, b64, documents, settings};
use crate::support::{Answer, Said, World, get, post};

/// A world that takes tokens of this provider.
async fn world(provider: &Provider) -> World {
    World::new().await.with_openid(vec![provider.settings()], documents())
}

fn now_s(world: &World) -> i64 {
    world.app.clock.wall().millis() / 1000
}

fn claims(world: &World, issuer: &str) -> Value {
    json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "u-1", "exp": now_s(world) + 86_400,
        "tenant_id": "default", "roles": ["issuer"],
    })
}

fn header(signer: &Signer, kid: &str) -> Value {
    json!({"alg": signer.algorithm(), "typ": "JWT", "kid": kid})
}

fn token(world: &World, provider: &Provider, signer: &Signer, kid: &str) -> String {
    signer.token(&header(signer, kid), &claims(world, &provider.issuer))
}

async fn opens(world: &World, token: &str) -> Answer {
    world.call(get("/v1/webhooks").by(token)).await
}

async fn status(world: &World, token: &str) -> u16 {
    opens(world, token).await.status
}

#[tokio::test]
async fn a_providers_token_is_its_roles_in_its_tenant() {
    let (provider, world) = pair().await;
    let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
    provider.publish([rsa.jwk("r"), ec.jwk("e"), ed.jwk("d")]);
    for (signer, kid) in [(&rsa, "r"), (&ec, "e"), (&ed, "d")] {
        let token = token(&world, &provider, signer, kid);
        assert_eq!(status(&world, &token).await, 200, "{kid}");
        let erase = world.call(post("/v1/webhooks/erasures", json!({"subject": "s"})).by(&token)).await;
        assert_eq!(erase.status, 403, "an issuer erases nothing");
        assert_eq!(world.call(get("/v1/tenants").by(&token)).await.status, 403, "nor is it an operator");
    }
    assert_eq!(provider.asked(), (1, 1));

    let body = json!({"events": ["did_create"], "url": "https://example.com/in"});
    let made = world.call(post("/v1/webhooks", body).by(&token(&world, &provider, &ed, "d"))).await;
    assert_eq!(made.status, 201, "{made}");
    let audit = world.get("/v1/webhooks/audit?limit=1").await.json();
    assert_eq!(audit["data"][0]["who"], format!("openid {} u-1", provider.issuer));

    let but = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims(&world, &provider.issuer);
        change(&mut claims);
        ed.token(&header(&ed, "d"), &claims)
    };
    let tenant = world.app.tenant(world.tenant).await.unwrap().tenant.id.to_string();
    for (what, token, want) in [
        ("tenant by id", but(&|c| c["tenant_id"] = json!(tenant)), 200),
        ("no such tenant", but(&|c| c["tenant_id"] = json!("nobody")), 401),
        ("unknown roles are passed over", but(&|c| c["roles"] = json!(["offline_access", "issuer"])), 200),
        ("roles as text", but(&|c| c["roles"] = json!("publisher admin")), 200),
        ("only unknown roles", but(&|c| c["roles"] = json!(["offline_access"])), 403),
        ("no roles", but(&|c| drop(c.as_object_mut().unwrap().shift_remove("roles"))), 403),
        ("a role without its webhook", but(&|c| c["roles"] = json!(["subscriber"])), 403),
        ("two audiences", but(&|c| c["aud"] = json!(["account", AUDIENCE])), 200),
        ("many groups", but(&|c| c["groups"] = json!("g".repeat(8000))), 200),
    ] {
        assert_eq!(status(&world, &token).await, want, "{what}");
    }
}

async fn pair() -> (Provider, World) {
    let provider = Provider::start().await;
    let world = world(&provider).await;
    (provider, world)
}

#[tokio::test]
async fn a_token_is_for_its_tenant_at_its_tenants_host() {
    let provider = Provider::start().await;
    let all = vec![provider.settings()];
    let world = World::with(Some("posts.example"), 0).await.with_openid(all, documents());
    let acme =
        world.app.create_tenant("acme", "acme".parse().unwrap(), Default::default(), "test").await.unwrap();
    let ed = Signer::ed();
    provider.publish([ed.jwk("d")]);
    let mut claims = claims(&world, &provider.issuer);
    claims["tenant_id"] = json!("acme");
    let token = ed.token(&header(&ed, "d"), &claims);
    let at = async |host: &str| world.call(get("/v1/webhooks").by(&token).header("host", host)).await.status;
    assert_eq!(at("acme.posts.example").await, 200);
    assert_eq!(at("default.posts.example").await, 401);
    assert_eq!(at("nobody.posts.example").await, 404);
    claims["roles"] = json!([]);
    let powerless = ed.token(&header(&ed, "d"), &claims);
    let call = get("/v1/webhooks").by(&powerless).header("host", "default.posts.example");
    assert_eq!(world.call(call).await.status, 401, "whose it is comes before what it may");

    world.app.delete_tenant(&acme, "test").await.unwrap();
    assert_eq!(
        world.call(get("/v1/webhooks").by(&token)).await.status,
        401,
        "a deleted tenant is gone at once"
    );
}

#[tokio::test]
async fn claims_and_role_names_are_the_providers_own() {
    let provider = Provider::start().await;
    let mapped = sealpost_core::openid::Provider {
        tenant: TenantFrom::All("default".into()),
        roles_claim: ClaimName::parse("/realm_access/roles").unwrap(),
        role_names: vec![("webhook-ops".into(), Role::Issuer)],
        jwks_url: Some(provider.jwks_url()),
        ..provider.settings()
    };
    let other = sealpost_core::openid::Provider { audience: "https://else.example".into(), ..mapped.clone() };
    let world = World::new().await.with_openid(vec![other, mapped], documents());
    let ed = Signer::ed();
    provider.publish([ed.jwk("d")]);
    let with = |roles: Value| {
        let claims = claims(&world, &provider.issuer);
        let mut claims = claims.as_object().unwrap().clone();
        claims.shift_remove("tenant_id");
        claims.insert("realm_access".into(), json!({ "roles": roles }));
        ed.token(&header(&ed, "d"), &claims.into())
    };
    assert_eq!(status(&world, &with(json!(["webhook-ops"]))).await, 200);
    assert_eq!(status(&world, &with(json!(["issuer", "admin"]))).await, 403, "only mapped names count");
    assert_eq!(provider.asked(), (0, 1), "the settings say where the keys are");
}

#[tokio::test]
async fn keys_turn_over() {
    let (provider, world) = pair().await;
    let (old, new) = (Signer::ed(), Signer::rsa());
    provider.publish([old.jwk("old")]);
    let (before, after) = (token(&world, &provider, &old, "old"), token(&world, &provider, &new, "new"));
    let mut said = Said::default();
    let look = async |said: &mut Said, when: &str| {
        let (before, after) = (status(&world, &before).await, status(&world, &after).await);
        said.line(format!("{when}: old {before}, new {after}, asked {:?}", provider.asked()));
    };
    look(&mut said, "at first").await;
    provider.publish([old.jwk("old"), new.jwk("new")]);
    look(&mut said, "just published").await;
    world.clock.advance(Duration::from_secs(60));
    look(&mut said, "a minute later").await;
    provider.publish([new.jwk("new")]);
    world.clock.advance(Duration::from_secs(539));
    look(&mut said, "withdrawn").await;
    world.clock.advance(Duration::from_secs(61));
    look(&mut said, "ten minutes later").await;
    provider.publish([]);
    world.clock.advance(Duration::from_secs(600));
    look(&mut said, "all withdrawn").await;
    said.is(expect![[r#"
        at first: old 200, new 401, asked (1, 1)
        just published: old 200, new 401, asked (1, 1)
        a minute later: old 200, new 200, asked (2, 2)
        withdrawn: old 200, new 200, asked (2, 2)
        ten minutes later: old 401, new 200, asked (3, 3)
        all withdrawn: old 401, new 401, asked (4, 4)
    "#]]);
}

#[tokio::test]
async fn strangers_kids_do_not_make_a_storm() {
    let (provider, world) = pair().await;
    let ed = Signer::ed();
    provider.publish([ed.jwk("d")]);
    let good = token(&world, &provider, &ed, "d");
    let held = provider.hold();
    let calls = (0..64).map(|n| {
        let token =
            if n % 2 == 0 { good.clone() } else { token(&world, &provider, &ed, &format!("stranger-{n}")) };
        let world = &world;
        async move { status(world, &token).await }
    });
    let all = futures_util::future::join_all(calls);
    let released = async {
        while provider.asked().0 == 0 {
            tokio::task::yield_now().await;
        }
        drop(held);
    };
    let (statuses, ()) = tokio::join!(all, released);
    assert_eq!(statuses, [200, 401].repeat(32));
    assert_eq!(provider.asked(), (1, 1), "one question answers them all");
    for n in 0..50 {
        assert_eq!(status(&world, &token(&world, &provider, &ed, &format!("more-{n}"))).await, 401);
    }
    assert_eq!(provider.asked(), (1, 1));
    world.clock.advance(Duration::from_secs(60));
    for n in 0..50 {
        assert_eq!(status(&world, &token(&world, &provider, &ed, &format!("again-{n}"))).await, 401);
    }
    assert_eq!(provider.asked(), (2, 2), "once a minute");
}

/// Where tokens come all the time, nobody waits for the provider, whether it answers or not.
#[tokio::test]
async fn a_key_that_serves_is_fetched_anew_beside_the_calls() {
    let (provider, world) = pair().await;
    let ed = Signer::ed();
    provider.publish([ed.jwk("d")]);
    let good = token(&world, &provider, &ed, "d");
    let at_once = async || {
        for _ in 0..20 {
            let answered = tokio::time::timeout(Duration::from_secs(2), status(&world, &good)).await;
            assert_eq!(answered, Ok(200), "a call waits for the provider");
        }
    };
    let asked = async |times: (usize, usize)| {
        while provider.asked() != times {
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(status(&world, &good).await, 200);
    world.clock.advance(Duration::from_secs(539));
    at_once().await;
    assert_eq!(provider.asked(), (1, 1), "not yet");
    world.clock.advance(Duration::from_secs(1));
    let held = provider.hold();
    at_once().await;
    asked((2, 1)).await;
    drop(held);
    asked((2, 2)).await;
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(status(&world, &good).await, 200);
    assert_eq!(provider.asked(), (2, 2), "ten minutes after the first answer there is a newer one");

    provider.turn(Mood::Down);
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(status(&world, &good).await, 200);
    assert_eq!(provider.asked(), (3, 2), "after a long rest one waits");
    world.clock.advance(Duration::from_secs(60));
    let held = provider.hold();
    at_once().await;
    asked((4, 2)).await;
    drop(held);
}

#[tokio::test]
async fn a_caller_who_hangs_up_leaves_the_answer_to_the_others() {
    let (provider, world) = pair().await;
    let ed = Signer::ed();
    provider.publish([ed.jwk("d")]);
    let good = token(&world, &provider, &ed, "d");
    let held = provider.hold();
    tokio::select! {
        answer = opens(&world, &good) => panic!("the provider has not answered: {answer}"),
        () = async {
            while provider.asked().0 == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    drop(held);
    assert_eq!(status(&world, &good).await, 200);
    assert_eq!(provider.asked(), (1, 1));
}

#[tokio::test]
async fn without_the_provider_its_keys_serve_for_an_hour_and_then_nobody_can_tell() {
    let (provider, world) = pair().await;
    let ed = Signer::ed();
    provider.publish([ed.jwk("d")]);
    provider.turn(Mood::Down);
    let (good, new) = (token(&world, &provider, &ed, "d"), token(&world, &provider, &ed, "new"));
    let mut said = Said::default();
    let look = async |said: &mut Said, when: &str| {
        for (what, token) in [("good", &good), ("new kid", &new)] {
            let answer = opens(&world, token).await;
            let wait = answer.header("retry-after").unwrap_or_default().to_owned();
            said.line(format!("{when}, {what}: {} {wait} {:?}", answer.status, provider.asked()));
        }
    };
    look(&mut said, "down from the start").await;
    provider.turn(Mood::Well);
    world.clock.advance(Duration::from_secs(10));
    look(&mut said, "back").await;
    provider.turn(Mood::Down);
    world.clock.advance(Duration::from_secs(600));
    look(&mut said, "down for ten minutes").await;
    world.clock.advance(Duration::from_secs(2999));
    look(&mut said, "for an hour less a second").await;
    world.clock.advance(Duration::from_secs(1));
    look(&mut said, "for an hour").await;
    provider.turn(Mood::Well);
    world.clock.advance(Duration::from_secs(60));
    look(&mut said, "back again").await;
    said.is(expect![[r#"
        down from the start, good: 503 10 (1, 0)
        down from the start, new kid: 503 10 (1, 0)
        back, good: 200  (2, 1)
        back, new kid: 401  (2, 1)
        down for ten minutes, good: 200  (3, 1)
        down for ten minutes, new kid: 503 60 (3, 1)
        for an hour less a second, good: 200  (4, 1)
        for an hour less a second, new kid: 503 60 (4, 1)
        for an hour, good: 503 9 (4, 1)
        for an hour, new kid: 503 9 (4, 1)
        back again, good: 200  (5, 2)
        back again, new kid: 401  (5, 2)
    "#]]);
    let answer = world.get("/v1/webhooks").await;
    assert_eq!(answer.status, 200, "{answer}");
}

#[tokio::test]
async fn a_provider_that_answers_wrongly_gives_no_keys() {
    for mood in [Mood::Stranger, Mood::Redirects, Mood::Html, Mood::Huge] {
        let (provider, world) = pair().await;
        let ed = Signer::ed();
        provider.publish([ed.jwk("d")]);
        provider.turn(mood);
        let answer = opens(&world, &token(&world, &provider, &ed, "d")).await;
        assert_eq!(answer.status, 503, "{mood:?}");
        assert_eq!(provider.asked(), (1, 0), "{mood:?}");
    }
}

#[tokio::test]
async fn what_no_provider_can_have_made_asks_nobody() {
    let (provider, world) = pair().await;
    let ed = Signer::ed();
    provider.publish([ed.jwk("d")]);
    let claimed = |name: &str, value: Value| {
        let mut claims = claims(&world, &provider.issuer);
        claims[name] = value;
        ed.token(&header(&ed, "d"), &claims)
    };
    for (what, token) in [
        ("unknown issuer", claimed("iss", json!("https://evil.example/"))),
        (
            "the issuer's address without its slash",
            claimed("iss", json!(provider.issuer.trim_end_matches('/'))),
        ),
        ("issuer in a list", claimed("iss", json!([provider.issuer]))),
        ("another audience", claimed("aud", json!("https://else.example"))),
        ("expired", claimed("exp", json!(now_s(&world) - 30))),
        ("not yet", claimed("nbf", json!(now_s(&world) + 31))),
        ("no subject", claimed("sub", Value::Null)),
        ("no tenant", claimed("tenant_id", Value::Null)),
        ("too large", claimed("groups", json!("g".repeat(16 * 1024)))),
    ] {
        assert_eq!(status(&world, &token).await, 401, "{what}");
    }
    assert_eq!(provider.asked(), (0, 0));
    assert_eq!(status(&world, &token(&world, &provider, &ed, "d")).await, 200, "the rig signs well");
}

#[tokio::test]
async fn forgeries_open_nothing() {
    let (provider, world) = pair().await;
    let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
    let (rsa_key, ec_key) = (rsa.jwk("r"), ec.jwk("e"));
    provider.publish([rsa_key.clone(), ec_key.clone(), ed.jwk("d")]);
    let good = token(&world, &provider, &rsa, "r");
    let good_ec = token(&world, &provider, &ec, "e");
    for token in [&good, &good_ec] {
        assert_eq!(status(&world, token).await, 200, "the rig signs well");
    }
    let theirs = claims(&world, &provider.issuer);
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let headed = |value: Value| b64(value.to_string());
    let hmac = |secret: &[u8]| {
        let header = jsonwebtoken::Header {
            kid: Some("r".into()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
        };
        let key = jsonwebtoken::EncodingKey::from_secret(secret);
        jsonwebtoken::encode(&header, &theirs, &key).unwrap()
    };
    let mut mighty = theirs.clone();
    mighty["roles"] = json!(["admin"]);
    let respelled = |token: &str| {
        let last = token.chars().next_back().unwrap();
        // The last character of both kinds of signature holds bits that say nothing.
        format!("{}{}", &token[..token.len() - 1], char::from(last as u8 + 1))
    };
    let (evil_rsa, evil_ec, evil_ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
    let by_evil = |evil: &Signer, kid: &str| evil.token(&header(evil, kid), &theirs);
    let member = |name: &str, value: Value| {
        let mut header = header(&evil_ec, "evil");
        header[name] = value;
        evil_ec.token(&header, &theirs)
    };
    let modulus = rsa_key["n"].as_str().unwrap();
    for (what, token) in [
        ("none", format!("{}.{body}.", headed(json!({"alg": "none", "kid": "r"})))),
        ("nOnE", format!("{}.{body}.{signature}", headed(json!({"alg": "nOnE", "kid": "r"})))),
        ("no algorithm", format!("{}.{body}.{signature}", headed(json!({"kid": "r"})))),
        ("no signature", format!("{head}.{body}.")),
        ("RSA key as HMAC secret: modulus", hmac(&base64_bytes(modulus))),
        ("RSA key as HMAC secret: text", hmac(modulus.as_bytes())),
        ("RSA key as HMAC secret: JWK", hmac(rsa_key.to_string().as_bytes())),
        ("RSA key as HMAC secret: PEM", hmac(pem(&rsa_key).as_bytes())),
        ("empty HMAC secret", hmac(b"")),
        (
            "RS512 over the same key",
            format!("{}.{body}.{signature}", headed(json!({"alg": "RS512", "kid": "r"}))),
        ),
        (
            "PS256 over the same key",
            format!("{}.{body}.{signature}", headed(json!({"alg": "PS256", "kid": "r"}))),
        ),
        ("an RSA key's name for ES256", by_evil(&evil_ec, "r")),
        ("an EC key's name for EdDSA", by_evil(&evil_ed, "e")),
        ("an EC key's name, the RSA key's signature", rsa.token(&header(&rsa, "e"), &theirs)),
        ("another RSA key under their name", by_evil(&evil_rsa, "r")),
        ("another P-256 key under their name", by_evil(&evil_ec, "e")),
        ("another Ed25519 key under their name", by_evil(&evil_ed, "d")),
        ("kid with a path", by_evil(&evil_ed, "../../../../dev/null")),
        ("kid with SQL", by_evil(&evil_ed, "d' UNION SELECT 'AAAA")),
        ("kid as URL", by_evil(&evil_ed, &format!("{}keys", provider.issuer))),
        ("empty kid", by_evil(&evil_ed, "")),
        ("no kid", ed.token(&json!({"alg": "EdDSA"}), &theirs)),
        ("kid is no text", ed.token(&json!({"alg": "EdDSA", "kid": ["d"]}), &theirs)),
        ("embedded key", member("jwk", evil_ec.jwk("evil"))),
        ("address of keys", member("jku", json!(provider.jwks_url()))),
        ("address of a certificate", member("x5u", json!(provider.jwks_url()))),
        ("embedded certificate", member("x5c", json!(["AAAA"]))),
        ("critical", ed.token(&json!({"alg": "EdDSA", "kid": "d", "crit": ["b64"], "b64": true}), &theirs)),
        (
            "a token for another purpose",
            ed.token(&json!({"alg": "EdDSA", "kid": "d", "typ": "logout+jwt"}), &theirs),
        ),
        ("claims changed", format!("{head}.{}.{signature}", headed(mighty.clone()))),
        (
            "header changed",
            format!("{}.{body}.{signature}", headed(json!({"alg": "RS256", "kid": "r", "x": 1}))),
        ),
        ("RSA signature re-spelled", respelled(&good)),
        ("EC signature re-spelled", respelled(&good_ec)),
        ("signature padded", format!("{good}==")),
        (
            "signature in the other alphabet",
            format!("{head}.{body}.{}", signature.replace('-', "+").replace('_', "/")),
        ),
        ("signature cut", good[..good.len() - 4].to_owned()),
        ("EC signature in DER", format!("{}.MAYCAQECAQE", good_ec.rsplit_once('.').unwrap().0)),
        ("EC signature of zeros", format!("{}.{}", good_ec.rsplit_once('.').unwrap().0, b64([0; 64]))),
        ("four parts", format!("{good}.x")),
        ("empty parts", "..".into()),
        ("payload is no object", ed.token(&header(&ed, "d"), &json!([provider.issuer, AUDIENCE]))),
    ] {
        assert_eq!(status(&world, &token).await, 401, "{what}: {token}");
    }
    assert_eq!(provider.asked(), (1, 1), "no forgery made anybody ask");
    assert_eq!(status(&world, &good).await, 200);

    // What stands beside a good signature changes nothing either way.
    let mut with_own = header(&ec, "e");
    with_own["jwk"] = evil_ec.jwk("e");
    with_own["jku"] = json!("https://evil.example/keys");
    assert_eq!(status(&world, &ec.token(&with_own, &theirs)).await, 200);
    mighty["aud"] = json!([]);
    assert_eq!(status(&world, &ed.token(&header(&ed, "d"), &mighty)).await, 401);
}

fn base64_bytes(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// As the attack of old takes it from a key file: `SubjectPublicKeyInfo` in PEM.
fn pem(jwk: &Value) -> String {
    use base64::Engine as _;
    let integer = |bytes: &[u8]| {
        let mut all = vec![0x02, 0x82, ((bytes.len() + 1) >> 8) as u8, (bytes.len() + 1) as u8, 0];
        all.extend_from_slice(bytes);
        all
    };
    let n = integer(&base64_bytes(jwk["n"].as_str().unwrap()));
    let inner = [n, vec![0x02, 0x03, 0x01, 0x00, 0x01]].concat();
    let sequence = |inner: &[u8]| {
        let mut all = vec![0x30, 0x82, (inner.len() >> 8) as u8, inner.len() as u8];
        all.extend_from_slice(inner);
        all
    };
    let key = sequence(&inner);
    let mut bits = vec![0x03, 0x82, ((key.len() + 1) >> 8) as u8, (key.len() + 1) as u8, 0];
    bits.extend_from_slice(&key);
    let algorithm =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let der = sequence(&[&algorithm[..], &bits].concat());
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// The modulus of a 1024-bit key, and a token that it signed.
const SMALL_MODULUS: &str = "tmgsrBQ9xl19l7QUKQeItXcyGHo5GgMlc0iPo3zPNHX4oxmYjxBbEv-pJ7OQXQbAa5N9rOoaqBoo6hbOWf-wUj0Idr7MIfpnPSeyPQKq1aTdq84AIM5DVP8YIdYogbvFJo88IY2Kf-kp5ApZPUGZZ-bgxgeVlA6DiPHHyqfMHVU";
const SMALL_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InNtYWxsIn0.\
    eyJpc3MiOiJodHRwczovL3NtYWxsLmV4YW1wbGUiLCJhdWQiOiJodHRwczovL3Bvc3RzLmV4YW1wbGUiLCJzdWIiOiJ1IiwiZXhwIjoxNzk4NzYxNjAwLCJ0ZW5hbnRfaWQiOiJkZWZhdWx0Iiwicm9sZXMiOlsiYWRtaW4iXX0.\
    OBK5aRUXYXfUEtqlfZNK1GOymfRD1Hu2RHwMwjwXKL7R208IDSqNb1AHmTSGr_ivWjU6Gn0HX4Vo20E8faALtqsdlVkIS8NdgQ_veEYUkEsCbwSGFF78ex8VQkRjp2nWXOg0gJMDYWXu8gUtUynBNxSVfkUgdXu2OUIvks4Y3e0";

#[tokio::test]
async fn a_short_rsa_key_verifies_nothing_although_its_provider_publishes_it() {
    let provider = Provider::start().await;
    let small = sealpost_core::openid::Provider {
        jwks_url: Some(provider.jwks_url()),
        ..settings("https://small.example")
    };
    let world = World::new().await.with_openid(vec![small], documents());
    let large = Signer::rsa();
    let small_key = json!({"kty": "RSA", "kid": "small", "n": SMALL_MODULUS, "e": "AQAB"});
    provider.publish([small_key, large.jwk("large")]);
    assert_eq!(status(&world, SMALL_TOKEN).await, 401);
    let large = large.token(&header(&large, "large"), &claims(&world, "https://small.example"));
    assert_eq!(status(&world, &large).await, 200);
    assert_eq!(provider.asked(), (0, 1));
}

#[tokio::test]
async fn our_own_tokens_and_keys_need_no_provider() {
    let (provider, world) = pair().await;
    provider.turn(Mood::Down);
    let made = world.app.create_client(world.tenant, "c", Role::Issuer, None, None, "test").await.unwrap();
    let asks = json!({"client_id": made.client.id, "client_secret": made.key.reveal(), "grant_type": "client_credentials"});
    let own = world.call(post("/oauth/token", asks).by_nobody()).await.text_of("access_token");
    let statuses: BTreeSet<u16> =
        [status(&world, &own).await, status(&world, &world.admin).await].into_iter().collect();
    assert_eq!((statuses, provider.asked()), (BTreeSet::from([200]), (0, 0)));
}
