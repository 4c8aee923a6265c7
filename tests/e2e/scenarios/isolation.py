"""One receiver hangs with a large backlog, its neighbour does not notice; disabling the hanging one takes effect at once.

`SEALPOST_E2E_PENDING` sets the backlog (20,000 by default; 1,000,000 is the full claim and takes minutes to publish)."""

from __future__ import annotations

import os
import statistics
import threading
import time
from pathlib import Path

from support.checks import Checks
from support.receiver import HANG, Receiver
from support.service import Client, Service
from support.tls import TestAuthority

PENDING = int(os.environ.get("SEALPOST_E2E_PENDING", "20000"))
# Bytes that left before the disable was acknowledged may still wait for this process's scheduler.
READ_LATENCY_S = 0.25


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    with (
        Receiver(authority, host="healthy.localhost") as healthy,
        Receiver(authority, lambda _: HANG, host="hanging.localhost") as hanging,
        Service(folder, authority.ca_file, SEALPOST_RETRY_INTERVALS="1s,1s,1s") as service,
    ):
        service.start()
        client = service.client
        client.create_webhook(healthy.url(), ["did_create"])
        stuck = client.create_webhook(hanging.url(), ["did_delete"])

        _figures(checks, "alone", *_measure(client, healthy, 200))
        _backlog(client, 200)
        hanging.wait_for_count(1, 10)
        _figures(checks, "beside a hanging receiver", *_measure(client, healthy, 200))
        began = time.monotonic()
        _backlog(client, PENDING)
        checks.note(f"{PENDING} deliveries for the hanging receiver accepted in {time.monotonic() - began:.1f} s")
        _figures(checks, f"beside one with {PENDING} pending", *_measure(client, healthy, 200))

        began = time.monotonic()
        answer = client.call(
            "PUT", f"/v1/webhooks/{stuck['id']}", {"events": stuck["events"], "url": stuck["url"], "disabled": True}
        )
        acknowledged = time.monotonic()
        checks.that("disabling it is answered", answer.status == 200 and answer.json["disabled"] is True, answer)
        checks.that("within 2 s", acknowledged - began <= 2.0, f"{acknowledged - began:.2f} s")
        checks.note(f"disabled in {(acknowledged - began) * 1000:.0f} ms")
        time.sleep(4.5)  # longer than an attempt, a retry wait and the start window together
        late = [r for r in hanging.snapshot() if r.arrived_at > acknowledged + READ_LATENCY_S]
        checks.equal("no request for it begins afterwards", len(late), 0)
        rows = client.get("/v1/webhooks/deliveries", webhookId=stuck["id"], limit=1000).json["data"]
        statuses = {(row["status"], row.get("reason")) for row in rows}
        checks.equal("its backlog shows as cancelled", statuses, {("cancelled", "webhook_disabled")})
        checks.that(
            "nothing of it is pending",
            client.get("/v1/webhooks/deliveries", webhookId=stuck["id"], status="pending", limit=1).json["data"] == [],
        )
        _figures(checks, "after disabling", *_measure(client, healthy, 100))


def _measure(client: Client, healthy: Receiver, count: int) -> tuple[list[float], int]:
    """Publishes at a steady pace; seconds from just before the publish to the receiver's reading of the request."""
    published: dict[str, float] = {}
    lock = threading.Lock()
    pace_s = 0.01

    def publish(share: range) -> None:
        for n in share:
            at = time.monotonic()
            answer = client.publish({"type": "did_create", "payload": {"n": n}})
            with lock:
                published[answer["id"]] = at
            time.sleep(max(0.0, pace_s * 2 - (time.monotonic() - at)))

    threads = [threading.Thread(target=publish, args=(range(start, count, 2),)) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    healthy.wait_for(lambda rs: published.keys() <= {r.event_id for r in rs}, 15)
    arrived = {r.event_id: r.arrived_at for r in healthy.snapshot()}
    return sorted(arrived[id] - at for id, at in published.items() if id in arrived), count


def _figures(checks: Checks, when: str, latencies: list[float], count: int) -> None:
    if not checks.equal(f"{when}: the healthy receiver gets everything", len(latencies), count):
        return
    p99 = latencies[int(len(latencies) * 0.99) - 1]
    checks.note(
        f"{when}: p50 {statistics.median(latencies) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, "
        f"worst {latencies[-1] * 1000:.1f} ms"
    )
    checks.that(f"{when}: p99 from publish to receipt under 1 s", p99 < 1.0, f"{p99:.3f} s")


def _backlog(client: Client, count: int) -> None:
    while count > 0:
        size = min(1000, count)
        client.publish([{"type": "did_delete", "payload": {"n": n}} for n in range(size)])
        count -= size
