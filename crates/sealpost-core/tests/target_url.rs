//! Every row of the URL corpus under both policies, the forms a URL is shown, stored and dialled in,
//! and what holds for any text at all.

use proptest::prelude::*;
use sealpost_core::target_url::{TargetUrl, TargetUrlError, UrlPolicy, UrlRules};

const STRICT: UrlRules =
    UrlRules { policy: UrlPolicy::Strict, allow_localhost: false, plain_http_loopback: false };
const MATTR: UrlRules = UrlRules { policy: UrlPolicy::Mattr, ..STRICT };

struct Row {
    number: usize,
    url: String,
    verdict: String,
    why: String,
    class: String,
    hardened: String,
    normalised: String,
}

fn corpus() -> Vec<Row> {
    let text = include_str!("data/ssrf-cases.tsv");
    let unescape =
        |cell: &str| serde_json::from_str::<String>(&format!("\"{cell}\"")).expect("a JSON string");
    let row = |(index, line): (usize, &str)| {
        let cells: Vec<&str> = line.split('\t').collect();
        Row {
            number: index + 1,
            url: unescape(cells[0]),
            verdict: cells[1].to_owned(),
            why: cells[2].to_owned(),
            class: cells[3].to_owned(),
            hardened: cells[4].to_owned(),
            normalised: unescape(cells[6]),
        }
    };
    text.lines().enumerate().skip(1).map(row).collect()
}

/// The `normalised` column with our encoding of path characters on top.
fn with_encoded_path(normalised: &str) -> String {
    let path_at = normalised.match_indices('/').nth(2).map_or(normalised.len(), |(at, _)| at);
    let (before, path) = normalised.split_at(path_at);
    let path =
        [("'", "%27"), ("|", "%7C"), ("^", "%5E"), ("`", "%60"), ("{", "%7B"), ("}", "%7D"), ("\"", "%22")]
            .iter()
            .fold(path.to_owned(), |path, (raw, encoded)| path.replace(raw, encoded));
    format!("{before}{path}")
}

