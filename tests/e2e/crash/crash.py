#!/usr/bin/env python3
"""The crash test: the real binary under load, killed with `kill -9` at random moments, started again on the same folder.

    crash.py [--kills N] [--seed N] [--keep] [--selftest]

Publishers repeat what was not answered until it is; receivers outlive every kill and keep what they saw. In the end the
judge (judge.py) compares answers, receivers and history. The last line is `e2e: N passed, N failed`."""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash import selftest  # noqa: E402
from crash.judge import Accepted, Attempt, Recorded, Sent, judge  # noqa: E402
from support import verify  # noqa: E402
from support.checks import Checks  # noqa: E402
from support.receiver import Received, Receiver, Reply  # noqa: E402
from support.service import Service, binary  # noqa: E402
from support.tls import TestAuthority  # noqa: E402

WAITS = "1s,1s,1s"
MOST_SENDS = 4
PUBLISHERS = 4
PAUSE_S = 0.015
SUMMARY = "OpenIdCredentialIssuedSummary"
# Type -> the receivers that subscribe to it. The summary is derived, never published.
SUBSCRIBERS = {
    "did_create": ("healthy", "flaky"),
    "did_delete": ("slow",),
    "did_update_key": ("healthy", "flaky", "slow"),
    "OpenIdCredentialIssued": ("healthy",),
    SUMMARY: ("healthy", "flaky"),
}
RULES = {
    "lost": "nothing accepted is lost",
    "doubled": "no event has two deliveries for one webhook",
    "stray": "no webhook gets what it did not subscribe to",
    "miscounted": "every answer counted its deliveries",
    "listed twice": "history lists each delivery once",
    "unrecorded": "every request belongs to a recorded delivery",
    "mixed up": "a delivery carries one event to one webhook",
    "unsigned": "every request verifies",
    "sent too often": f"no delivery is sent more than {MOST_SENDS} times",
    "attempt sent twice": "one attempt is at most one request",
    "attempt number": "no request claims an attempt beyond the cap",
    "attempt unrecorded": "every request's attempt is in history",
    "attempt numbers": "attempts are numbered without gaps",
    "wrong status": "history never contradicts a receiver",
    "made up": "no delivery is made up",
    "no cause": "every end names its cause",
    "gave up early": "no delivery fails before its attempts are used up",
    "unfinished": "every delivery comes to an end",
}


class Publisher(threading.Thread):
    """Publishes until told to stop; repeats each request under the same id or key until it is answered."""

    def __init__(self, number: int, service: Service, rng: random.Random, stop: threading.Event):
        super().__init__(daemon=True)
        self.number, self.service, self.rng, self.stop_event = number, service, rng, stop
        self.accepted: list[Accepted] = []
        self.payloads: dict[str, str] = {}
        self.webhooks: dict[str, str] = {}  # receiver -> webhook id
        self.firsts = self.repeats = self.unanswered = 0
        self.refusals: list[str] = []
        self.count = 0

    def run(self) -> None:
        while not self.stop_event.is_set():
            self._publish_one()
            time.sleep(self.rng.uniform(0, 2 * PAUSE_S))

    def _event(self, with_id: bool) -> dict:
        self.count += 1
        kind = self.rng.choices(
            ["did_create", "did_delete", "did_update_key", "OpenIdCredentialIssued"], weights=[6, 1, 1, 2]
        )[0]
        payload = {"publisher": self.number, "n": self.count, "fill": "x" * self.rng.choice([0, 100, 2000, 30_000])}
        if kind == "OpenIdCredentialIssued":
            payload["credential"] = {"secret": self.count}
        event = {"type": kind, "payload": payload}
        if with_id:
            event["id"] = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        return event

    def _publish_one(self) -> None:
        shape = self.rng.choices(["single", "keyed", "array", "ndjson"], weights=[5, 2, 2, 1])[0]
        events = [self._event(shape != "keyed") for _ in range(3 if shape in ("array", "ndjson") else 1)]
        headers, content_type = {}, "application/json"
        if shape == "keyed":
            headers["idempotency-key"] = f"{self.number}-{self.count}"
        if shape == "ndjson":
            body = "".join(json.dumps(event) + "\n" for event in events)
            content_type = "application/x-ndjson"
        else:
            body = json.dumps(events if shape == "array" else events[0])
        while True:
            try:
                answer = self.service.client.call(
                    "POST", "/v1/webhooks/events", body, headers=headers, content_type=content_type, timeout_s=10
                )
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
                if self.stop_event.is_set() and self.stop_event.hard:
                    return
                time.sleep(0.01)
                continue
            if answer.status in (202, 200):
                break
            if answer.status == 503:
                time.sleep(0.05)
                continue
            self.refusals.append(repr(answer))
            return
        if answer.status == 202:
            self.firsts += 1
        else:
            self.repeats += 1
        said = answer.json
        results = said["data"] if shape in ("array", "ndjson") else [said]
        if len(results) != len(events):
            self.refusals.append(f"{len(results)} results for {len(events)} events")
            return
        for event, result in zip(events, results):
            if "id" in event and result["id"] != event["id"]:
                self.refusals.append(f"id {result['id']} for {event['id']}")
            self._accept(event["type"], result, event["payload"])
            for derived in result.get("derived", []):
                summary = {name: value for name, value in event["payload"].items() if name != "credential"}
                self._accept(derived["type"], derived, summary)

    def _accept(self, kind: str, result: dict, payload: dict) -> None:
        webhooks = frozenset(self.webhooks[name] for name in SUBSCRIBERS[kind])
        self.accepted.append(Accepted(result["id"], kind, webhooks, result["deliveries"]))
        self.payloads[result["id"]] = json.dumps(payload, separators=(",", ":"))


