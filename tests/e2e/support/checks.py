"""Counted checks: each is one sentence that holds or does not.

A scenario goes on after a failed check, so that one run shows everything that is wrong.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable


class Checks:
    """The checks of one scenario, printed as they are made."""

    def __init__(self, scenario: str):
        self.scenario = scenario
        self.passed = 0
        self.failed = 0

    def that(self, statement: str, holds: bool, detail: object = "") -> bool:
        if holds:
            self.passed += 1
            print(f"  ok    {statement}", flush=True)
        else:
            self.failed += 1
            print(f"  FAIL  {statement}" + (f": {_short(detail)}" if detail != "" else ""), flush=True)
        return holds

    def equal(self, statement: str, got: object, want: object) -> bool:
        return self.that(statement, got == want, f"got {_short(got)}, want {_short(want)}")

    def each(self, statement: str, items: Iterable, complaint: Callable[[object], str | None]) -> bool:
        """`complaint` looks at one item and says what is wrong with it. No items at all is a failure too."""
        total, complaints = 0, []
        for item in items:
            total += 1
            try:
                said = complaint(item)
            except Exception as error:  # an item that cannot even be judged is wrong
                said = f"{type(error).__name__}: {error}"
            if said is not None:
                complaints.append(said)
        if total == 0:
            return self.that(statement, False, "there was nothing to look at")
        if complaints:
            shown = "; ".join(_short(c) for c in complaints[:3])
            return self.that(statement, False, f"{len(complaints)} of {total} wrong: {shown}")
        return self.that(f"{statement} ({total})", True)

    def crashed(self) -> None:
        """Called from an `except`: a scenario that could not go on is a failed check."""
        kind, value, _ = sys.exc_info()
        self.failed += 1
        print(f"  FAIL  {self.scenario} could not go on: {getattr(kind, '__name__', kind)}: {value}", flush=True)
        traceback.print_exc(limit=6)

    def note(self, text: str) -> None:
        print(f"        {text}", flush=True)


def _short(value: object, most: int = 600) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= most else text[:most] + "…"
