#!/usr/bin/env python3
"""Plants each mistake in a scratch copy of the repository, runs the rig against it, and wants the checker to say so.

    planted/run.py [NAME ...] [--seconds N] [--list]

Each `.patch` here takes away one thing that a promise of several nodes rests on; `asynchronous` takes it from the database
instead. A mistake that no run of up to three finds is a failure of the rig. The last line is `e2e: N passed, N failed`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "e2e"))

from support.checks import Checks  # noqa: E402
from support.service import REPOSITORY, binary  # noqa: E402

TRIES = 3


@dataclasses.dataclass(frozen=True)
class Mistake:
    about: str
    rules: frozenset[str]  # one of these must be named
    faults: tuple[str, ...]
    options: tuple[str, ...] = ()


MISTAKES = {
    "no-fence": Mistake(
        "a settlement is stored whoever holds the claim by now",
        frozenset({"stale write", "sent too often", "attempt numbers"}),
        ("pause",),
        ("--database", "single"),
    ),
    "short-lease": Mistake(
        "a node is taken for lost after a second of silence, between two of its beats",
        frozenset({"duplicate"}),
        ("delay",),
        ("--database", "single"),
    ),
    "asynchronous": Mistake(
        "commits do not wait for the standby, which is promoted",
        frozenset({"lost"}),
        ("promote", "lagging"),
        ("--asynchronous",),
    ),
}


def build(name: str, target: Path) -> Path:
    """The binary of a copy with the mistake in it."""
    patch = HERE / f"{name}.patch"
    if not patch.exists():
        return binary()
    with tempfile.TemporaryDirectory(prefix="sealpost-planted-") as folder:
        copy = Path(folder) / "copy"
        git = ["git", "-C", str(REPOSITORY)]
        subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(copy), "HEAD"], check=True)
        try:
            subprocess.run(["git", "-C", str(copy), "apply", str(patch)], check=True)
            command = ["cargo", "build", "--quiet", "--locked", "-p", "sealpost"]
            subprocess.run(command, cwd=copy, env={**os.environ, "CARGO_TARGET_DIR": str(target)}, check=True)
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(copy)], check=True)
    return target / "debug" / "sealpost"


def broken(program: Path, mistake: Mistake, seconds: int, seed: int) -> dict[str, int]:
    """The rules that a run found broken, with how often."""
    only = [word for fault in mistake.faults for word in ("--only", fault)]
    command = [sys.executable, str(HERE.parent / "cluster.py"), "--seconds", str(seconds), "--seed", str(seed)]
    run = subprocess.run(
        [*command, *only, *mistake.options],
        env={**os.environ, "SEALPOST_BINARY": str(program)},
        capture_output=True,
        text=True,
        timeout=seconds + 600,
    )
    table = re.findall(r"^  (\S.*?\S) {2,}(\d+)$", run.stdout, re.MULTILINE)
    return {name: int(count) for name, count in table if int(count)}


def main() -> int:
    parser = argparse.ArgumentParser(description="the rig must find each planted mistake")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MISTAKES))
    parser.add_argument("--seconds", type=int, default=50)
    parser.add_argument("--binary", type=Path, help="of one mistake, built before")
    parser.add_argument("--list", action="store_true")
    wanted = parser.parse_args()
    if wanted.list:
        print("\n".join(f"{name:<14} {mistake.about}" for name, mistake in MISTAKES.items()))
        return 0
    unknown = [name for name in wanted.names if name not in MISTAKES]
    if unknown:
        parser.error(f"no such mistake: {', '.join(unknown)}")
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "planted"
    checks = Checks("planted")
    for name in wanted.names or MISTAKES:
        mistake = MISTAKES[name]
        print(f"\n{name}: {mistake.about}", flush=True)
        program = wanted.binary.resolve() if wanted.binary else build(name, target)
        for seed in range(1, TRIES + 1):
            found = broken(program, mistake, wanted.seconds, seed)
            named = {rule: count for rule, count in found.items() if rule in mistake.rules}
            checks.note(f"seed {seed}: {found}")
            if named:
                break
        checks.that(f"the checker names it: {', '.join(sorted(mistake.rules))}", bool(named), found)
    print(f"\ne2e: {checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed or not checks.passed else 0


if __name__ == "__main__":
    sys.exit(main())
