"""Failures and what follows: retries with the same delivery id and a fresh signature, then an end that names its causes.
A redirect is a failure like any other and is never followed."""

from __future__ import annotations

import collections
import threading
from pathlib import Path

from support import verify
from support.checks import Checks
from support.receiver import Received, Receiver, Reply, free_port
from support.service import Service
from support.tls import TestAuthority


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    seen: collections.Counter = collections.Counter()
    lock = threading.Lock()

    def answer(request: Received) -> Reply | int:
        path = request.target
        with lock:
            seen[path, request.delivery_id] += 1
            nth = seen[path, request.delivery_id]
        if path == "/flaky":
            return Reply(503, body=b"try later") if nth == 1 else 200
        if path == "/broken":
            return Reply(500, body=b"no such table: receipts")
        if path == "/moved":
            return Reply(307, headers=(("location", receiver.url("/elsewhere")),))
        if path == "/gone":
            return 410
        return 200

    with Receiver(authority, answer) as receiver, Service(
        folder, authority.ca_file, SEALPOST_RETRY_INTERVALS="1s,1s,1s"
    ) as service:
        service.start()
        client = service.client
        both = {"signatures": ["http-message-signatures", "standard-webhooks"]}
        hooks = {
            path: client.create_webhook(receiver.url("/" + path), ["did_create"], both)
            for path in ("flaky", "broken", "moved", "gone")
        }
        hooks["closed"] = client.create_webhook(f"https://localhost:{free_port()}/closed", ["did_create"])
        keys, secret = verify.Keys(client.jwks()), client.secret(hooks["flaky"]["id"])
        event = client.publish({"type": "did_create", "payload": {"status": "ok", "n": 1}})
        checks.equal("one event, five deliveries", event["deliveries"], 5)
        checks.that("all of them come to an end", client.wait_until_quiet(30))

        by_path = collections.defaultdict(list)
        for request in receiver.snapshot():
            by_path[request.target].append(request)
        ends = {row["webhookId"]: row for row in client.pages("/v1/webhooks/deliveries", eventId=event["id"])}
        ends = {
            name: client.get(f"/v1/webhooks/deliveries/{ends[hook['id']]['id']}").json
            for name, hook in hooks.items()
        }

        flaky = by_path["/flaky"]
        checks.equal("a receiver that recovers gets it twice", len(flaky), 2)
        checks.equal("the attempt header counts", [r.attempt for r in flaky], [1, 2])
        checks.equal("delivery id stays", len({r.delivery_id for r in flaky}), 1)
        bodies = [verify.BODY.match(r.body) for r in flaky]
        checks.equal("so does the body's deliveryId", len({b["delivery"] for b in bodies}), 1)
        checks.equal("deliveryTimestamp is that of the attempt", len({b["at"] for b in bodies}), 2)
        checks.equal("the event is the same bytes", len({(b["event"], b["payload"], b["timestamp"]) for b in bodies}), 1)
        created = [int(verify.SIGNATURE_INPUT.match(r.header("signature-input"))["created"]) for r in flaky]
        checks.that("each attempt is signed afresh", created[1] > created[0], created)
        checks.equal("webhook-id stays", len({r.header("webhook-id") for r in flaky}), 1)
        checks.each(
            "each attempt verifies",
            flaky,
            lambda r: verify.by_http_message_signatures(r, keys) or verify.by_standard_webhooks(r, secret),
        )
        waited = flaky[1].arrived_at - flaky[0].arrived_at
        checks.that("the wait is never shorter than set, at most a tenth longer (and some slack)", 1.0 <= waited < 1.6, waited)

        checks.equal("history: the recovered one is delivered", _shape(ends["flaky"]), ("delivered", [("http_status", 503), ("delivered", 200)]))
        checks.equal("four times 500 is failed", _shape(ends["broken"]), ("failed", [("http_status", 500)] * 4))
        checks.equal("four requests, no more", len(by_path["/broken"]), 4)
        checks.that("a failed one has a reason", bool(ends["broken"].get("reason")), ends["broken"])
        checks.that(
            "a failed attempt keeps what the receiver said",
            "no such table: receipts" in (ends["broken"]["attempts"][0].get("responseExcerpt") or ""),
            ends["broken"]["attempts"][0],
        )
        checks.equal("a redirect is a failure", _shape(ends["moved"]), ("failed", [("http_status", 307)] * 4))
        checks.equal("and is not followed", len(by_path["/elsewhere"]), 0)
        checks.equal("410 is an ordinary failure", _shape(ends["gone"]), ("failed", [("http_status", 410)] * 4))
        checks.equal("a closed port is `connect`", _shape(ends["closed"]), ("failed", [("connect", None)] * 4))

        _afterwards(checks, client, receiver, hooks["broken"], ends["broken"], event)


def _afterwards(checks: Checks, client, receiver: Receiver, hook, end, event) -> None:
    """What a person does next: redeliver by hand, send a test, cancel."""
    receiver.answer = lambda _: 200
    before = len(receiver.snapshot())

    def latest() -> Received | None:
        """The newest request to this webhook since then, if any."""
        return next((r for r in reversed(receiver.snapshot()[before:]) if r.target == "/broken"), None)

    again = client.call("POST", f"/v1/webhooks/deliveries/{end['id']}/redeliver")
    checks.equal("redeliver answers 202", again.status, 202)
    receiver.wait_for(lambda _: latest() is not None, 10)
    request = latest()
    checks.that(
        "a redelivery has a new delivery id and the same event",
        request is not None and request.delivery_id != end["id"] and request.event_id == event["id"],
        request,
    )
    before = len(receiver.snapshot())
    tested = client.call("POST", f"/v1/webhooks/{hook['id']}/test", {})
    checks.equal("test answers 202", tested.status, 202)
    receiver.wait_for(lambda _: latest() is not None, 10)
    request = latest()
    checks.equal("a test delivery says so", request and request.header("x-sealpost-test"), "true")

    receiver.answer = lambda _: 503
    event = client.publish({"type": "did_create", "payload": {"status": "cancel me"}})
    receiver.wait_for(lambda rs: any(r.event_id == event["id"] and r.target == "/broken" for r in rs), 10)
    row = client.pages("/v1/webhooks/deliveries", eventId=event["id"], webhookId=hook["id"])[0]
    cancelled = client.call("POST", f"/v1/webhooks/deliveries/{row['id']}/cancel")
    checks.equal("cancel answers 200", cancelled.status, 200)
    client.wait_until_quiet(15)
    end = client.get(f"/v1/webhooks/deliveries/{row['id']}").json
    checks.equal("a cancelled delivery stays cancelled", end["status"], "cancelled")
    sent = sum(1 for r in receiver.snapshot() if r.delivery_id == row["id"])
    checks.that("and is not sent again", sent <= 1, sent)


def _shape(delivery: dict) -> tuple:
    return delivery["status"], [(a["outcome"], a.get("statusCode")) for a in delivery["attempts"]]
