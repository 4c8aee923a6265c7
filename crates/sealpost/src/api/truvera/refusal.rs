//! Refusals as Truvera's clients read them: `{status, type, message}`, whatever the status.
//!
//! The message is a sentence for a person. It names fields and event types and repeats no other value that was sent,
//! since one of them may be the token.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::api::problem::{Detail, Problem};

#[derive(Serialize)]
struct Shown<'a> {
    status: u16,
    r#type: &'a str,
    message: &'a str,
}

pub(in crate::api) fn response(problem: &Problem) -> Response {
    let (status, code, said) = problem.facts();
    let joined;
    let message = match problem {
        Problem::Invalid(details) => {
            joined = details.iter().map(sentence).collect::<Vec<_>>().join("; ");
            &joined
        }
        Problem::NotFound(_) => "Resource Not Found",
        _ => said,
    };
    problem.with_header(shown(status, &Shown { status: status.as_u16(), r#type: code, message }))
}

fn sentence(detail: &Detail) -> String {
    let msg = match detail.msg.as_str() {
        "Invalid value" if detail.value.is_none() => "must be given",
        msg => msg,
    };
    if detail.param.is_empty() { format!("the body {msg}") } else { format!("{}: {msg}", detail.param) }
}

fn shown(status: StatusCode, body: &Shown<'_>) -> Response {
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(CONTENT_TYPE, JSON)], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::problem::Location;

    #[tokio::test]
    async fn every_problem_has_a_status_a_type_and_a_sentence_without_values() {
        let body = |name: &str, msg: &str, value: Option<serde_json::Value>| {
            Detail::new(Location::Body, name, msg, value)
        };
        let wrong = vec![
            body("url", "Invalid value", None),
            body("secret", "must be the present one", Some("hunter2".into())),
            body("", "must be an object", None),
        ];
        let mut said = String::new();
        for problem in [
            Problem::Invalid(wrong),
            Problem::Unauthorized,
            Problem::LimitReached("all webhooks are used".into()),
            Problem::Forbidden,
            Problem::no_such("id", "17"),
            Problem::MethodNotAllowed { allow: "GET".into() },
            Problem::TooFast(std::time::Duration::from_millis(1500)),
            Problem::Internal,
        ] {
            let response = response(&problem);
            let header =
                problem.header().map(|(name, _)| response.headers()[name].to_str().unwrap().to_owned());
            let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            said.push_str(&format!("{body} {}\n", header.unwrap_or_default()));
        }
        expect_test::expect![[r#"
            {"status":400,"type":"BadRequest","message":"url: must be given; secret: must be the present one; the body must be an object"} 
            {"status":401,"type":"Unauthorized","message":"Unauthorized"} Bearer
            {"status":402,"type":"LimitReached","message":"all webhooks are used"} 
            {"status":403,"type":"Forbidden","message":"Forbidden"} 
            {"status":404,"type":"NotFound","message":"Resource Not Found"} 
            {"status":405,"type":"MethodNotAllowed","message":"Method Not Allowed"} GET
            {"status":429,"type":"TooManyRequests","message":"The tenant makes more calls, or publishes more events, than it may"} 2
            {"status":500,"type":"InternalServerError","message":"Internal Server Error"} 
        "#]].assert_eq(&said);
    }
}
