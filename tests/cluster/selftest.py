"""Feeds hand-made histories to the checker: a sound one must pass, and each that is broken in one way must be named.

A rig whose checker cannot fail proves nothing; this is run before every run."""

from __future__ import annotations

import dataclasses

from support.checks import Checks

from .checker import RULES, Terms, check
from .history import NEVER, Accepted, Attempt, Change, Fault, History, Recorded, Request, Webhook

TERMS = Terms()
A, B, OTHER = "webhook-a", "webhook-b", "webhook-of-acme"
OK_1 = (Attempt(1, "delivered", 200),)
FOUR_500 = tuple(Attempt(number, "http_status", 500) for number in (1, 2, 3, 4))


def request(delivery: str, event: str, at: float, attempt: int = 1, answered: int | None = 200, **more) -> Request:
    """Read 10 ms after it may have come, and answered 10 ms later."""
    answered_at = at + 0.02 if answered is not None else None
    values = {"webhook_id": A, "url": "/a", "tenant": "default", **more}
    return Request(delivery, event, values.pop("webhook_id"), attempt, values.pop("url"), values.pop("tenant"), at, at + 0.01, answered, answered_at, **values)


def sound() -> History:
    """e1 delivered at A; e2 failed at A after four answers; e3 of another tenant; e4 came while B was disabled; e5 was
    delivered at A by a node that was killed before it could store that, and again."""
    create = lambda webhook, url: Change(webhook, "create", 0.0, 1.0, url)  # noqa: E731
    b_changes = (
        create(B, "/b1"),
        Change(B, "disable", 20.0, 21.1, "/b1"),
        Change(B, "enable", 30.0, 31.1, "/b1"),
        Change(B, "move", 40.0, 41.1, "/b2"),
        Change(B, "delete", 50.0, 51.1, "/b2"),
    )
    return History(
        accepted=[
            Accepted("e1", "default", "did_create", 5.0, 5.1),
            Accepted("e2", "default", "did_create", 6.0, 6.1),
            Accepted("e3", "acme", "did_create", 7.0, 7.1),
            Accepted("e4", "default", "did_delete", 25.0, 25.1),
            Accepted("e5", "default", "did_create", 60.0, 60.1),
            Accepted("e6", "default", "did_delete", 35.0, 35.1),
            Accepted("e7", "default", "did_delete", 45.0, 45.1),
        ],
        webhooks=[
            Webhook(A, "default", frozenset({"did_create"}), (create(A, "/a"),)),
            Webhook(B, "default", frozenset({"did_delete"}), b_changes),
            Webhook(OTHER, "acme", frozenset({"did_create"}), (create(OTHER, "/o"),)),
        ],
        requests=[
            request("d1", "e1", 5.2),
            *(request("d2", "e2", at, number, 500) for number, at in enumerate((6.2, 7.3, 8.4, 9.5), 1)),
            request("d3", "e3", 7.2, webhook_id=OTHER, url="/o", tenant="acme"),
            request("d5", "e5", 60.2),
            request("d5", "e5", 77.0, 2),
            request("d6", "e6", 35.2, webhook_id=B, url="/b1"),
            request("d7", "e7", 45.2, webhook_id=B, url="/b2"),
        ],
        faults=[Fault("kill", "one", 60.25, 60.26), Fault("pause", "two", 80.0, 82.0)],
        recorded=[
            Recorded("d1", "e1", A, "delivered", None, OK_1),
            Recorded("d2", "e2", A, "failed", "attempts_exhausted", FOUR_500),
            Recorded("d3", "e3", OTHER, "delivered", None, OK_1),
            Recorded("d4", "e4", B, "cancelled", "webhook_disabled", ()),
            Recorded("d5", "e5", A, "delivered", None, (Attempt(1, "unknown"), Attempt(2, "delivered", 200))),
            Recorded("d6", "e6", B, "delivered", None, OK_1),
            Recorded("d7", "e7", B, "delivered", None, OK_1),
        ],
    )


