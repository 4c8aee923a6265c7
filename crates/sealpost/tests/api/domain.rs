//! The custom domain: its object, its verification against a name server on loopback, and the host it becomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use expect_test::expect;
use sealpost::api::{self, ApiState};
use sealpost::app::App;
use sealpost::app::lanes::Caps;
use sealpost_core::id::TenantNo;
use sealpost_core::role::Role;
use sealpost_core::tenant::Retention;
use serde_json::{Value, json};

use crate::name_server::Names;
use crate::support::{Answer, Call, Said, World, call, delete, get, post, put, txt_lookup};

const DOMAIN: &str = "/v1/config/domain";
const VERIFY: &str = "/v1/config/domain/verify";

fn input(domain: &str) -> Value {
    json!({"name": "Acme", "logoUrl": "https://acme.example/logo.png", "domain": domain})
}

fn at(host: &str, call: Call) -> Call {
    call.header("host", host)
}

fn verify() -> Call {
    call("POST", VERIFY)
}

async fn asking(names: &Names, base_domain: Option<&str>) -> World {
    World::with_txt(base_domain, 0, txt_lookup(names.address)).await
}

async fn world(names: &Names) -> World {
    asking(names, None).await
}

/// Another tenant and an administrator's key of it.
async fn tenant(world: &World, name: &str) -> (TenantNo, String) {
    let made =
        world.app.create_tenant(name, name.parse().unwrap(), Retention::default(), "test").await.unwrap();
    let key = world.app.create_client(made.no, "admin", Role::Admin, None, None, "test").await.unwrap();
    (made.no, key.key.reveal().clone())
}

/// Configures the domain, publishes the token, and verifies it.
async fn verified(world: &World, names: &Names, key: &str, domain: &str) -> Answer {
    let created = world.call(post(DOMAIN, input(domain)).by(key)).await;
    assert_eq!(created.status, 201, "{created}");
    names.set(domain, &[&format!("txt:{}", created.text_of("verificationToken"))]);
    let answer = world.call(verify().by(key)).await;
    assert_eq!(answer.to_string(), "204");
    world.call(get(DOMAIN).by(key)).await
}

async fn jwks(world: &World, host: &str) -> Answer {
    world.call(at(host, get("/v1/webhooks/jwks").by_nobody())).await
}

