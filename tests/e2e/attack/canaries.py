"""Every secret and every payload there can be is marked; afterwards no mark is found in a log, a metric, a list, the
database, its write-ahead log, a backup or what a crash leaves."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from urllib.parse import urlencode

from support.checks import Checks
from support.receiver import Receiver, Reply
from support.service import ADMIN_KEY, Client, Service
from support.tls import TestAuthority

PAYLOAD = "canary-payload-71c3aa"
SUBJECT = "did:example:canary-subject-0d41"
HEADER = "canary-header-c05fe2b1"
EXCERPT = "canary-excerpt-9a2f10"
# Every level there is, so that nothing is spared for being rare.
SETTINGS = {"SEALPOST_LOG": "trace", "SEALPOST_RETRY_INTERVALS": "1s", "SEALPOST_BASE_DOMAIN": "sealpost.example"}


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")

    def echo(request) -> Reply:
        if request.target == "/good":
            return Reply(200, body=request.body)
        return Reply(500, body=EXCERPT.encode() + request.body + str(request.headers).encode())

    with Receiver(authority, echo) as receiver, Service(folder, authority.ca_file, **SETTINGS) as service:
        service.start()
        client = service.client
        marks = {
            "the bootstrap key": ADMIN_KEY, "a payload": PAYLOAD, "a subject": SUBJECT, "an owner's header": HEADER,
            "an excerpt": EXCERPT,
        }
        _use(client, receiver, service, marks)
        checks.that("everything ends", client.wait_until_quiet(30))
        checks.that("the marks are many", len(marks) >= 11, list(marks))

        told = {
            "the log": service.log_file.read_bytes() + "\n".join(service.stdout).encode(),
            "the metrics": client.call("GET", "/metrics").body,
            "the audit log": json.dumps(client.pages("/v1/webhooks/audit")).encode(),
            "the list of deliveries": json.dumps(client.pages("/v1/webhooks/deliveries")).encode(),
            "the list of events": json.dumps(client.pages("/v1/webhooks/events")).encode(),
            "the analytic events": json.dumps(client.pages("/v1/events")).encode(),
            "what doctor says": service.run("doctor").stdout.encode(),
        }
        backup = folder / "backup"
        checks.equal("a backup is made", service.run("backup", str(backup)).returncode, 0)
        _crash(checks, service)
        told["the log of the crash"] = service.log_file.read_bytes()
        told |= {f"data/{path.name}": path.read_bytes() for path in _files(service.data)}
        told |= {f"backup/{path.name}": path.read_bytes() for path in _files(backup)}
        told |= {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

        for what, mark in marks.items():
            found = [place for place, text in told.items() if mark.encode() in text]
            checks.equal(f"{what} is nowhere to be found", found, [])
        checks.that("there was something to look through", len(told) >= 12 and b"ready" in told["the log"], sorted(told))
        # What must be there is found by the same search.
        checks.that("an event's type is found in the database", any(b"did_create" in text for place, text in told.items() if place.startswith("data/sealpost.db")))


def _use(client: Client, receiver: Receiver, service: Service, marks: dict[str, str]) -> None:
    """Makes one of everything that is secret, and uses it."""
    operator = marks["an operator's key"] = json.loads(service.run("bootstrap", "operator", "--json").stdout)["key"]
    good = client.create_webhook(receiver.url("/good"), ["did_create"])
    settings = {"headers": {"x-canary": f"Bearer {HEADER}"}}
    bad = client.create_webhook(receiver.url("/bad"), ["did_create"], settings)
    marks["a webhook's secret"] = client.secret(good["id"])
    client.call("POST", f"/v1/webhooks/{bad['id']}/secret/rotate")
    marks["a rotated secret"] = client.secret(bad["id"])
    truvera = client.call("POST", "/webhooks", {"url": receiver.url("/truvera"), "events": ["did_create"]}).json
    marks["a Truvera token"] = truvera["secret"]

    tenant = Client(service.address, operator).call("POST", "/v1/tenants", {"name": "t", "subdomain": "t"}).json
    marks["a client's secret"] = tenant["client"]["clientSecret"]
    grant = {
        "grant_type": "client_credentials", "client_id": tenant["client"]["clientId"],
        "client_secret": tenant["client"]["clientSecret"],
    }
    host = {"host": tenant["subdomain"]}
    token = client.call(
        "POST", "/oauth/token", urlencode(grant), token=None, headers=host, content_type="application/x-www-form-urlencoded"
    ).json["access_token"]
    marks["an access token"] = token
    client.call("GET", "/v1/webhooks", token=token, headers=host)

    body = {"type": "did_create", "payload": {"status": PAYLOAD}, "subjects": [SUBJECT]}
    event = client.publish(body)["id"]
    # And as what is refused: an unknown type, text after the end, a field too many, a wrong credential.
    client.call("POST", "/v1/webhooks/events", {**body, "type": PAYLOAD})
    client.call("POST", "/v1/webhooks/events", json.dumps(body) + PAYLOAD)
    client.call("POST", "/v1/webhooks/events", {**body, PAYLOAD: 1})
    client.call("POST", "/v1/webhooks/events", {**body, "subjects": PAYLOAD})
    client.call("GET", "/v1/webhooks", token=marks["a client's secret"])
    client.call("GET", f"/v1/webhooks/events/{event}?include=payload")
    client.call("PUT", f"/v1/webhooks/{bad['id']}/settings", {"headers": {"bad name": HEADER}})
    client.call("PATCH", f"/webhooks/{truvera['id']}", {"secret": [truvera["secret"]]})


def _crash(checks: Checks, service: Service) -> None:
    """It ends as after a panic in a place where none may be."""
    process = service.process
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    checks.equal("no core file may be written", line.split()[4:6], ["0", "0"])
    os.kill(process.pid, signal.SIGABRT)
    process.wait(10)
    checks.equal("it ends by that signal", process.returncode, -signal.SIGABRT)
    # A core file would be here, or where the kernel's pattern says, but for the limit.
    time.sleep(0.2)
    checks.equal("and leaves no core file", [str(path) for path in service.folder.rglob("core*")], [])


def _files(folder: Path) -> list[Path]:
    """Without the master key, which opens the rest and is in no list of what may be seen."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "master.key"]