def plants() -> dict[str, tuple[str, callable]]:
    """What is broken -> the rule that must be named, and what is done to the sound history."""

    def change(name: str, at: int, **values):
        def plant(history: History) -> None:
            records = getattr(history, name)
            records[at] = dataclasses.replace(records[at], **values)

        return plant

    def also(*requests: Request):
        return lambda history: history.requests.extend(requests)

    def drop(name: str, at: int):
        return lambda history: getattr(history, name).pop(at)

    def both(*steps):
        return lambda history: [step(history) for step in steps]

    unknown = tuple(Attempt(number, "unknown") for number in (1, 2, 3, 4))
    at_b = {"webhook_id": B, "url": "/b1"}
    twice = both(
        also(request("d1", "e1", 6.5, 2)),
        change("recorded", 0, attempts=(Attempt(1, "timeout"), Attempt(2, "delivered", 200))),
    )

    def many(history: History) -> None:
        """A kill that is followed by more duplicates than requests were under way."""
        for number in range(3):
            event, delivery = f"m{number}", f"dm{number}"
            history.accepted.append(Accepted(event, "default", "did_create", 60.0, 60.1))
            attempts = (Attempt(1, "unknown"), Attempt(2, "delivered", 200))
            history.recorded.append(Recorded(delivery, event, A, "delivered", None, attempts))
            # Begun long after the kill's sight was over; only its answer's allowance reaches it.
            history.requests += [request(delivery, event, 60.2), request(delivery, event, 77.0 + number, 2)]
        history.requests += [request("d5", "e5", 79.0, number) for number in (3, 4)]
        history.recorded[4] = dataclasses.replace(
            history.recorded[4],
            attempts=(*(Attempt(number, "unknown") for number in (1, 2, 3)), Attempt(4, "delivered", 200)),
        )

    return {
        "an accepted event has no delivery": ("lost", drop("recorded", 0)),
        "one that came while its webhook was disabled has none": ("lost", drop("recorded", 3)),
        "recorded as delivered, never received": ("lost", drop("requests", 0)),
        "still pending": ("unfinished", change("recorded", 0, status="pending")),
        "failed after two attempts": ("gave up early", change("recorded", 1, attempts=FOUR_500[:2])),
        "failed without a reason": ("gave up early", change("recorded", 1, reason=None)),
        "failed with an attempt that names no cause": (
            "gave up early",
            change("recorded", 1, attempts=(*FOUR_500[:3], Attempt(4, ""))),
        ),
        "cancelled, and nobody disabled anything": (
            "cancelled",
            both(change("recorded", 0, status="cancelled", reason="webhook_disabled"), drop("requests", 0)),
        ),
        "cancelled by what ended before it came": (
            "cancelled",
            lambda history: history.webhooks.__setitem__(
                1, dataclasses.replace(history.webhooks[1], changes=history.webhooks[1].changes[:3])
            )
            or change("recorded", 5, status="cancelled", reason="webhook_disabled", attempts=())(history),
        ),
        "a retry 100 ms before its time": ("early", change("requests", 2, earliest=7.1, seen_at=7.11)),
        "a retry before its wait, the attempt between never came": (
            "early",
            both(drop("requests", 2), change("requests", 2, seen_at=8.15, earliest=8.14)),
        ),
        "a send after a disable was acknowledged": ("after change", also(request("d6", "e6", 21.2, 2, **at_b))),
        "a send to the former URL after a move": ("after change", also(request("d7", "e7", 41.2, 2, **at_b))),
        "a send after a delete was acknowledged": (
            "after change",
            also(request("d7", "e7", 60.0, 2, webhook_id=B, url="/b2")),
        ),
        "a send of a node that went on long before": (
            "after change",
            both(
                change("faults", 1, began=20.5, ended=22.0),
                also(request("d6", "e6", 23.0, 2, **at_b)),
            ),
        ),
        "a fifth request": ("sent too often", also(request("d2", "e2", 11.0, 5, 500))),
        "one attempt on the wire twice": ("attempt sent twice", also(request("d2", "e2", 9.6, 4, 500))),
        "sent again, and nothing happened to anybody": ("duplicate", twice),
        "sent again after a pause shorter than the lease": (
            "duplicate",
            both(twice, change("faults", 1, began=5.1, ended=9.0)),
        ),
        "sent again after a restart in order": (
            "duplicate",
            both(twice, change("faults", 1, kind="restart", began=5.1, ended=7.0)),
        ),
        "more duplicates than requests were under way": ("too many duplicates", many),
        "another tenant's payload": ("foreign tenant", change("requests", 0, tenant="acme")),
        "another tenant's event": (
            "foreign tenant",
            also(request("d8", "e3", 7.3, webhook_id=A, tenant="acme")),
        ),
        "a signature that does not verify": ("unsigned", change("requests", 0, complaint="FailedToVerify")),
        "two deliveries of one event for one webhook": (
            "doubled",
            lambda history: history.recorded.append(dataclasses.replace(history.recorded[0], delivery_id="d9")),
        ),
        "a delivery for a webhook that did not subscribe": (
            "stray",
            lambda history: history.recorded.append(
                Recorded("d9", "e1", B, "delivered", None, OK_1)
            ),
        ),
        "a delivery for a webhook that was deleted before": (
            "stray",
            change("accepted", 6, asked_at=52.0, answered_at=52.1),
        ),
        "a delivery of an event that nobody published": ("made up", change("recorded", 0, event_id="e0")),
        "recorded as delivered at an attempt that was refused": (
            "made up",
            change("recorded", 1, attempts=(*FOUR_500[:3], Attempt(4, "delivered", 200))),
        ),
        "a delivery that carries two events": ("mixed up", also(request("d1", "e2", 7.0, 2))),
        "an attempt after the one that delivered": (
            "stale write",
            change("recorded", 4, attempts=(Attempt(1, "delivered", 200), Attempt(2, "delivered", 200))),
        ),
        "a gap in the attempt numbers": (
            "attempt numbers",
            change("recorded", 1, attempts=(*unknown[:2], Attempt(4, "unknown"), Attempt(5, "unknown"))),
        ),
        "five attempts": ("attempt numbers", change("recorded", 1, attempts=(*FOUR_500, Attempt(5, "timeout")))),
        "a request that history does not know": ("unrecorded", also(request("d2", "e2", 12.0, 6, 500))),
        "a delivery that history does not know": ("unrecorded", also(request("d9", "e1", 6.0))),
        "history says 503, the receiver said 500": (
            "wrong status",
            change("recorded", 1, attempts=(Attempt(1, "http_status", 503), *FOUR_500[1:])),
        ),
    }


