//! Whether each OpenID provider of the settings gives its keys, from where this command runs.

use super::{fail, ok, warn};
use crate::app::admin::FindingView;
use crate::app::openid::{KeysFault, probe};
use crate::config::Config;
use crate::serve;

pub(super) async fn findings(config: &Config) -> Vec<FindingView> {
    if config.openid.is_empty() {
        return Vec::new();
    }
    let documents = match serve::egress(config) {
        Ok(door) => door.documents(),
        Err(error) => return vec![fail("no OpenID provider can be asked for its keys", error.to_string())],
    };
    let mut findings = Vec::new();
    for provider in &config.openid {
        findings.push(judge(&provider.issuer, &probe(provider, &documents).await));
    }
    findings
}

fn judge(issuer: &str, keys: &Result<usize, KeysFault>) -> FindingView {
    match keys {
        Ok(0) => warn(
            format!("the OpenID provider {issuer} publishes no key that verifies here"),
            "it must sign with RS256 (2048 bits or more), ES256 or EdDSA, and name its keys by `kid`",
        ),
        Ok(1) => ok(format!("the OpenID provider {issuer} gives a key")),
        Ok(count) => ok(format!("the OpenID provider {issuer} gives {count} keys")),
        Err(fault) => fail(
            format!("the OpenID provider {issuer} gives no keys: {fault}"),
            "until it does its tokens are answered with 503; see docs/oidc.md",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::shown;
    use crate::cli::output::Paint;
    use crate::config::{Flags, parse};
    use expect_test::expect;
    use std::collections::BTreeMap;

    #[test]
    fn each_outcome_is_a_sentence() {
        let lines = [Ok(2), Ok(1), Ok(0), Err(KeysFault::OtherIssuer)]
            .map(|keys| shown(&judge("https://id.example/", &keys), Paint::PLAIN));
        expect![[r#"
            ok    the OpenID provider https://id.example/ gives 2 keys
            ok    the OpenID provider https://id.example/ gives a key
            warn  the OpenID provider https://id.example/ publishes no key that verifies here
                  it must sign with RS256 (2048 bits or more), ES256 or EdDSA, and name its keys by `kid`
            fail  the OpenID provider https://id.example/ gives no keys: its discovery document names another issuer
                  until it does its tokens are answered with 503; see docs/oidc.md"#]].assert_eq(&lines.join("\n"));
    }

    #[tokio::test]
    async fn a_provider_that_is_not_there_is_a_failure() {
        let text = "[egress]\nhttp = 'loopback'\n[openid]\nissuer = 'http://127.0.0.1:9'\naudience = 'a'";
        let config = parse(&Flags::default(), &BTreeMap::new(), Some(text)).unwrap();
        let lines: Vec<String> =
            findings(&config).await.iter().map(|finding| shown(finding, Paint::PLAIN)).collect();
        expect![[r#"
            fail  the OpenID provider http://127.0.0.1:9 gives no keys: its discovery document: `127.0.0.1` could not be reached: connection refused
                  until it does its tokens are answered with 503; see docs/oidc.md"#]].assert_eq(&lines.join("\n"));
    }
}