#[tokio::test]
async fn a_domain_is_configured_verified_replaced_and_deleted() {
    let names = Names::serving(&[]).await;
    let world = world(&names).await;
    let mut said = Said::default();
    said.note("none", &world.get(DOMAIN).await);
    said.note("none to replace", &world.call(put(DOMAIN, input("a.example"))).await);
    said.note("none to delete", &world.call(delete(DOMAIN)).await);
    said.note("none to verify", &world.call(verify()).await);

    let created = world.call(post(DOMAIN, input("ID.Acme.Example"))).await;
    let token = created.text_of("verificationToken");
    let hide = |answer: &Answer, token: &str| answer.to_string().replace(token, "TOKEN");
    said.line(format!("created: {}", hide(&created, &token)));
    assert_eq!(created.header("location"), Some(DOMAIN));
    assert_eq!(world.get(DOMAIN).await.json(), created.json());
    assert_eq!(world.get("/core/v1/config/domain").await.json(), created.json());
    said.note("a second one", &world.call(post(DOMAIN, input("b.example"))).await);
    assert_eq!(world.get(DOMAIN).await.json(), created.json());

    names.set("id.acme.example", &[&format!("txt:{token}")]);
    said.note("verified", &world.call(verify()).await);
    said.line(format!("then: {}", hide(&world.get(DOMAIN).await, &token)));
    world.tick();
    let mut renamed = input("id.acme.example");
    renamed["name"] = "Acme Ltd".into();
    let renamed = world.call(put(DOMAIN, renamed)).await;
    said.line(format!("renamed: {}", hide(&renamed, &token)));
    assert_eq!(world.get(DOMAIN).await.json(), renamed.json());

    let moved = world.call(put("/core/v1/config/domain", input("b.example"))).await;
    let fresh = moved.text_of("verificationToken");
    assert_ne!(fresh, token);
    said.line(format!("moved: {}", hide(&moved, &fresh)));
    assert_eq!(world.get(DOMAIN).await.json(), moved.json());
    let back = world.call(put(DOMAIN, input("id.acme.example"))).await;
    assert!(
        ![token, fresh].contains(&back.text_of("verificationToken")),
        "the record of before proves nothing"
    );

    said.note("deleted", &world.call(delete(DOMAIN)).await);
    said.note("gone", &world.get(DOMAIN).await);
    said.note("deleted again", &world.call(delete(DOMAIN)).await);
    said.is(expect![[r#"
        none: 404 {"code":"NotFound","message":"Resource Not Found"}
        none to replace: 404 {"code":"NotFound","message":"Resource Not Found"}
        none to delete: 404 {"code":"NotFound","message":"Resource Not Found"}
        none to verify: 404 {"code":"NotFound","message":"Resource Not Found"}
        created: 201 {"name":"Acme","logoUrl":"https://acme.example/logo.png","domain":"id.acme.example","verificationToken":"TOKEN","isVerified":false}
        a second one: 400 {"code":"BadRequest","message":"A custom domain is configured already; replace it with PUT, or delete it first"}
        verified: 204
        then: 200 {"name":"Acme","logoUrl":"https://acme.example/logo.png","domain":"id.acme.example","verificationToken":"TOKEN","isVerified":true,"verifiedAt":"2026-01-02T03:04:05.678Z"}
        renamed: 200 {"name":"Acme Ltd","logoUrl":"https://acme.example/logo.png","domain":"id.acme.example","verificationToken":"TOKEN","isVerified":true,"verifiedAt":"2026-01-02T03:04:05.678Z"}
        moved: 200 {"name":"Acme","logoUrl":"https://acme.example/logo.png","domain":"b.example","verificationToken":"TOKEN","isVerified":false}
        deleted: 204
        gone: 404 {"code":"NotFound","message":"Resource Not Found"}
        deleted again: 404 {"code":"NotFound","message":"Resource Not Found"}
    "#]]);
}

#[tokio::test]
async fn the_members_of_older_clients_are_dropped_and_unknown_ones_refused() {
    let world = World::new().await;
    let mut body = input("a.example");
    body["id"] = "0190c0de-0000-7000-8000-000000000000".into();
    body["homepage"] = json!({"any": "thing"});
    let created = world.call(post("/core/v1/config/domain", body.clone())).await;
    assert_eq!((created.status, created.header("location")), (201, Some("/core/v1/config/domain")));
    let mut members: Vec<String> = created.json().as_object().unwrap().keys().cloned().collect();
    members.sort_unstable();
    assert_eq!(members, ["domain", "isVerified", "logoUrl", "name", "verificationToken"]);
    assert_eq!(world.call(put(DOMAIN, body)).await.json(), created.json());

    let mut said = Said::default();
    let long = "a".repeat(129);
    for body in [
        json!([]),
        json!({}),
        json!({"name": "", "logoUrl": "http://a.example/x.png", "domain": "https://a.example"}),
        json!({"name": long, "logoUrl": "https://a.example", "domain": "localhost"}),
        json!({"name": 1, "logoUrl": true, "domain": null}),
        json!({"name": "Acme", "logoUrl": "https://a.example", "domain": "192.0.2.1"}),
        json!({"name": "Acme", "logoUrl": "https://a.example", "domain": "a.example:443"}),
        json!({"name": "Acme", "logoUrl": "https://a.example", "domain": "a.example", "isVerified": true, "verifiedAt": "2026-01-02T03:04:05.678Z"}),
    ] {
        let answer = world.call(put(DOMAIN, body.clone())).await;
        said.line(format!("{body}: {answer}").replace(&long, "LONG"));
        assert_eq!(world.call(post(DOMAIN, body)).await.to_string(), answer.to_string());
    }
    said.note("a body for verify", &world.call(post(VERIFY, json!({"token": "x"}))).await);
    said.is(expect![[r#"
        []: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"must be an object","param":"","location":"body"}]}
        {}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"msg":"Invalid value","param":"name","location":"body"},{"msg":"Invalid value","param":"logoUrl","location":"body"},{"msg":"Invalid value","param":"domain","location":"body"}]}
        {"name":"","logoUrl":"http://a.example/x.png","domain":"https://a.example"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"","msg":"must be 1 to 128 bytes","param":"name","location":"body"},{"value":"http://a.example/x.png","msg":"must be an https URL, such as https://example.com/logo.png","param":"logoUrl","location":"body"},{"value":"https://a.example","msg":"must be a domain name alone, without scheme, user, port, path or white space","param":"domain","location":"body"}]}
        {"name":"LONG","logoUrl":"https://a.example","domain":"localhost"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"LONG","msg":"must be 1 to 128 bytes","param":"name","location":"body"},{"value":"localhost","msg":"must be a valid domain name of at least two labels, such as credentials.example.com","param":"domain","location":"body"}]}
        {"name":1,"logoUrl":true,"domain":null}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":1,"msg":"must be a string","param":"name","location":"body"},{"value":true,"msg":"must be a string","param":"logoUrl","location":"body"},{"value":null,"msg":"must be a string","param":"domain","location":"body"}]}
        {"name":"Acme","logoUrl":"https://a.example","domain":"192.0.2.1"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"192.0.2.1","msg":"must not be an IP address","param":"domain","location":"body"}]}
        {"name":"Acme","logoUrl":"https://a.example","domain":"a.example:443"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":"a.example:443","msg":"must be a domain name alone, without scheme, user, port, path or white space","param":"domain","location":"body"}]}
        {"name":"Acme","logoUrl":"https://a.example","domain":"a.example","isVerified":true,"verifiedAt":"2026-01-02T03:04:05.678Z"}: 400 {"code":"BadRequest","message":"Validation Error","details":[{"value":true,"msg":"Unknown field","param":"isVerified","location":"body"},{"value":"2026-01-02T03:04:05.678Z","msg":"Unknown field","param":"verifiedAt","location":"body"}]}
        a body for verify: 400 {"code":"BadRequest","message":"this call takes no body"}
    "#]]);
}