def allowed() -> dict[str, callable]:
    """What looks like a breach and is none."""

    def resumed(history: History) -> None:
        history.faults[1] = Fault("pause", "two", 20.5, 24.0)
        history.requests.append(request("d6", "e6", 24.1, 2, webhook_id=B, url="/b1"))
        history.recorded[5] = dataclasses.replace(
            history.recorded[5], attempts=(Attempt(1, "timeout"), Attempt(2, "delivered", 200))
        )
        # d6's own delivered request goes, so that the order of its attempts is that of a retry.
        history.requests = [each for each in history.requests if not (each.delivery_id == "d6" and each.attempt == 1)]

    def unacknowledged(history: History) -> None:
        changes = history.webhooks[1].changes
        last = dataclasses.replace(changes[-1], answered_at=NEVER)
        history.webhooks[1] = dataclasses.replace(history.webhooks[1], changes=(*changes[:-1], last))
        history.requests[-1] = dataclasses.replace(history.requests[-1], earliest=60.0, seen_at=60.01, answered_at=60.02)

    def unsure(history: History) -> None:
        history.unsure.append("e1")
        history.accepted.pop(0)

    return {
        "a node was paused at its gate, and wrote when it went on": resumed,
        "a delete that was never acknowledged": unacknowledged,
        "an event whose publisher never got an answer": unsure,
    }


def run(checks: Checks) -> None:
    checks.equal("a sound history has no violation", [str(each) for each in check(sound(), TERMS).violations], [])
    for fine, change in allowed().items():
        history = sound()
        change(history)
        checks.equal(f"allowed: {fine}", [str(each) for each in check(history, TERMS).violations], [])
    named = set()
    for broken, (rule, plant) in plants().items():
        history = sound()
        plant(history)
        rules = {violation.rule for violation in check(history, TERMS).violations}
        named |= {rule} & rules
        checks.that(f"broken: {broken} -> {rule}", rule in rules, sorted(rules))
    checks.equal("every rule has a history that breaks it", set(RULES) - named, set())
