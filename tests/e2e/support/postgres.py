"""An empty schema in the server of `SEALPOST_TEST_POSTGRES`, or in one that is started for it."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .service import REPOSITORY

SERVER = REPOSITORY / "crates/sealpost-store/tests/postgres/server.sh"


@contextlib.contextmanager
def store_url() -> Iterator[str]:
    server = os.environ.get("SEALPOST_TEST_POSTGRES")
    if server:
        yield _schema(server)
        return
    printed = subprocess.run([str(SERVER), "start"], check=True, capture_output=True, text=True).stdout
    settings = dict(line.split("=", 1) for line in printed.splitlines())
    try:
        yield _schema(settings["SEALPOST_TEST_POSTGRES"])
    finally:
        subprocess.run([str(SERVER), "stop", settings["SEALPOST_TEST_POSTGRES_FOLDER"]], check=False)


def _schema(server: str) -> str:
    schema = f"e2e_{secrets.token_hex(6)}"
    subprocess.run(["psql", server, "-q", "-c", f"CREATE SCHEMA {schema}"], check=True)
    return f"{server}?sslmode=disable&options=-c%20search_path%3D{schema}"


def master_key(folder: Path) -> Path:
    file = folder / "master.key"
    file.touch(mode=0o600)
    file.write_text(f"sealpost-master-key-1 {secrets.token_hex(32)}\n")
    return file
