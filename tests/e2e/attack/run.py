#!/usr/bin/env python3
"""Attacks on the API of the real binary: all of them, or those named.

    run.py [--keep] [--list] [ATTACK ...]

`SEALPOST_ATTACK_CASES` is how many calls are made up from the OpenAPI document (2,000 without it), and
`SEALPOST_ATTACK_SEED` which.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.runner import main  # noqa: E402

ATTACKS = ["made_up_calls", "wire", "guesses", "canaries"]

if __name__ == "__main__":
    sys.exit(main("attacks on the API", "attack", ATTACKS))
