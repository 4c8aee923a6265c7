"""The nodes: the real binary three times, each with a way of its own to the database and, if need be, a clock of its own."""

from __future__ import annotations

import glob
import signal
import threading
import time
from pathlib import Path

from support.service import Client, Service

from .database import Database
from .helpers import Proxy

FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"
READY_S = 30


class Node:
    def __init__(self, name: str, folder: Path, database: Database, proxy: Proxy, **environment: str):
        self.name = name
        self.links = [f"{name}-{member}" for member in database.members]
        ports = [proxy.link(link, database.ports[member]) for link, member in zip(self.links, database.members)]
        self.service = Service(folder / name, SEALPOST_STORE=database.url(ports), **environment)
        # Held by whoever does something to it.
        self.busy = threading.Lock()
        self.starts = 0
        self.ended_by_itself: list[str] = []

    @property
    def client(self) -> Client:
        return self.service.client

    def set_clock(self, ahead_s: float) -> None:
        """From the next start on. Only the wall clock: the others only measure spans."""
        library = faketime()
        settings = ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC")
        for name in settings:
            self.service.environment.pop(name, None)
        if ahead_s and library:
            values = (library, f"{ahead_s:+.1f}s", "1", "1")
            self.service.environment.update(zip(settings, values))

    def start(self) -> None:
        """As long as it takes: with the database away it ends with an error, and is started again."""
        end = time.monotonic() + 4 * READY_S
        while True:
            self.starts += 1
            self.service.spawn()
            if self.service.is_ready(READY_S):
                return
            if self.service.process.poll() is None:
                self.service.kill()
            if time.monotonic() > end:
                raise AssertionError(f"node {self.name} does not start: {self.service.log_tail()}")
            time.sleep(0.2)

    def runs(self) -> bool:
        return self.service.process is not None and self.service.process.poll() is None

    def kill(self) -> None:
        self._was_alive()
        self.service.kill()

    def stop(self) -> int | None:
        self._was_alive()
        return self.service.stop(20)

    def pause(self) -> None:
        self.service.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.service.process.send_signal(signal.SIGCONT)

    def _was_alive(self) -> None:
        if not self.runs():
            self.ended_by_itself.append(f"{self.name}: {self.service.log_tail(4)}")


def faketime() -> str | None:
    return next(iter(glob.glob(FAKETIME)), None)
