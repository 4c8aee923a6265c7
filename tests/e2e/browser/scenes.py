"""Every page of the console in every state worth a look, for the walks that ask one thing of all of them.

Pages are found as a person finds them, by following links from the first page on. The table in the source says which there
are: one that nobody comes to is told.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from browser.chromium import SIGN_IN, Chromium, Visitor
from browser.furnished import HOSTILE, House
from support.service import ADMIN_KEY, REPOSITORY

TABLE = REPOSITORY / "crates/sealpost/src/console/pages/mod.rs"
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Files, and the address that leads on to the first page.
NO_PAGES = ("/console", "/console/assets/{name}")


@dataclasses.dataclass(frozen=True)
class Scene:
    name: str
    key: str | None
    arrive: Callable[[Visitor], object]


def table(method: str) -> list[str]:
    """The paths of the console's own table."""
    found = re.findall(rf'Page::{method}\("([^"]+)"', TABLE.read_text())
    return [path for path in found if path not in NO_PAGES]


def page_of(path: str, paths: list[str]) -> str | None:
    """The row of the table that answers a path; fixed words go before ids."""
    fitting = [row for row in paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", row), path)]
    return min(fitting, key=lambda row: row.count("{"), default=None)


def scenes(browser: Chromium, house: House) -> list[Scene]:
    pages = table("get")
    found = _links(browser, house, pages)
    linked = [Scene(_name(row), ADMIN_KEY, _go(path)) for row, path in found.items()]
    return linked + _states(house, portal_link(browser, house))


def portal_link(browser: Chromium, house: House) -> str:
    """The path of a fresh link for the receiver of one webhook."""
    with browser.visitor(house.service.address, ADMIN_KEY) as visitor:
        visitor.go(f"/console/webhooks/{house.webhooks['good']}")
        visitor.press("Make portal link")
        return urlsplit(visitor.secret()).path


def visits(browser: Chromium, house: House, scenes: list[Scene], **options) -> Iterator[tuple[Scene, Visitor]]:
    """Each scene in turn, with its visitor just arrived; one session a key."""
    for key in dict.fromkeys(scene.key for scene in scenes):
        with browser.visitor(house.service.address, key, **options) as visitor:
            for scene in scenes:
                if scene.key == key:
                    scene.arrive(visitor)
                    yield scene, visitor


def _name(row: str) -> str:
    return row.removeprefix("/console/").replace("/", "-").replace("{id}", "one").replace("{name}", "one")


def _go(path: str) -> Callable[[Visitor], object]:
    return lambda visitor: visitor.go(path)


def _links(browser: Chromium, house: House, pages: list[str]) -> dict[str, str]:
    """One path for each row of the table that links lead to."""
    found: dict[str, str] = {}
    with browser.visitor(house.service.address, ADMIN_KEY) as visitor:
        todo = _leads_to(visitor)
        asked: set[str] = set()
        while todo:
            path = todo.pop(0)
            row = page_of(path, pages)
            if path in asked or row is None or row in found:
                continue
            asked.add(path)
            if visitor.go(path) == 200:
                found[row] = path
                todo += _leads_to(visitor)
    return found


def _leads_to(visitor: Visitor) -> list[str]:
    links = visitor.page.locator("a[href]").evaluate_all("all => all.map(one => one.href)")
    return [visitor.path] + [urlsplit(link).path for link in links if link.startswith(visitor.base)]


def _states(house: House, portal: str) -> list[Scene]:
    hook, sent = house.webhooks, house.deliveries

    def refused_form(visitor: Visitor) -> None:
        visitor.go("/console/webhooks/new")
        visitor.page.get_by_label("Endpoint URL").fill("http://10.0.0.1/hook")
        visitor.page.get_by_label("Description").fill(HOSTILE)
        visitor.press("Create Webhook")

    def secret(visitor: Visitor) -> None:
        visitor.go(f"/console/webhooks/{hook['good']}")
        visitor.press("Rotate secret")

    def refused_key(visitor: Visitor) -> None:
        visitor.sign_in("spk_nobody's")

    def revealed(path: str, button: str) -> Callable[[Visitor], None]:
        def arrive(visitor: Visitor) -> None:
            visitor.go(path)
            visitor.press(button)

        return arrive

    def refused_type(visitor: Visitor) -> None:
        visitor.go("/console/event-types")
        visitor.page.get_by_label("Name").fill("did_create")
        visitor.page.get_by_label("JSON Schema").fill(HOSTILE)
        visitor.press("Register type")

    def opened(path: str) -> Callable[[Visitor], None]:
        def arrive(visitor: Visitor) -> None:
            visitor.go(path)
            open_details(visitor)

        return arrive

    auditor = house.key("auditor")
    return [
        *(Scene(f"delivery-{name}", ADMIN_KEY, opened(f"/console/deliveries/{id}")) for name, id in sent.items()),
        *(Scene(f"webhook-{name}", ADMIN_KEY, _go(f"/console/webhooks/{id}")) for name, id in hook.items()),
        Scene("webhook-secret-shown", ADMIN_KEY, secret),
        Scene("event-payload", ADMIN_KEY, revealed(f"/console/events/{house.event}", "Reveal payload")),
        Scene("delivery-request", ADMIN_KEY, revealed(f"/console/deliveries/{sent['good']}", "Reveal body and signature")),
        Scene("event-type-refused", ADMIN_KEY, refused_type),
        Scene("webhook-form-refused", ADMIN_KEY, refused_form),
        Scene("webhooks-none-fits", ADMIN_KEY, _go("/console/webhooks?q=nothing-fits")),
        Scene("deliveries-not-understood", ADMIN_KEY, _go("/console/deliveries?from=yesterday")),
        *(Scene(f"{name}-empty", house.empty, _go(f"/console/{name}")) for name in ("overview", "webhooks", "deliveries", "events", "analytics")),
        Scene("not-there", ADMIN_KEY, _go("/console/nowhere")),
        Scene("forbidden", auditor, _go("/console/webhooks/new")),
        Scene("sign-in", None, _go(SIGN_IN)),
        Scene("openid-refused", None, _go("/console/sign-in/openid?state=nobody&code=none")),
        Scene("portal", None, _go(portal)),
        Scene("sign-in-refused", None, refused_key),
        Scene("tenants", house.operator, _go("/console/tenants")),
    ]


def open_details(visitor: Visitor) -> None:
    visitor.page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