class HardStop(threading.Event):
    """Set: end after the request in hand. `hard`: give even that up (the service will not come back)."""

    hard = False


class Log:
    """What all receivers saw, verified on arrival (a signature expires after five minutes)."""

    def __init__(self):
        self.lock = threading.Lock()
        self.entries: list[tuple[Received, str | None]] = []
        self.keys: verify.Keys | None = None

    def watch(self, decide):
        def answer(request: Received) -> Reply | int:
            complaint = None
            try:
                verify.by_mattr_rules(request, self.keys)
            except Exception as error:
                complaint = f"{type(error).__name__}: {error}"
            with self.lock:
                self.entries.append((request, complaint))
            return decide(request)

        return answer


def receivers(authority: TestAuthority, log: Log, seed: int) -> dict[str, Receiver]:
    rng = random.Random(seed)

    def flaky(_: Received) -> Reply:
        return Reply(503) if rng.random() < 0.3 else Reply(200)

    def slow(_: Received) -> Reply:
        return Reply(200, delay_s=rng.uniform(0.1, 0.4))

    return {
        "healthy": Receiver(authority, log.watch(lambda _: 200), host="healthy.localhost"),
        "flaky": Receiver(authority, log.watch(flaky), host="flaky.localhost"),
        "slow": Receiver(authority, log.watch(slow), host="slow.localhost"),
    }


def subscribe(service: Service, found: dict[str, Receiver]) -> dict[str, str]:
    webhooks = {}
    for name, receiver in found.items():
        types = [kind for kind, names in SUBSCRIBERS.items() if name in names]
        webhooks[name] = service.client.create_webhook(receiver.url(), types, {"maxInFlight": 32})["id"]
    return webhooks


