#!/usr/bin/env python3
"""Runs the end-to-end scenarios against the real binary: all of them, or those named.

    run.py [--keep] [--list] [SCENARIO ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from support.runner import main  # noqa: E402

SCENARIOS = ["corpus", "byte_forms", "retries", "limits", "isolation", "rotation", "backup_erase", "serve", "platform", "openid", "truvera", "nodes", "copy", "first_steps"]

if __name__ == "__main__":
    sys.exit(main("end-to-end scenarios against the real binary", "scenarios", SCENARIOS))
