//! What each payload level lets through, and that nothing unreadable gets through.

use proptest::prelude::*;
use sealpost_core::minimise::{
    JsonPointer, MAX_POINTERS, MinimiseContext, PayloadLevel, SummaryForm, derived_summary, minimise,
};
use sealpost_core::payload::Payload;
use serde_json::Value;

const CREDENTIAL_EVENT: &str = r#"{"format":"ldp_vc","userId":"u-1","userClaims":{"given_name":"Ada"},"credential":{"id":"urn:1","sub":{"age":36.0,"big":9007199254740993,"tags":["a",{"b":1,"c":2},"d"]}},"oidcClaims":{"x":1},"credentialId":"c-1"}"#;

fn level(payload: &str, level: &PayloadLevel, summary: &SummaryForm, truvera: bool) -> String {
    let context = MinimiseContext { summary, event_id: "e-1", href: "https://s.example/e/e-1", truvera };
    match minimise(&Payload::from_stored(payload.to_owned()), level, &context) {
        Ok(text) => text.into_owned(),
        Err(error) => format!("error: {error}"),
    }
}

fn summary(payload: &str) -> String {
    level(payload, &PayloadLevel::Summary, &SummaryForm::known(), false)
}

fn claims(payload: &str, pointers: &[&str]) -> String {
    let pointers = pointers.iter().map(|text| JsonPointer::parse(text).unwrap()).collect();
    level(payload, &PayloadLevel::Claims(pointers), &SummaryForm::Unknown, false)
}

#[test]
fn full_is_the_payload() {
    assert_eq!(level(CREDENTIAL_EVENT, &PayloadLevel::Full, &SummaryForm::Unknown, false), CREDENTIAL_EVENT);
}

