"""Runs scenarios one after the other: all of them, or those named on the command line.

The last line is `e2e: N passed, N failed`. `--keep` leaves the data folders behind.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import tempfile
import time
from pathlib import Path

from .checks import Checks
from .service import binary


def main(about: str, package: str, scenarios: list[str], by_name: tuple[str, ...] = ()) -> int:
    """Each scenario is a module of `package` with `run(checks, folder)`; those `by_name` run only if named."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(scenarios))
    parser.add_argument("--keep", action="store_true", help="leave the data folders behind")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    wanted = parser.parse_args()
    if wanted.list:
        print("\n".join(scenarios))
        return 0
    unknown = [name for name in wanted.scenarios if name not in [*scenarios, *by_name]]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}")

    print(f"binary: {binary()}")
    passed = failed = 0
    for name in wanted.scenarios or scenarios:
        print(f"\n{name}", flush=True)
        checks, began = Checks(name), time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix=f"sealpost-e2e-{name}-"))
        try:
            importlib.import_module(f"{package}.{name}").run(checks, folder)
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
