"""Every page of the console in every state worth a look, seen once by each of the looks."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from browser.chromium import PATIENCE_S, Visitor, chromium
from browser.furnished import HOSTILE, House, furnished
from browser.looks.accessibility import Accessibility
from browser.looks.pictures import Pictures
from browser.looks.policy import INLINE, Policy
from browser.scenes import open_details, page_of, scenes, table, visits
from support.checks import Checks
from support.service import ADMIN_KEY

# So many at least, or something is wrong with the list.
FEWEST = 35


def run(checks: Checks, folder: Path) -> None:
    with furnished(folder) as house, chromium() as browser:
        all_scenes = scenes(browser, house)
        checks.that(f"{len(all_scenes)} pages to look at", len(all_scenes) >= FEWEST, len(all_scenes))
        rows, seen = table("get"), set()
        policy, pictures, axe = Policy(), Pictures(), Accessibility()
        for scene, visitor in visits(browser, house, all_scenes, reduced_motion="reduce"):
            seen.add(page_of(visitor.path, rows))
            # In this order: taking a picture leaves attributes behind, and axe sees only what is not folded away.
            policy.at(scene, visitor)
            pictures.at(scene, visitor)
            open_details(visitor)
            axe.at(scene, visitor)
        checks.equal("every page of the table was looked at", sorted(set(rows) - seen), [])
        for look in (policy, pictures, axe):
            look.tell(checks)
        for look in (policy, axe):
            with browser.visitor(house.service.address, ADMIN_KEY) as visitor:
                visitor.go("/console/webhooks")
                look.prove(checks, visitor)
        with browser.visitor(house.service.address, ADMIN_KEY) as visitor:
            _live(checks, visitor, house)


def _live(checks: Checks, visitor: Visitor, house: House) -> None:
    """What comes into an open page is treated like what was there at first."""
    visitor.go("/console/webhooks")
    visitor.mark()
    bars = visitor.page.locator("tbody svg rect")
    before = bars.count()
    house.service.client.publish({"type": "did_create", "payload": {"note": HOSTILE}})
    expect(bars).not_to_have_count(before, timeout=PATIENCE_S * 1000)
    checks.equal("what an update brings keeps to the policy too", visitor.page.evaluate(INLINE) + visitor.complaints, [])
    checks.that("with hostile text on the page, and without a reload", visitor.shows("onerror") and visitor.stayed())
