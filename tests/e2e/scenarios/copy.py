"""An installation moves from the embedded store to PostgreSQL: what was delivered is not sent again, what was pending is
sent once, and the folder it came from is refused."""

from __future__ import annotations

import time
from pathlib import Path

from support.checks import Checks
from support.postgres import master_key, store_url
from support.receiver import Receiver, Reply
from support.service import Service
from support.tls import TestAuthority

DELIVERED = 60
PENDING = 40


def run(checks: Checks, folder: Path) -> None:
    with store_url() as url:
        _run(checks, folder, url)


def _run(checks: Checks, folder: Path, url: str) -> None:
    authority = TestAuthority(folder / "tls")
    status = 503
    # A delivery that failed waits until after the move.
    own = {"SEALPOST_MASTER_KEY_FILE": str(master_key(folder)), "SEALPOST_RETRY_INTERVALS": "25s,25s,25s"}
    before = Service(folder / "before", authority.ca_file, **own)
    after = Service(folder / "after", authority.ca_file, SEALPOST_STORE=url, **own)
    with (
        Receiver(authority, host="healthy.localhost") as well,
        Receiver(authority, lambda _: Reply(status), host="slow.localhost") as away,
        before,
        after,
    ):
        before.start()
        hook = before.client.create_webhook(well.url(), ["did_create"])
        late = before.client.create_webhook(away.url(), ["did_delete"])
        secret = before.client.secret(hook["id"])
        keys = before.client.jwks()
        events = [{"type": "did_create", "payload": {"n": n}} for n in range(DELIVERED)]
        before.client.publish(events, headers={"idempotency-key": "the-first"})
        waiting = [before.client.publish({"type": "did_delete", "payload": {"n": n}})["id"] for n in range(PENDING)]
        well.wait_for_count(DELIVERED, 60)
        away.wait_for_count(PENDING, 60)
        running = before.run("copy", "--from", str(before.data), "--to", url)
        checks.equal("a folder that is served is not copied", running.returncode, 4)
        checks.equal("it ends in order", before.stop(), 0)

        copied = before.run("copy", "--from", str(before.data), "--to", url)
        checks.that("the copy says what it moved", f"send: {PENDING}" in copied.stdout, copied)
        checks.that("and shows no password", url not in copied.stdout + copied.stderr, copied)
        again = before.run("copy", "--from", str(before.data), "--to", url)
        checks.that("a second one is refused", again.returncode == 4 and "was moved" in again.stderr, again)
        before.spawn()
        checks.that("the folder is refused from then on", not before.is_ready(20) and "was moved" in before.log_tail(), before.log_tail())

        status = 200
        after.start()
        client = after.client
        checks.equal("webhooks are there", {row["id"] for row in client.pages("/v1/webhooks")}, {hook["id"], late["id"]})
        checks.equal("secrets open", client.secret(hook["id"]), secret)
        checks.equal("keys are the same", client.jwks(), keys)
        repeat = client.call("POST", "/v1/webhooks/events", events, headers={"idempotency-key": "the-first"})
        checks.equal("a repeat is answered as one", repeat.status, 200)
        checks.that("what was pending is delivered", client.wait_until_quiet(60), after.log_tail())
        time.sleep(1)
        first = [request.delivery_id for request in well.snapshot()]
        checks.equal("what was delivered is not sent again", (len(first), len(set(first))), (DELIVERED, DELIVERED))
        attempts = sorted((request.event_id, request.attempt) for request in away.snapshot())
        checks.equal("what was pending is sent once more", attempts, sorted((i, n) for i in waiting for n in (1, 2)))
        checks.equal("it ends in order as well", after.stop(), 0)
