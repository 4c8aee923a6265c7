//! `normalise` against texts whose `JSON.stringify` form is known, the grammar, and what holds for any value.

use proptest::prelude::*;
use sealpost_core::json::{
    JsonError, JsonErrorKind, MAX_DEPTH, Reader, TokenKind, canonical_string, normalise, write_string,
};
use serde_json::Value;

fn norm(text: &str) -> String {
    normalise(text, MAX_DEPTH).unwrap_or_else(|error| format!("error: {error}"))
}

#[test]
fn white_space_goes_and_order_and_numbers_stay() {
    assert_eq!(norm("{\"b\": 1, \"a\": [1, 2, {}], \"n\": null}"), r#"{"b":1,"a":[1,2,{}],"n":null}"#);
    assert_eq!(norm(" \t\r\n[ ] \n"), "[]");
    assert_eq!(
        norm(r#"{"n":[9007199254740993,1e-07,1.0,-0,-0.0,1E+2,123456789012345678901234567890]}"#),
        r#"{"n":[9007199254740993,1e-07,1.0,-0,-0.0,1E+2,123456789012345678901234567890]}"#
    );
    assert_eq!(norm("true"), "true");
    assert_eq!(norm(" -12.5e-3 "), "-12.5e-3");
    assert_eq!(
        norm(r#"{"10":1,"2":2,"__proto__":{"a":1},"constructor":0}"#),
        r#"{"10":1,"2":2,"__proto__":{"a":1},"constructor":0}"#
    );
}

#[test]
fn strings_get_the_escapes_of_json_stringify() {
    // Python's style: everything beyond ASCII escaped.
    assert_eq!(
        norm(r#"{"name": "Zo\u00eb \ud83d\ude00", "k\u00e9": "\u4f60"}"#),
        r#"{"name":"Zoë 😀","ké":"你"}"#
    );
    assert_eq!(norm(r#""\/\"\\\b\f\n\r\t""#), r#""/\"\\\b\f\n\r\t""#);
    assert_eq!(norm(r#""\u0008\u0009\u000A\u000c\u000d\u0022\u005c\u002f""#), r#""\b\t\n\f\r\"\\/""#);
    assert_eq!(norm(r#""\u0000\u001F\u000B""#), r#""\u0000\u001f\u000b""#);
    assert_eq!(norm(r#""\u007f\u2028\u2029\ufeff\u0080""#), "\"\u{7f}\u{2028}\u{2029}\u{feff}\u{80}\"");
    assert_eq!(norm("\"\u{7f}\u{2028}é\""), "\"\u{7f}\u{2028}é\"");
    assert_eq!(norm(r#""\u0041bc" "#), r#""Abc""#);
}

#[test]
fn lone_surrogates_stay_escaped_in_lower_case() {
    assert_eq!(norm(r#""\uD83D""#), r#""\ud83d""#);
    assert_eq!(norm(r#""\uDE00\uD83D""#), r#""\ude00\ud83d""#);
    assert_eq!(norm(r#""\uD83D\uD83D\uDE00x""#), r#""\ud83d😀x""#);
    assert_eq!(norm(r#""\uD83D\u0041\uD83D\n\uD83Dz""#), r#""\ud83dA\ud83d\n\ud83dz""#);
}

#[test]
fn repeated_names_are_refused_however_they_are_spelled() {
    assert_eq!(norm(r#"{"a":1,"a":2}"#), "error: repeated member name `/a` at byte 7");
    assert_eq!(norm(r#"{"a":1,"\u0061":2}"#), "error: repeated member name `/a` at byte 7");
    assert_eq!(norm(r#"{"é":1, "\u00E9":2}"#), "error: repeated member name `/é` at byte 9");
    assert_eq!(norm(r#"{"\/":1,"/":2}"#), "error: repeated member name `/~1` at byte 8");
    assert_eq!(norm(r#"{"\uD800":1,"\ud800":2}"#), r"error: repeated member name `/\ud800` at byte 12");
    assert_eq!(norm(r#"{"":1,"":2}"#), "error: repeated member name `/` at byte 6");
    assert_eq!(
        norm(r#"{"x":{},"p":[0,{"q~":{"a":{"z":0},"b":1,"a":2}}]}"#),
        "error: repeated member name `/p/1/q~0/a` at byte 40"
    );
    assert_eq!(norm(r#"{"\"":1,"\u0022":2}"#), r#"error: repeated member name `/\"` at byte 8"#);
    // Different names, and equal names in different objects.
    assert_eq!(
        norm(r#"{"a":{"a":1},"A":{"a":2},"\ud800":1,"\ud801":2}"#),
        r#"{"a":{"a":1},"A":{"a":2},"\ud800":1,"\ud801":2}"#
    );
    // Above the size that is compared pairwise.
    let many: Vec<String> = (0..1000).map(|n| format!("\"m{n}\":{n}")).collect();
    let unique = format!("{{{}}}", many.join(","));
    assert_eq!(norm(&unique), unique);
    let repeated = format!("{{{},\"\\u006d7\":0,\"m3\":0}}", many.join(","));
    assert_eq!(norm(&repeated), format!("error: repeated member name `/m7` at byte {}", unique.len()));
}

#[test]
fn an_error_repeats_only_so_much_of_a_path() {
    let long = "n".repeat(10_000);
    let error = norm(&format!(r#"{{"{long}":{{"a":1,"a":2}}}}"#));
    assert!(error.len() < 300, "{error}");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(norm(&nested(64)), nested(64));
    assert_eq!(norm(&nested(65)), "error: more than 64 nested arrays and objects at byte 64");
    assert_eq!(norm(&nested(1_000_000)), "error: more than 64 nested arrays and objects at byte 64");
    let mixed = |depth: usize| format!("{}1{}", r#"{"a":["#.repeat(depth), "]}".repeat(depth));
    assert_eq!(norm(&mixed(32)), mixed(32));
    assert!(norm(&mixed(33)).starts_with("error: more than 64"));
}

#[test]
fn what_is_no_json_is_refused_where_it_goes_wrong() {
    assert_eq!(norm(""), "error: the text ends where a value was expected, at byte 0");
    assert_eq!(norm("{"), "error: the text ends where a member name or `}` was expected, at byte 1");
    assert_eq!(norm("[1,]"), "error: expected a value at byte 3");
    assert_eq!(norm("{\"a\":1,}"), "error: expected a member name at byte 7");
    assert_eq!(norm("{\"a\" 1}"), "error: expected `:` at byte 5");
    assert_eq!(norm("[1 2]"), "error: expected `,` or the end of the array or object at byte 3");
    assert_eq!(norm("[1}"), "error: expected `,` or the end of the array or object at byte 2");
    assert_eq!(norm("{} {}"), "error: text after the end of the value at byte 3");
    assert_eq!(norm("{}\0"), "error: text after the end of the value at byte 2");
    assert_eq!(norm("\"a"), "error: the text ends where `\"` was expected, at byte 2");
    assert_eq!(norm("\"a\nb\""), "error: unescaped control character in a string at byte 2");
    assert_eq!(norm(r#""\x41""#), "error: malformed escape in a string at byte 1");
    for text in [
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1.e3",
        "1e",
        "1e+",
        "-01",
        "0x10",
        "1_000",
        "NaN",
        "Infinity",
        "-Infinity",
        "tru",
        "nul",
        "True",
        "truefalse",
        "'a'",
        "{a:1}",
        "{1:1}",
        "[,1]",
        "{,}",
        "[",
        "]",
        "}",
        ":",
        ",",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "\"\\",
        "\"\\u",
        "\u{feff}{}",
        "\u{a0}1",
        "/**/1",
        "1//",
        "[1]]",
        "{\"a\"}",
        "{\"a\":}",
        "\u{b}1",
        "\"\t\"",
        "\"\u{1}\"",
        "\"\\U0041\"",
        "\"\\'\"",
        "{\"a\":1,,\"b\":2}",
        "[1,,2]",
        "\"é",
        "é",
    ] {
        assert!(normalise(text, MAX_DEPTH).is_err(), "{text:?}");
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text:?}: the table is wrong");
    }
}

#[test]
fn special_bytes_are_seen_at_every_place_of_a_word() {
    for before in 0..20 {
        for after in 0..20 {
            let (before, after) = ("é".repeat(before) + &"a".repeat(before), "\u{7f}~".repeat(after));
            assert_eq!(norm(&format!("\"{before}\\/{after}\"")), format!("\"{before}/{after}\""));
            let control = normalise(&format!("\"{before}\u{1f}{after}\""), MAX_DEPTH);
            assert_eq!(
                control,
                Err(JsonError { offset: before.len() + 1, kind: JsonErrorKind::ControlCharacter })
            );
        }
    }
}

#[test]
fn a_reader_gives_tokens_and_whole_values_as_they_were_written() {
    let mut reader = Reader::new(r#" {"a" : [1, {"b":2}] , "c":"\u0063"}"#, MAX_DEPTH);
    assert_eq!(reader.require_token().unwrap().kind, TokenKind::ObjectOpen);
    let name = reader.require_token().unwrap();
    assert_eq!((name.kind, reader.raw(name)), (TokenKind::Name { escaped: false }, r#""a""#));
    assert_eq!(reader.require_token().unwrap().kind, TokenKind::Colon);
    let first = reader.require_token().unwrap();
    assert_eq!(reader.finish_value(first).unwrap(), r#"[1, {"b":2}]"#);
    assert_eq!(reader.depth(), 1);
    assert_eq!(reader.require_token().unwrap().kind, TokenKind::Comma);
    reader.require_token().unwrap();
    reader.require_token().unwrap();
    let value = reader.require_token().unwrap();
    assert_eq!(reader.finish_value(value).unwrap(), r#""\u0063""#);
    assert_eq!(canonical_string(r#""\u0063""#, true), r#""c""#);
    assert_eq!(reader.require_token().unwrap().kind, TokenKind::ObjectClose);
    assert_eq!(reader.next_token(), Ok(None));
    assert_eq!(reader.next_token(), Ok(None));
}

#[test]
fn large_texts_take_little_time() {
    let names: Vec<String> = (0..60_000).map(|n| format!("\"{n:x}\":\"\"")).collect();
    let wide = format!("{{{}}}", names.join(","));
    assert_eq!(norm(&wide), wide);
    let escapes = format!("\"{}\"", "\\ud83d".repeat(170_000));
    assert_eq!(norm(&escapes), escapes);
    let open = "[".repeat(1_000_000);
    assert!(normalise(&open, 2_000_000).is_err());
    let flat = format!("[{}]", "{},".repeat(300_000) + "0");
    assert_eq!(norm(&flat), flat);
}

/// Values whose numbers `serde_json` holds exactly.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\x00-\\x20\"\\\\/é😀\u{2028}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Writes every UTF-16 code unit as an escape and puts spaces everywhere.
fn spell_out(value: &Value, out: &mut String) {
    let string = |out: &mut String, text: &str| {
        out.push('"');
        text.encode_utf16().for_each(|unit| out.push_str(&format!("\\u{unit:04X}")));
        out.push('"');
    };
    match value {
        Value::String(text) => string(out, text),
        Value::Array(items) => {
            out.push_str("[ ");
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { " , " } else { "" });
                spell_out(item, out);
            }
            out.push_str(" ]");
        }
        Value::Object(members) => {
            out.push_str("{\n");
            for (index, (name, item)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "\t,\r\n" } else { "" });
                string(out, name);
                out.push_str(" : ");
                spell_out(item, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn every_spelling_of_a_value_becomes_the_compact_one(value in any_value()) {
        // serde_json's compact form differs from JSON.stringify in nothing for such values.
        let compact = serde_json::to_string(&value).unwrap();
        let mut spelled = String::new();
        spell_out(&value, &mut spelled);
        prop_assert_eq!(&normalise(&spelled, MAX_DEPTH).unwrap(), &compact);
        prop_assert_eq!(&normalise(&compact, MAX_DEPTH).unwrap(), &compact);
        prop_assert_eq!(&normalise(&serde_json::to_string_pretty(&value).unwrap(), MAX_DEPTH).unwrap(), &compact);
    }

    #[test]
    fn any_text_is_judged_as_serde_json_judges_it(text in r#"[\[\]{}:,"\\/u0-9a-f.eE+\-trulsn \u{0}\u{1f}]{0,24}"#) {
        let ours = normalise(&text, MAX_DEPTH);
        match (&ours, serde_json::from_str::<Value>(&text)) {
            (Ok(normal), Ok(value)) => {
                prop_assert_eq!(&serde_json::from_str::<Value>(normal).unwrap(), &value);
            }
            (Err(error), Ok(_)) => prop_assert!(matches!(error.kind, JsonErrorKind::DuplicateName(_)), "{text}: {error}"),
            // serde_json refuses lone surrogates and exponents beyond f64; we keep both.
            (Ok(_), Err(error)) => {
                let error = error.to_string();
                prop_assert!(error.contains("surrogate") || error.contains("hex escape") || error.contains("out of range"), "{text}: {error}");
            }
            (Err(_), Err(_)) => {}
        }
        if let Ok(normal) = ours {
            prop_assert_eq!(&normalise(&normal, MAX_DEPTH).unwrap(), &normal);
            prop_assert!(normal.len() <= text.len());
        }
    }

    #[test]
    fn escapes_in_any_order_are_stable(text in r#"(\\u[dD][89a-fA-F]{3}|\\u[0-9a-f]{4}|\\[bfnrt"\\/]|[ -!#-\[\]-~é😀]){0,12}"#) {
        let once = normalise(&format!("\"{text}\""), MAX_DEPTH).unwrap();
        prop_assert_eq!(&normalise(&once, MAX_DEPTH).unwrap(), &once);
    }

    #[test]
    fn a_written_string_reads_back(text in any::<String>()) {
        let mut written = String::new();
        write_string(&mut written, &text);
        prop_assert_eq!(&serde_json::from_str::<String>(&written).unwrap(), &text);
        prop_assert_eq!(&normalise(&written, MAX_DEPTH).unwrap(), &written);
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), depth in 0usize..4) {
        let _ = normalise(&text, depth);
    }
}
