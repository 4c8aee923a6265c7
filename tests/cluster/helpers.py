"""Helpers in processes of their own: they neither wait for this one's threads nor slow them down."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Helper:
    def __init__(self, script: str, *arguments: str):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lock = threading.Lock()

    def ask(self, line: object) -> str:
        with self._lock:
            self.process.stdin.write(json.dumps(line) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if not answer:
            raise AssertionError(f"{self.process.args[1]} ended: {self.process.poll()}")
        return answer.strip()

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Proxy(Helper):
    def __init__(self):
        super().__init__("proxy.py")

    def link(self, name: str, port: int) -> int:
        return int(self.ask({"link": name, "to": port}))

    def do(self, names: list[str], what: str, delay_s: float = 0.0) -> None:
        for name in names:
            self.ask({"link": name, "do": what, "s": delay_s})


class Receivers(Helper):
    def __init__(self, log: Path, seed: int, keys: dict[str, dict]):
        super().__init__("receivers.py", str(log), str(seed))
        self.port = int(self.ask(keys))

    def url(self, tenant: str, kind: str, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{tenant}/{kind}/{name}"
