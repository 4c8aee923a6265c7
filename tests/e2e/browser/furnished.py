"""A service in which something has happened: what the walks that look at every page look at.

Everything a stranger may write is hostile text here: a description, a URL, a payload, the answer of a receiver.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.receiver import Received, Receiver, Reply
from support.service import ADMIN_KEY, Client, Service
from support.tls import TestAuthority

HOSTILE = """"><img src=x onerror="window.stolen=1"><script>window.stolen=1</script><svg onload=window.stolen=1>"""
SUBSCRIBED = ["did_create", "OpenIdCredentialIssued", "credential_issued"]
CREDENTIAL = {"format": "ldp_vc", "userId": "u-1", "credential": {"name": HOSTILE}, "holder": "did:example:1"}


@dataclasses.dataclass
class House:
    """Ids by what is special about each."""

    service: Service
    receiver: Receiver
    operator: str
    empty: str  # the key of a tenant in which nothing has happened
    webhooks: dict[str, str]
    deliveries: dict[str, str]
    event: str

    def key(self, role: str, webhook: str | None = None) -> str:
        return make_key(self.service, self.operator, role, webhook)


@contextmanager
def furnished(folder: Path) -> Iterator[House]:
    authority = TestAuthority(folder / "tls")

    def answer(request: Received) -> Reply | int:
        return Reply(500, body=HOSTILE.encode()) if request.target.startswith(("/broken", "/slow")) else 200

    with Receiver(authority, answer) as receiver, Service(
        folder, authority.ca_file, SEALPOST_RETRY_INTERVALS="1s"
    ) as service:
        service.start()
        yield _furnish(service, receiver)


def make_operator(service: Service) -> str:
    return json.loads(service.run("bootstrap", "operator", "--json").stdout)["key"]


def make_key(service: Service, operator: str, role: str, webhook: str | None = None) -> str:
    """A key of tenant `default` with one role."""
    client = Client(service.address, operator)
    tenant = next(one for one in client.get("/v1/tenants").json["data"] if one["name"] == "default")
    body = {"name": f"{role} of the walk", "roles": [role], **({"webhookId": webhook} if webhook else {})}
    made = client.call("POST", f"/v1/tenants/{tenant['id']}/clients", body)
    if made.status != 201:
        raise AssertionError(f"client {role}: {made!r}")
    return made.json["clientSecret"]


def _furnish(service: Service, receiver: Receiver) -> House:
    client, operator = service.client, make_operator(service)
    own = {"name": "order.paid", "description": HOSTILE, "schema": {"type": "object", "title": HOSTILE}}
    client.call("POST", "/v1/webhooks/event-types", own)
    fresh = Client(service.address, operator).call("POST", "/v1/tenants", {"name": "Fresh", "subdomain": "fresh"}).json
    long = "/receivers/" + "department-of-very-long-names/" * 4
    webhooks = {
        "good": client.create_webhook(receiver.url("/good"), SUBSCRIBED, {"description": "Back end of the wallet"}),
        "broken": client.create_webhook(receiver.url("/broken"), SUBSCRIBED[:2], {"description": HOSTILE}),
        "slow": client.create_webhook(
            receiver.url("/slow" + long), ["did_create"], {"retry": {"intervals": ["1h"]}, "headers": {"x-team": "a"}}
        ),
        "paused": client.create_webhook(receiver.url("/paused"), ["did_create"], disabled=True),
    }
    made = client.call("POST", "/webhooks", {"url": receiver.url("/truvera"), "events": ["*"], "description": "For wallets"})
    if made.status != 200:
        raise AssertionError(f"Truvera webhook: {made!r}")
    ids = {name: webhook["id"] for name, webhook in webhooks.items()}
    for n in range(4):
        client.publish({"type": "did_create", "payload": {"did": f"did:example:{n}", "note": HOSTILE}})
    credential = client.publish({"type": "OpenIdCredentialIssued", "payload": CREDENTIAL})
    client.call("POST", f"/v1/webhooks/{ids['good']}/test", {})
    _rest(client, ids["slow"])
    deliveries = {name: client.pages("/v1/webhooks/deliveries", webhookId=id)[0]["id"] for name, id in ids.items()}
    return House(service, receiver, operator, fresh["client"]["clientSecret"], ids, deliveries, credential["id"])


def _rest(client: Client, slow: str) -> None:
    """Waits until nothing is pending but what waits for an hour after its first attempt."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pending = client.pages("/v1/webhooks/deliveries", status="pending")
        if all(row["webhookId"] == slow and row["attemptsUsed"] == 1 and "nextAttemptAt" in row for row in pending):
            return
        time.sleep(0.1)
    raise AssertionError("the deliveries did not come to rest")
