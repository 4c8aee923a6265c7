//! The signature base: the examples of RFC 9421 section 2, and everything it refuses.

use expect_test::expect;
use sealpost_signature::base::read_input;
use sealpost_signature::structured_fields::{Dictionary, Member};
use sealpost_signature::{Component, Components, Parameter, Parameters, RequestParts, signature_base};

const GET: RequestParts<'static> = RequestParts {
    method: "GET",
    request_target: "/path?param=value&foo=bar&baz=batman&qux=",
    authority: "WWW.Example.com:443",
    scheme: "HTTPS",
    headers: &[],
};

/// The base over the components of `list`, without its last line, or the error.
fn base_of(parts: &RequestParts<'_>, list: &str) -> String {
    let field = format!("sig={list}");
    let dictionary = Dictionary::parse(&field).unwrap();
    let Some(Member::InnerList(list)) = dictionary.get("sig") else { panic!("not a list") };
    match read_input(list)
        .and_then(|(components, parameters)| signature_base(parts, &components, &parameters))
    {
        Ok(base) => base.rsplit_once('\n').map_or(String::new(), |(lines, _)| lines.to_owned()),
        Err(error) => error.to_string(),
    }
}

/// RFC 9421, 2.1.
#[test]
fn fields_are_trimmed_unfolded_and_joined() {
    let parts = RequestParts {
        headers: &[
            ("Host", "www.example.com"),
            ("Date", "Tue, 20 Apr 2021 02:07:56 GMT"),
            ("X-OWS-Header", "   Leading and trailing whitespace.   "),
            ("X-Obs-Fold-Header", "Obsolete\r\n    line folding."),
            ("Cache-Control", "max-age=60"),
            ("Cache-Control", "   must-revalidate"),
            ("Example-Dict", "  a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
            ("X-Empty-Header", ""),
        ],
        ..GET
    };
    expect![[r#"
        "host": www.example.com
        "date": Tue, 20 Apr 2021 02:07:56 GMT
        "x-ows-header": Leading and trailing whitespace.
        "x-obs-fold-header": Obsolete line folding.
        "cache-control": max-age=60, must-revalidate
        "example-dict": a=1,    b=2;x=1;y=2,   c=(a   b   c)
        "x-empty-header": "#]]
    .assert_eq(&base_of(
        &parts,
        r#"("host" "date" "x-ows-header" "x-obs-fold-header" "cache-control" "example-dict" "x-empty-header")"#,
    ));
}

/// RFC 9421, 2.2.
#[test]
fn derived_components_are_normalised() {
    expect![[r#"
        "@method": GET
        "@target-uri": https://www.example.com/path?param=value&foo=bar&baz=batman&qux=
        "@authority": www.example.com
        "@scheme": https
        "@request-target": /path?param=value&foo=bar&baz=batman&qux=
        "@path": /path
        "@query": ?param=value&foo=bar&baz=batman&qux=
        "@query-param";name="baz": batman
        "@query-param";name="qux": 
        "@query-param";name="param": value"#]]
    .assert_eq(&base_of(
        &GET,
        r#"("@method" "@target-uri" "@authority" "@scheme" "@request-target" "@path" "@query" "@query-param";name="baz" "@query-param";name="qux" "@query-param";name="param")"#,
    ));
}

/// RFC 9421, 2.2.7 and 2.2.8.
#[test]
fn queries_are_reencoded_in_one_way() {
    let parts = RequestParts {
        request_target: "/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&%zz=%4",
        ..GET
    };
    expect![[r#"
        "@query-param";name="var": this%20is%20a%20big%0Amultiline%20value
        "@query-param";name="bar": with%20plus%20whitespace
        "@query-param";name="fa%C3%A7ade%22%3A%20": something
        "@query-param";name="%25zz": %254"#]]
    .assert_eq(&base_of(
        &parts,
        r#"("@query-param";name="var" "@query-param";name="bar" "@query-param";name="fa%C3%A7ade%22%3A%20" "@query-param";name="%25zz")"#,
    ));
    for (target, wanted) in
        [("/path", "\"@query\": ?"), ("/path?", "\"@query\": ?"), ("?a=b", "\"@query\": ?a=b")]
    {
        assert_eq!(base_of(&RequestParts { request_target: target, ..GET }, r#"("@query")"#), wanted);
    }
    assert_eq!(base_of(&RequestParts { request_target: "?a", ..GET }, r#"("@path")"#), "\"@path\": /");
}

#[test]
fn only_the_port_that_the_scheme_implies_is_dropped() {
    for (scheme, authority, wanted) in [
        ("https", "a.example:443", "a.example"),
        ("http", "a.example:80", "a.example"),
        ("https", "a.example:80", "a.example:80"),
        ("https", "A.example:", "a.example"),
        ("https", "[::1]", "[::1]"),
        ("https", "[2001:DB8::443]:443", "[2001:db8::443]"),
    ] {
        let parts = RequestParts { scheme, authority, ..GET };
        assert_eq!(base_of(&parts, r#"("@authority")"#), format!("\"@authority\": {wanted}"));
    }
}

#[test]
fn what_is_missing_unknown_repeated_or_unsupported_is_an_error() {
    let parts = RequestParts {
        request_target: "/p?twice=1&twice=2",
        headers: &[("bad", "caf\u{e9}"), ("split", "a\r\nb"), ("bare", "a\rb"), ("nul", "a\0b")],
        ..GET
    };
    for (list, wanted) in [
        (r#"("x-absent")"#, "`x-absent` is covered, but the request does not have it"),
        (
            r#"("@query-param";name="no")"#,
            r#"`"@query-param";name="no"` is covered, but the request does not have it"#,
        ),
        (
            r#"("@query-param";name="twice")"#,
            "query parameter `twice` occurs more than once and cannot be covered",
        ),
        (r#"("@query-param")"#, "`@query-param` needs a text parameter `name`"),
        (r#"("@query-param";name=1)"#, "`@query-param` needs a text parameter `name`"),
        (r#"("@query-param";name="a";req)"#, "component parameter `req` of `@query-param` is not supported"),
        (r#"("@method" "@path" "@method")"#, r#"`"@method"` is covered twice"#),
        (r#"("@status")"#, "`@status` is not a component of requests that RFC 9421 defines"),
        (
            r#"("@signature-params")"#,
            "`@signature-params` is not a component of requests that RFC 9421 defines",
        ),
        (r#"("@Method")"#, "`@Method` is not a component of requests that RFC 9421 defines"),
        (r#"("Host")"#, "`Host` is not a lower-case field name"),
        (r#"("")"#, "`` is not a lower-case field name"),
        (r#"("a b")"#, "`a b` is not a lower-case field name"),
        (r#"(host)"#, r#"`Token("host")` is not a lower-case field name"#),
        (r#"("bad";sf)"#, "component parameter `sf` of `bad` is not supported"),
        (r#"("bad";key="a")"#, "component parameter `key` of `bad` is not supported"),
        (r#"("bad";bs)"#, "component parameter `bs` of `bad` is not supported"),
        (r#"("bad";tr)"#, "component parameter `tr` of `bad` is not supported"),
        (r#"("@method";req)"#, "component parameter `req` of `@method` is not supported"),
        (r#"("@method";name="x")"#, "component parameter `name` of `@method` is not supported"),
        (r#"("bad")"#, "`bad` holds bytes that a signature base cannot carry"),
        (r#"("split")"#, "`split` holds bytes that a signature base cannot carry"),
        (r#"("bare")"#, "`bare` holds bytes that a signature base cannot carry"),
        (r#"("nul")"#, "`nul` holds bytes that a signature base cannot carry"),
        (r#"();created="1""#, "signature parameter `created` is not a whole number of seconds"),
        (r#"();created=-1"#, "signature parameter `created` is not a number of unix seconds"),
        (r#"();created=1.0"#, "signature parameter `created` is not a whole number of seconds"),
        (r#"();keyid=k"#, "signature parameter `keyid` is not a quoted text"),
    ] {
        assert_eq!(base_of(&parts, list), wanted, "{list}");
    }
}

#[test]
fn a_target_that_is_not_in_origin_form_is_not_guessed_at() {
    for target in ["*", "example.com:443", "https://example.com/a", "/a b", "/a\nb", "/caf\u{e9}"] {
        for component in ["@target-uri", "@path", "@query"] {
            let parts = RequestParts { request_target: target, ..GET };
            let error = base_of(&parts, &format!(r#"("{component}")"#));
            assert_eq!(
                error,
                format!("`\"{component}\"` holds bytes that a signature base cannot carry"),
                "{target}"
            );
        }
    }
    for method in ["", "GET\n", "G T"] {
        assert!(base_of(&RequestParts { method, ..GET }, r#"("@method")"#).contains("cannot carry"));
    }
}

#[test]
fn parameters_stand_in_the_order_given() {
    let parameters = Parameters::new([
        Parameter::Tag("t".into()),
        Parameter::KeyId("a \"b\" \\c".into()),
        Parameter::Alg("ed25519".into()),
        Parameter::Nonce("n".into()),
        Parameter::Expires(2),
        Parameter::Created(1),
    ])
    .unwrap();
    assert_eq!(
        signature_base(&GET, &Components::default(), &parameters).unwrap(),
        r#""@signature-params": ();tag="t";keyid="a \"b\" \\c";alg="ed25519";nonce="n";expires=2;created=1"#
    );
}

#[test]
fn hand_made_components_and_parameters_cannot_smuggle_lines() {
    use sealpost_signature::structured_fields::BareItem;
    for field in ["a\nb", "@method", "A", ""] {
        assert!(Components::new([Component::Field(field.to_owned().into())]).is_err(), "{field}");
    }
    assert!(Components::new([Component::QueryParam("a\nb".into())]).is_err());
    for parameter in [
        Parameter::Nonce("a\nb".into()),
        Parameter::KeyId("\u{e9}".into()),
        Parameter::Created(i64::MAX),
        Parameter::Other("a b".into(), BareItem::Boolean(true)),
        Parameter::Other("created".into(), BareItem::Integer(1)),
        Parameter::Other("x".into(), BareItem::Token("a\nb".into())),
        Parameter::Other("x".into(), BareItem::String("a\nb".into())),
        Parameter::Other("x".into(), BareItem::Integer(i64::MIN)),
    ] {
        assert!(Parameters::new([parameter.clone()]).is_err(), "{parameter:?}");
    }
    assert!(Parameters::new([Parameter::Created(1), Parameter::Created(1)]).is_err());
}
