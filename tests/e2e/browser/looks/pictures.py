"""Pictures of a page at three widths and in both themes, for people to look at: `target/screenshots`. What a program can
tell by itself is checked: nothing sticks out of the page, and the themes differ."""

from __future__ import annotations

import shutil

from browser.chromium import Visitor
from browser.scenes import Scene
from support.checks import Checks
from support.service import REPOSITORY

WIDTHS = {390: 844, 1024: 768, 1600: 1000}
THEMES = ("light", "dark")
FOLDER = REPOSITORY / "target" / "screenshots"

# Elements that reach beyond the right edge, so that the whole page scrolls sideways.
STICKS_OUT = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll("body *")]
        .filter((one) => one.getBoundingClientRect().right > width + 1)
        .slice(-2)
        .map((one) => one.outerHTML.slice(0, 80));
}"""


class Pictures:
    def __init__(self) -> None:
        shutil.rmtree(FOLDER, ignore_errors=True)
        self.taken = 0
        self.wide: list[str] = []
        self.same: list[str] = []

    def at(self, scene: Scene, visitor: Visitor) -> None:
        page = visitor.page
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            out = page.evaluate(STICKS_OUT)
            if out:
                self.wide.append(f"{scene.name} at {width}: {out}")
            pictures = []
            for theme in THEMES:
                page.emulate_media(color_scheme=theme)
                path = FOLDER / f"{width}-{theme}" / f"{scene.name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pictures.append(page.screenshot(path=path, full_page=True))
            self.taken += len(pictures)
            if pictures[0] == pictures[1]:
                self.same.append(f"{scene.name} at {width}")

    def tell(self, checks: Checks) -> None:
        checks.that(f"nothing sticks out at {', '.join(map(str, WIDTHS))} pixels", not self.wide, "; ".join(self.wide))
        checks.equal("light and dark differ", self.same, [])
        checks.note(f"{self.taken} pictures in {FOLDER.relative_to(REPOSITORY)}")
