"""Chromium of the machine, driven by Playwright, and a visitor in it: one person with cookies of their own.

A visitor notes whatever a page does that none of ours may do: an error in the console, a request to somebody else, a file
that is not there.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Error, Locator, Page, Response, sync_playwright

# A debug build on a busy machine needs some; a page that is right needs a few milliseconds.
PATIENCE_S = 10
CONSOLE = "/console"
SIGN_IN = f"{CONSOLE}/sign-in"


def executable() -> str:
    """Named by `SEALPOST_CHROMIUM`, else what the distribution installs."""
    named = os.environ.get("SEALPOST_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("no Chromium: install the package `chromium`, or name it in SEALPOST_CHROMIUM")
    return found


class Visitor:
    """One person at the console. What a method waits for and does not find is an error of the walk."""

    def __init__(self, browser: Browser, address: str, **options):
        self.base = f"http://{address}"
        self.context = browser.new_context(base_url=self.base, locale="en-GB", timezone_id="UTC", **options)
        self.context.set_default_timeout(PATIENCE_S * 1000)
        self.page: Page = self.context.new_page()
        self.status = 0
        self.complaints: list[str] = []
        self.forms: list[str] = []
        self._watch()

    def _watch(self) -> None:
        page = self.page
        page.on("pageerror", lambda error: self.complaints.append(f"{self.path}: script failed: {error}"))
        page.on("console", self._said)
        page.on("dialog", self._asked)
        page.on("response", self._answered)
        self.context.on("request", self._sent)

    def _said(self, message) -> None:
        # Chromium says so of pages too that are refused for a reason; `_answered` looks at the status of all others.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(f"{self.path}: {message.text}")

    def _asked(self, dialog) -> None:
        self.complaints.append(f"{self.path}: a dialog: {dialog.message}")
        dialog.dismiss()

    def _answered(self, response: Response) -> None:
        if response.request.resource_type == "document":
            self.status = response.status
        elif response.status >= 400:
            self.complaints.append(f"{self.path}: {response.status} for {response.url}")

    def _sent(self, request) -> None:
        to = urlsplit(request.url)
        if f"{to.scheme}://{to.netloc}" != self.base:
            self.complaints.append(f"{self.path}: a request to {request.url}")
        if request.method == "POST":
            self.forms.append(to.path)

    @property
    def path(self) -> str:
        return urlsplit(self.page.url).path

    def go(self, path: str) -> int:
        """Opens a page, and says with which status it came."""
        self.page.goto(path)
        return self.status

    def sign_in(self, key: str) -> None:
        self.go(SIGN_IN)
        self.page.get_by_label("Key", exact=True).fill(key)
        self.press("Sign in")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def link(self, name: str) -> Locator:
        return self.page.get_by_role("link", name=name, exact=True)

    def press(self, name: str) -> None:
        """Presses a button that sends a form, and waits for the page that follows."""
        with self.page.expect_navigation():
            self.button(name).first.click()

    def follow(self, name: str) -> None:
        with self.page.expect_navigation():
            self.link(name).first.click()

    def text(self) -> str:
        return self.page.locator("body").inner_text()

    def shows(self, text: str | re.Pattern, within: str = "main", timeout_s: float = PATIENCE_S) -> bool:
        """Whether this text is there, or comes, without anybody loading the page again."""
        found = self.page.locator(within).get_by_text(text).filter(visible=True).first
        try:
            found.wait_for(state="visible", timeout=timeout_s * 1000)
            return True
        except Error:
            return False

    def secret(self) -> str:
        """The secret that this page shows once."""
        return self.page.locator(".notice.secret code").inner_text()

    def has_secret(self) -> bool:
        return self.page.locator(".notice.secret").count() > 0

    def notice(self) -> str:
        """What came of the last form."""
        found = self.page.locator(".notice:not(.secret)")
        return found.first.inner_text() if found.count() else ""

    def mark(self) -> None:
        """Leaves a mark that the next load of any page wipes out."""
        self.page.evaluate("window.stayed = true")

    def stayed(self) -> bool:
        return self.page.evaluate("window.stayed === true")

    def until(self, holds, timeout_s: float = PATIENCE_S) -> bool:
        """Loads the page again until something holds: how a person without JavaScript waits."""
        end = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
            self.page.reload()
        return True

    def send(self, path: str, fields: dict[str, str] | None = None) -> int:
        """Sends a form that the page does not offer, with the session's token: what a curious visitor may try."""
        return self.page.evaluate(
            """async ([path, fields]) => {
                const token = document.querySelector('input[name="csrf"]').value;
                const body = new URLSearchParams({ csrf: token, ...fields });
                const answer = await fetch(path, { method: "POST", body, redirect: "manual" });
                return answer.type === "opaqueredirect" ? 303 : answer.status;
            }""",
            [path, fields or {}],
        )

    def leave(self) -> None:
        self.context.close()


class Chromium:
    def __init__(self, browser: Browser):
        self._browser = browser

    @contextmanager
    def visitor(self, address: str, key: str | None = None, **options) -> Iterator[Visitor]:
        """Somebody with a fresh profile, signed in if there is a key."""
        visitor = Visitor(self._browser, address, **options)
        try:
            if key is not None:
                visitor.sign_in(key)
            yield visitor
        finally:
            visitor.leave()


@contextmanager
def chromium() -> Iterator[Chromium]:
    # Pages are our own and the machine may be a container, so Playwright's default stands: no sandbox.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable())
        try:
            yield Chromium(browser)
        finally:
            browser.close()
