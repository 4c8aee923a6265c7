"""What each role sees and may do: its navigation, each page of the table, and forms that its pages do not offer."""

from __future__ import annotations

from pathlib import Path

from browser.chromium import SIGN_IN, chromium
from browser.furnished import House, furnished
from browser.scenes import portal_link, table
from support.checks import Checks
from support.service import ADMIN_KEY

ALL = ["Overview", "Webhooks", "Deliveries", "Events", "Event types", "Keys", "Analytic events", "Audit"]
NAVIGATION = {
    "admin": ALL,
    "issuer": [name for name in ALL if name not in ("Analytic events", "Audit")],
    "auditor": ALL,
    "publisher": ["Event types", "Keys"],
    "subscriber": ["Webhooks", "Deliveries", "Keys"],
}
CHANGING = ["/console/webhooks/new", "/console/webhooks/{good}/edit", "/console/webhooks/{good}/settings", "/console/webhooks/{good}/delete"]
READING = ["/console/webhooks", "/console/webhooks/{good}", "/console/deliveries", "/console/deliveries/{good-delivery}"]
FORBIDDEN = {
    "admin": ["/console/tenants"],
    "issuer": ["/console/tenants", "/console/audit", "/console/analytics"],
    "auditor": ["/console/tenants", *CHANGING],
    "publisher": ["/console/tenants", "/console/audit", "/console/overview", "/console/events", "/console/analytics", *CHANGING, *READING],
    "subscriber": ["/console/tenants", "/console/audit", "/console/overview", "/console/events", "/console/analytics", *CHANGING],
}
ALLOWED = {
    "admin": [*CHANGING, *READING, "/console/keys"],
    "issuer": [*CHANGING, *READING, "/console/keys"],
    "auditor": [*READING, "/console/keys", "/console/audit", "/console/analytics"],
    "publisher": ["/console/keys"],
    "subscriber": [*READING, "/console/keys"],
}
# Another's webhook is not there, for reading as for anything else.
HIDDEN = ["/console/webhooks/{broken}", "/console/deliveries/{broken-delivery}", "/console/deliveries?webhook={broken}"]
# Buttons on the pages of a webhook, of a delivery that waits, and of the keys.
BUTTONS = {
    "admin": {"Send test event", "Pause", "Rotate secret", "Redeliver", "Cancel delivery", "Rotate keys"},
    "issuer": {"Send test event", "Pause", "Rotate secret", "Redeliver", "Cancel delivery"},
    "auditor": set(),
    "publisher": set(),
    "subscriber": set(),
}
# The way in, and out.
FOR_ANYBODY = ("/console/sign-in", "/console/sign-in/openid", "/console/sign-out", "/console/portal", "/console/portal/{token}")
# A subscriber may read the payloads of what was sent to its webhook.
PAYLOADS = ("/request", "/payload")
EVERY_BUTTON = BUTTONS["admin"]


def run(checks: Checks, folder: Path) -> None:
    with furnished(folder) as house, chromium() as browser:
        for role, names in NAVIGATION.items():
            key = ADMIN_KEY if role == "admin" else house.key(role, house.webhooks["good"] if role == "subscriber" else None)
            with browser.visitor(house.service.address, key) as visitor:
                _pages(checks, visitor, house, role, names)
                if not BUTTONS[role]:
                    _forms(checks, visitor, house, role)
                checks.equal(f"{role}: nothing went wrong in the browser", visitor.complaints, [])
        with browser.visitor(house.service.address, house.operator) as visitor:
            _operator(checks, visitor, house)
        link = portal_link(browser, house)
        with browser.visitor(house.service.address) as visitor:
            _receiver(checks, visitor, house, link)
        with browser.visitor(house.service.address) as visitor:
            checks.that("receiver: a link opens once", _follow(visitor, link) == 400, visitor.text())
        with browser.visitor(house.service.address) as visitor:
            _nobody(checks, visitor, house)


def _path(house: House, path: str) -> str:
    for name, id in house.deliveries.items():
        path = path.replace(f"{{{name}-delivery}}", id)
    for name, id in house.webhooks.items():
        path = path.replace(f"{{{name}}}", id)
    return path


