"""Stands between a client and the service and changes some answers, so that a rig can show that it would notice."""

from __future__ import annotations

import dataclasses
import http.client
import http.server
import json
import threading
from collections.abc import Callable


@dataclasses.dataclass
class Told:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclasses.dataclass(frozen=True)
class Lie:
    what: str
    # Where it is told, and of which calls.
    path: str
    tell: Callable[[str, Told], None]


def _broken(method: str, told: Told) -> None:
    if method == "GET" and told.status == 200:
        told.status = 500


def _short(method: str, told: Told) -> None:
    if method == "GET" and told.status == 200:
        answer = json.loads(told.body)
        answer.pop("data", None)
        told.body = json.dumps(answer).encode()


def _willing(method: str, told: Told) -> None:
    if method == "GET" and told.status == 400:
        told.status, told.body = 200, b'{"data":[]}'


LIES = (
    Lie("an answer is a 500", "/v1/webhooks", _broken),
    Lie("an answer lacks a member", "/v1/webhooks", _short),
    Lie("what must be refused is not", "/v1/webhooks", _willing),
)


class Liar:
    def __init__(self, upstream: str, lie: Lie):
        host, _, port = upstream.rpartition(":")

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length) if length else None
                connection = http.client.HTTPConnection(host, int(port), timeout=30)
                kept = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                connection.request(self.command, self.path, body=body, headers=kept)
                answer = connection.getresponse()
                told = Told(answer.status, answer.getheaders(), answer.read())
                connection.close()
                if self.path.split("?")[0] == lie.path:
                    lie.tell(self.command, told)
                self.send_response_only(told.status)
                for name, value in told.headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(told.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(told.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_TRACE = do_QUERY = _pass

            def log_message(self, *_) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> "Liar":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()
