//! The call of the API that gives the data of a page, to be copied.

use maud::{Markup, html};

use super::form::link;
use super::parts::copyable;
use super::visit::Visit;

/// `GET path?query` as a command. The key stays in a variable of whoever runs it.
pub(super) fn get(visit: &Visit, path: &str, query: &[(&str, &str)]) -> Markup {
    let command = command(&visit.app().config.public_url, path, query);
    html! {
        details.curl {
            summary { "Get this from the API" }
            (copyable("Command", &command))
        }
    }
}

/// Paths are ours and queries percent-encoded, so nothing in them ends the quotes.
fn command(public_url: &str, path: &str, query: &[(&str, &str)]) -> String {
    format!("curl -H \"Authorization: Bearer $SEALPOST_API_KEY\" '{public_url}{}'", link(path, query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_does_not_leave_its_quotes() {
        assert_eq!(
            command("https://a.example", "/v1/x", &[("type", "a'; rm -rf ~ '&b"), ("limit", "")]),
            "curl -H \"Authorization: Bearer $SEALPOST_API_KEY\" 'https://a.example/v1/x?type=a%27%3B+rm+-rf+%7E+%27%26b'"
        );
    }
}
