"""Erasure and backup: a canary is never on disk in the clear, and after erasure neither the store, nor its log, nor a
restored backup gives it back, although all current keys are there."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from support.checks import Checks
from support.receiver import Receiver, Reply
from support.service import Client, Service
from support.tls import TestAuthority

CANARY = "canary-4f1c8e0b7d"
SUBJECT = "did:example:subject-93b1c2"


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")

    def echo(request) -> Reply:
        # A receiver that repeats the payload in its error: the stored excerpt is derived data and must go as well.
        return Reply(422, body=request.body) if request.target == "/echo" else Reply(200)

    with Receiver(authority, echo) as receiver, Service(
        folder, authority.ca_file, SEALPOST_RETRY_INTERVALS="1s"
    ) as service:
        service.start()
        client = service.client
        client.create_webhook(receiver.url("/echo"), ["did_create"])
        hook = client.create_webhook(receiver.url("/ok"), ["did_create"])
        secret = client.secret(hook["id"])

        def publish(mark: str, subjects: list[str]) -> dict:
            payload = {"status": f"{CANARY}-{mark}"}
            return client.publish({"type": "did_create", "payload": payload, "subjects": subjects})

        kept = publish("kept", [])
        by_id = publish("by-id", [])
        by_subject = [publish(f"by-subject-{n}", [SUBJECT]) for n in range(2)]
        checks.that("all deliveries end", client.wait_until_quiet(20))
        erased = [by_id, *by_subject]
        checks.each(
            "before: the payload can be read back",
            [kept, *erased],
            lambda e: None if CANARY in _payload(client, e["id"]) else "it cannot",
        )
        echoed = client.pages("/v1/webhooks/deliveries", status="failed", eventId=by_id["id"])[0]["id"]
        excerpt = client.get(f"/v1/webhooks/deliveries/{echoed}").json["attempts"][0].get("responseExcerpt", "")
        checks.that("before: the excerpt holds it too", CANARY in excerpt, excerpt)
        for what, text in {"payload": CANARY, "subject": SUBJECT, "webhook secret": secret}.items():
            checks.equal(f"at rest no {what} is in the clear", _files_with(service.data, text.encode()), [])
        master = (service.data / "master.key").read_bytes()
        salts = _salts(service.data)
        checks.that("the store keeps a salt per payload", len(salts) >= 4, len(salts))

        backup = folder / "backup"
        done = service.run("backup", str(backup))
        checks.that("backup of the running service exits 0", done.returncode == 0, done.stdout + done.stderr)
        checks.that("it says that the master key is not in it", "master key" in (done.stdout + done.stderr).lower())
        checks.equal("nor is it", _files_with(backup, master) + _files_with(backup, CANARY.encode()), [])

        answer = client.call("DELETE", f"/v1/webhooks/events/{by_id['id']}/payload")
        checks.equal("erasing one payload: 204", (answer.status, answer.body), (204, b""))
        answer = client.call("POST", "/v1/webhooks/erasures", {"subject": SUBJECT})
        checks.that("erasing by subject: 202 and how many", answer.status == 202 and answer.json["count"] == 2, answer)
        checks.that("cancelled or ended, nothing is pending", client.wait_until_quiet(10))

        def judge(when: str, client: Client, data: Path) -> None:
            checks.each(
                f"{when}: no erased payload can be read",
                erased,
                lambda e: "it can" if CANARY in _payload(client, e["id"]) else None,
            )
            checks.that(f"{when}: the others can", CANARY in _payload(client, kept["id"]))
            checks.that(
                f"{when}: no excerpt gives it back",
                CANARY not in client.get(f"/v1/webhooks/deliveries/{echoed}").body.decode(),
            )
            left = _salts(data)
            gone = salts - left
            checks.that(f"{when}: three salts are destroyed", len(gone) == 3, f"{len(gone)} of {len(salts)}")
            checks.equal(
                f"{when}: no file, write-ahead log included, holds them",
                [path for salt in gone for path in _files_with(data, salt)],
                [],
            )
            redelivered = client.call("POST", f"/v1/webhooks/deliveries/{echoed}/redeliver")
            checks.equal(f"{when}: an erased payload cannot be redelivered", redelivered.status, 409)
            repeat = client.call(
                "POST",
                "/v1/webhooks/events",
                {"id": by_id["id"], "type": "did_create", "payload": {"status": f"{CANARY}-by-id"}},
            )
            checks.equal(f"{when}: repeating the event delivers nothing again", repeat.status, 200)

        judge("after erasure", client, service.data)
        sent = len(receiver.snapshot())
        later = client.publish({"type": "did_create", "payload": {"status": "after the backup"}})
        client.wait_until_quiet(10)
        service.stop()

        shutil.copytree(service.data, folder / "data-before-restore")
        refused = service.run("restore", str(backup))
        checks.that("restore does not replace a store unasked", refused.returncode == 4, refused.stdout + refused.stderr)
        done = service.run("restore", "--replace", str(backup))
        if not checks.that("restore exits 0", done.returncode == 0, done.stdout + done.stderr):
            return
        service.start()
        client = service.client
        judge("after restore", client, service.data)
        checks.equal("after restore: the webhooks are there", len(client.get("/v1/webhooks").json["data"]), 2)
        checks.equal("after restore: a later event is not", client.get(f"/v1/webhooks/events/{later['id']}").status, 404)
        checks.equal("after restore: nothing is sent again", len(receiver.snapshot()), sent + 3)


def _payload(client: Client, event_id: str) -> str:
    return client.get(f"/v1/webhooks/events/{event_id}", include="payload").body.decode()


def _files_with(folder: Path, needle: bytes) -> list[str]:
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    found = []
    for path in paths:
        if path.is_file() and path.name != "master.key" and needle in path.read_bytes():
            found.append(str(path))
    return found


def _salts(data: Path) -> set[bytes]:
    """What each payload's key is made from, as the store has it now; 32 random bytes, so they can be searched for."""
    with sqlite3.connect(f"file:{data}/sealpost.db?mode=ro", uri=True) as database:
        rows = database.execute("SELECT salt FROM payload WHERE salt IS NOT NULL").fetchall()
    database.close()
    return {bytes(salt) for (salt,) in rows if len(salt) == 32 and any(salt)}
