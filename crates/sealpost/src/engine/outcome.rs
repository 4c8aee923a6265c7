//! What an answer or its absence means for the attempt. Pure.

use std::time::Duration;

use sealpost_core::limits as bound;
use sealpost_core::outcome::{Outcome, retry_after};
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::WebhookSecrets;
use sealpost_egress::{Answer, EgressError};

use super::mask::masked;

/// An attempt's result in the words of the domain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    pub(super) http_status: Option<u16>,
    pub(super) error: Option<String>,
    /// Of a failed answer's body.
    pub(super) excerpt: Option<Vec<u8>>,
    pub(super) asked_wait: Option<Duration>,
}

/// `secrets`: what was sent and is not kept. `None`: the gate was closed, nothing left, the attempt is not used up.
pub(super) fn judge(
    result: Result<Answer, EgressError>,
    secrets: &WebhookSecrets,
    now: Timestamp,
) -> Option<Judged> {
    let error = match result {
        Ok(answer) => return Some(of_answer(&answer, secrets, now)),
        Err(EgressError::GateClosed) => return None,
        Err(error) => error,
    };
    let outcome = match &error {
        EgressError::Timeout { .. } => Outcome::Timeout,
        EgressError::Dns { .. } => Outcome::Dns,
        EgressError::AddressRefused { .. } => Outcome::AddressRefused,
        EgressError::Connect { .. } => Outcome::Connect,
        EgressError::Tls { .. } => Outcome::Tls,
        EgressError::Protocol { .. } | EgressError::GateClosed => Outcome::Protocol,
    };
    Some(Judged {
        outcome,
        http_status: None,
        error: Some(cut(error.to_string(), bound::ERROR_TEXT_BYTES)),
        excerpt: None,
        asked_wait: None,
    })
}

fn of_answer(answer: &Answer, secrets: &WebhookSecrets, now: Timestamp) -> Judged {
    let outcome = Outcome::of_status(answer.status);
    let failed = outcome != Outcome::Delivered;
    let excerpt = &answer.excerpt[..answer.excerpt.len().min(bound::EXCERPT_BYTES)];
    Judged {
        outcome,
        http_status: Some(answer.status),
        error: None,
        excerpt: (failed && !excerpt.is_empty()).then(|| masked(excerpt, secrets)),
        asked_wait: answer
            .retry_after
            .as_deref()
            .filter(|_| failed)
            .and_then(|value| retry_after(value, now)),
    }
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(answer: Answer) -> Judged {
        judge(Ok(answer), &WebhookSecrets::default(), Timestamp::default()).unwrap()
    }

    #[test]
    fn a_success_keeps_nothing_of_the_answer() {
        let answer = Answer { excerpt: "ok".into(), retry_after: Some("9".into()), ..Answer::status(200) };
        let judged = judged(answer);
        assert_eq!((judged.outcome, judged.excerpt, judged.asked_wait), (Outcome::Delivered, None, None));
    }

    #[test]
    fn a_failure_keeps_an_excerpt_and_the_wish_to_wait() {
        let answer = Answer {
            excerpt: vec![b'x'; 20_000].into(),
            retry_after: Some("9".into()),
            ..Answer::status(503)
        };
        let judged = judged(answer);
        assert_eq!(judged.outcome, Outcome::HttpStatus);
        assert_eq!(judged.excerpt.map(|e| e.len()), Some(bound::EXCERPT_BYTES));
        assert_eq!(judged.asked_wait, Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_closed_gate_is_no_attempt() {
        assert_eq!(
            judge(Err(EgressError::GateClosed), &WebhookSecrets::default(), Timestamp::default()),
            None
        );
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aé".into(), 2), "a");
    }
}
