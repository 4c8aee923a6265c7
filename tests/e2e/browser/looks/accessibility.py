"""axe-core looks at a page, in light and in dark: it finds nothing serious."""

from __future__ import annotations

import os
from pathlib import Path

from browser.chromium import Visitor
from browser.scenes import Scene
from support.checks import Checks
from support.service import REPOSITORY

SEVERE = ("serious", "critical")
# Dark is the same page in other colours.
THEMES = {"light": None, "dark": ["color-contrast"]}


class Accessibility:
    def __init__(self) -> None:
        named = os.environ.get("NODE_PATH")
        modules = Path(named) if named else REPOSITORY / ".test-tools/node/node_modules"
        self.axe = (modules / "axe-core" / "axe.min.js").read_text()
        self.seen = 0
        self.severe: dict[str, list[str]] = {theme: [] for theme in THEMES}
        self.lesser: set[str] = set()

    def at(self, scene: Scene, visitor: Visitor) -> None:
        self.seen += 1
        for theme, rules in THEMES.items():
            visitor.page.emulate_media(color_scheme=theme)
            for finding in self._findings(visitor, rules):
                if finding["impact"] in SEVERE:
                    self.severe[theme].append(f"{scene.name}: {_short(finding)}")
                else:
                    self.lesser.add(_short(finding))

    def tell(self, checks: Checks) -> None:
        for theme, found in self.severe.items():
            checks.that(f"axe, {theme}: nothing serious on {self.seen} pages", not found, "\n".join(found))
        for finding in sorted(self.lesser):
            checks.note(f"lesser: {finding}")

    def prove(self, checks: Checks, visitor: Visitor) -> None:
        visitor.page.evaluate(
            """() => {
                document.body.append(document.createElement("img"));
                document.querySelector("h1").className = "muted";
                document.documentElement.style.setProperty("--muted", "#ccc");
            }"""
        )
        found = {finding["id"] for finding in self._findings(visitor, None) if finding["impact"] in SEVERE}
        checks.that("axe tells of a page that is spoilt", {"image-alt", "color-contrast"} <= found, found)

    def _findings(self, visitor: Visitor, rules: list[str] | None) -> list[dict]:
        """axe is given to the page from outside, so that the policy need not be switched off."""
        if not visitor.page.evaluate("'axe' in window"):
            visitor.page.evaluate(self.axe)
        options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
        return visitor.page.evaluate("options => axe.run(document, options).then((found) => found.violations)", options)


def _short(finding: dict) -> str:
    node = finding["nodes"][0]
    return f"{finding['impact']} {finding['id']} ({len(finding['nodes'])}): {node['html'][:120]} {node['failureSummary'][:200]}"
