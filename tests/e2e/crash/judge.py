"""What must hold after any number of kills, decided over plain records so that planted histories can be judged too.

Accepted means answered 202 (or 200 on repeating an unanswered publish). Nothing here talks to the service."""

from __future__ import annotations

import collections
import dataclasses

CAUSES = {"http_status", "timeout", "dns", "address_refused", "connect", "tls", "protocol", "unknown"}


@dataclasses.dataclass(frozen=True)
class Accepted:
    event_id: str
    type: str
    webhooks: frozenset[str]  # those subscribed to the type
    promised: int  # `deliveries` of the answer


@dataclasses.dataclass(frozen=True)
class Sent:
    """One request as a receiver saw it."""

    delivery_id: str
    event_id: str
    webhook_id: str
    attempt: int
    answered: int | None  # the status given; None if none was
    verified: bool = True


@dataclasses.dataclass(frozen=True)
class Attempt:
    number: int
    outcome: str
    status_code: int | None = None


@dataclasses.dataclass(frozen=True)
class Recorded:
    """One delivery as history tells it."""

    delivery_id: str
    event_id: str
    webhook_id: str
    status: str
    reason: str | None
    attempts: tuple[Attempt, ...]


@dataclasses.dataclass(frozen=True)
class Violation:
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def judge(
    accepted: list[Accepted], sent: list[Sent], history: list[Recorded], most_sends: int
) -> list[Violation]:
    """Every breach of a promise. An empty list is the only good answer."""
    found: list[Violation] = []

    def breach(rule: str, what: str) -> None:
        found.append(Violation(rule, what))

    requests: dict[str, list[Sent]] = collections.defaultdict(list)
    for request in sent:
        requests[request.delivery_id].append(request)
    recorded: dict[str, Recorded] = {}
    of_event: dict[str, list[Recorded]] = collections.defaultdict(list)
    for delivery in history:
        if delivery.delivery_id in recorded:
            breach("listed twice", delivery.delivery_id)
        recorded[delivery.delivery_id] = delivery
        of_event[delivery.event_id].append(delivery)

    for event in accepted:
        webhooks = collections.Counter(delivery.webhook_id for delivery in of_event[event.event_id])
        for webhook in event.webhooks - webhooks.keys():
            breach("lost", f"event {event.event_id} was accepted and has no delivery for webhook {webhook}")
        for webhook, count in webhooks.items():
            if count > 1:
                breach("doubled", f"event {event.event_id} has {count} deliveries for webhook {webhook}")
            if webhook not in event.webhooks:
                breach("stray", f"event {event.event_id} has a delivery for webhook {webhook}, not subscribed")
        if event.promised != len(event.webhooks):
            breach("miscounted", f"event {event.event_id}: {event.promised} promised, {len(event.webhooks)} subscribed")

    for delivery in history:
        _judge_delivery(delivery, requests.get(delivery.delivery_id, []), most_sends, breach)

    for delivery_id, of_delivery in requests.items():
        if delivery_id not in recorded:
            breach("unrecorded", f"delivery {delivery_id} was sent and is not in history")
        if len({(r.event_id, r.webhook_id) for r in of_delivery}) > 1:
            breach("mixed up", f"delivery {delivery_id} carried several events or webhooks")
        if any(not r.verified for r in of_delivery):
            breach("unsigned", f"a request of delivery {delivery_id} does not verify")
    return found


def _judge_delivery(delivery: Recorded, requests: list[Sent], most_sends: int, breach) -> None:
    name, attempts = f"delivery {delivery.delivery_id}", delivery.attempts
    by_number = {attempt.number: attempt for attempt in attempts}
    got_it = any(r.answered is not None and 200 <= r.answered < 300 for r in requests)

    if len(requests) > most_sends:
        breach("sent too often", f"{name}: {len(requests)} requests, at most {most_sends}")
    for number, count in collections.Counter(r.attempt for r in requests).items():
        if count > 1:
            breach("attempt sent twice", f"{name}: attempt {number} came {count} times")
        if not 1 <= number <= most_sends:
            breach("attempt number", f"{name}: a request says attempt {number}")
        if number not in by_number:
            breach("attempt unrecorded", f"{name}: attempt {number} was sent and is not in history")
    if sorted(by_number) != list(range(1, len(attempts) + 1)):
        breach("attempt numbers", f"{name}: history has {[a.number for a in attempts]}")

    for request in requests:
        attempt = by_number.get(request.attempt)
        # The receiver's status is known here; history may only say the same, or that it does not know.
        if attempt and attempt.status_code is not None and attempt.status_code != request.answered:
            breach("wrong status", f"{name}: {attempt} but the receiver said {request.answered}")
    for attempt in attempts:
        if attempt.outcome == "delivered" and not any(
            r.attempt == attempt.number and r.answered is not None and 200 <= r.answered < 300 for r in requests
        ):
            breach("made up", f"{name}: attempt {attempt.number} is recorded as delivered and was not")

    if delivery.status == "delivered":
        if not got_it:
            breach("lost", f"{name} is recorded as delivered, no receiver got it")
        if not attempts or attempts[-1].outcome != "delivered":
            breach("no cause", f"{name} is delivered without a last attempt that delivered")
    elif delivery.status == "failed":
        if not delivery.reason:
            breach("no cause", f"{name} failed without a reason")
        unnamed = [a for a in attempts if a.outcome not in CAUSES]
        if not attempts or unnamed:
            breach("no cause", f"{name} failed, its attempts say {[a.outcome for a in attempts]}")
        if len(attempts) < most_sends:
            breach("gave up early", f"{name} failed after {len(attempts)} of {most_sends} attempts")
        if attempts and all(a.outcome == "unknown" for a in attempts) and not requests:
            breach("lost", f"{name} failed with unknown attempts only and never reached the receiver")
    elif delivery.status == "pending":
        breach("unfinished", f"{name} is still pending after {len(attempts)} attempts")
    else:
        breach("lost", f"{name} ended as {delivery.status} ({delivery.reason}), nobody asked for that")
