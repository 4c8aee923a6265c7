//! A tenant's own domain: its name, its logo, and the proof that the tenant holds it.
//!
//! The proof is a TXT record at the domain whose value is the token that was made for it. What a record says is judged
//! here; looking it up is the business of others.

use std::borrow::Borrow;
use std::fmt;

use url::{Host, Url};

use crate::id::{TenantNo, VerificationToken};
use crate::limits::{CUSTOM_DOMAIN_NAME_BYTES, LOGO_URL_BYTES};
use crate::target_url::{MAX_HOST_BYTES, MAX_LABEL_BYTES};
use crate::time::Timestamp;

/// The one domain of a tenant, as it is stored. It selects the tenant only once it is verified.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomDomain {
    pub tenant: TenantNo,
    pub facts: DomainFacts,
    /// Made for this domain; another domain gets another one.
    pub token: VerificationToken,
    pub verified_at: Option<Timestamp>,
}

/// What the tenant says of its domain.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainFacts {
    pub name: DisplayName,
    pub logo_url: LogoUrl,
    pub domain: DomainName,
}

/// A DNS name of two labels or more, in its A-label form, lower-case, without a final dot.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DomainName(String);

/// Why a domain was refused. Each sentence says the one thing to change.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DomainNameError {
    #[error("must be a domain name alone, without scheme, user, port, path or white space")]
    NotAlone,
    #[error("must not be an IP address")]
    IpAddress,
    #[error("must be a valid domain name of at least two labels, such as credentials.example.com")]
    Invalid,
    #[error("must not be the base domain of the service or a name below it")]
    BelowBase,
}

