"""Calls made up from the OpenAPI document by schemathesis, right ones and wrong ones, with ids that name nothing and
with ids that name something: no answer is 5xx, and every answer is one that the document tells.

A liar between the two shows first that the rig would notice: it turns an answer into a 500, takes a member out of one,
and says yes to what was refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from attack.liar import LIES, Liar
from support.checks import Checks
from support.service import ADMIN_KEY, Client, Service

CASES = int(os.environ.get("SEALPOST_ATTACK_CASES", "2000"))
SEED = int(os.environ.get("SEALPOST_ATTACK_SEED", "1"))
# What the document's edges alone make in a round, without chance; measured.
OF_EDGES = 2500
# A run of so many looks at the edges once, with ids that name nothing.
SHORT = 2000
WITHIN_S = 3600
ASKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)
TESTED = re.compile(r"(\d+) generated, (\d+) passed")
OPERATIONS = re.compile(r"Tested: (\d+)")


def run(checks: Checks, folder: Path) -> None:
    with Service(folder, SEALPOST_BASE_DOMAIN="sealpost.example") as service:
        service.start()
        client = service.client
        document = client.get("/openapi.json").json
        methods = {"get", "post", "put", "patch", "delete"}
        # All but the document itself, which is read before anything is made up.
        operations = sum(len(methods & path.keys()) for path in document["paths"].values()) - 1
        operator = Client(service.address, json.loads(service.run("bootstrap", "operator", "--json").stdout)["key"])
        names = _something_of_everything(client, operator)

        for lie in LIES:
            with Liar(service.address, lie) as liar:
                told = _schemathesis(folder, liar.address, ADMIN_KEY, {}, examples=5, only=f"^{lie.path}$")
            checks.that(f"the rig notices when {lie.what}", told.returncode == 1, told.stdout[-600:])

        each, made = max(2, (CASES // 2 - OF_EDGES) // operations), 0
        rounds = (
            ("ids that name nothing", ADMIN_KEY, {}, None, operations),
            ("ids that name something", ADMIN_KEY, names, None, operations - len(DELETING)),
            ("an operator's calls", operator.token, names, "^/v1/tenants", 7),
        )
        for what, key, ids, only, tried in rounds:
            told = _schemathesis(folder, service.address, key, ids, each, only)
            counts = TESTED.search(told.stdout)
            generated = int(counts[1]) if counts else 0
            made += generated
            every = f"{what}: {generated} calls, every answer is one of the document's and none is 5xx"
            if not checks.that(every, told.returncode == 0):
                print(told.stdout[-6000:])
            found = OPERATIONS.search(told.stdout)
            checks.equal(f"{what}: every operation was tried", int(found[1]) if found else 0, tried)
        checks.that(f"{made} calls are at least the {CASES} that were asked for", made >= CASES)
        checks.equal("it is ready afterwards", client.call("GET", "/readyz", token=None).status, 200)
        log = service.log_file.read_text(errors="replace")
        checks.that("nothing panicked", "panicked" not in log, log[-600:])
        checks.that("it ends well", service.stop() == 0)


# With ids that are there, these would end what the other calls are about.
DELETING = ("deleteWebhook", "deleteTruveraWebhook", "deleteTenant", "deleteClient", "deleteEventType")


def _something_of_everything(client: Client, operator: Client) -> dict[str, dict[str, str]]:
    """An id of each kind, by the paths that take it."""
    webhook = client.create_webhook("https://localhost:18443/", ["did_create"])["id"]
    truvera = client.call("POST", "/webhooks", {"url": "https://localhost:18443/t", "events": ["did_create"]}).json["id"]
    event = client.publish({"type": "did_create", "payload": {"status": "ok"}})["id"]
    delivery = client.pages("/v1/webhooks/deliveries")[0]["id"]
    tenant = operator.call("POST", "/v1/tenants", {"name": "attacked", "subdomain": "attacked"}).json["id"]
    made = operator.call("POST", f"/v1/tenants/{tenant}/clients", {"name": "c", "roles": ["issuer"]})
    client.call("POST", "/v1/webhooks/event-types", {"name": "of_ours", "description": "d"})
    paths = {
        "/v1/webhooks/events/{id}": {"id": event},
        "/v1/webhooks/events/{id}/payload": {"id": event},
        "/v1/webhooks/deliveries/{id}": {"id": delivery},
        "/v1/webhooks/deliveries/{id}/redeliver": {"id": delivery},
        "/v1/webhooks/deliveries/{id}/cancel": {"id": delivery},
        "/webhooks/{id}": {"id": str(truvera)},
        "/v1/webhooks/event-types/{name}": {"name": "of_ours"},
        "/v1/tenants/{id}/clients/{clientId}": {"id": tenant, "clientId": made.json["clientId"]},
        "/v1/webhooks/{id}/token/rotate": {"id": str(truvera)},
    }
    for path in ("", "/redeliver", "/test", "/settings", "/secret", "/secret/rotate"):
        paths["/v1/webhooks/{id}" + path] = {"id": webhook}
    for path in ("", "/limits", "/analytics", "/clients"):
        paths["/v1/tenants/{id}" + path] = {"id": tenant}
    return paths


def _schemathesis(
    folder: Path, address: str, key: str, ids: dict[str, dict[str, str]], examples: int, only: str | None = None,
) -> subprocess.CompletedProcess:
    """Exit status 0: every answer was as the document says; 1: one was not."""
    settings = []
    for path, names in ids.items():
        parameters = ", ".join(f"{json.dumps('path.' + name)} = {json.dumps(value)}" for name, value in names.items())
        settings += ["[[operations]]", f"include-path = {json.dumps(path)}", f"parameters = {{ {parameters} }}"]
    file = folder / "schemathesis.toml"
    file.write_text("\n".join(settings) + "\n")
    excluded = [f"--exclude-operation-id={operation}" for operation in DELETING] if ids else []
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(file), "run",
        f"http://{address}/openapi.json",
        "--header", f"Authorization: Bearer {key}",
        "--checks", ",".join(ASKED), "--phases", "fuzzing" if ids and CASES <= SHORT else "coverage,fuzzing", "--max-examples", str(examples),
        "--seed", str(SEED), "--continue-on-failure", "--no-shrink", "--warnings", "off", "--no-color",
        "--suppress-health-check", "all", *excluded,
        *(["--include-path-regex", only] if only else []),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WITHIN_S)

