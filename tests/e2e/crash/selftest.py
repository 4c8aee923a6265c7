#!/usr/bin/env python3
"""Feeds planted histories to the judge: a sound one must pass, and each planted fault must be named.

A crash test whose judge cannot fail proves nothing; this is run before it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash.judge import Accepted, Attempt, Recorded, Sent, judge  # noqa: E402
from support.checks import Checks  # noqa: E402

A, B = "webhook-a", "webhook-b"
SAID_503 = Attempt(1, "http_status", 503)


def sound() -> tuple[list[Accepted], list[Sent], list[Recorded]]:
    """One event for two webhooks: one delivered after a 503, one failed after four refusals of the connection; a second
    event whose process died while sending, so that the receiver got it and history says unknown."""
    accepted = [
        Accepted("e1", "did_create", frozenset({A, B}), 2),
        Accepted("e2", "did_delete", frozenset({A}), 1),
    ]
    sent = [
        Sent("d1", "e1", A, 1, 503),
        Sent("d1", "e1", A, 2, 200),
        Sent("d3", "e2", A, 2, 200),
    ]
    history = [
        Recorded("d1", "e1", A, "delivered", None, (SAID_503, Attempt(2, "delivered", 200))),
        Recorded("d2", "e1", B, "failed", "attempts_exhausted", tuple(Attempt(n, "connect") for n in (1, 2, 3, 4))),
        Recorded("d3", "e2", A, "failed", "outcome_unknown", tuple(Attempt(n, "unknown") for n in (1, 2, 3, 4))),
    ]
    return accepted, sent, history


def plants() -> dict[str, tuple[str, callable]]:
    """Fault -> the rule that must be named, and what is done to the sound records."""

    def history(index: int, **changes):
        def plant(accepted, sent, recorded):
            recorded[index] = dataclasses.replace(recorded[index], **changes)

        return plant

    def also_sent(*requests: Sent):
        return lambda accepted, sent, recorded: sent.extend(requests)

    def drop_sent(index: int):
        return lambda accepted, sent, recorded: sent.pop(index)

    def drop_history(index: int):
        return lambda accepted, sent, recorded: recorded.pop(index)

    unknown = tuple(Attempt(n, "unknown") for n in (1, 2, 3, 4))
    return {
        "an accepted event has vanished": ("lost", drop_history(2)),
        "one of its two deliveries has vanished": ("lost", drop_history(1)),
        "recorded as delivered, never received": ("made up", drop_sent(1)),
        "delivered without any request": ("lost", lambda a, s, h: s.__delitem__(slice(0, 2))),
        "unknown attempts only, no request": ("lost", drop_sent(2)),
        "failed without attempts": ("no cause", history(1, attempts=())),
        "failed without a reason": ("no cause", history(1, reason=None)),
        "failed with an attempt that names no cause": (
            "no cause",
            history(1, attempts=(*(Attempt(n, "connect") for n in (1, 2, 3)), Attempt(4, ""))),
        ),
        "failed after two attempts": ("gave up early", history(1, attempts=unknown[:2])),
        "still pending": ("unfinished", history(1, status="pending")),
        "cancelled by nobody": ("lost", history(1, status="cancelled", reason="webhook_disabled")),
        "a fifth request": ("sent too often", also_sent(*(Sent("d3", "e2", A, n, 200) for n in (1, 3, 4, 5)))),
        "one attempt on the wire twice": ("attempt sent twice", also_sent(Sent("d1", "e1", A, 2, 200))),
        "an attempt number beyond the cap": ("attempt number", also_sent(Sent("d1", "e1", A, 5, 200))),
        "a request that history does not know": ("attempt unrecorded", also_sent(Sent("d1", "e1", A, 3, 200))),
        "a delivery that history does not know": ("unrecorded", also_sent(Sent("d9", "e1", A, 1, 200))),
        "two deliveries of one event for one webhook": (
            "doubled",
            lambda a, s, h: h.append(dataclasses.replace(h[1], delivery_id="d4")),
        ),
        "a delivery for a webhook that did not subscribe": (
            "stray",
            lambda a, s, h: h.append(dataclasses.replace(h[1], delivery_id="d4", event_id="e2")),
        ),
        "a delivery that carries two events": ("mixed up", also_sent(Sent("d1", "e2", A, 3, 200))),
        "a signature that does not verify": ("unsigned", also_sent(Sent("d3", "e2", A, 1, 200, verified=False))),
        "history says 200, the receiver said 503": (
            "wrong status",
            history(0, attempts=(Attempt(1, "delivered", 200), Attempt(2, "delivered", 200))),
        ),
        "a gap in the attempt numbers": (
            "attempt numbers",
            history(1, attempts=tuple(Attempt(n, "connect") for n in (1, 2, 4, 5))),
        ),
        "the answer promised another count": (
            "miscounted",
            lambda a, s, h: a.__setitem__(0, dataclasses.replace(a[0], promised=3)),
        ),
    }


def run(checks: Checks) -> None:
    accepted, sent, history = sound()
    checks.equal("a sound history has no violation", judge(accepted, sent, history, most_sends=4), [])
    for fault, (rule, plant) in plants().items():
        accepted, sent, history = sound()
        plant(accepted, sent, history)
        rules = [violation.rule for violation in judge(accepted, sent, history, most_sends=4)]
        checks.that(f"planted: {fault} -> {rule}", rule in rules, rules)


def main() -> int:
    checks = Checks("crash selftest")
    run(checks)
    print(f"e2e: {checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
