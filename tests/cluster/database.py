"""One PostgreSQL, or two of which one follows the other: killed, started again, promoted, followed anew."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from support.receiver import free_port
from support.service import REPOSITORY

from .helpers import Proxy

SERVER = REPOSITORY / "crates/sealpost-store/tests/postgres/server.sh"
STANDBY = "follower"


class Database:
    """`members` are folders and ports of the servers; `primary` is the one that accepts writes."""

    def __init__(self, proxy: Proxy, standby: bool, synchronous: bool):
        self.proxy, self.synchronous = proxy, synchronous
        printed = subprocess.run([str(SERVER), "start"], check=True, capture_output=True, text=True).stdout
        settings = dict(line.split("=", 1) for line in printed.splitlines())
        self.folder = Path(settings["SEALPOST_TEST_POSTGRES_FOLDER"])
        url = urlsplit(settings["SEALPOST_TEST_POSTGRES"])
        self.user, self.password = url.username, url.password
        self.bin = Path((self.folder / "bin").read_text())
        self.ports = {"a": url.port}
        self.data = {"a": self.folder / "data"}
        self.primary = "a"
        self.members = ["a"]
        if standby:
            self.members.append("b")
            self.ports["b"], self.data["b"] = free_port(), self.folder / "data-b"
            # Followers come by a way that can be disturbed, whichever server they follow.
            self.replication = {name: proxy.link(f"replication-{name}", port) for name, port in self.ports.items()}
            # A follower that lost its primary asks again soon.
            self.ask("ALTER SYSTEM SET wal_retrieve_retry_interval = '200ms'")
            self.follow("b")

    # --- what is done to it ------------------------------------------------------------------------------------

    def kill(self, member: str) -> None:
        """`kill -9` of the server and all its processes."""
        pid = int((self.data[member] / "postmaster.pid").read_text().split("\n", 1)[0])
        children = _children(pid)
        for each in [pid, *children]:
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                pass
        while any(_runs(each) for each in [pid, *children]):
            time.sleep(0.01)
        # It would be taken for running until whoever inherited it has looked after it.
        (self.data[member] / "postmaster.pid").unlink()

    def start(self, member: str) -> None:
        log = self.folder / f"server-{member}.log"
        arguments = ["-D", self.data[member], "-l", log, "-w", "-t", "60", "-o", f"-p {self.ports[member]}", "start"]
        self._as_user(self.bin / "pg_ctl", *arguments)

    def promote(self) -> None:
        """The follower takes over; the former primary must be gone."""
        member = self.follower
        self._as_user(self.bin / "pg_ctl", "-D", self.data[member], "-w", "-t", "60", "promote")
        self.primary = member
        # It has no follower yet: it would wait for one at every commit.
        self._synchronous("")

    def follow(self, member: str) -> None:
        """A fresh copy of the primary that follows it, waited for until commits wait for it."""
        shutil.rmtree(self.data[member], ignore_errors=True)
        way = f"host=127.0.0.1 port={self.replication[self.primary]} user={self.user} application_name={STANDBY}"
        copied = [self.bin / "pg_basebackup", "-D", self.data[member], "-R", "-X", "stream", "-c", "fast", "-d", way]
        self._as_user("env", f"PGPASSWORD={self.password}", *copied)
        self.start(member)
        if self.synchronous:
            self._synchronous(STANDBY)
        self._until("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'")
        if self.synchronous:
            self._until("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")

    def close(self) -> None:
        for member in self.members[1:]:
            if (self.data[member] / "postmaster.pid").exists():
                self.kill(member)
        subprocess.run([str(SERVER), "stop", str(self.folder)], check=False)

    # --- what is asked -----------------------------------------------------------------------------------------

    @property
    def follower(self) -> str:
        return next(member for member in self.members if member != self.primary)

    def url(self, ports: list[int]) -> str:
        """The store URL of a node that comes by these ports, one for each member."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        choice = "&target_session_attrs=read-write" if len(ports) > 1 else ""
        return f"postgres://{self.user}:{self.password}@{hosts}/postgres?sslmode=disable{choice}"

    def ask(self, sql: str, member: str | None = None) -> str:
        address = f"host=127.0.0.1 port={self.ports[member or self.primary]} user={self.user} dbname=postgres"
        run = subprocess.run(
            [str(self.bin / "psql"), address, "-X", "-A", "-t", "-q", "-c", sql],
            env={**os.environ, "PGPASSWORD": self.password, "PGSSLMODE": "disable"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        if run.returncode != 0:
            raise AssertionError(f"psql: {run.stderr.strip()}")
        return run.stdout.strip()

    def _synchronous(self, names: str) -> None:
        """In the server's own configuration, which needs no commit."""
        self.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.ask("SELECT pg_reload_conf()")

    def _until(self, sql: str, timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while self.ask(sql) != "t":
            if time.monotonic() > end:
                raise AssertionError(f"not so in {timeout_s} s: {sql}")
            time.sleep(0.05)

    def _as_user(self, *command: object) -> None:
        """The server refuses root."""
        before = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        run = subprocess.run(
            [*before, *map(str, command)], cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )
        if run.returncode != 0:
            raise AssertionError(f"{command[0]}: {run.stdout[-400:]} {run.stderr[-400:]}")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
