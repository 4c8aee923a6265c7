"""Every key is rotated under load, and receivers that only know what they were told before refuse nothing.

Each receiver judges a request as it arrives, with the key set it loaded before the latest rotation: that is what the
publication ahead of use promises. One of them never learns of the new webhook secret; the overlap serves it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from support import verify
from support.checks import Checks
from support.receiver import Received, Receiver
from support.service import Service
from support.tls import TestAuthority

ROTATIONS = 20
MASTER_ROTATIONS = 4
PUBLISHERS = 3
SIGNATURES = ["http-message-signatures", "standard-webhooks", "standard-webhooks-ed25519"]


class Judge:
    """A receiver with a key set of its own; refuses now and then, so that retries are signed by later keys."""

    def __init__(self, authority: TestAuthority, fails_every: int = 0):
        self.keys: verify.Keys | None = None
        self.secret = ""
        self.refused: list[str] = []
        self.signed_by: dict[str, int] = {}
        self.accepted: dict[str, int] = {}
        self.fails_every, self.seen = fails_every, 0
        self._lock = threading.Lock()
        self.receiver = Receiver(authority, self.judge)

    def judge(self, request: Received) -> int:
        keys = self.keys  # one set for the whole judgement
        for judge, key in (
            (verify.by_http_message_signatures, keys),
            (verify.by_mattr_rules, keys),
            (verify.by_standard_webhooks, self.secret),
        ):
            try:
                judge(request, key)
            except Exception as error:
                with self._lock:
                    self.refused.append(f"{judge.__name__}: {type(error).__name__} {error}")
                return 401
        with self._lock:
            kid = verify.SIGNATURE_INPUT.match(request.header("signature-input"))["keyid"]
            self.signed_by[kid] = self.signed_by.get(kid, 0) + 1
            self.seen += 1
            if self.fails_every and request.attempt == 1 and self.seen % self.fails_every == 0:
                return 503
            self.accepted[request.event_id] = self.accepted.get(request.event_id, 0) + 1
        return 200


class Publishers:
    """Threads that publish until they are told to end; what was answered with 202 counts."""

    def __init__(self, service: Service):
        self.service, self.ids, self.errors = service, [], []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(PUBLISHERS)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        n = 0
        while not self.ending.is_set():
            n += 1
            try:
                body = {"type": "did_create", "payload": {"n": n}}
                self.ids.append(self.service.client.publish(body)["id"])
            except (OSError, AssertionError) as error:
                if isinstance(error, AssertionError):
                    self.errors.append(str(error))
                time.sleep(0.05)  # the process is away; only what was accepted counts
            time.sleep(0.01)

    def end(self) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join(30)


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    judges = [Judge(authority), Judge(authority, fails_every=5)]
    service = Service(folder, authority.ca_file, SEALPOST_RETRY_INTERVALS="1s,1s,1s").start()
    try:
        client = service.client
        hooks = [
            client.create_webhook(judge.receiver.url(), ["did_create"], {"signatures": SIGNATURES})
            for judge in judges
        ]
        for judge, hook in zip(judges, hooks):
            judge.secret = client.secret(hook["id"])
            judge.keys = verify.Keys(client.jwks())
        publishers = Publishers(service)
        _rotate(checks, service, judges, hooks)
        publishers.end()
        checks.that("everything comes to rest", service.client.wait_until_quiet(30))
        checks.equal("publishing was never refused", publishers.errors[:3], [])
        checks.that("there was a load", len(publishers.ids) > 200, len(publishers.ids))
        for name, judge in zip(("a receiver", "one that fails at times"), judges):
            checks.equal(f"{name} refused no signature", judge.refused[:3], [])
            missing = [event for event in publishers.ids if event not in judge.accepted]
            checks.equal(f"{name} has every accepted event", missing[:3], [])
            checks.that(
                f"{name} was sent signatures of most keys", len(judge.signed_by) >= ROTATIONS // 2, judge.signed_by
            )
        _can_fail(checks, judges[0])
        _after_a_kill(checks, service, judges[0])
    finally:
        service.stop()
        for judge in judges:
            judge.receiver.close()


def _rotate(checks: Checks, service: Service, judges: list[Judge], hooks: list[dict]) -> None:
    failed: list[str] = []

    def rotate(*arguments: str) -> None:
        done = service.run("key", "rotate", *arguments, "--yes")
        if done.returncode != 0:
            failed.append(f"{arguments}: {done.stderr}")

    master_file = service.data / "master.key"
    masters = {master_file.read_text()}
    for n in range(ROTATIONS):
        # Loaded before the rotation, and not again until the next: as receivers do that keep a key set for long.
        for judge in judges:
            judge.keys = verify.Keys(service.client.jwks())
        rotate("--now")
        if n % (ROTATIONS // MASTER_ROTATIONS) == 1:
            rotate("--master")
            masters.add(master_file.read_text())
            rotate("--tokens")
        if n == ROTATIONS // 2:
            # The first receiver keeps the former secret, the second takes the new one after it signs.
            for hook in hooks:
                path = f"/v1/webhooks/{hook['id']}/secret/rotate"
                answer = service.client.call("POST", path, {"overlap": "24h"})
                checks.equal("a webhook secret is rotated with an overlap", answer.status, 200)
            judges[1].secret = service.client.secret(hooks[1]["id"])
        time.sleep(0.2)
    checks.equal("every rotation was carried out", failed, [])
    checks.equal("each master key is another", len(masters), MASTER_ROTATIONS + 1)


def _can_fail(checks: Checks, judge: Judge) -> None:
    """The same judgement with what is wrong: it says no."""
    request = judge.receiver.snapshot()[-1]
    kid = verify.SIGNATURE_INPUT.match(request.header("signature-input"))["keyid"]
    others = verify.Keys({"keys": [key for key in judge.keys.by_id.values() if key["kid"] != kid]})
    for name, arguments, options in (
        ("another body", (request, judge.keys), {"body": request.body + b" "}),
        ("a key set without the key", (request, others), {}),
    ):
        for by in (verify.by_http_message_signatures, verify.by_mattr_rules):
            checks.that(f"{name} is refused", verify.refuses(by, *arguments, **options), by.__name__)


def _after_a_kill(checks: Checks, service: Service, judge: Judge) -> None:
    checks.equal("the master key once more", service.run("key", "rotate", "--master", "--yes").returncode, 0)
    service.kill()
    service.start()
    judge.keys = verify.Keys(service.client.jwks())
    before = len(judge.accepted)
    event = service.client.publish({"type": "did_create", "payload": {}})["id"]
    judge.receiver.wait_for(lambda _: event in judge.accepted, 10)
    checks.equal("after a kill the store opens with the new key and signs", len(judge.accepted), before + 1)
    findings = json.loads(service.run("doctor", "--json").stdout)["findings"]
    checks.each("doctor finds nothing broken about keys", findings, _complaint)


def _complaint(finding: dict) -> str | None:
    # It warns that the key lies beside the data, as it does by default.
    return finding["what"] if finding["level"] == "fail" and "key" in finding["what"] else None
