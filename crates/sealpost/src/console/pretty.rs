//! JSON with line ends and indents, for people. Only white space is added: numbers, names and escapes stay as they were
//! published.

const INDENT: &str = "  ";
/// Deeper is not indented further; payloads nest 64 deep at most.
const DEEPEST: usize = 64;

pub(super) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if in_string {
            out.push(letter);
            in_string = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            continue;
        }
        match letter {
            '"' => {
                in_string = true;
                out.push(letter);
            }
            '{' | '[' => {
                out.push(letter);
                match letters.peek() {
                    Some('}' | ']') => out.extend(letters.next()),
                    _ => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            ' ' | '\t' | '\n' | '\r' => {}
            _ => out.push(letter),
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth.min(DEEPEST) {
        out.push_str(INDENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_is_added() {
        let text = r#"{"a":[1.0e2,{}, []],"b\"{,":"x\\","c":"[:,]"}"#;
        let shown = json(text);
        assert_eq!(
            shown,
            "{\n  \"a\": [\n    1.0e2,\n    {},\n    []\n  ],\n  \"b\\\"{,\": \"x\\\\\",\n  \"c\": \"[:,]\"\n}"
        );
        assert_eq!(json("}}]"), "\n}\n}\n]", "whatever it is, it is shown");
    }
}
