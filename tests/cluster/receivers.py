#!/usr/bin/env python3
"""The receivers of a run: one process, one loop, every path of one port.

    receivers.py LOG SEED

Reads one line of JSON from standard input (the key sets by tenant), prints its port, and ends when standard input does.
Each request is verified and written to LOG before it is answered. How it is answered follows from the last part of its
path but one and a seed: `quick`, `flaky`, `slow` or `stuck`."""

from __future__ import annotations

import asyncio
import collections
import http.client
import io
import json
import random
import selectors
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from support import verify  # noqa: E402
from support.receiver import Received  # noqa: E402

CONNECTIONS = 400
BODY_MAX = 1 << 20
TICK_S = 0.005
# Looks back over so many turns of the loop: accepting, making the transport, beginning to read.
TURNS = 6


class Turns(selectors.DefaultSelector):
    """Keeps when the loop turned. What is read in this turn was not there some turns ago."""

    def __init__(self):
        super().__init__()
        self.times = collections.deque([time.monotonic()], maxlen=TURNS)

    def select(self, timeout=None):
        ready = super().select(timeout)
        self.times.append(time.monotonic())
        return ready

    @property
    def earliest(self) -> float:
        return self.times[0]


def plan(kind: str, rng: random.Random) -> tuple[int | None, float]:
    """Status (None: never) and delay."""
    dice = rng.random()
    if kind == "flaky":
        return (500 if dice < 0.35 else 200), 0.0
    if kind == "slow":
        return 200, rng.uniform(0.2, 1.8)
    if kind == "stuck":
        return (None if dice < 0.25 else 503 if dice < 0.5 else 200), rng.uniform(0.0, 0.3)
    return 200, 0.0


class Log:
    def __init__(self, file: Path, keys: dict[str, verify.Keys], seed: int, turns: Turns):
        self.lines = file.open("a", encoding="utf-8", buffering=1)
        self.keys, self.rng, self.turns = keys, random.Random(seed), turns
        self.count = self.open = 0

    def asked(self, request: Received, earliest: float) -> tuple[int, int | None, float]:
        _, tenant, kind, _ = request.target.split("/", 3)
        complaint = None
        try:
            verify.by_mattr_rules(request, self.keys[tenant])
        except Exception as error:
            complaint = f"{type(error).__name__}: {error}"
        try:
            payload = json.loads(request.body)["event"]["payload"]
        except (ValueError, KeyError, TypeError):
            payload = {}
        self.count += 1
        record = {
            "number": self.count,
            "delivery_id": request.delivery_id,
            "event_id": request.event_id,
            "webhook_id": request.header("x-mattr-webhook-id") or "",
            "attempt": request.attempt,
            "url": request.target,
            "tenant": payload.get("tenant", "?"),
            "earliest": earliest,
            "seen_at": request.arrived_at,
            "complaint": complaint,
        }
        self.lines.write(json.dumps(record) + "\n")
        return self.count, *plan(kind, self.rng)

    def answered(self, number: int, status: int) -> None:
        record = {"number": number, "answered": status, "answered_at": time.monotonic()}
        self.lines.write(json.dumps(record) + "\n")


class Receiver(asyncio.Protocol):
    """HTTP/1.1 as far as Sealpost speaks it: a head, a body of a known length, one at a time."""

    def __init__(self, log: Log):
        self.log, self.buffer, self.earliest = log, bytearray(), None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.log.open += 1
        if self.log.open > CONNECTIONS:
            transport.abort()

    def connection_lost(self, _) -> None:
        self.log.open -= 1
        self.transport = None
        if self.buffer:  # cut short; whose it was may be known
            self._cut_short()

    def data_received(self, data: bytes) -> None:
        if not self.buffer:
            self.earliest = self.log.turns.earliest
        self.buffer += data
        head, found, _ = self.buffer.partition(b"\r\n\r\n")
        if len(self.buffer) > BODY_MAX:
            self.transport.abort()
            return
        if not found:
            return
        request = self._request(bytes(head))
        length = int(request.header("content-length") or 0)
        if len(self.buffer) < len(head) + 4 + length:
            return
        request.body = bytes(self.buffer[len(head) + 4 :])
        self.buffer.clear()
        number, status, delay_s = self.log.asked(request, self.earliest)
        if status is not None:
            asyncio.get_running_loop().call_later(delay_s, self._answer, number, status)

    def _request(self, head: bytes) -> Received:
        line, _, rest = head.partition(b"\r\n")
        method, target, _ = line.decode("latin-1").split(" ")
        headers = http.client.parse_headers(io.BytesIO(rest + b"\r\n\r\n"))
        host = headers.get("host", "")
        return Received(method, target, host, headers, b"", time.monotonic(), time.time())

    def _cut_short(self) -> None:
        head, found, _ = bytes(self.buffer).partition(b"\r\n\r\n")
        if not found:
            return
        request = self._request(head)
        number, _, _ = self.log.asked(request, self.earliest)
        # Its body is not whole, so that it cannot verify; it was begun, and that is what counts.
        self.log.lines.write(json.dumps({"number": number, "complaint": None, "tenant": request.target.split("/")[1]}) + "\n")

    def _answer(self, number: int, status: int) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        self.log.answered(number, status)
        self.transport.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)


async def serve(log_file: Path, seed: int, turns: Turns) -> None:
    loop = asyncio.get_running_loop()
    keys = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    log = Log(log_file, {tenant: verify.Keys(jwks) for tenant, jwks in keys.items()}, seed, turns)
    server = await loop.create_server(lambda: Receiver(log), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK_S)

    ticking = asyncio.create_task(tick())
    await loop.run_in_executor(None, sys.stdin.read)
    ticking.cancel()


def main() -> None:
    turns = Turns()
    loop = asyncio.SelectorEventLoop(turns)
    loop.run_until_complete(serve(Path(sys.argv[1]), int(sys.argv[2]), turns))


if __name__ == "__main__":
    main()
