"""Two nodes on one PostgreSQL database: what one accepts the other delivers, what one changes the other obeys, and what
one leaves behind when it is killed the other takes up.

The server is that of `SEALPOST_TEST_POSTGRES`, or one that is started for this scenario."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from support.checks import Checks
from support.postgres import master_key, store_url
from support.receiver import Receiver, Reply
from support.service import Client, Service
from support.tls import TestAuthority

EVENTS = 300
# A node is taken for lost after 15 s, and looked for every 5 s.
TAKEN_UP_WITHIN_S = 40
READ_LATENCY_S = 0.25


def run(checks: Checks, folder: Path) -> None:
    with store_url() as url:
        _run(checks, folder, url)


def _run(checks: Checks, folder: Path, url: str) -> None:
    authority = TestAuthority(folder / "tls")
    key_file = master_key(folder)

    def node(name: str) -> Service:
        return Service(
            folder / name,
            authority.ca_file,
            SEALPOST_STORE=url,
            SEALPOST_MASTER_KEY_FILE=str(key_file),
            SEALPOST_RETRY_INTERVALS="1s,1s,1s",
        )

    slow_s = 0.0
    with (
        Receiver(authority, host="healthy.localhost") as quick,
        Receiver(authority, lambda _: Reply(200, delay_s=slow_s), host="slow.localhost") as slow,
        node("one") as one,
        node("two") as two,
    ):
        starts = [threading.Thread(target=service.start) for service in (one, two)]
        for start in starts:
            start.start()
        for start in starts:
            start.join()
        hook = one.client.create_webhook(quick.url(), ["did_create"])
        checks.equal("a webhook made at one node is there at the other", two.client.get("/v1/webhooks").json["data"], [hook])

        _both_publish(one.client, two.client)
        checks.that("everything published at both arrives", quick.wait_for_count(EVENTS, 60), len(quick.snapshot()))
        time.sleep(1)
        arrived = [request.delivery_id for request in quick.snapshot()]
        checks.equal("each once", (len(arrived), len(set(arrived))), (EVENTS, EVENTS))
        checks.that("and both nodes show it so", all(_delivered(node.client) == EVENTS for node in (one, two)))

        _disable(checks, one.client, two.client, hook, quick)

        slow_hook = two.client.create_webhook(slow.url(), ["did_delete"])
        slow_s = 20.0
        ids = [one.client.publish({"type": "did_delete", "payload": {"n": n}})["id"] for n in range(4)]
        slow.wait_for_count(4, 20)
        one.kill()
        slow_s = 0.0
        began = time.monotonic()
        quiet = two.client.wait_until_quiet(TAKEN_UP_WITHIN_S + 20)
        checks.that("what a killed node was sending is sent by the other", quiet, two.log_tail())
        checks.note(f"taken up and delivered {time.monotonic() - began:.1f} s after the kill")
        rows = two.client.pages("/v1/webhooks/deliveries", webhookId=slow_hook["id"])
        checks.equal("all of it is delivered", sorted((r["eventId"], r["status"]) for r in rows), sorted((i, "delivered") for i in ids))
        checks.that("never more often than the retries allow", all(request.attempt <= 4 for request in slow.snapshot()))
        one.start()
        again = one.client.publish({"type": "did_delete", "payload": {"n": 4}})
        checks.that("it comes back and works", slow.wait_for(lambda all: any(r.event_id == again["id"] for r in all), 20))

        backup = two.run("backup", str(folder / "backup.db"))
        checks.that("a backup is refused and pg_dump named", backup.returncode != 0 and "pg_dump" in backup.stderr, backup)
        doctor = two.run("doctor")
        checks.that("doctor names both nodes", "2 nodes use the database" in doctor.stdout or "3 nodes use the database" in doctor.stdout, doctor.stdout)
        checks.equal("they end in order", (one.stop(), two.stop()), (0, 0))


def _both_publish(one: Client, two: Client) -> None:
    def publish(client: Client, first: int) -> None:
        for n in range(first, EVENTS, 2):
            client.publish({"type": "did_create", "payload": {"n": n}})

    threads = [threading.Thread(target=publish, args=pair) for pair in ((one, 0), (two, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _delivered(client: Client) -> int:
    return len(client.pages("/v1/webhooks/deliveries", status="delivered"))


def _disable(checks: Checks, one: Client, two: Client, hook: dict, receiver: Receiver) -> None:
    """Both publish without pause while one of them disables the webhook."""
    over = threading.Event()

    def publish(client: Client) -> None:
        while not over.is_set():
            client.publish({"type": "did_create", "payload": {}})

    threads = [threading.Thread(target=publish, args=(client,)) for client in (one, two)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    body = {"events": hook["events"], "url": hook["url"], "disabled": True}
    answer = one.call("PUT", f"/v1/webhooks/{hook['id']}", body)
    acknowledged = time.monotonic()
    checks.that("disabling it at one node is answered", answer.status == 200, answer)
    time.sleep(3)
    over.set()
    for thread in threads:
        thread.join()
    late = [request for request in receiver.snapshot() if request.arrived_at > acknowledged + READ_LATENCY_S]
    checks.equal("no request of either node begins afterwards", len(late), 0)
    statuses = {row["status"] for row in two.pages("/v1/webhooks/deliveries", webhookId=hook["id"])}
    checks.that("the other node shows what came of it", statuses <= {"delivered", "cancelled"}, statuses)