def crash(checks: Checks, folder: Path, kills: int, seed: int) -> None:
    print(f"{kills} kills, seed {seed}", flush=True)
    rng = random.Random(seed)
    authority, log, stop = TestAuthority(folder / "tls"), Log(), HardStop()
    found = receivers(authority, log, seed)
    service = Service(folder, authority.ca_file, SEALPOST_RETRY_INTERVALS=WAITS, SEALPOST_LOG="warn").start()
    log.keys = verify.Keys(service.client.jwks())
    webhooks = subscribe(service, found)
    publishers = [Publisher(n, service, random.Random(rng.random()), stop) for n in range(PUBLISHERS)]
    for publisher in publishers:
        publisher.webhooks = webhooks
        publisher.start()

    began = time.monotonic()
    starting = serving = 0
    died: list[str] = []
    try:
        for kill in range(kills):
            if kill:
                service.spawn()
            # A third of the moments are in the first 30 ms, where it starts and takes up what the last one left; half of
            # the others are counted from its being ready.
            early = kill > 0 and rng.random() < 0.33
            if not early and (rng.random() < 0.5 or kill == 0):
                if not service.is_ready(30):
                    died.append(service.log_tail(4))
            time.sleep(rng.uniform(0, 0.03) if early else rng.uniform(0.02, 0.4))
            if service.process.poll() is not None:
                died.append(f"exit {service.process.returncode}: {service.log_tail(4)}")
            ready = service.is_ready(0)
            serving, starting = serving + ready, starting + (not ready)
            service.kill()
        service.start()
        stop.set()
        for publisher in publishers:
            publisher.join(60)
    finally:
        stop.hard = True
        stop.set()
    loaded = time.monotonic() - began
    quiet = service.client.wait_until_quiet(120, poll_s=0.25)
    rested = time.monotonic() - began - loaded

    accepted = [event for publisher in publishers for event in publisher.accepted]
    history = _history(service)
    with log.lock:
        entries = list(log.entries)
    incomplete = [r for receiver in found.values() for r in receiver.snapshot() if not r.complete]
    sent = [
        Sent(r.delivery_id, r.event_id, r.header("x-mattr-webhook-id") or "", r.attempt, r.answered, complaint is None)
        for r, complaint in entries
    ] + [Sent(r.delivery_id, r.event_id, r.header("x-mattr-webhook-id") or "", r.attempt, None) for r in incomplete]
    violations = judge(accepted, sent, history, MOST_SENDS)

    _report(accepted, publishers, sent, history, len(incomplete), starting, serving, loaded, rested)
    checks.equal(f"{kills} kills were made", starting + serving, kills)
    checks.equal("it never ended by itself", died, [])
    checks.equal("no publish was refused", [r for p in publishers for r in p.refusals][:3], [])
    checks.that("it comes to rest", quiet)
    by_rule = collections.defaultdict(list)
    for violation in violations:
        by_rule[violation.rule].append(violation.what)
    for rule, statement in RULES.items():
        wrong = by_rule.pop(rule, [])
        checks.that(statement, not wrong, f"{len(wrong)} times: {'; '.join(wrong[:3])}")
    checks.equal("no other rule was broken", dict(by_rule), {})
    _contents(checks, publishers, entries, log.keys)
    _teeth(checks, kills, starting, serving, accepted, history)

    status = service.stop()
    checks.equal("SIGTERM afterwards: exit 0", status, 0)
    with sqlite3.connect(f"{service.data}/sealpost.db") as database:
        checks.equal("the database is sound", database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
    database.close()
    checks.that("no panic was logged", b"panicked" not in service.log_file.read_bytes(), service.log_tail(6))
    for receiver in found.values():
        receiver.close()


def _history(service: Service) -> list[Recorded]:
    """Every delivery with its attempts, as the API shows them."""
    rows = service.client.pages("/v1/webhooks/deliveries")
    details: list[Recorded | None] = [None] * len(rows)

    def load(share: range) -> None:
        for index in share:
            row = service.client.get(f"/v1/webhooks/deliveries/{rows[index]['id']}").json
            details[index] = Recorded(
                delivery_id=row["id"],
                event_id=row["eventId"],
                webhook_id=row["webhookId"],
                status=row["status"],
                reason=row.get("reason"),
                attempts=tuple(Attempt(a["number"], a["outcome"], a.get("statusCode")) for a in row["attempts"]),
            )

    threads = [threading.Thread(target=load, args=(range(n, len(rows), 4),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [row for row in details if row is not None]


def _contents(checks: Checks, publishers, entries, keys: verify.Keys) -> None:
    payloads = {id: text for publisher in publishers for id, text in publisher.payloads.items()}

    def complaint(entry) -> str | None:
        request, _ = entry
        if request.event_id not in payloads:
            return None  # committed, and its publisher never came to repeat it
        got = verify.BODY.match(request.body)["payload"].decode()
        return None if got == payloads[request.event_id] else f"event {request.event_id}: {got[:80]}"

    checks.each("every request carries what was published", entries, complaint)
    fresh = [request for request, _ in entries if time.time() - request.wall < 240]
    sample = random.Random(1).sample(fresh, min(200, len(fresh)))
    checks.each(
        "http-message-signatures (PyPI) verifies a sample",
        sample,
        lambda request: verify.by_http_message_signatures(request, keys),
    )


def _teeth(checks: Checks, kills: int, starting: int, serving: int, accepted, history) -> None:
    """That the run was hard enough to mean something."""
    checks.that("events were accepted all along", len(accepted) >= 2 * kills, len(accepted))
    if kills >= 20:
        checks.that("kills hit it both while starting and while serving", starting > 0 and serving > 0, (starting, serving))
        unknown = sum(1 for row in history for attempt in row.attempts if attempt.outcome == "unknown")
        checks.that("kills hit sends in flight", unknown > 0, unknown)


def _report(accepted, publishers, sent, history, incomplete, starting, serving, loaded, rested) -> None:
    status = collections.Counter(row.status for row in history)
    outcome = collections.Counter(attempt.outcome for row in history for attempt in row.attempts)
    reasons = collections.Counter(row.reason for row in history if row.status == "failed")
    per_delivery = collections.Counter(collections.Counter(s.delivery_id for s in sent).values())
    say = lambda counts: ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=str))  # noqa: E731
    print(f"  kills: {serving} while serving, {starting} while starting; {loaded:.1f} s of load, {rested:.1f} s to rest")
    print(
        f"  events accepted: {len(accepted)} (publishes answered 202: {sum(p.firsts for p in publishers)}, "
        f"200 on repeating: {sum(p.repeats for p in publishers)}, unanswered tries: {sum(p.unanswered for p in publishers)})"
    )
    print(f"  deliveries: {say(status)}" + (f"; failed for: {say(reasons)}" if reasons else ""))
    print(f"  attempts: {say(outcome)}")
    print(f"  requests seen: {len(sent)} ({incomplete} cut short); deliveries by number of requests: {say(per_delivery)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 under load; nothing accepted is lost")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one each run, printed")
    parser.add_argument("--keep", action="store_true", help="leave the data folder behind")
    parser.add_argument("--selftest", action="store_true", help="only show that the judge finds planted faults")
    wanted = parser.parse_args()
    checks = Checks("crash")
    print("crash selftest", flush=True)
    selftest.run(checks)
    if not wanted.selftest:
        print(f"\ncrash\nbinary: {binary()}", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="sealpost-crash-"))
        try:
            crash(checks, folder, wanted.kills, wanted.seed if wanted.seed is not None else random.randrange(1 << 32))
        except Exception:
            checks.crashed()
        if wanted.keep or checks.failed:
            print(f"  kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\ne2e: {checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed or not checks.passed else 0


if __name__ == "__main__":
    sys.exit(main())