#[tokio::test]
async fn names_below_the_base_domain_are_not_a_tenants_to_claim() {
    let names = Names::serving(&[]).await;
    let world = asking(&names, Some("posts.example")).await;
    for domain in ["posts.example", "default.posts.example", "a.b.posts.example"] {
        let answer = world.call(post(DOMAIN, input(domain))).await;
        assert!(answer.to_string().contains("must not be the base domain"), "{answer}");
    }
    assert_eq!(world.call(post(DOMAIN, input("myposts.example"))).await.status, 201);
}

#[tokio::test]
async fn a_verification_says_what_is_wrong() {
    let names = Names::serving(&[("other.example", &["txt:v=spf1 -all"])]).await;
    let world = world(&names).await;
    let token = world.call(post(DOMAIN, input("a.example"))).await.text_of("verificationToken");
    let mut said = Said::default();
    said.note("no such name", &world.call(verify()).await);
    names.set("a.example", &["192.0.2.1"]);
    said.note("no record", &world.call(verify()).await);
    names.set("a.example", &["txt:v=spf1 -all", "txt:0190c0de-0000-7000-8000-000000000000"]);
    said.note("other records", &world.call(verify()).await);
    names.set("other.example", &[&format!("txt:{token}")]);
    said.note("elsewhere", &world.call(verify()).await);
    assert_eq!(world.get(DOMAIN).await.json()["isVerified"], false);

    // Several strings, white space, upper case, others beside it.
    let (head, tail) = token.split_at(17);
    names.set("a.example", &["txt:v=spf1 -all", &format!("txt:  {}|{tail} ", head.to_uppercase())]);
    said.note("found", &world.call(call("PUT", "/core/v1/config/domain/verify")).await);
    assert_eq!(world.get(DOMAIN).await.json()["isVerified"], true);

    // What is verified stays so, and is not asked for again.
    names.set("a.example", &[]);
    let asked = names.asked.load(Ordering::SeqCst);
    said.note("again", &world.call(verify()).await);
    assert_eq!(names.asked.load(Ordering::SeqCst), asked);
    said.is(expect![[r#"
        no such name: 400 {"code":"BadRequest","message":"No TXT record was found at a.example; publish one whose value is the verificationToken, and allow time for it to spread"}
        no record: 400 {"code":"BadRequest","message":"No TXT record was found at a.example; publish one whose value is the verificationToken, and allow time for it to spread"}
        other records: 400 {"code":"BadRequest","message":"None of the TXT records at a.example is the verificationToken; publish one whose value is exactly that, and allow time for it to spread"}
        elsewhere: 400 {"code":"BadRequest","message":"None of the TXT records at a.example is the verificationToken; publish one whose value is exactly that, and allow time for it to spread"}
        found: 204
        again: 204
    "#]]);
}

#[tokio::test]
async fn name_servers_that_cannot_be_reached_are_named_and_one_look_up_runs_at_a_time() {
    let world = World::new().await;
    world.call(post(DOMAIN, input("a.example"))).await;
    let mut said = Said::default();
    said.note("no server", &world.call(verify()).await);

    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let world = World::with_txt(None, 0, txt_lookup(silent.local_addr().unwrap())).await;
    world.call(post(DOMAIN, input("a.example"))).await;
    let (one, two) = tokio::join!(world.call(verify()), world.call(verify()));
    let (slow, refused) = if one.status == 503 { (two, one) } else { (one, two) };
    said.note("silent server", &slow);
    said.note("meanwhile", &refused);
    assert_eq!(refused.header("retry-after"), Some("1"));
    said.is(expect![[r#"
        no server: 400 {"code":"BadRequest","message":"The TXT records at a.example could not be looked up: no name server is configured"}
        silent server: 400 {"code":"BadRequest","message":"The TXT records at a.example could not be looked up: the name servers did not answer in time"}
        meanwhile: 503 {"code":"ServiceUnavailable","message":"A verification of the custom domain is under way"}
    "#]]);
}

#[tokio::test]
async fn a_domain_is_verified_for_one_tenant_at_a_time() {
    let names = Names::serving(&[]).await;
    let world = world(&names).await;
    let (_, acme) = tenant(&world, "acme").await;
    let (_, other) = tenant(&world, "other").await;
    let first = verified(&world, &names, &acme, "id.example").await;

    // Both tenants' records are there: who was first keeps it.
    let token = world.call(post(DOMAIN, input("id.example")).by(&other)).await.text_of("verificationToken");
    names.set(
        "id.example",
        &[&format!("txt:{}", first.text_of("verificationToken")), &format!("txt:{token}")],
    );
    let taken = r#"400 {"code":"BadRequest","message":"Domain already verified"}"#;
    assert_eq!(world.call(verify().by(&other)).await.to_string(), taken);
    assert_eq!(world.call(get(DOMAIN).by(&acme)).await.json(), first.json());
    assert_eq!(world.call(get(DOMAIN).by(&other)).await.json()["isVerified"], false);

    assert_eq!(world.call(delete(DOMAIN).by(&acme)).await.status, 204);
    assert_eq!(world.call(verify().by(&other)).await.status, 204);
    assert_eq!(world.call(post(DOMAIN, input("id.example")).by(&acme)).await.status, 201);
    assert_eq!(world.call(verify().by(&acme)).await.to_string(), taken);
}

#[tokio::test]
async fn tenants_do_not_see_each_others_domains() {
    let names = Names::serving(&[]).await;
    let world = world(&names).await;
    let (_, acme) = tenant(&world, "acme").await;
    let (_, other) = tenant(&world, "other").await;
    let before = verified(&world, &names, &acme, "id.example").await;
    for call in [get(DOMAIN), put(DOMAIN, input("id.example")), delete(DOMAIN), verify()] {
        assert_eq!(world.call(call.by(&other)).await.status, 404);
    }
    assert_eq!(world.call(get(DOMAIN).by(&acme)).await.json(), before.json());
    assert_eq!(world.call(post(DOMAIN, input("other.example")).by(&other)).await.status, 201);
    assert_eq!(world.call(delete(DOMAIN).by(&other)).await.status, 204);
    assert_eq!(world.call(get(DOMAIN).by(&acme)).await.json(), before.json());
}

#[tokio::test]
async fn a_verified_domain_and_the_key_must_agree() {
    let names = Names::serving(&[]).await;
    for base_domain in [None, Some("posts.example")] {
        let world = asking(&names, base_domain).await;
        let (_, acme) = tenant(&world, "acme").await;
        let (_, other) = tenant(&world, "other").await;
        let created = world.call(post(DOMAIN, input("id.acme.example")).by(&acme)).await;
        let elsewhere = match base_domain {
            None => "acme 200, other 200, no key 401, jwks 200",
            Some(_) => "acme 200, other 200, no key 401, jwks 404",
        };
        let own = "acme 200, other 401, no key 401, jwks 200";
        let tried = async |host: &str| {
            let status = async |call: Call| world.call(at(host, call)).await.status;
            format!(
                "acme {}, other {}, no key {}, jwks {}",
                status(get("/v1/webhooks").by(&acme)).await,
                status(get("/v1/webhooks").by(&other)).await,
                status(get("/v1/webhooks").by_nobody()).await,
                status(get("/v1/webhooks/jwks").by_nobody()).await,
            )
        };
        assert_eq!(tried("id.acme.example").await, elsewhere, "not before it is verified");
        names.set("id.acme.example", &[&format!("txt:{}", created.text_of("verificationToken"))]);
        assert_eq!(world.call(verify().by(&acme)).await.status, 204);
        for (host, expected) in [
            ("id.acme.example", own),
            ("ID.Acme.Example.:8443", own),
            ("www.id.acme.example", elsewhere),
            ("acme.example", elsewhere),
        ] {
            assert_eq!(tried(host).await, expected, "{base_domain:?} {host}");
        }
        // A name is kept by a change that leaves it, and lost by any other.
        world.call(put(DOMAIN, input("id.acme.example")).by(&acme)).await;
        assert_eq!(tried("id.acme.example").await, own);
        world.call(put(DOMAIN, input("new.acme.example")).by(&acme)).await;
        assert_eq!(tried("id.acme.example").await, elsewhere);
        assert_eq!(tried("new.acme.example").await, elsewhere);
        world.call(delete(DOMAIN).by(&acme)).await;
        verified(&world, &names, &acme, "id.acme.example").await;
        assert_eq!(tried("id.acme.example").await, own);
        world.call(delete(DOMAIN).by(&acme)).await;
        assert_eq!(tried("id.acme.example").await, elsewhere);
    }
}

#[tokio::test]
async fn the_keys_at_a_verified_domain_are_its_tenants() {
    let names = Names::serving(&[]).await;
    let mut world = asking(&names, Some("posts.example")).await;
    let (_, acme) = tenant(&world, "acme").await;
    verified(&world, &names, &acme, "id.acme.example").await;
    let keys = jwks(&world, "id.acme.example").await.json();
    assert_eq!(keys, jwks(&world, "acme.posts.example").await.json());
    assert_ne!(keys, jwks(&world, "default.posts.example").await.json());

    let (app, _work) =
        App::new(world.app.store.clone(), world.clock.clone(), Caps::default(), (*world.app.config).clone());
    app.load_domains().await.unwrap();
    let restarted = api::router(ApiState::new(app, Arc::new(AtomicBool::new(true))));
    world.router = restarted;
    assert_eq!(jwks(&world, "id.acme.example").await.json(), keys, "also after a restart");
    assert_eq!(world.call(at("id.acme.example", get("/v1/webhooks"))).await.status, 401);
}
