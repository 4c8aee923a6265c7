//! Access tokens: how they are asked for, what they open, and what is not taken for one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use expect_test::expect;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use sealpost_core::id::ClientId;
use sealpost_core::role::Role;
use serde_json::{Value, json};

use crate::support::{Answer, Call, Said, World, call, get, post};

const TOKEN: &str = "/oauth/token";

struct Client {
    id: ClientId,
    secret: String,
}

async fn client(world: &World, role: Role) -> Client {
    let made = world.app.create_client(world.tenant, "c", role, None, None, "test").await.unwrap();
    Client { id: made.client.id, secret: made.key.reveal().clone() }
}

fn asks(client: &Client) -> Call {
    post(
        TOKEN,
        json!({"client_id": client.id, "client_secret": client.secret, "grant_type": "client_credentials"}),
    )
    .by_nobody()
}

fn form(pairs: &[(&str, &str)]) -> Call {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    call("POST", TOKEN).raw("application/x-www-form-urlencoded", body).by_nobody()
}

async fn token(world: &World, client: &Client) -> String {
    let answer = world.call(asks(client)).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer.text_of("access_token")
}

async fn opens(world: &World, token: &str) -> u16 {
    world.call(get("/v1/webhooks").by(token)).await.status
}

fn part(token: &str, at: usize) -> Value {
    let text = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test]