fn check_corpus(rules: &UrlRules, expected: impl Fn(&Row) -> Option<String>) -> usize {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for row in corpus() {
        let Some(expected) = expected(&row) else { continue };
        checked += 1;
        let got = TargetUrl::parse(&row.url, rules);
        let ok = match &got {
            Ok(url) => expected == "accept" && url.as_str() == with_encoded_path(&row.normalised),
            Err(_) => expected == "reject",
        };
        if !ok {
            let got = got.map(|url| url.as_str().to_owned());
            wrong.push(format!("line {}: {:?} ({}): {expected}, got {got:?}", row.number, row.url, row.why));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    checked
}

#[test]
fn every_row_of_the_corpus_gets_its_verdict_under_mattr() {
    // Rows where the URL Standard moved pass either way here.
    let checked = check_corpus(&MATTR, |row| (row.class != "spec-drift").then(|| row.verdict.clone()));
    assert_eq!(checked, 422);
}

#[test]
fn every_row_of_the_corpus_gets_its_hardened_verdict_under_strict() {
    assert_eq!(check_corpus(&STRICT, |row| Some(row.hardened.clone())), 430);
}

#[test]
fn the_development_openings_change_no_verdict_but_that_of_localhost() {
    let open = UrlRules { allow_localhost: true, plain_http_loopback: true, ..STRICT };
    let differing: Vec<String> = corpus()
        .into_iter()
        .filter(|row| {
            TargetUrl::parse(&row.url, &open).is_ok() != TargetUrl::parse(&row.url, &STRICT).is_ok()
        })
        .map(|row| row.url)
        .collect();
    assert_eq!(differing, ["https://localhost:8443/hook"]);
}

fn strict(input: &str) -> String {
    say(TargetUrl::parse(input, &STRICT))
}

fn say(result: Result<TargetUrl, TargetUrlError>) -> String {
    result.map_or_else(|error| error.to_string(), |url| url.as_str().to_owned())
}

#[test]
fn a_refusal_says_what_to_change() {
    assert_eq!(strict("http://example.com/"), "must use https");
    assert_eq!(strict("https://10.0.0.1/"), "must not be an IP address");
    assert_eq!(strict("https://0x7f.1/"), "must not be an IP address");
    assert_eq!(strict("https://[::1]/"), "must not be an IP address");
    assert_eq!(strict("https://example.com/?a=b"), "must not have a query");
    assert_eq!(strict("https://example.com/?"), "must not have a query");
    assert_eq!(strict("https://example.com/#"), "must not have a fragment");
    assert_eq!(strict("hooks"), "must be a valid absolute URL (relative URL without a base)");
    assert_eq!(strict("https://u:p@example.com/"), "must not contain a user name or password");
    assert_eq!(strict("https:/example.com/"), "must begin with https:// and a host");
    assert_eq!(strict("https://example.com/a\\b"), "must not contain a backslash");
    assert_eq!(strict("https://exam\nple.com/"), "must not contain control characters");
    assert_eq!(strict(" https://example.com/"), "must not begin or end with white space");
    assert_eq!(strict("https://ex%61mple.com/"), "must not percent-encode its host");
    assert_eq!(strict("https://db/"), "must have a fully qualified host name");
    assert_eq!(strict("https://localhost/"), "must not name a local or reserved host");
    assert_eq!(strict("https://foo.0xg/"), "must have a host name under a public top-level domain");
    assert_eq!(
        strict("https://example.com:22/"),
        "must use port 443 or a port from 1024 that no other protocol uses"
    );
    assert_eq!(
        strict("https://example.com/%E2%80%AE"),
        "must not encode control or text direction characters in its path"
    );
}

#[test]
fn a_slash_the_caller_did_not_write_is_not_shown() {
    let shown = |input: &str| TargetUrl::parse(input, &MATTR).unwrap().shown().to_owned();
    assert_eq!(shown("https://example.com"), "https://example.com");
    assert_eq!(shown("https://example.com/"), "https://example.com/");
    assert_eq!(shown("https://example.com:8443"), "https://example.com:8443");
    assert_eq!(shown("https://example.com:443"), "https://example.com");
    assert_eq!(shown("https://EXAMPLE.com"), "https://example.com");
    assert_eq!(shown("https:example.com"), "https://example.com");
    assert_eq!(shown("https://example.com/.."), "https://example.com/");
    assert_eq!(shown("https://example.com\\"), "https://example.com/");
    assert_eq!(shown("https://example.com/a/"), "https://example.com/a/");
}

#[test]
fn path_characters_that_verifiers_escape_again_are_encoded() {
    let url = TargetUrl::parse("https://example.com/a'b|c^d`e{f}g\"h<i>%27", &STRICT).unwrap();
    assert_eq!(url.request_target(), "/a%27b%7Cc%5Ed%60e%7Bf%7Dg%22h%3Ci%3E%27");
    assert_eq!(url.as_str(), "https://example.com/a%27b%7Cc%5Ed%60e%7Bf%7Dg%22h%3Ci%3E%27");
}

#[test]
fn the_parts_are_those_a_request_needs() {
    let parts = |input: &str| {
        let url = TargetUrl::parse(input, &MATTR).unwrap();
        format!("{} {} {} {} {}", url.scheme(), url.host(), url.port(), url.authority(), url.request_target())
    };
    assert_eq!(parts("https://Example.com"), "https example.com 443 example.com /");
    assert_eq!(parts("https://example.com:443/a"), "https example.com 443 example.com /a");
    assert_eq!(parts("https://example.com:8443/a%2Fb"), "https example.com 8443 example.com:8443 /a%2Fb");
    assert_eq!(parts("https://u:p@example.com:8443/a"), "https example.com 8443 example.com:8443 /a");
}

#[test]
fn localhost_is_taken_where_loopback_may_be_dialled() {
    let open = UrlRules { allow_localhost: true, ..STRICT };
    let tried = |input: &str| say(TargetUrl::parse(input, &open));
    assert_eq!(tried("https://localhost:8443/hook"), "https://localhost:8443/hook");
    assert_eq!(tried("https://a.localhost:1024/"), "https://a.localhost:1024/");
    assert_eq!(tried("https://localhost/"), TargetUrlError::LocalPort.to_string());
    assert_eq!(tried("https://localhost:1023/"), TargetUrlError::LocalPort.to_string());
    assert_eq!(tried("https://notlocalhost:8443/"), TargetUrlError::SingleLabel.to_string());
    assert_eq!(tried("https://printer.local:8443/"), TargetUrlError::LocalName.to_string());
    assert_eq!(tried("http://localhost:8443/"), TargetUrlError::NotHttps.to_string());
    assert_eq!(strict("https://localhost:8443/hook"), TargetUrlError::LocalName.to_string());
}

#[test]
fn plain_http_is_for_two_spellings_of_loopback_only() {
    for policy in [UrlPolicy::Strict, UrlPolicy::Mattr] {
        let open = UrlRules { policy, allow_localhost: false, plain_http_loopback: true };
        let tried = |input: &str| say(TargetUrl::parse(input, &open));
        assert_eq!(tried("http://localhost:9000/hook"), "http://localhost:9000/hook");
        assert_eq!(tried("http://127.0.0.1:9000"), "http://127.0.0.1:9000/");
        for refused in [
            "http://127.0.0.2:9000/",
            "http://127.1:9000/",
            "http://2130706433:9000/",
            "http://127.0.0.1.:9000/",
            "http://[::1]:9000/",
            "http://a.localhost:9000/",
            "http://user@localhost:9000/",
            "http://localhost:9000@example.com/",
            "http://localhost:0/",
            "http:localhost:9000/",
            "http://example.com:9000/",
        ] {
            assert_eq!(tried(refused), TargetUrlError::NotHttps.to_string(), "{refused} under {policy:?}");
        }
        assert_eq!(tried("http://localhost:9000/?a"), TargetUrlError::Query.to_string());
        assert_eq!(tried("https://127.0.0.1:9000/"), TargetUrlError::IpAddress.to_string());
    }
}

#[test]
fn a_stored_url_comes_back_as_it_was() {
    for input in ["https://example.com", "https://example.com/", "https://example.com:8443/a'b"] {
        let url = TargetUrl::parse(input, &STRICT).unwrap();
        assert_eq!(TargetUrl::from_stored(url.as_str(), url.shown()), Ok(url));
    }
    let refused = |serialised, shown| TargetUrl::from_stored(serialised, shown).unwrap_err();
    assert_eq!(refused("https://EXAMPLE.com/", "https://EXAMPLE.com/"), TargetUrlError::NotAsStored);
    assert_eq!(refused("https://example.com/a/", "https://example.com/a"), TargetUrlError::NotAsStored);
    assert_eq!(refused("https://example.com/", "https://other.example/"), TargetUrlError::NotAsStored);
    assert_eq!(refused("data:text", "data:text"), TargetUrlError::NoHost);
}

#[test]
fn printing_a_url_for_a_log_leaves_out_what_may_be_secret() {
    let url = TargetUrl::parse("https://user:pass@example.com:8443/secret", &MATTR).unwrap();
    assert_eq!(format!("{url:?}"), "TargetUrl(https://example.com:8443/..)");
}

fn any_rules() -> impl Strategy<Value = UrlRules> {
    (any::<bool>(), any::<bool>()).prop_map(|(strict, allow_localhost)| UrlRules {
        policy: if strict { UrlPolicy::Strict } else { UrlPolicy::Mattr },
        allow_localhost,
        plain_http_loopback: false,
    })
}

/// Texts near enough to URLs that a good part of them is accepted.
fn any_input() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[a-z0-9.-]{1,20}",
        "[0-9xa-f.]{1,16}",
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9０-９①-⑨。．]{1,6}",
        r"\PC{1,12}",
        r"[a-z]{1,8}\.(com|example|xn--p1ai)",
    ];
    let near = ("(https|HTTPS|http)(://|:/|:)", host, "(:[0-9]{1,5})?", r"(/[a-z/.%'|^{}é0-9\t]{0,20})?")
        .prop_map(|(scheme, host, port, path)| format!("{scheme}{host}{port}{path}"));
    prop_oneof![3 => near, 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn whatever_is_accepted_is_stable_and_names_a_host(input in any_input(), rules in any_rules()) {
        let Ok(url) = TargetUrl::parse(&input, &rules) else { return Ok(()) };
        // Its own serialised form is accepted and stays; its shown form leads to the same URL.
        let again = TargetUrl::parse(url.as_str(), &rules).unwrap();
        prop_assert_eq!(again.as_str(), url.as_str());
        prop_assert_eq!(&TargetUrl::parse(url.shown(), &rules).unwrap(), &url);
        prop_assert_eq!(&TargetUrl::from_stored(url.as_str(), url.shown()).unwrap(), &url);
        // The host is a name to every reader of it.
        prop_assert!(url.host().parse::<std::net::IpAddr>().is_err());
        prop_assert!(!url.host().starts_with('['));
        prop_assert!(!url.host().is_empty());
        prop_assert_eq!(url.scheme(), "https");
        let raw = url.request_target().contains(['?', '#', '\'', '|', '^', '`', '{', '}', '"', '\\', ' ']);
        prop_assert!(!raw);
        prop_assert!(url.request_target().starts_with('/'));
    }
}
