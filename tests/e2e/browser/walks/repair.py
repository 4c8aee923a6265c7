"""The walk of somebody who is called because a receiver is down: see it fail, mend it, redeliver, see it delivered. Pages
follow what happens without being loaded again."""

from __future__ import annotations

import threading
from pathlib import Path

from browser.chromium import chromium
from support.checks import Checks
from support.receiver import Received, Receiver, Reply
from support.service import ADMIN_KEY, Service
from support.tls import TestAuthority


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    mended = threading.Event()
    answers = threading.Event()

    def answer(_: Received) -> Reply | int:
        if not mended.is_set():
            return Reply(500, body=b"no such table: receipts")
        answers.wait(2)
        return 200

    with Receiver(authority, answer) as receiver, Service(
        folder, authority.ca_file, SEALPOST_RETRY_INTERVALS="1s,1s"
    ) as service, chromium() as browser:
        service.start()
        client = service.client
        webhook = client.create_webhook(receiver.url("/receipts"), ["did_create"])
        with browser.visitor(service.address, ADMIN_KEY) as visitor:
            page = visitor.page
            visitor.go("/console/deliveries")
            checks.that("before anything was sent the list says so", visitor.shows("No deliveries yet"))
            visitor.mark()
            client.publish({"type": "did_create", "payload": {"did": "did:example:1"}})
            checks.that("a delivery shows in the open list", visitor.shows("did_create", "tbody"))
            checks.that("its end shows too", visitor.shows("failed", "tbody"))
            checks.that("nobody loaded the page again", visitor.stayed())

            visitor.follow("did_create")
            failed = visitor.path
            checks.that("the delivery has its three attempts", visitor.shows("Attempt 3"))
            checks.equal("no more", page.locator(".timeline li").count(), 3)
            checks.equal("each with its status", page.locator(".timeline li").get_by_text("answered 500").count(), 3)
            page.locator(".timeline summary").first.click()
            checks.that("and with what the receiver said", visitor.shows("no such table: receipts"))
            checks.that("the reason is told", visitor.shows("attempts exhausted"))

            mended.set()
            before = len(receiver.snapshot())
            visitor.press("Redeliver")
            checks.that("redelivering opens a delivery of its own", visitor.path != failed, visitor.path)
            checks.that("which says what it is", "new delivery" in visitor.notice(), visitor.notice())
            checks.that("and waits for the receiver", visitor.shows("pending", "#state"))
            visitor.mark()
            answers.set()
            checks.that("when that answers, the page says so", visitor.shows("delivered", "#state"))
            checks.that("with the attempt in the timeline", visitor.shows("Attempt 1", "#attempts"))
            checks.that("without being loaded again", visitor.stayed())
            fresh = receiver.snapshot()[before:]
            checks.equal("the receiver got it once", len(fresh), 1)
            checks.equal("as the delivery of this page", fresh[0].delivery_id if fresh else None, visitor.path.rpartition("/")[2])
            visitor.go(failed)
            checks.that("the old delivery stays failed", visitor.shows("failed", "#state"))

            visitor.go(f"/console/webhooks/{webhook['id']}")
            checks.that("the webhook is well again", visitor.shows("active", "#state"))
            checks.equal("nothing went wrong in the browser", visitor.complaints, [])