async fn a_clients_credentials_give_a_token_that_is_its_roles() {
    let world = World::new().await;
    let issuer = client(&world, Role::Issuer).await;
    let answer = world.call(asks(&issuer)).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    assert_eq!(
        (answer.json()["expires_in"].clone(), answer.text_of("token_type")),
        (json!(86400), "Bearer".into())
    );
    let token = answer.text_of("access_token");
    assert_eq!(opens(&world, &token).await, 200);
    assert_eq!(world.call(get("/v1/webhooks/event-types").by(&token)).await.status, 200);
    let erase = world.call(post("/v1/webhooks/erasures", json!({"subject": "s"})).by(&token)).await;
    assert_eq!(erase.status, 403, "an issuer erases nothing");

    // What it says, checked with the published key by other code than the service's.
    assert_eq!((&part(&token, 0)["typ"], &part(&token, 0)["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    let keys = world.call(get("/.well-known/jwks.json").by_nobody()).await.json();
    assert_eq!(keys["keys"][0]["kid"], part(&token, 0)["kid"]);
    let key = DecodingKey::from_ed_components(keys["keys"][0]["x"].as_str().unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.validate_exp = false;
    rules.set_audience(&["https://posts.example"]);
    rules.set_issuer(&["https://posts.example"]);
    let claims = jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap().claims;
    assert_eq!(claims["sub"], format!("{}@clients", issuer.id));
    assert_eq!(claims["client_id"], issuer.id.to_string());
    assert_eq!(claims["roles"], json!(["issuer"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 86400);

    let metadata = world.call(get("/.well-known/oauth-authorization-server").by_nobody()).await.json();
    assert_eq!(metadata["token_endpoint"], "https://posts.example/oauth/token");
}

#[tokio::test]
async fn json_form_and_basic_are_one_and_the_same() {
    let world = World::new().await;
    let issuer = client(&world, Role::Issuer).await;
    let id = issuer.id.to_string();
    let grant = ("grant_type", "client_credentials");
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{}", issuer.secret)));
    for call in [
        asks(&issuer),
        form(&[grant, ("client_id", &id), ("client_secret", &issuer.secret), ("unheard", "of")]),
        form(&[grant]).header("authorization", &basic),
        form(&[grant, ("client_id", &id)]).header("authorization", &basic),
        form(&[grant, ("audience", "https://posts.example/")]).header("authorization", &basic),
    ] {
        let answer = world.call(call).await;
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(opens(&world, &answer.text_of("access_token")).await, 200);
    }
}

#[tokio::test]
async fn a_wrong_request_is_told_in_oauths_words() {
    let world = World::new().await;
    let issuer = client(&world, Role::Issuer).await;
    let id = issuer.id.to_string();
    let secret = issuer.secret.as_str();
    let grant = ("grant_type", "client_credentials");
    let own = [("client_id", id.as_str()), ("client_secret", secret)];
    let with = |more: &[(&str, &str)]| form(&[&own[..], more].concat());
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let mut said = Said::default();
    for (what, call) in [
        ("nothing", form(&[])),
        ("no secret", form(&[grant, ("client_id", &id)])),
        ("no grant", with(&[])),
        ("password grant", with(&[("grant_type", "password")])),
        ("scope", with(&[grant, ("scope", "all")])),
        ("empty scope", with(&[grant, ("scope", ""), ("audience", "https://else.example")])),
        ("twice", with(&[grant, grant])),
        ("number", post(TOKEN, json!({"grant_type": 1})).by_nobody()),
        ("list", post(TOKEN, json!([])).by_nobody()),
        ("text", call("POST", TOKEN).raw("text/plain", "x").by_nobody()),
        ("not JSON", call("POST", TOKEN).raw("application/json", "{").by_nobody()),
        ("wrong secret", form(&[grant, ("client_id", &id), ("client_secret", "spk_wrong")])),
        ("unknown client", form(&[grant, ("client_id", "nobody"), ("client_secret", secret)])),
        ("wrong basic", form(&[grant]).header("authorization", &basic(&format!("{id}:spk_wrong")))),
        ("bearer", form(&[grant]).header("authorization", &format!("Bearer {secret}"))),
        ("two places", with(&[grant]).header("authorization", &basic(&format!("{id}:{secret}")))),
        (
            "two clients",
            form(&[grant, ("client_id", "a")]).header("authorization", &basic(&format!("{id}:{secret}"))),
        ),
    ] {
        let answer = world.call(call).await;
        let challenge = answer.header("www-authenticate").unwrap_or_default().to_owned();
        said.line(format!("{what}: {answer} {challenge}"));
    }
    said.is(expect![[r#"
        nothing: 400 {"error":"invalid_request","error_description":"client_id and client_secret are needed"}
        no secret: 400 {"error":"invalid_request","error_description":"client_id and client_secret are needed"}
        no grant: 400 {"error":"invalid_request","error_description":"grant_type is missing"}
        password grant: 400 {"error":"unsupported_grant_type","error_description":"grant_type must be client_credentials"}
        scope: 400 {"error":"invalid_scope","error_description":"there are no scopes; leave it out"}
        empty scope: 400 {"error":"invalid_target","error_description":"the audience must be https://posts.example, or be left out"}
        twice: 400 {"error":"invalid_request","error_description":"grant_type is given twice"}
        number: 400 {"error":"invalid_request","error_description":"grant_type must be a string"}
        list: 400 {"error":"invalid_request","error_description":"the body must be an object"}
        text: 415 {"code":"UnsupportedMediaType","message":"the body must be application/json in UTF-8"}
        not JSON: 400 {"code":"BadRequest","message":"the body is not acceptable JSON: the text ends where a member name or `}` was expected, at byte 1"}
        wrong secret: 401 {"error":"access_denied","error_description":"Unauthorized"}
        unknown client: 401 {"error":"access_denied","error_description":"Unauthorized"}
        wrong basic: 401 {"error":"access_denied","error_description":"Unauthorized"} Basic realm="oauth"
        bearer: 400 {"error":"invalid_request","error_description":"the Authorization header is not HTTP Basic"}
        two places: 400 {"error":"invalid_request","error_description":"the client's secret is given in two places"}
        two clients: 400 {"error":"invalid_request","error_description":"two different clients are named"}
    "#]]);
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_with_its_client() {
    let world = World::new().await;
    let (one, two) = (client(&world, Role::Issuer).await, client(&world, Role::Issuer).await);
    let (first, second) = (token(&world, &one).await, token(&world, &two).await);
    assert_eq!((opens(&world, &first).await, opens(&world, &second).await), (200, 200));
    // Looked at before or not makes no difference.
    world.app.delete_client(world.tenant, one.id, "test").await.unwrap();
    assert_eq!((opens(&world, &first).await, opens(&world, &second).await), (401, 200));
    assert_eq!(world.call(asks(&one)).await.status, 401);
    world.clock.advance(Duration::from_secs(86_399));
    assert_eq!(opens(&world, &second).await, 200);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(opens(&world, &second).await, 401);

    let until = world.app.clock.wall() + Duration::from_secs(60);
    let short =
        world.app.create_client(world.tenant, "c", Role::Issuer, None, Some(until), "test").await.unwrap();
    let short = Client { id: short.client.id, secret: short.key.reveal().clone() };
    assert_eq!(world.call(asks(&short)).await.json()["expires_in"], 60, "no token outlives its client");
}

#[tokio::test]
async fn after_a_rotation_both_keys_are_known_until_the_last_token_has_ended() {
    let world = World::new().await;
    let issuer = client(&world, Role::Issuer).await;
    let before = token(&world, &issuer).await;
    let kids = async || {
        let keys = world.call(get("/.well-known/jwks.json").by_nobody()).await.json();
        let keys = keys["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let old = kids().await;
    world.clock.advance(Duration::from_secs(60));
    world.app.rotate_token_keys("test").await.unwrap();
    let after = token(&world, &issuer).await;
    assert_ne!(part(&after, 0)["kid"], part(&before, 0)["kid"]);
    assert_eq!((opens(&world, &before).await, opens(&world, &after).await), (200, 200));
    assert_eq!(kids().await.len(), 2);
    world.clock.advance(Duration::from_secs(86_400 + 31));
    let left = kids().await;
    assert!(left.len() == 1 && left != old, "{left:?}");
}

#[tokio::test]
async fn a_token_is_for_its_tenant_at_its_tenants_host() {
    let world = World::with(Some("posts.example"), 0).await;
    let acme =
        world.app.create_tenant("acme", "acme".parse().unwrap(), Default::default(), "test").await.unwrap();
    let made = world.app.create_client(acme.no, "c", Role::Admin, None, None, "test").await.unwrap();
    let acme = Client { id: made.client.id, secret: made.key.reveal().clone() };
    let at = |call: Call, host: &str| call.header("host", host);
    let answer = world.call(at(asks(&acme), "acme.posts.example")).await;
    let token = answer.text_of("access_token");
    assert_eq!(part(&token, 1)["aud"], "https://acme.posts.example");
    let status = async |host: &str| world.call(at(get("/v1/webhooks").by(&token), host)).await.status;
    assert_eq!(status("acme.posts.example").await, 200);
    assert_eq!(status("default.posts.example").await, 401);
    assert_eq!(world.call(at(asks(&acme), "default.posts.example")).await.status, 401);
    assert_eq!(world.call(at(asks(&acme), "nobody.posts.example")).await.status, 404);
    let foreign = json!({
        "client_id": acme.id, "client_secret": acme.secret, "grant_type": "client_credentials",
        "audience": "https://default.posts.example",
    });
    let answer = world.call(post(TOKEN, foreign).by_nobody()).await;
    assert_eq!((answer.status, answer.text_of("error")), (400, "invalid_target".into()));
}

/// Signs whatever with a seed of the forger's choice, as the service would.
fn forged(header: &Header, claims: &Value, seed: &[u8; 32]) -> String {
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend_from_slice(seed);
    jsonwebtoken::encode(header, claims, &EncodingKey::from_ed_der(&der)).unwrap()
}

#[tokio::test]
async fn forgeries_open_nothing() {
    let world = World::new().await;
    let admin = client(&world, Role::Admin).await;
    let good = token(&world, &admin).await;
    assert_eq!(opens(&world, &good).await, 200);
    let (header, claims) = (part(&good, 0), part(&good, 1));
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let kid = header["kid"].as_str().unwrap().to_owned();
    let seed = *world.app.store.token_keys().await.unwrap().current().unwrap().seed.reveal();
    let public = world.app.store.token_keys().await.unwrap().keys[0].public;
    let raw = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let ours = Header { typ: Some("at+jwt".into()), kid: Some(kid.clone()), ..Header::new(Algorithm::EdDSA) };
    // With the right key everything else can be wrong, one thing at a time.
    let signed = |claims: &Value| forged(&ours, claims, &seed);
    let claimed = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        signed(&claims)
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().shift_remove(name);
        signed(&claims)
    };
    let headed = |change: &dyn Fn(&mut Header)| {
        let mut header = ours.clone();
        change(&mut header);
        forged(&header, &claims, &seed)
    };
    let hmac = |secret: &[u8]| {
        let header = Header { alg: Algorithm::HS256, ..ours.clone() };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    assert_eq!(opens(&world, &signed(&claims)).await, 200, "the rig forges well");
    let now = claims["iat"].as_i64().unwrap();
    let mut last = signature.to_owned();
    let end = last.pop().unwrap();
    let respelled = format!("{head}.{body}.{last}{}", char::from(end as u8 + 1));
    let other = [7; 32];
    let mut tampered = claims.clone();
    tampered["roles"] = json!(["admin", "auditor"]);
    for (what, token) in [
        ("none", format!("{}.{body}.", raw(&json!({"alg": "none", "typ": "at+jwt", "kid": kid})))),
        ("None", format!("{}.{body}.{signature}", raw(&json!({"alg": "None", "typ": "at+jwt", "kid": kid})))),
        ("no signature", format!("{head}.{body}.")),
        ("signature cut", format!("{head}.{body}.{}", &signature[..40])),
        ("signature padded", format!("{good}==")),
        ("signature re-spelled", respelled),
        ("zero signature", format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
        ("claims changed", format!("{head}.{}.{signature}", raw(&tampered))),
        (
            "header changed",
            format!(
                "{}.{body}.{signature}",
                raw(&json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid, "x": 1}))
            ),
        ),
        ("public key as HMAC secret", hmac(&public)),
        ("public key as text as HMAC secret", hmac(URL_SAFE_NO_PAD.encode(public).as_bytes())),
        ("empty HMAC secret", hmac(b"")),
        ("another key, our kid", forged(&ours, &claims, &other)),
        ("unknown kid", headed(&|h| h.kid = Some("unknown".into()))),
        ("kid with a path", headed(&|h| h.kid = Some("../../dev/null".into()))),
        ("kid with SQL", headed(&|h| h.kid = Some("' OR 1=1 --".into()))),
        ("no kid", headed(&|h| h.kid = None)),
        ("type JWT", headed(&|h| h.typ = Some("JWT".into()))),
        ("no type", headed(&|h| h.typ = None)),
        ("wrong issuer", claimed("iss", json!("https://evil.example"))),
        ("issuer as list", claimed("iss", json!(["https://posts.example"]))),
        ("wrong audience", claimed("aud", json!("https://evil.example"))),
        ("audience as list", claimed("aud", json!(["https://posts.example"]))),
        ("no audience", without("aud")),
        ("no issuer", without("iss")),
        ("no expiry", without("exp")),
        ("no subject", without("sub")),
        ("no client", without("client_id")),
        ("expired", claimed("exp", json!(now))),
        ("expiry as text", claimed("exp", json!("9999999999"))),
        ("expiry beyond a token's life", claimed("exp", json!(now + 86_401))),
        ("expiry that overflows", claimed("exp", json!(i64::MAX))),
        ("issued in the future", claimed("iat", json!(now + 31))),
        ("client that is not", claimed("client_id", json!("0190c0de-0000-7000-8000-000000000000"))),
        ("client as text", claimed("client_id", json!("admin"))),
        ("four parts", format!("{good}.x")),
        ("two parts", format!("{head}.{body}")),
        ("empty parts", "..".into()),
        ("white space", format!("{head}. {body}.{signature}")),
        ("huge", format!("{head}.{}.{signature}", "A".repeat(100_000))),
    ] {
        assert_eq!(opens(&world, &token).await, 401, "{what}: {token}");
    }
    // With an embedded key, a key's address or a certificate of the forger's own.
    for member in ["jwk", "jku", "x5c", "x5u"] {
        let x = URL_SAFE_NO_PAD.encode(public);
        let value = match member {
            "jwk" => json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
            "x5c" => json!([STANDARD.encode(public)]),
            _ => json!("https://evil.example/keys"),
        };
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "unknown", member: value});
        let token = format!("{}.{body}.{signature}", raw(&header));
        assert_eq!(opens(&world, &token).await, 401, "{member}");
    }
    assert_eq!(opens(&world, &good).await, 200);
    let secret_in = |answer: &Answer| answer.text().contains(&admin.secret);
    assert!(!secret_in(&world.call(get("/metrics").by(&good)).await));
}
