//! Whether every delivery ended as it should: what the server's history says against what the receivers saw. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::receivers::{Part, Seen};
use crate::cli::output;

/// One delivery as the API shows it at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    pub(super) id: String,
    pub(super) event: String,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    /// Outcome, and the status if there was one: `delivered 200`, `connect`.
    pub(super) attempts: Vec<String>,
}

impl Ended {
    pub(super) fn read(delivery: &Value) -> Self {
        let text = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let attempt = |attempt: &Value| {
            let outcome = text(attempt, "outcome");
            match attempt.get("statusCode").and_then(Value::as_u64) {
                Some(status) => format!("{outcome} {status}"),
                None => outcome,
            }
        };
        let attempts = delivery.get("attempts").and_then(Value::as_array);
        Self {
            id: text(delivery, "id"),
            event: text(delivery, "eventId"),
            status: text(delivery, "status"),
            reason: delivery.get("reason").and_then(Value::as_str).map(str::to_owned),
            attempts: attempts.into_iter().flatten().map(attempt).collect(),
        }
    }
}

/// One webhook's end.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) part: Part,
    pub(super) deliveries: usize,
    pub(super) delivered: usize,
    pub(super) verified: usize,
    pub(super) retried: usize,
    pub(super) failed: usize,
    /// Why deliveries failed, with how many for each reason.
    pub(super) why: String,
    pub(super) problems: Vec<String>,
}

impl Row {
    pub(super) fn json(&self) -> Value {
        json!({
            "webhook": self.part.name(), "deliveries": self.deliveries, "delivered": self.delivered,
            "verified": self.verified, "retried": self.retried, "failed": self.failed, "why": self.why,
            "problems": self.problems,
        })
    }
}

/// `events` are all that should have reached the webhook, `payloads` the exact text of those that were published.
pub(super) fn judge(
    part: Part,
    events: &[String],
    payloads: &BTreeMap<String, String>,
    ended: &[Ended],
    seen: &Seen,
) -> Row {
    let mut problems = Vec::new();
    let mut problem = |what: String| problems.push(format!("{}: {what}", part.name()));
    let got: BTreeSet<&str> = ended.iter().map(|delivery| delivery.event.as_str()).collect();
    for missing in events.iter().filter(|event| !got.contains(event.as_str())) {
        problem(format!("event {missing} has no delivery"));
    }
    if ended.len() != events.len() {
        problem(format!("{} deliveries for {} events", ended.len(), events.len()));
    }
    let mut verified = 0;
    for delivery in ended {
        let visit = seen.get(&delivery.id).cloned().unwrap_or_default();
        let refused = visit.refused_once;
        let (status, attempts): (&str, &[&str]) = match part {
            Part::Healthy => ("delivered", &["delivered 200"]),
            Part::Flaky if refused => ("delivered", &["http_status 503", "delivered 200"]),
            Part::Flaky => ("delivered", &["delivered 200"]),
            Part::Dead => ("failed", &["connect", "connect", "connect", "connect"]),
        };
        if delivery.status != status || delivery.attempts != attempts {
            problem(format!(
                "delivery {} is {} after [{}], expected {status} after [{}]",
                delivery.id,
                delivery.status,
                delivery.attempts.join(", "),
                attempts.join(", ")
            ));
        }
        if part == Part::Dead {
            continue;
        }
        let wanted = attempts.len() as u32;
        if visit.requests != wanted || visit.verified != wanted {
            problem(format!(
                "of delivery {} the receiver got {} and verified {}, expected {wanted}",
                delivery.id, visit.requests, visit.verified
            ));
        } else {
            verified += 1;
        }
        visit
            .complaints
            .iter()
            .for_each(|complaint| problem(format!("delivery {}: {complaint}", delivery.id)));
        if let Some(payload) = payloads.get(&delivery.event)
            && !contains(&visit.last_body, payload.as_bytes())
        {
            problem(format!("delivery {} does not carry its event's payload unchanged", delivery.id));
        }
    }
    let of = |status: &str| ended.iter().filter(|delivery| delivery.status == status).count();
    Row {
        part,
        deliveries: ended.len(),
        delivered: of("delivered"),
        verified,
        retried: ended.iter().filter(|delivery| delivery.attempts.len() > 1).count(),
        failed: of("failed"),
        why: why(ended),
        problems,
    }
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    part.is_empty() || body.windows(part.len()).any(|window| window == part)
}