impl DomainName {
    /// `base_domain`: the names below it belong to the installation, which gives each tenant one.
    pub fn parse(text: &str, base_domain: Option<&str>) -> Result<Self, DomainNameError> {
        if text.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
            return Err(DomainNameError::IpAddress);
        }
        // Judged before the parser sees it, which would decode or drop some of these.
        let foreign = |c: char| c.is_whitespace() || c.is_control() || ":/\\?#@%".contains(c);
        if text.contains(foreign) {
            return Err(DomainNameError::NotAlone);
        }
        let name = match Host::parse(text) {
            Ok(Host::Domain(name)) => name,
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(DomainNameError::IpAddress),
            Err(_) => return Err(DomainNameError::Invalid),
        };
        if !is_name(&name) {
            return Err(DomainNameError::Invalid);
        }
        let below =
            |base: &str| name.strip_suffix(base).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if base_domain.is_some_and(below) {
            return Err(DomainNameError::BelowBase);
        }
        Ok(Self(name))
    }

    /// Takes back what [`as_str`](Self::as_str) gave. Which names belong to the installation may have changed since.
    pub fn from_stored(text: String) -> Option<Self> {
        is_name(&text).then_some(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// So that a map by names is asked with what a request says.
impl Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    name.len() <= MAX_HOST_BYTES && name.contains('.') && name.split('.').all(label)
}

/// What people call the domain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DisplayName(String);

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be 1 to {CUSTOM_DOMAIN_NAME_BYTES} bytes")]
pub struct InvalidDisplayName;

impl DisplayName {
    pub fn parse(text: &str) -> Result<Self, InvalidDisplayName> {
        if (1..=CUSTOM_DOMAIN_NAME_BYTES).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidDisplayName)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where wallets load the logo. Never fetched by us, so it is kept and shown as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogoUrl(String);

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LogoUrlError {
    #[error("must be an https URL, such as https://example.com/logo.png")]
    NotHttps,
    #[error("must not contain a user name or password")]
    UserInfo,
    #[error("must be at most {LOGO_URL_BYTES} bytes long")]
    TooLong,
}

impl LogoUrl {
    pub fn parse(text: &str) -> Result<Self, LogoUrlError> {
        if text.len() > LOGO_URL_BYTES {
            return Err(LogoUrlError::TooLong);
        }
        // The parser drops some of these, and readers of the URL would not.
        let hidden = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
        let begins = text.get(..8).is_some_and(|head| head.eq_ignore_ascii_case("https://"));
        let slashes = text.get(8..).is_some_and(|rest| rest.starts_with('/'));
        let Ok(url) = Url::parse(text) else { return Err(LogoUrlError::NotHttps) };
        if !begins || slashes || text.contains(hidden) {
            return Err(LogoUrlError::NotHttps);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LogoUrlError::UserInfo);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the TXT records at a domain say about its token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    /// One of them is the token.
    Holds,
    /// There are records, none of which is the token.
    Differs,
    /// There is no record.
    Missing,
}

impl VerificationToken {
    /// Other records may stand beside it (mail and other services use TXT too), and white space around it, which some
    /// DNS consoles add.
    pub fn proof(self, records: &[String]) -> Proof {
        if records.iter().any(|record| record.trim().parse() == Ok(self)) {
            Proof::Holds
        } else if records.is_empty() {
            Proof::Missing
        } else {
            Proof::Differs
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<T, E: fmt::Display>(result: Result<T, E>, show: impl Fn(&T) -> String) -> String {
        match result {
            Ok(value) => show(&value),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_domain_is_a_dns_name_and_nothing_else() {
        let long_label = format!("{}.example", "a".repeat(64));
        let fits = format!("{}.example", "a".repeat(63));
        let long_name = format!("{}example", "abcdefg.".repeat(31));
        let base = Some("posts.example");
        let mut lines = String::new();
        for text in [
            "credentials.acme.example",
            "Credentials.ACME.Example",
            "bücher.example",
            "BÜCHER.example",
            "xn--bcher-kva.example",
            "faß。example",
            "a.b",
            "3com.example",
            "notposts.example",
            "example",
            "localhost",
            "",
            ".",
            ".example.com",
            "example.com.",
            "a..b",
            "-a.example",
            "a-.example",
            "a_b.example",
            "*.example.com",
            "xn--zzzzzzz.example",
            "example.1",
            "a,b.example",
            "https://example.com",
            "example.com:443",
            "example.com/",
            "example.com/path",
            "example.com?x",
            "example.com#x",
            "user@example.com",
            "ex%61mple.com",
            "example.com\\",
            " example.com",
            "example.com\n",
            "exa\tmple.com",
            "192.0.2.1",
            "1.2.3",
            "0x7f.0.0.1",
            "::1",
            "[::1]",
            "2001:db8::1",
            "posts.example",
            "acme.posts.example",
            "a.b.POSTS.example",
        ] {
            let said = told(DomainName::parse(text, base), |name| format!("= {name}"));
            lines.push_str(&format!("{text:?} {said}\n"));
        }
        expect_test::expect![[r#"
            "credentials.acme.example" = credentials.acme.example
            "Credentials.ACME.Example" = credentials.acme.example
            "bücher.example" = xn--bcher-kva.example
            "BÜCHER.example" = xn--bcher-kva.example
            "xn--bcher-kva.example" = xn--bcher-kva.example
            "faß。example" = xn--fa-hia.example
            "a.b" = a.b
            "3com.example" = 3com.example
            "notposts.example" = notposts.example
            "example" must be a valid domain name of at least two labels, such as credentials.example.com
            "localhost" must be a valid domain name of at least two labels, such as credentials.example.com
            "" must be a valid domain name of at least two labels, such as credentials.example.com
            "." must be a valid domain name of at least two labels, such as credentials.example.com
            ".example.com" must be a valid domain name of at least two labels, such as credentials.example.com
            "example.com." must be a valid domain name of at least two labels, such as credentials.example.com
            "a..b" must be a valid domain name of at least two labels, such as credentials.example.com
            "-a.example" must be a valid domain name of at least two labels, such as credentials.example.com
            "a-.example" must be a valid domain name of at least two labels, such as credentials.example.com
            "a_b.example" must be a valid domain name of at least two labels, such as credentials.example.com
            "*.example.com" must be a valid domain name of at least two labels, such as credentials.example.com
            "xn--zzzzzzz.example" = xn--zzzzzzz.example
            "example.1" must be a valid domain name of at least two labels, such as credentials.example.com
            "a,b.example" must be a valid domain name of at least two labels, such as credentials.example.com
            "https://example.com" must be a domain name alone, without scheme, user, port, path or white space
            "example.com:443" must be a domain name alone, without scheme, user, port, path or white space
            "example.com/" must be a domain name alone, without scheme, user, port, path or white space
            "example.com/path" must be a domain name alone, without scheme, user, port, path or white space
            "example.com?x" must be a domain name alone, without scheme, user, port, path or white space
            "example.com#x" must be a domain name alone, without scheme, user, port, path or white space
            "user@example.com" must be a domain name alone, without scheme, user, port, path or white space
            "ex%61mple.com" must be a domain name alone, without scheme, user, port, path or white space
            "example.com\\" must be a domain name alone, without scheme, user, port, path or white space
            " example.com" must be a domain name alone, without scheme, user, port, path or white space
            "example.com\n" must be a domain name alone, without scheme, user, port, path or white space
            "exa\tmple.com" must be a domain name alone, without scheme, user, port, path or white space
            "192.0.2.1" must not be an IP address
            "1.2.3" must not be an IP address
            "0x7f.0.0.1" must not be an IP address
            "::1" must not be an IP address
            "[::1]" must not be an IP address
            "2001:db8::1" must not be an IP address
            "posts.example" must not be the base domain of the service or a name below it
            "acme.posts.example" must not be the base domain of the service or a name below it
            "a.b.POSTS.example" must not be the base domain of the service or a name below it
        "#]].assert_eq(&lines);
        assert_eq!(DomainName::parse(&long_label, None), Err(DomainNameError::Invalid));
        assert_eq!(DomainName::parse(&long_name, None), Err(DomainNameError::Invalid));
        assert_eq!(DomainName::parse(&fits, None).map(|name| name.0), Ok(fits));
        assert_eq!(
            DomainName::parse("acme.posts.example", None).map(|n| n.0),
            Ok("acme.posts.example".into())
        );
    }

    #[test]
    fn a_stored_name_is_taken_back_and_nothing_else() {
        for (text, taken) in [("a.example", true), ("A.example", false), ("a", false), ("", false)] {
            assert_eq!(DomainName::from_stored(text.into()).is_some(), taken, "{text}");
        }
    }

    #[test]
    fn a_logo_is_an_https_url_as_it_was_written() {
        let long = format!("https://example.com/{}", "a".repeat(LOGO_URL_BYTES));
        let mut lines = String::new();
        for text in [
            "https://example.com",
            "HTTPS://Example.com/Logo.png?v=1#x",
            "https://192.0.2.1/logo.png",
            "https://example.com/ä.png",
            "http://example.com/logo.png",
            "ftp://example.com/logo.png",
            "data:image/png;base64,AAAA",
            "example.com/logo.png",
            "https:example.com",
            "https:///example.com",
            "https://",
            "https://example.com/a b",
            " https://example.com",
            "https://example.com\\logo.png",
            "https://user:secret@example.com/logo.png",
            "",
        ] {
            let said = told(LogoUrl::parse(text), |url| format!("= {}", url.as_str()));
            lines.push_str(&format!("{text:?} {said}\n"));
        }
        expect_test::expect![[r#"
            "https://example.com" = https://example.com
            "HTTPS://Example.com/Logo.png?v=1#x" = HTTPS://Example.com/Logo.png?v=1#x
            "https://192.0.2.1/logo.png" = https://192.0.2.1/logo.png
            "https://example.com/ä.png" = https://example.com/ä.png
            "http://example.com/logo.png" must be an https URL, such as https://example.com/logo.png
            "ftp://example.com/logo.png" must be an https URL, such as https://example.com/logo.png
            "data:image/png;base64,AAAA" must be an https URL, such as https://example.com/logo.png
            "example.com/logo.png" must be an https URL, such as https://example.com/logo.png
            "https:example.com" must be an https URL, such as https://example.com/logo.png
            "https:///example.com" must be an https URL, such as https://example.com/logo.png
            "https://" must be an https URL, such as https://example.com/logo.png
            "https://example.com/a b" must be an https URL, such as https://example.com/logo.png
            " https://example.com" must be an https URL, such as https://example.com/logo.png
            "https://example.com\\logo.png" must be an https URL, such as https://example.com/logo.png
            "https://user:secret@example.com/logo.png" must not contain a user name or password
            "" must be an https URL, such as https://example.com/logo.png
        "#]]
        .assert_eq(&lines);
        assert_eq!(LogoUrl::parse(&long), Err(LogoUrlError::TooLong));
    }

    #[test]
    fn a_name_is_of_one_to_128_bytes() {
        for (text, taken) in [
            ("A", true),
            (&"a".repeat(128), true),
            ("", false),
            (&"a".repeat(129), false),
            (&"ä".repeat(65), false),
        ] {
            assert_eq!(DisplayName::parse(text).is_ok(), taken, "{} bytes", text.len());
        }
    }

    #[test]
    fn the_token_alone_is_the_proof() {
        let token = "0c099611-19c4-4f29-8724-6b9e5ba1ef7c";
        let proof = |records: &[&str]| {
            let records: Vec<String> = records.iter().map(|&record| record.into()).collect();
            token.parse::<VerificationToken>().unwrap().proof(&records)
        };
        for (records, expected) in [
            (&[][..], Proof::Missing),
            (&[token], Proof::Holds),
            (&["  0c099611-19c4-4f29-8724-6b9e5ba1ef7c\n"], Proof::Holds),
            (&["0C099611-19C4-4F29-8724-6B9E5BA1EF7C"], Proof::Holds),
            (&["v=spf1 -all", token], Proof::Holds),
            (&["v=spf1 -all"], Proof::Differs),
            (&[""], Proof::Differs),
            (&["1c099611-19c4-4f29-8724-6b9e5ba1ef7c"], Proof::Differs),
            (&["verification=0c099611-19c4-4f29-8724-6b9e5ba1ef7c"], Proof::Differs),
            (&["0c099611-19c4-4f29", "-8724-6b9e5ba1ef7c"], Proof::Differs),
        ] {
            assert_eq!(proof(records), expected, "{records:?}");
        }
    }
}
