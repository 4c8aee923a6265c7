//! Hides what only the receiver and we may know from an answer that repeats its request, before anything of it is kept.

use std::borrow::Cow;

use sealpost_core::webhook::WebhookSecrets;

/// Shorter values are no secrets, and would be found by accident.
const LEAST: usize = 8;
/// Not longer than the shortest of them: what is masked never grows.
const MASK: &[u8; LEAST] = b"[secret]";

/// The text without the token and without the values of the owner's headers, whole or in words (`Bearer` and the
/// rest), also as a JSON text would write them. A beginning of one at the very end, where the answer was cut off, counts
/// as well.
pub(super) fn masked(text: &[u8], secrets: &WebhookSecrets) -> Vec<u8> {
    let token = secrets.token.iter();
    let mut all: Vec<Cow<'_, str>> = token
        .chain(secrets.headers.iter().map(|(_, value)| value))
        .flat_map(|secret| {
            let whole = secret.reveal().as_str();
            std::iter::once(whole).chain(whole.split_ascii_whitespace())
        })
        .filter(|secret| secret.len() >= LEAST)
        .flat_map(spellings)
        .collect();
    // One may be a part of another.
    all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let all: Vec<&[u8]> = all.iter().map(|secret| secret.as_bytes()).collect();
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let cut = |secret: &[u8]| rest.len() >= LEAST && secret.starts_with(rest);
        if let Some(secret) = all.iter().find(|secret| rest.starts_with(secret)) {
            out.extend_from_slice(MASK);
            rest = &rest[secret.len()..];
        } else if all.iter().any(|secret| cut(secret)) {
            out.extend_from_slice(MASK);
            break;
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    out
}

/// As it is, as a JSON string, and as one whose writer also escapes slashes.
fn spellings(secret: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let quoted = serde_json::Value::from(secret).to_string();
    let json = quoted[1..quoted.len() - 1].to_owned();
    let slashes = json.replace('/', r"\/");
    [Cow::Borrowed(secret), Cow::Owned(json), Cow::Owned(slashes)].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealpost_core::secret::Secret;

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let header = |value: &str| ("x".to_owned(), Secret::new(value.to_owned()));
        let secrets = WebhookSecrets {
            token: Some(Secret::new("abcdefghijkl".into())),
            headers: vec![header("Bearer mnopqrst/u\"v"), header("prod")],
            ..WebhookSecrets::default()
        };
        for (text, left) in [
            ("", ""),
            (r#"{"token":"abcdefghijkl","env":"prod"}"#, r#"{"token":"[secret]","env":"prod"}"#),
            ("abcdefghijklabcdefghijkl", "[secret][secret]"),
            ("Authorization: Bearer mnopqrst/u\"v", "Authorization: [secret]"),
            ("token mnopqrst/u\"v", "token [secret]"),
            (r#"{"a":"Bearer mnopqrst/u\"v"}"#, r#"{"a":"[secret]"}"#),
            (r#"{"a":"mnopqrst\/u\"v"}"#, r#"{"a":"[secret]"}"#),
            ("cut off: abcdefgh", "cut off: [secret]"),
            ("cut off: abcdefg", "cut off: abcdefg"),
            ("abcdefgh and on", "abcdefgh and on"),
            ("ABCDEFGHIJKL", "ABCDEFGHIJKL"),
        ] {
            assert_eq!(String::from_utf8(masked(text.as_bytes(), &secrets)).unwrap(), left, "{text}");
        }
        assert_eq!(masked(b"\xff abcdefghijkl", &WebhookSecrets::default()), b"\xff abcdefghijkl");
    }
}
