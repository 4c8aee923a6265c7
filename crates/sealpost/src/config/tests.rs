//! Settings as a table: what is set, and what comes of it.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::*;

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with(pairs: &[(&str, &str)]) -> Config {
    parse(&Flags::default(), &environment(pairs), None).expect("these settings are fine")
}

/// The refusals of one setting each.
fn refused(table: &[&[(&str, &str)]], want: Expect) {
    let mut lines = String::new();
    for pairs in table {
        let errors = parse(&Flags::default(), &environment(pairs), None).expect_err("must be refused");
        for error in errors {
            lines.push_str(&format!("{error}\n"));
        }
    }
    want.assert_eq(&lines);
}

#[test]
fn defaults_are_the_documented_ones() {
    expect![[r#"
        Config {
            listen: 127.0.0.1:8080,
            tls: None,
            trusted_proxies: [],
            metrics_listen: None,
            store: Sqlite(
                "./sealpost-data/sealpost.db",
            ),
            master_key_file: "./sealpost-data/master.key",
            bootstrap_api_key: None,
            url_policy: Strict,
            egress: EgressSettings {
                allow: [],
                plain_http_loopback: false,
                ca: None,
                dns_servers: None,
            },
            defaults: ServerDefaults {
                timeout_ms: 3000,
                retry: RetryPolicy {
                    waits: [
                        Span(
                            10s,
                        ),
                        Span(
                            60s,
                        ),
                        Span(
                            360s,
                        ),
                    ],
                },
                signature_expires: After(
                    300s,
                ),
            },
            quota: Quota {
                requests_per_second: None,
                events_per_second: None,
                webhooks: 200000,
                payload_bytes: 1048576,
            },
            analytics_retention: Some(
                2592000s,
            ),
            publish_ahead: 2592000s,
            rotate_every: None,
            openid: [],
            base_domain: None,
            public_url: None,
            log: "info",
        }"#]]
    .assert_eq(&without_client(&with(&[])));
    expect!["http://127.0.0.1:8080/ Some(File(\"./sealpost-data/admin.key\"))"].assert_eq(&client(&[]));
}

fn without_client(config: &Config) -> String {
    let text = format!("{config:#?}");
    let begin = text.find("    client:").unwrap_or(text.len());
    format!("{}}}", &text[..begin])
}

fn client(pairs: &[(&str, &str)]) -> String {
    let client = with(pairs).client;
    format!("{} {:?}", client.server, client.key)
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = "timeout = '1s'\nurl_policy = 'mattr'\nretry.intervals = ['1s', '2s']\n[egress]\nallow = '127.0.0.0/8'";
    let env = environment(&[("SEALPOST_TIMEOUT", "2s"), ("SEALPOST_LOG", "warn")]);
    let mut flags = Flags::default();
    flags.set(Name::Log, Some("debug".into()));
    flags.set(Name::Listen, None);

    let config = parse(&flags, &env, Some(file)).unwrap();

    assert_eq!(config.log, "debug");
    assert_eq!(config.defaults.timeout_ms, 2000);
    assert_eq!(config.url_policy, UrlPolicy::Mattr);
    assert_eq!(config.defaults.retry.attempts_max(), 3);
    assert!(config.url_rules().allow_localhost);
}

const ONE_ISSUER: (&str, &str) = ("SEALPOST_OPENID_ISSUER", "https://id.example/");
const ONE_AUDIENCE: (&str, &str) = ("SEALPOST_OPENID_AUDIENCE", "https://posts.example");

#[test]
fn every_refusal_is_one_sentence() {
    let long = "1s,".repeat(16) + "1s";
    refused(
        &[
            &[("SEALPOST_LISTEN", "8080")],
            &[("SEALPOST_LISTEN", "0.0.0.0:8080")],
            &[("SEALPOST_LISTEN", "[::]:8080"), ("SEALPOST_TLS_CERT", "c.pem")],
            &[("SEALPOST_TLS_KEY", "k.pem")],
            &[("SEALPOST_TRUSTED_PROXIES", "10.0.0.0/33")],
            &[("SEALPOST_METRICS_LISTEN", "0.0.0.0:8080")],
            &[("SEALPOST_STORE", "postgres://user:pass@db/sealpost")],
            &[("SEALPOST_STORE", "postgres://user:pass@db:x/sealpost"), ("SEALPOST_MASTER_KEY_FILE", "k")],
            &[
                ("SEALPOST_STORE", "postgres://user:pass@db/sealpost?ssl=on"),
                ("SEALPOST_MASTER_KEY_FILE", "k"),
            ],
            &[("SEALPOST_STORE", "./data/sealpost.db")],
            &[("SEALPOST_STORE", "sqlite::memory:")],
            &[("SEALPOST_BOOTSTRAP_API_KEY", "1234567890123456789012345678901")],
            &[("SEALPOST_BOOTSTRAP_API_KEY", "12345678901234567890 123456789012")],
            &[("SEALPOST_URL_POLICY", "lax")],
            &[("SEALPOST_EGRESS_ALLOW", "localhost")],
            &[("SEALPOST_EGRESS_HTTP", "on")],
            &[("SEALPOST_EGRESS_CA", "")],
            &[("SEALPOST_DNS_SERVERS", "dns.example")],
            &[("SEALPOST_DNS_SERVERS", "192.0.2.53:0")],
            &[("SEALPOST_DNS_SERVERS", "")],
            &[("SEALPOST_RETRY_INTERVALS", "10,60")],
            &[("SEALPOST_RETRY_INTERVALS", "500ms")],
            &[("SEALPOST_RETRY_INTERVALS", "31d")],
            &[("SEALPOST_RETRY_INTERVALS", &long)],
            &[("SEALPOST_TIMEOUT", "3")],
            &[("SEALPOST_TIMEOUT", "31s")],
            &[("SEALPOST_SIGNATURE_EXPIRES", "never")],
            &[("SEALPOST_SIGNATURE_EXPIRES", "1s")],
            &[("SEALPOST_KEY_PUBLISH_AHEAD", "23h")],
            &[("SEALPOST_KEY_ROTATE_EVERY", "12h")],
            &[("SEALPOST_KEY_ROTATE_EVERY", "29d")],
            &[("SEALPOST_ANALYTICS_RETENTION", "59m")],
            &[("SEALPOST_ANALYTICS_RETENTION", "never")],
            &[("SEALPOST_LIMIT_REQUESTS_PER_SECOND", "0")],
            &[("SEALPOST_LIMIT_EVENTS_PER_SECOND", "fast")],
            &[("SEALPOST_LIMIT_WEBHOOKS", "off")],
            &[("SEALPOST_LIMIT_PAYLOAD_BYTES", "1048577")],
            &[("SEALPOST_BASE_DOMAIN", "https://example.com")],
            &[("SEALPOST_BASE_DOMAIN", "192.0.2.1")],
            &[("SEALPOST_PUBLIC_URL", "http://webhooks.example.com")],
            &[("SEALPOST_PUBLIC_URL", "https://user@webhooks.example.com")],
            &[("SEALPOST_OPENID_ISSUER", "https://id.example")],
            &[("SEALPOST_OPENID_AUDIENCE", "a")],
            &[("SEALPOST_OPENID_ROLES_CLAIM", "a"), ("SEALPOST_OPENID_ISSUER", "id.example"), ONE_AUDIENCE],
            &[("SEALPOST_OPENID_ISSUER", "http://id.example"), ONE_AUDIENCE],
            &[("SEALPOST_OPENID_ISSUER", "http://localhost:8080/realm"), ONE_AUDIENCE],
            &[("SEALPOST_OPENID_ISSUER", "https://192.0.2.1/realm"), ONE_AUDIENCE],
            &[("SEALPOST_OPENID_ISSUER", "https://me@id.example/"), ONE_AUDIENCE],
            &[("SEALPOST_OPENID_ISSUER", "https://id.example/?a"), ONE_AUDIENCE],
            &[ONE_ISSUER, ("SEALPOST_OPENID_AUDIENCE", "")],
            &[ONE_ISSUER, ONE_AUDIENCE, ("SEALPOST_OPENID_JWKS_URL", "file:///keys")],
            &[ONE_ISSUER, ONE_AUDIENCE, ("SEALPOST_OPENID_TENANT", "Acme!")],
            &[ONE_ISSUER, ONE_AUDIENCE, ("SEALPOST_OPENID_ROLES_CLAIM", "/")],
            &[ONE_ISSUER, ONE_AUDIENCE, ("SEALPOST_OPENID_ROLES", "ops")],
            &[ONE_ISSUER, ONE_AUDIENCE, ("SEALPOST_OPENID_ROLES", "ops=root")],
            &[ONE_ISSUER, ONE_AUDIENCE, ("SEALPOST_OPENID_ROLES", "ops=subscriber")],
            &[
                ONE_ISSUER,
                ONE_AUDIENCE,
                ("SEALPOST_OPENID_TENANT", "acme"),
                ("SEALPOST_OPENID_TENANT_CLAIM", "tenant"),
            ],
            &[ONE_ISSUER, ONE_AUDIENCE, ("SEALPOST_PUBLIC_URL", "https://id.example")],
            &[("SEALPOST_LOG", "sealpost=loud")],
            &[("SEALPOST_LOG", "inof")],
            &[("SEALPOST_LOG", "sealpost=debug,verbose")],
            &[("SEALPOST_SERVER", "http://10.0.0.1:8080")],
            &[("SEALPOST_LISTENS", "127.0.0.1:1")],
        ],
        expect![[r#"
            SEALPOST_LISTEN must be an address and a port, such as 127.0.0.1:8080.
            Listening on 0.0.0.0:8080 would take API keys and credentials in the clear: set SEALPOST_TLS_CERT and SEALPOST_TLS_KEY, or name the proxy in front in SEALPOST_TRUSTED_PROXIES.
            SEALPOST_TLS_CERT needs SEALPOST_TLS_KEY: a certificate without its key serves nobody.
            SEALPOST_TLS_KEY needs SEALPOST_TLS_CERT: a key without its certificate serves nobody.
            SEALPOST_TRUSTED_PROXIES must be networks separated by commas, such as 127.0.0.0/8,::1/128.
            SEALPOST_METRICS_LISTEN and SEALPOST_LISTEN must not be the same address.
            SEALPOST_MASTER_KEY_FILE must be set with PostgreSQL: every node needs the same file.
            SEALPOST_STORE is refused: the store is not a valid postgres:// URL: postgres://user:password@host:port/database, with several host:port separated by commas; known parameters are sslmode, sslrootcert, options, target_session_attrs and those of the driver.
            SEALPOST_STORE is refused: the store is not a valid postgres:// URL: postgres://user:password@host:port/database, with several host:port separated by commas; known parameters are sslmode, sslrootcert, options, target_session_attrs and those of the driver.
            SEALPOST_STORE must be sqlite: and the path of a file, such as sqlite:./sealpost-data/sealpost.db, or a postgres:// URL.
            SEALPOST_STORE must be sqlite: and the path of a file, such as sqlite:./sealpost-data/sealpost.db, or a postgres:// URL.
            SEALPOST_BOOTSTRAP_API_KEY must be 32 characters or more.
            SEALPOST_BOOTSTRAP_API_KEY must be 1 to 1024 printable ASCII characters without spaces.
            SEALPOST_URL_POLICY must be strict or mattr.
            SEALPOST_EGRESS_ALLOW must be networks separated by commas, such as 127.0.0.0/8,::1/128.
            SEALPOST_EGRESS_HTTP must be off or loopback.
            SEALPOST_EGRESS_CA must name a file.
            SEALPOST_DNS_SERVERS must be 1 to 8 addresses separated by commas, such as 192.0.2.53,[2001:db8::53]:5353.
            SEALPOST_DNS_SERVERS must be 1 to 8 addresses separated by commas, such as 192.0.2.53,[2001:db8::53]:5353.
            SEALPOST_DNS_SERVERS must be 1 to 8 addresses separated by commas, such as 192.0.2.53,[2001:db8::53]:5353.
            SEALPOST_RETRY_INTERVALS must be 0 to 16 waits separated by commas, such as 10s,60s,360s.
            SEALPOST_RETRY_INTERVALS a wait must be at least 1s and at most 30d.
            SEALPOST_RETRY_INTERVALS a wait must be at least 1s and at most 30d.
            SEALPOST_RETRY_INTERVALS must hold at most 16 waits.
            SEALPOST_TIMEOUT must be a span such as 10s, 500ms, 5m, 24h or 7d.
            SEALPOST_TIMEOUT must be at least 100ms and at most 30s.
            SEALPOST_SIGNATURE_EXPIRES must be a span such as 300s, or off.
            SEALPOST_SIGNATURE_EXPIRES must be at least 10s and at most 7d.
            SEALPOST_KEY_PUBLISH_AHEAD must be at least 24h and at most 365d.
            SEALPOST_KEY_ROTATE_EVERY must be off, or at least 24h and at most 3650d.
            SEALPOST_KEY_ROTATE_EVERY must not be less than SEALPOST_KEY_PUBLISH_AHEAD: a next key may not sign before that.
            SEALPOST_ANALYTICS_RETENTION must be at least 1h and at most 3650d, or off.
            SEALPOST_ANALYTICS_RETENTION must be a span such as 10s, 500ms, 5m, 24h or 7d.
            SEALPOST_LIMIT_REQUESTS_PER_SECOND must be a whole number from 1, or off.
            SEALPOST_LIMIT_EVENTS_PER_SECOND must be a whole number from 1, or off.
            SEALPOST_LIMIT_WEBHOOKS must be a whole number from 1 to 200000.
            SEALPOST_LIMIT_PAYLOAD_BYTES must be a whole number from 1 to 1048576.
            SEALPOST_BASE_DOMAIN must be a domain name such as webhooks.example.com, without port or path.
            SEALPOST_BASE_DOMAIN must be a domain name such as webhooks.example.com, without port or path.
            SEALPOST_PUBLIC_URL must begin with https:// unless it names this machine.
            SEALPOST_PUBLIC_URL must not have a user name, password, query or fragment.
            SEALPOST_OPENID_ISSUER needs SEALPOST_OPENID_AUDIENCE: an OpenID provider has an issuer and an audience.
            SEALPOST_OPENID_AUDIENCE needs SEALPOST_OPENID_ISSUER: an OpenID provider has an issuer and an audience.
            SEALPOST_OPENID_ISSUER must be a URL such as https://id.example.com/realms/a.
            SEALPOST_OPENID_ISSUER must begin with https://.
            SEALPOST_OPENID_ISSUER must begin with https:// unless SEALPOST_EGRESS_HTTP is loopback.
            SEALPOST_OPENID_ISSUER must name its host, not an address.
            SEALPOST_OPENID_ISSUER must not have a user name, password, fragment or white space.
            SEALPOST_OPENID_ISSUER must not have a query.
            SEALPOST_OPENID_AUDIENCE must be 1 to 255 bytes.
            SEALPOST_OPENID_JWKS_URL must begin with https://.
            SEALPOST_OPENID_TENANT must be a tenant's id or subdomain.
            SEALPOST_OPENID_ROLES_CLAIM must be a claim such as roles, or a JSON pointer such as /realm_access/roles, of 1 to 255 bytes.
            SEALPOST_OPENID_ROLES must be pairs such as webhook-ops=issuer, separated by commas.
            SEALPOST_OPENID_ROLES maps to no role: `root` is not a role; roles are admin, issuer, managed-issuer, publisher, auditor, subscriber, verifier, dts-provider, dts-consumer.
            SEALPOST_OPENID_ROLES must not map to subscriber, who is bound to one webhook.
            SEALPOST_OPENID_TENANT_CLAIM must be left out where SEALPOST_OPENID_TENANT says whose all tokens are.
            The OpenID provider https://id.example/ must not be SEALPOST_PUBLIC_URL, which issues tokens of its own.
            SEALPOST_LOG must be a log filter such as info, or sealpost=debug,warn.
            SEALPOST_LOG must be a log filter such as info, or sealpost=debug,warn.
            SEALPOST_LOG must be a log filter such as info, or sealpost=debug,warn.
            SEALPOST_SERVER must begin with https:// unless it names this machine.
            SEALPOST_LISTENS is not a setting of this release.
        "#]],
    );
}

#[test]
fn a_file_is_refused_key_by_key() {
    for (text, said) in [
        ("listne = '127.0.0.1:1'", "`listne` in the configuration file is not a setting of this release."),
        (
            "[egress]\nproxy = 'x'",
            "`egress.proxy` in the configuration file is not a setting of this release.",
        ),
        ("[console]\na = 1", "`console` in the configuration file is not a setting of this release."),
        (
            "bootstrap_api_key = 'x'",
            "`bootstrap_api_key` in the configuration file is not a setting of this release.",
        ),
        ("timeout = 3", "`timeout` must be a string, or an array of strings where several are meant."),
        (
            "[[openid]]\nissuer = 'https://id.example'\naudience = 'a'\n[[openid]]\naudience = 'a'",
            "`openid[1].audience` needs SEALPOST_OPENID_ISSUER: an OpenID provider has an issuer and an audience.",
        ),
        (
            "[[openid]]\nissuer = 'https://id.example'\naudience = 'a'\nscopes = 'x'",
            "`openid.scopes` in the configuration file is not a setting of this release.",
        ),
        (
            "[[openid]]\nissuer = 'https://id.example'\naudience = 'a'\nroles_claim = '/'",
            "`openid[0].roles_claim` must be a claim such as roles, or a JSON pointer such as /realm_access/roles, of 1 to 255 bytes.",
        ),
        (
            "openid = ['https://id.example']",
            "`openid[0]` in the configuration file is not a setting of this release.",
        ),
        ("timeout = '3'", "`timeout` must be a span such as 10s, 500ms, 5m, 24h or 7d."),
    ] {
        let errors = parse(&Flags::default(), &BTreeMap::new(), Some(text)).unwrap_err();
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [said]);
    }
    let errors = parse(&Flags::default(), &BTreeMap::new(), Some("secret-line = = 1")).unwrap_err();
    assert!(matches!(&errors[..], [ConfigError::Toml(why)] if !why.contains("secret")));
}

#[test]
fn all_errors_come_at_once() {
    let env =
        environment(&[("SEALPOST_TIMEOUT", "x"), ("SEALPOST_LOGS", "x"), ("SEALPOST_EGRESS_HTTP", "x")]);
    assert_eq!(parse(&Flags::default(), &env, Some("x = 1")).unwrap_err().len(), 4);
}

#[test]
fn listening_beyond_this_machine_needs_tls_or_a_proxy() {
    for pairs in [
        [("SEALPOST_TLS_CERT", "c.pem"), ("SEALPOST_TLS_KEY", "k.pem")].as_slice(),
        &[("SEALPOST_TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8")],
    ] {
        with(&[pairs, &[("SEALPOST_LISTEN", "0.0.0.0:443")]].concat());
    }
    assert_eq!(with(&[("SEALPOST_LISTEN", "[::1]:0")]).listen.port(), 0);
}

#[test]
fn where_loopback_may_be_dialled_localhost_may_be_registered() {
    for (networks, covers) in [
        ("127.0.0.0/8", true),
        ("127.0.0.1", true),
        ("::1/128", true),
        ("0.0.0.0/0", true),
        ("10.0.0.0/8", false),
        ("", false),
    ] {
        let rules = with(&[("SEALPOST_EGRESS_ALLOW", networks)]).url_rules();
        assert_eq!(rules.allow_localhost, covers, "{networks}");
    }
}

#[test]
fn name_servers_are_addresses_with_a_port_or_without() {
    let servers = |text| with(&[("SEALPOST_DNS_SERVERS", text)]).egress.dns_servers.unwrap();
    for (text, read) in [
        ("192.0.2.53", "[192.0.2.53:53]"),
        ("127.0.0.1:5353, ::1", "[127.0.0.1:5353, [::1]:53]"),
        ("[2001:db8::53]:5353", "[[2001:db8::53]:5353]"),
    ] {
        assert_eq!(format!("{:?}", servers(text)), read);
    }
    let file = "[dns]\nservers = ['192.0.2.53', '192.0.2.54:54']";
    let config = parse(&Flags::default(), &BTreeMap::new(), Some(file)).unwrap();
    assert_eq!(config.egress.dns_servers.map(|servers| servers.len()), Some(2));
}

#[test]
fn no_waits_means_no_retries() {
    assert_eq!(with(&[("SEALPOST_RETRY_INTERVALS", "")]).defaults.retry.attempts_max(), 1);
}

#[test]
fn openings_are_warned_about() {
    assert_eq!(with(&[]).warnings(), Vec::<String>::new());
    let config = with(&[("SEALPOST_EGRESS_HTTP", "loopback"), ("SEALPOST_EGRESS_ALLOW", "127.0.0.1/8")]);
    expect![[r#"
        SEALPOST_EGRESS_HTTP=loopback: webhooks on this machine may be plain http; for development only
        SEALPOST_EGRESS_ALLOW: deliveries may reach networks that are not public: 127.0.0.0/8"#]]
    .assert_eq(&config.warnings().join("\n"));
}

#[test]
fn secrets_are_not_shown() {
    let key = "spk_canary-canary-canary-canary-0123";
    let shown = format!("{:?}", with(&[("SEALPOST_BOOTSTRAP_API_KEY", key), ("SEALPOST_API_KEY", key)]));
    assert!(!shown.contains("canary"), "{shown}");
    for (name, value) in [("SEALPOST_BOOTSTRAP_API_KEY", "canary"), ("SEALPOST_STORE", "postgres://canary")] {
        let errors = parse(&Flags::default(), &environment(&[(name, value)]), None).unwrap_err();
        assert!(!format!("{errors:?}").contains("canary"), "{errors:?}");
    }
}

#[test]
fn commands_find_the_server_of_this_machine() {
    for (pairs, found) in [
        (
            [("SEALPOST_LISTEN", "127.0.0.1:9000")].as_slice(),
            "http://127.0.0.1:9000/ Some(File(\"./sealpost-data/admin.key\"))",
        ),
        (
            &[("SEALPOST_STORE", "sqlite:/var/lib/s/s.db")],
            "http://127.0.0.1:8080/ Some(File(\"/var/lib/s/admin.key\"))",
        ),
        (
            &[("SEALPOST_LISTEN", "0.0.0.0:9000"), ("SEALPOST_TRUSTED_PROXIES", "10.0.0.0/8")],
            "http://127.0.0.1:9000/ Some(File(\"./sealpost-data/admin.key\"))",
        ),
        (
            &[("SEALPOST_BOOTSTRAP_API_KEY", "12345678901234567890123456789012")],
            "http://127.0.0.1:8080/ Some(Given([secret]))",
        ),
        // A key that was not named for it is never shown to another machine.
        (&[("SEALPOST_SERVER", "https://webhooks.example.com/")], "https://webhooks.example.com/ None"),
        (
            &[("SEALPOST_SERVER", "https://webhooks.example.com/hooks/"), ("SEALPOST_API_KEY", "spk_x")],
            "https://webhooks.example.com/hooks Some(Given([secret]))",
        ),
    ] {
        assert_eq!(client(pairs), found);
    }
}

#[test]
fn an_openid_provider_is_described_by_variables_or_by_the_file() {
    let one = with(&[
        ONE_ISSUER,
        ONE_AUDIENCE,
        ("SEALPOST_OPENID_TENANT_CLAIM", "https://posts.example/tenant"),
        ("SEALPOST_OPENID_ROLES", "app=ops=auditor, boss=admin"),
    ]);
    expect![[r#"
        [
            Provider {
                issuer: "https://id.example/",
                audience: "https://posts.example",
                jwks_url: None,
                tenant: Claim(
                    ClaimName(
                        "https://posts.example/tenant",
                    ),
                ),
                roles_claim: ClaimName(
                    "roles",
                ),
                role_names: [
                    (
                        "app=ops",
                        Auditor,
                    ),
                    (
                        "boss",
                        Admin,
                    ),
                ],
                client: None,
            },
        ]"#]]
    .assert_eq(&format!("{:#?}", one.openid));
    let section = "[openid]\nissuer = 'https://id.example'\naudience = 'a'\nroles = ['x=admin', 'y=issuer']";
    let config = parse(&Flags::default(), &environment(&[ONE_AUDIENCE]), Some(section)).unwrap();
    assert_eq!((config.openid.len(), config.openid[0].audience.as_str()), (1, "https://posts.example"));
    assert_eq!(config.openid[0].role_names.len(), 2);
    let local = with(&[
        ("SEALPOST_OPENID_ISSUER", "http://localhost:8080/realm"),
        ONE_AUDIENCE,
        ("SEALPOST_EGRESS_HTTP", "loopback"),
    ]);
    assert_eq!(local.openid[0].issuer, "http://localhost:8080/realm");
}

#[test]
fn people_sign_in_through_a_client_that_is_described_whole() {
    const ID: (&str, &str) = ("SEALPOST_OPENID_CLIENT_ID", "console");
    const SECRET: (&str, &str) = ("SEALPOST_OPENID_CLIENT_SECRET", "hunter2");
    const PUBLIC: (&str, &str) = ("SEALPOST_PUBLIC_URL", "https://posts.example");
    let config = with(&[ONE_ISSUER, ONE_AUDIENCE, ID, SECRET, PUBLIC]);
    let client = config.openid[0].client.clone().unwrap();
    assert_eq!(
        (client.id.as_str(), client.secret.reveal().as_str(), client.scope.as_str()),
        ("console", "hunter2", "openid")
    );
    assert!(!format!("{config:?}").contains("hunter2"));

    let said = |pairs: &[(&str, &str)]| {
        let all: Vec<_> = [ONE_ISSUER, ONE_AUDIENCE].iter().chain(pairs).copied().collect();
        match parse(&Flags::default(), &environment(&all), None) {
            Ok(config) => {
                config.openid[0].client.as_ref().map_or("nobody".into(), |client| client.scope.clone())
            }
            Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        }
    };
    let scope = |text| [ID, SECRET, PUBLIC, ("SEALPOST_OPENID_SCOPE", text)];
    let told = [
        said(&[PUBLIC]),
        said(&scope("profile openid api://a/.default")),
        said(&scope("profile")),
        said(&scope("openid \"a\"")),
        said(&[ID, SECRET]),
        said(&[ID, PUBLIC]),
        said(&[SECRET, PUBLIC]),
        said(&[("SEALPOST_OPENID_SCOPE", "openid"), PUBLIC]),
        said(&[("SEALPOST_OPENID_CLIENT_ID", ""), SECRET, PUBLIC]),
        said(&[ID, ("SEALPOST_OPENID_CLIENT_SECRET", "hunter\n2"), PUBLIC]),
    ];
    expect![[r#"
        nobody
        profile openid api://a/.default
        SEALPOST_OPENID_SCOPE must be words with spaces between, openid among them.
        SEALPOST_OPENID_SCOPE must be words with spaces between, openid among them.
        Signing in at the OpenID provider https://id.example/ needs SEALPOST_PUBLIC_URL: it sends people back there.
        SEALPOST_OPENID_CLIENT_ID needs SEALPOST_OPENID_CLIENT_SECRET: people sign in through a client with its secret.
        SEALPOST_OPENID_CLIENT_SECRET needs SEALPOST_OPENID_CLIENT_ID: people sign in through a client with its secret.
        SEALPOST_OPENID_SCOPE needs SEALPOST_OPENID_CLIENT_ID: people sign in through a client with its secret.
        SEALPOST_OPENID_CLIENT_ID must be 1 to 255 bytes without control characters.
        SEALPOST_OPENID_CLIENT_SECRET must be 1 to 1024 bytes without control characters."#]].assert_eq(&told.join("\n"));
    assert_eq!(Name::OpenidClientSecret.flag(), "", "other users of the machine see command lines");
    let list = "public_url = 'https://posts.example'\n[[openid]]\nissuer = 'https://id.example'\naudience = 'a'\n\
                client_id = 'c'\nclient_secret = 's'\n[[openid]]\nissuer = 'https://id.example'\naudience = 'b'\n";
    let listed = parse(&Flags::default(), &BTreeMap::new(), Some(list)).unwrap().openid;
    assert_eq!((listed[0].client.is_some(), listed[1].client.is_some()), (true, false));
}

#[test]
fn the_file_may_list_several_openid_providers() {
    let list = "[[openid]]\nissuer = 'https://id.example'\naudience = 'a'\n\
                [[openid]]\nissuer = 'https://id.example'\naudience = 'b'\ntenant = 'acme'\n";
    let config = parse(&Flags::default(), &BTreeMap::new(), Some(list)).unwrap();
    let audiences: Vec<&str> = config.openid.iter().map(|provider| provider.audience.as_str()).collect();
    assert_eq!(audiences, ["a", "b"]);

    let sentence = |environment: &BTreeMap<String, String>, text: &str| {
        let errors = parse(&Flags::default(), environment, Some(text)).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let nobody = BTreeMap::new();
    let both = sentence(&environment(&[ONE_AUDIENCE]), list);
    let twice = sentence(&nobody, &list.replace("'b'", "'a'"));
    let many: String =
        (0..17).map(|n| format!("[[openid]]\nissuer = 'https://id.example'\naudience = '{n}'\n")).collect();
    expect![[r#"
        SEALPOST_OPENID_ISSUER and its like describe one provider, and the configuration file lists several: put all of them into the file.
        The OpenID provider https://id.example is listed twice with the same audience.
        There may be at most 16 OpenID providers."#]].assert_eq(&[both, twice, sentence(&nobody, &many)].join("\n"));
}
