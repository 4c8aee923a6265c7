#!/usr/bin/env python3
"""Walks through the console in Chromium, against the real binary: all walks, or those named.

    run.py [--keep] [--list] [WALK ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.runner import main  # noqa: E402

WALKS = ["truvera", "repair", "roles", "no_script", "keyboard", "pages"]
# Takes the pictures of the documents again.
BY_NAME = ("documents",)

if __name__ == "__main__":
    sys.exit(main("walks through the console in Chromium", "browser.walks", WALKS, BY_NAME))
