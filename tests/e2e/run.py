#!/usr/bin/env python3
"""Runs the end-to-end scenarios against the real binary: all of them, or those named.

    run.py [--keep] [--list] [SCENARIO ...]

The last line is `e2e: N passed, N failed`. `--keep` leaves the data folders behind.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from support.checks import Checks  # noqa: E402
from support.service import binary  # noqa: E402

SCENARIOS = ["corpus", "byte_forms", "retries", "limits", "isolation", "rotation", "backup_erase", "serve", "platform", "openid", "truvera", "first_steps"]


def main() -> int:
    parser = argparse.ArgumentParser(description="end-to-end scenarios against the real binary")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--keep", action="store_true", help="leave the data folders behind")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    wanted = parser.parse_args()
    if wanted.list:
        print("\n".join(SCENARIOS))
        return 0
    unknown = [name for name in wanted.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}")

    print(f"binary: {binary()}")
    passed = failed = 0
    for name in wanted.scenarios or SCENARIOS:
        print(f"\n{name}", flush=True)
        checks, began = Checks(name), time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix=f"sealpost-e2e-{name}-"))
        try:
            importlib.import_module(f"scenarios.{name}").run(checks, folder)
        except Exception:
            checks.crashed()
        took = time.monotonic() - began
        print(f"  {checks.passed} passed, {checks.failed} failed in {took:.1f} s", flush=True)
        passed, failed = passed + checks.passed, failed + checks.failed
        if wanted.keep or checks.failed:
            print(f"  kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\ne2e: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
