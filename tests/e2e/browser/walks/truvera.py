"""The walk of Truvera's own guide: sign in, Webhooks, Add Endpoint, a URL, Receive All, create, copy the secret token once;
then an event arrives with that token in its body."""

from __future__ import annotations

import json
import re
from pathlib import Path

from browser.chromium import SIGN_IN, chromium
from support.checks import Checks
from support.receiver import Receiver
from support.service import ADMIN_KEY, Service
from support.tls import TestAuthority

WRONG_KEY = "spk_" + "wrong" * 8
TOKEN = re.compile(r"[A-Za-z0-9_-]{64}\Z")


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    with Receiver(authority) as receiver, Service(folder, authority.ca_file) as service, chromium() as browser:
        service.start()
        rights = {"permissions": ["clipboard-read", "clipboard-write"]}
        with browser.visitor(service.address, **rights) as visitor:
            _sign_in(checks, visitor)
            _first_look(checks, visitor)
            token = _add(checks, visitor, receiver)
            _event(checks, visitor, service, receiver, token)
            _wrong(checks, visitor)
            visitor.press("Sign out")
            checks.equal("signing out leads to the sign-in page", visitor.path, SIGN_IN)
            visitor.go("/console/webhooks")
            checks.equal("and the console is closed", visitor.path, SIGN_IN)
            checks.equal("nothing went wrong in the browser", visitor.complaints, [])


def _sign_in(checks: Checks, visitor) -> None:
    visitor.go("/console/webhooks")
    checks.equal("without a session a page asks to sign in", visitor.path, SIGN_IN)
    visitor.sign_in(WRONG_KEY)
    checks.that("a wrong key is told at its field", visitor.shows("This key is unknown, expired or deleted."))
    checks.equal("and is not kept in the field", visitor.page.get_by_label("Key", exact=True).input_value(), "")
    visitor.sign_in(ADMIN_KEY)
    checks.that("the right key opens the console", visitor.button("Sign out").is_visible(), visitor.text())
    cookies = visitor.context.cookies()
    checks.equal(
        "with one cookie, which no script reads and no stranger's page sends",
        [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies],
        [(True, "Strict")],
    )
    checks.equal("no script sees it", visitor.page.evaluate("document.cookie"), "")


def _first_look(checks: Checks, visitor) -> None:
    visitor.follow("Webhooks")
    checks.that("the empty list says what to do", visitor.shows("No webhooks yet"))
    checks.equal("the navigation says where one is", visitor.page.locator("[aria-current=page]").inner_text(), "Webhooks")


def _add(checks: Checks, visitor, receiver: Receiver) -> str:
    page = visitor.page
    visitor.follow("Add Endpoint")
    page.get_by_label("Endpoint URL").fill(receiver.url("/truvera"))
    page.get_by_label("Description").fill("The wallet's back end")
    page.get_by_label("Truvera", exact=False).and_(page.get_by_role("radio")).check()
    page.get_by_label("Receive All").check()
    visitor.press("Create Webhook")
    checks.that("the webhook is created", visitor.shows("The webhook was created."), visitor.text())
    token = visitor.secret()
    checks.that("its secret token is shown, of 64 characters", bool(TOKEN.match(token)), len(token))
    checks.that("and nowhere in the address", token not in page.url)
    secret = page.locator(".notice.secret")
    secret.get_by_role("button", name="Copy").click()
    checks.that("the button says that it copied", visitor.shows("Copied", ".notice.secret"))
    checks.equal("what it copied is the token", page.evaluate("navigator.clipboard.readText()") == token, True)
    page.reload()
    checks.equal("loaded again, the page has no token", visitor.has_secret() or token in page.content(), False)
    page.go_back()
    page.go_forward()
    checks.that("nor has it by way of the history", token not in page.content())
    visitor.follow("Webhooks")
    checks.that("the list names the endpoint", visitor.shows(receiver.url("/truvera")))
    checks.that("and what it is for", visitor.shows("The wallet's back end"))
    return token


def _event(checks: Checks, visitor, service: Service, receiver: Receiver, token: str) -> None:
    visitor.mark()
    published = service.client.publish({"type": "did_create", "payload": {"did": "did:example:1"}})
    checks.equal("an event goes to the endpoint", published["deliveries"], 1)
    checks.that("it arrives", receiver.wait_for_count(1, 10))
    body = json.loads(receiver.snapshot()[0].body)
    checks.equal("with the members of Truvera's documents", list(body), ["token", "event", "data"])
    checks.that("and with the token that was shown", body["token"] == token)
    checks.that("the list of webhooks shows the delivery by itself", visitor.shows("delivered"))
    checks.that("without a reload", visitor.stayed())
    visitor.follow("Deliveries")
    visitor.follow("did_create")
    checks.that("its page has the one attempt", visitor.shows("Attempt 1"))
    checks.that("and the token is not on it", token not in visitor.page.content())


def _wrong(checks: Checks, visitor) -> None:
    """What the form says of a mistake, and that it keeps the rest."""
    page = visitor.page
    visitor.go("/console/webhooks/new")
    page.get_by_label("Endpoint URL").fill("http://10.0.0.1/hook")
    page.get_by_label("Description").fill("kept")
    page.get_by_role("checkbox", name="did_create").check()
    visitor.press("Create Webhook")
    field = page.get_by_label("Endpoint URL")
    checks.equal("a URL that is not allowed is refused", visitor.status, 422)
    checks.equal("at its field", field.get_attribute("aria-invalid"), "true")
    told = [page.locator(f"#{name}").inner_text() for name in (field.get_attribute("aria-describedby") or "").split()]
    checks.that("in a sentence that belongs to it", any("The URL" in text for text in told), told)
    checks.equal("the description is kept", page.get_by_label("Description").input_value(), "kept")
    checks.that("and so is the choice of events", page.get_by_role("checkbox", name="did_create").is_checked())
    visitor.go("/console/webhooks")
    checks.equal("nothing was created", page.locator("tbody tr").count(), 1)