#[test]
fn a_summary_leaves_out_what_is_about_the_holder() {
    assert_eq!(summary(CREDENTIAL_EVENT), r#"{"format":"ldp_vc","userId":"u-1","credentialId":"c-1"}"#);
    assert_eq!(summary(r#"{"credential":{}}"#), "{}");
    assert_eq!(summary("{}"), "{}");
    // However the name is spelled, at the top level only, and nothing that merely looks like it.
    assert_eq!(
        summary(r#"{"\u0063redential":1,"userClaims":2,"a":{"credential":3},"Credential":4}"#),
        r#"{"a":{"credential":3},"Credential":4}"#
    );
    assert_eq!(
        summary(r#"{"n":1e-07,"i":9007199254740993,"z":"\u0000\ud800"}"#),
        r#"{"n":1e-07,"i":9007199254740993,"z":"\u0000\ud800"}"#
    );
    assert_eq!(
        level(CREDENTIAL_EVENT, &PayloadLevel::Summary, &SummaryForm::Without(vec!["userId".into()]), false),
        r#"{"format":"ldp_vc","credentialId":"c-1"}"#
    );
}

#[test]
fn a_type_without_a_summary_form_gets_thin() {
    assert_eq!(
        level(CREDENTIAL_EVENT, &PayloadLevel::Summary, &SummaryForm::Unknown, false),
        r#"{"id":"e-1","href":"https://s.example/e/e-1"}"#
    );
}

#[test]
fn thin_says_where_to_ask() {
    let thin = |payload: &str, truvera| level(payload, &PayloadLevel::Thin, &SummaryForm::known(), truvera);
    assert_eq!(thin(r#"{"id":"r-1","a":1}"#, false), r#"{"id":"e-1","href":"https://s.example/e/e-1"}"#);
    assert_eq!(
        thin(r#"{"id":"r-1","a":1}"#, true),
        r#"{"id":"e-1","href":"https://s.example/e/e-1","resourceId":"r-1"}"#
    );
    assert_eq!(
        thin(r#"{"\u0069d":12345678901234567890}"#, true),
        r#"{"id":"e-1","href":"https://s.example/e/e-1","resourceId":12345678901234567890}"#
    );
    assert_eq!(thin(r#"{"id":{"name":"Ada"}}"#, true), r#"{"id":"e-1","href":"https://s.example/e/e-1"}"#);
    assert_eq!(
        thin(r#"{"id":null,"a":{"id":"r"}}"#, true),
        r#"{"id":"e-1","href":"https://s.example/e/e-1"}"#
    );
}

#[test]
fn claims_keep_only_what_is_pointed_to() {
    let keep = |pointers: &[&str]| claims(CREDENTIAL_EVENT, pointers);
    assert_eq!(keep(&["/userId"]), r#"{"userId":"u-1"}"#);
    assert_eq!(keep(&["/credentialId", "/format"]), r#"{"format":"ldp_vc","credentialId":"c-1"}"#);
    assert_eq!(
        keep(&["/credential/sub/age", "/credential/id"]),
        r#"{"credential":{"id":"urn:1","sub":{"age":36.0}}}"#
    );
    assert_eq!(keep(&["/credential/sub/big"]), r#"{"credential":{"sub":{"big":9007199254740993}}}"#);
    assert_eq!(
        keep(&["/credential/sub/tags/2", "/credential/sub/tags/1/c"]),
        r#"{"credential":{"sub":{"tags":[{"c":2},"d"]}}}"#
    );
    // A pointer into what another one keeps whole adds nothing.
    assert_eq!(keep(&["/oidcClaims", "/oidcClaims/x"]), r#"{"oidcClaims":{"x":1}}"#);
}

#[test]
fn a_pointer_that_matches_nothing_leaves_nothing() {
    let keep = |pointers: &[&str]| claims(CREDENTIAL_EVENT, pointers);
    assert_eq!(keep(&["/missing"]), "{}");
    assert_eq!(keep(&["/credential/sub/missing/deep", "/format"]), r#"{"format":"ldp_vc"}"#);
    assert_eq!(keep(&["/userId/0"]), "{}");
    for index in ["3", "-", "01", "+1", "99999999999999999999999", "a"] {
        assert_eq!(keep(&[&format!("/credential/sub/tags/{index}")]), "{}", "{index}");
    }
}

#[test]
fn pointer_tokens_are_names_unescaped() {
    let payload = r#"{"a/b":1,"m~n":2,"":3,"k\"l":4,"é":5,"0":{"1":6},"~1":7,"\u0000":8}"#;
    assert_eq!(claims(payload, &["/a~1b"]), r#"{"a/b":1}"#);
    assert_eq!(claims(payload, &["/m~0n"]), r#"{"m~n":2}"#);
    assert_eq!(claims(payload, &["/"]), r#"{"":3}"#);
    assert_eq!(claims(payload, &["/k\"l"]), r#"{"k\"l":4}"#);
    assert_eq!(claims(payload, &["/é"]), r#"{"é":5}"#);
    assert_eq!(claims(payload, &["/0/1"]), r#"{"0":{"1":6}}"#);
    assert_eq!(claims(payload, &["/~01"]), r#"{"~1":7}"#);
    assert_eq!(claims(payload, &["/\0"]), r#"{"\u0000":8}"#);
    assert_eq!(claims(r#"{"\u0061\/b":1}"#, &["/a~1b"]), r#"{"a/b":1}"#);
}

#[test]
fn what_cannot_be_read_is_not_sent() {
    let broken = [
        "",
        "[]",
        "\"text\"",
        "null",
        r#"{"a":1"#,
        r#"{"a":1}}"#,
        r#"{"a":1} {"credential":2}"#,
        r#"{"a":tru}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":[1}"#,
        r#"{"b":{"c":}}"#,
    ];
    let deep = format!("{{\"z\":{}{}}}", "[".repeat(64), "]".repeat(64));
    for payload in broken.into_iter().chain([deep.as_str()]) {
        for outcome in [
            summary(payload),
            level(payload, &PayloadLevel::Thin, &SummaryForm::Unknown, false),
            level(payload, &PayloadLevel::Thin, &SummaryForm::Unknown, true),
            level(payload, &PayloadLevel::Summary, &SummaryForm::Unknown, false),
            claims(payload, &["/a"]),
        ] {
            assert!(outcome.starts_with("error: the payload cannot be read: "), "{payload}: {outcome}");
        }
        assert!(derived_summary(&Payload::from_stored(payload.to_owned())).is_err());
    }
}

#[test]
fn the_derived_summary_lacks_the_credential_alone() {
    let payload =
        Payload::parse(r#"{"userId":"u","userClaims":{"a":1},"credential":{},"credentialId":"c"}"#).unwrap();
    assert_eq!(
        derived_summary(&payload).unwrap().as_str(),
        r#"{"userId":"u","userClaims":{"a":1},"credentialId":"c"}"#
    );
}

#[test]
fn a_level_is_written_as_in_the_settings() {
    for text in [r#""full""#, r#""summary""#, r#""thin""#, r#"{"claims":["/a/b","/c~1d"]}"#] {
        let level: PayloadLevel = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&level).unwrap(), text);
    }
    let refused = |text: &str| serde_json::from_str::<PayloadLevel>(text).unwrap_err().to_string();
    assert!(refused(r#"{"claims":[]}"#).contains("`claims` must list 1 to 64 JSON Pointers"));
    assert!(refused(r#"{"claims":[""]}"#).contains("must begin with `/`"));
    assert!(refused(r#"{"claims":["a"]}"#).contains("must begin with `/`"));
    assert!(refused(r#"{"claims":["/a~2"]}"#).contains("must be followed by 0 or 1"));
    assert!(refused(r#"{"claims":["/a~"]}"#).contains("must be followed by 0 or 1"));
    assert!(refused(&format!(r#"{{"claims":["/{}"]}}"#, "x".repeat(1024))).contains("at most 1024 bytes"));
    let many =
        |count: usize| serde_json::to_string(&serde_json::json!({ "claims": vec!["/a"; count] })).unwrap();
    assert!(serde_json::from_str::<PayloadLevel>(&many(MAX_POINTERS)).is_ok());
    assert!(refused(&many(MAX_POINTERS + 1)).contains("1 to 64"));
    let form = SummaryForm::Without(vec!["a".into()]);
    assert_eq!(serde_json::to_string(&form).unwrap(), r#"{"without":["a"]}"#);
    assert_eq!(serde_json::from_str::<SummaryForm>(r#"{"without":["a"]}"#).unwrap(), form);
    refused(r#""Full""#);
    refused(r#""everything""#);
    refused(r#"{"claims":["/a"],"more":1}"#);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i32>().prop_map(Value::from),
        "[ab\"\\\\é]{0,3}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[ab01/~é]{0,2}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Counts the scalars and empty containers of a value.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Array(items) if !items.is_empty() => items.iter().map(leaves).sum(),
        Value::Object(members) if !members.is_empty() => members.values().map(leaves).sum(),
        _ => 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn one_pointer_keeps_exactly_what_it_points_to(
        members in prop::collection::vec(("[ab01/~é]{0,2}", any_json()), 0..5),
        path in prop::collection::vec("[ab01/~é]{0,2}|[0-3]", 1..4),
    ) {
        let value = Value::Object(members.into_iter().collect());
        let pointer: String = path.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect();
        let kept: Value = serde_json::from_str(&claims(&value.to_string(), &[&pointer])).unwrap();
        match value.pointer(&pointer) {
            Some(target) => prop_assert_eq!(leaves(&kept), leaves(target), "{} of {}", pointer, value),
            None => prop_assert_eq!(kept, serde_json::json!({})),
        }
    }

    /// Accepting relies on it: a promise of a derived event is never made for a payload that has none.
    #[test]
    fn every_payload_that_was_parsed_has_a_derived_summary(
        members in prop::collection::vec(("[a-c\"\\\\é]{0,3}|credential", any_json()), 0..5),
        depth in 0..63_usize,
    ) {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let mut object: serde_json::Map<String, Value> = members.into_iter().collect();
        object.insert("deep".to_owned(), serde_json::from_str(&deep).unwrap_or_default());
        let text = Value::Object(object).to_string();
        if let Ok(payload) = Payload::parse(&text) {
            let summary = derived_summary(&payload);
            prop_assert!(summary.is_ok_and(|summary| Payload::parse(summary.as_str()).is_ok()), "{}", text);
        }
    }

    #[test]
    fn every_level_gives_an_object_or_an_error(text in r#"\{[\[\]{}:,"a-c0-9\\]{0,20}\}?"#) {
        for outcome in [summary(&text), claims(&text, &["/a", "/b/0"]), level(&text, &PayloadLevel::Thin, &SummaryForm::Unknown, true)] {
            prop_assert!(outcome.starts_with("error: ") || serde_json::from_str::<Value>(&outcome).is_ok_and(|value| value.is_object()), "{}", outcome);
        }
    }
}