/// `connect after 4 attempts`, the most frequent first.
fn why(ended: &[Ended]) -> String {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for delivery in ended.iter().filter(|delivery| delivery.status == "failed") {
        let last = delivery.attempts.last().map_or("no attempt", String::as_str);
        let attempts = output::count(delivery.attempts.len(), "attempt");
        let reason = match delivery.reason.as_deref() {
            Some("attempts_exhausted") | None => format!("{last} after {attempts}"),
            Some(reason) => format!("{reason} after {attempts}"),
        };
        *reasons.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    match reasons.as_slice() {
        [] => "-".to_owned(),
        [(only, _)] => only.clone(),
        many => {
            many.iter().map(|(reason, count)| format!("{count}x {reason}")).collect::<Vec<_>>().join(", ")
        }
    }
}

pub(super) fn table(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        [
            row.part.name().to_owned(),
            row.deliveries.to_string(),
            row.delivered.to_string(),
            row.verified.to_string(),
            row.retried.to_string(),
            row.failed.to_string(),
            row.why.clone(),
        ]
    });
    output::table(
        &["webhook", "deliveries", "delivered", "verified by receiver", "retried", "failed", "why"],
        cells,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::receivers::Visit;
    use bytes::Bytes;
    use expect_test::expect;

    fn delivery(id: &str, status: &str, attempts: &[&str]) -> Ended {
        Ended {
            id: id.into(),
            event: format!("e-{id}"),
            status: status.into(),
            reason: (status == "failed").then(|| "attempts_exhausted".to_owned()),
            attempts: attempts.iter().map(|a| (*a).to_owned()).collect(),
        }
    }

    fn visit(requests: u32, refused_once: bool) -> Visit {
        let last_body = Bytes::from_static(br#"{"event":{"payload":{"a":1}}}"#);
        Visit { requests, verified: requests, refused_once, last_body, ..Visit::default() }
    }

    fn events(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| format!("e-{id}")).collect()
    }

    #[test]
    fn a_good_end_is_a_table_without_problems() {
        let payloads = BTreeMap::from([("e-a".to_owned(), r#"{"a":1}"#.to_owned())]);
        let seen = Seen::from([("a".to_owned(), visit(1, false)), ("b".to_owned(), visit(2, true))]);
        let flaky = [
            delivery("a", "delivered", &["delivered 200"]),
            delivery("b", "delivered", &["http_status 503", "delivered 200"]),
        ];
        let dead = [delivery("c", "failed", &["connect"; 4])];
        let rows = [
            judge(Part::Flaky, &events(&["a", "b"]), &payloads, &flaky, &seen),
            judge(Part::Dead, &events(&["c"]), &payloads, &dead, &Seen::new()),
        ];
        assert!(rows.iter().all(|row| row.problems.is_empty()), "{rows:?}");
        expect![[r#"
            WEBHOOK  DELIVERIES  DELIVERED  VERIFIED BY RECEIVER  RETRIED  FAILED  WHY
            flaky    2           2          2                     1        0       -
            dead     1           0          0                     1        1       connect after 4 attempts"#]]
        .assert_eq(&table(&rows));
    }

    #[test]
    fn whatever_went_wrong_is_named() {
        let payloads = BTreeMap::from([("e-a".to_owned(), r#"{"a":2}"#.to_owned())]);
        let mut unverified = visit(1, false);
        unverified.verified = 0;
        unverified.complaints.push("signature: not genuine".into());
        let seen = Seen::from([("a".to_owned(), visit(1, false)), ("b".to_owned(), unverified)]);
        let ended = [
            delivery("a", "delivered", &["delivered 200"]),
            delivery("b", "failed", &["timeout", "delivered 200"]),
        ];
        let row = judge(Part::Healthy, &events(&["a", "b", "z"]), &payloads, &ended, &seen);
        expect![[r#"
            healthy: event e-z has no delivery
            healthy: 2 deliveries for 3 events
            healthy: delivery a does not carry its event's payload unchanged
            healthy: delivery b is failed after [timeout, delivered 200], expected delivered after [delivered 200]
            healthy: of delivery b the receiver got 1 and verified 0, expected 1
            healthy: delivery b: signature: not genuine"#]]
        .assert_eq(&row.problems.join("\n"));
    }
}
