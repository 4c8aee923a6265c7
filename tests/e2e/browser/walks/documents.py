"""The pictures of the documents: a service as it might be at a small issuer, seen on a wide screen and on a phone.

Not among the walks of `./test`: run it by name when the console's looks change, and commit `docs/pictures`."""

from __future__ import annotations

import json
import time
from pathlib import Path

from browser.chromium import Visitor, chromium
from support.checks import Checks
from support.corpus import load, types
from support.receiver import Received, Receiver, Reply
from support.service import ADMIN_KEY, REPOSITORY, Client, Service
from support.tls import TestAuthority

FOLDER = REPOSITORY / "docs" / "pictures"
DESKTOP, PHONE = (1280, 640), (390, 780)
EVENTS = 90


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    def answer(request: Received) -> Reply | int:
        if request.target == "/partner/revocations":
            return Reply(503, body=b'{"error":"maintenance until 14:00"}')
        return 204

    with Receiver(authority, answer) as receiver, Service(
        folder, authority.ca_file, SEALPOST_RETRY_INTERVALS="2s,10m,1h"
    ) as service, chromium() as browser:
        service.start()
        client = service.client
        _furnish(client, receiver)
        time.sleep(4)
        FOLDER.mkdir(parents=True, exist_ok=True)
        failing = client.pages("/v1/webhooks/deliveries", status="pending")[0]["id"]
        with browser.visitor(service.address, ADMIN_KEY, reduced_motion="reduce", device_scale_factor=1) as visitor:
            _picture(visitor, "/console/webhooks", "webhooks", DESKTOP)
            _picture(visitor, f"/console/deliveries/{failing}", "delivery", DESKTOP)
            _picture(visitor, "/console/webhooks/new", "add-endpoint", PHONE)
        taken = sorted(path.stem for path in FOLDER.glob("*.png"))
        checks.equal("the pictures are there", taken, ["add-endpoint", "delivery", "webhooks"])


def _picture(visitor: Visitor, path: str, name: str, size: tuple[int, int]) -> None:
    visitor.page.set_viewport_size({"width": size[0], "height": size[1]})
    if visitor.go(path) != 200:
        raise AssertionError(f"{path}: {visitor.status}")
    visitor.page.screenshot(path=FOLDER / f"{name}.png")


def _furnish(client: Client, receiver: Receiver) -> None:
    events = load()
    known = types(events)
    credentials = [name for name in known if "redential" in name]
    client.call("POST", "/webhooks", {"url": receiver.url("/truvera"), "events": ["*"]})
    for path, of, description in (
        ("/wallet", credentials, "Back end of the wallet"),
        ("/archive", known, "Archive of everything"),
        ("/statistics", ["OpenIdCredentialIssuedSummary"], "Figures, without anybody's data"),
        ("/partner/revocations", [name for name in known if name.startswith(("credential", "did"))] or known, "Partner"),
    ):
        client.create_webhook(receiver.url(path), of, {"description": description})
    for event in events[:EVENTS]:
        client.publish(event.line)
    client.publish({"type": "did_create", "payload": json.loads('{"status":"finalized","did":"did:cheqd:testnet:6d1e"}')})