def _pages(checks: Checks, visitor, house: House, role: str, names: list[str]) -> None:
    shown = visitor.page.locator("nav[aria-label=Console] a").all_inner_texts()
    checks.equal(f"{role}: the navigation offers what the role may see", shown, names)
    links = visitor.page.locator("nav[aria-label=Console] a").evaluate_all("all => all.map(one => one.pathname)")
    checks.equal(f"{role}: and each entry opens", [path for path in links if visitor.go(path) != 200], [])
    for path in ALLOWED[role]:
        checks.equal(f"{role}: {path} opens", visitor.go(_path(house, path)), 200)
    for path in FORBIDDEN[role]:
        checks.equal(f"{role}: {path} does not", visitor.go(_path(house, path)), 403)
    if role == "subscriber":
        for path in HIDDEN:
            checks.equal(f"{role}: {path} is not there", visitor.go(_path(house, path)), 404)
        visitor.go("/console/webhooks")
        checks.equal(f"{role}: the list is of its webhook", visitor.page.locator("tbody tr").count(), 1)
        checks.equal(f"{role}: no link leads to another's", visitor.page.locator(f"a[href*='{house.webhooks['broken']}']").count(), 0)
    offered = set()
    for path in ("/console/webhooks/{good}", "/console/deliveries/{slow-delivery}", "/console/keys"):
        if visitor.go(_path(house, path)) == 200:
            offered |= {text.strip() for text in visitor.page.get_by_role("button").all_inner_texts()}
    checks.equal(f"{role}: the buttons are those of its rights", sorted(offered & EVERY_BUTTON), sorted(BUTTONS[role]))


def _forms(checks: Checks, visitor, house: House, role: str) -> None:
    """Every form of the table, sent with a good token by somebody whose pages do not have it."""
    before = _state(house)
    visitor.go("/console/keys")
    answers = {}
    for row in table("post"):
        if row not in FOR_ANYBODY and not (role == "subscriber" and row.endswith(PAYLOADS)):
            path = row.replace("/deliveries/{id}", f"/deliveries/{house.deliveries['slow']}").replace("/events/{id}", f"/events/{house.event}")
            path = path.replace("{id}", house.webhooks["good"]).replace("{name}", "did_create")
            answers[row] = visitor.send(path, {"url": "https://localhost:4443/x", "events": "did_create", "dialect": "mattr"})
    checks.that(f"{role}: each of {len(answers)} forms is refused", set(answers.values()) <= {403, 404} and len(answers) >= 10, answers)
    checks.equal(f"{role}: and changed nothing", _state(house), before)
    visitor.complaints[:] = [said for said in visitor.complaints if not any(f": {status} for " in said for status in (403, 404))]


def _state(house: House) -> list:
    client = house.service.client
    return [client.pages("/v1/webhooks"), client.pages("/v1/webhooks/deliveries"), client.jwks()]


def _operator(checks: Checks, visitor, house: House) -> None:
    checks.equal("operator: begins with the tenants", visitor.path, "/console/tenants")
    checks.equal("operator: is in none of them yet", visitor.go("/console/webhooks"), 403)
    visitor.go("/console/tenants")
    visitor.page.get_by_role("button", name="Open default").click()
    visitor.go("/console/webhooks")
    checks.that("operator: opens one and sees its webhooks", visitor.page.locator("tbody tr").count() > len(house.webhooks))
    log = house.service.client.get("/v1/webhooks/audit").body.decode()
    checks.that("operator: which the tenant's log tells", "open" in log and "operator" in log, log[:300])


def _follow(visitor, link: str) -> int:
    visitor.go(link)
    visitor.press("Open")
    return visitor.status


def _receiver(checks: Checks, visitor, house: House, link: str) -> None:
    """Who runs the receiver of one webhook, and came by a portal link."""
    checks.equal("receiver: the link opens the console", _follow(visitor, link), 200)
    checks.that("receiver: and is gone from the address", link not in visitor.page.url)
    shown = visitor.page.locator("nav[aria-label=Console] a").all_inner_texts()
    checks.equal("receiver: the navigation is that of a subscriber", shown, NAVIGATION["subscriber"])
    for path in ALLOWED["subscriber"]:
        checks.equal(f"receiver: {path} opens", visitor.go(_path(house, path)), 200)
    for path in FORBIDDEN["subscriber"]:
        checks.equal(f"receiver: {path} does not", visitor.go(_path(house, path)), 403)
    for path in HIDDEN:
        checks.equal(f"receiver: {path} is not there", visitor.go(_path(house, path)), 404)


def _nobody(checks: Checks, visitor, house: House) -> None:
    closed = []
    for row in set(table("get")) - set(FOR_ANYBODY):
        path = row.replace("{id}", house.webhooks["good"]).replace("{name}", "did_create")
        visitor.go(path)
        if visitor.path != SIGN_IN:
            closed.append(f"{path}: {visitor.path}")
    checks.equal("without a session every page leads to signing in", closed, [])
