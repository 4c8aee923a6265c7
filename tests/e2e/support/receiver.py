"""HTTPS receivers in threads: they record every request exactly as it came and answer as told."""

from __future__ import annotations

import dataclasses
import http.server
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from email.message import Message

from .tls import TestAuthority


@dataclasses.dataclass
class Received:
    """One request, kept whole. `method`, `url` and `headers` are what signature libraries ask a message for."""

    method: str
    target: str
    host: str
    headers: Message
    body: bytes
    arrived_at: float  # monotonic, when the request line was read
    wall: float
    answered: int | None = None
    complete: bool = True  # False if the sender died before the last byte

    @property
    def url(self) -> str:
        return f"https://{self.host}{self.target}"

    def header(self, name: str) -> str | None:
        return self.headers.get(name)

    @property
    def delivery_id(self) -> str:
        return self.headers.get("x-sealpost-delivery-id", "")

    @property
    def event_id(self) -> str:
        return self.headers.get("x-sealpost-event-id", "")

    @property
    def attempt(self) -> int:
        return int(self.headers.get("x-sealpost-attempt", "0"))


@dataclasses.dataclass(frozen=True)
class Reply:
    status: int = 200
    delay_s: float = 0.0
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    hang: bool = False


HANG = Reply(hang=True)


class Receiver:
    """`answer` decides per request; every path of the port is served."""

    def __init__(
        self,
        authority: TestAuthority,
        answer: Callable[[Received], Reply | int] = lambda _: 200,
        host: str = "localhost",
    ):
        self.answer = answer
        self.host = host
        self.requests: list[Received] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._changed = threading.Condition(threading.RLock())
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body leave in one write
            disable_nagle_algorithm = True
            timeout = 30

            def do_POST(self):  # noqa: N802 (the base class names it)
                receiver._serve(self)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST  # a wrong method is recorded, not hidden

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 256

            def server_bind(self):  # the base class asks the resolver for our name; nobody needs it
                socketserver.TCPServer.server_bind(self)
                self.server_name, self.server_port = self.server_address[:2]

            def get_request(self):
                raw, address = super().get_request()
                receiver.connections += 1
                raw.settimeout(30)
                # The handshake happens in the handler's thread: a silent client must not stop the others.
                return (
                    authority.server_context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False),
                    address,
                )

            def finish_request(self, request, client_address):
                request.do_handshake()
                super().finish_request(request, client_address)

            def handle_error(self, *_):
                pass  # a client killed in the middle is part of these tests

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, path: str = "/hook") -> str:
        return f"https://{self.host}:{self.port}{path}"

    def _serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        arrived_at, wall = time.monotonic(), time.time()
        length = int(handler.headers.get("content-length") or 0)
        try:
            body = handler.rfile.read(length)
        except OSError:
            body = b""
        received = Received(
            method=handler.command,
            target=handler.path,
            host=handler.headers.get("host", ""),
            headers=handler.headers,
            body=body,
            arrived_at=arrived_at,
            wall=wall,
            complete=len(body) == length,
        )
        reply = self.answer(received) if received.complete else HANG
        if isinstance(reply, int):
            reply = Reply(reply)
        with self._changed:
            received.answered = None if reply.hang else reply.status
            self.requests.append(received)
            self._changed.notify_all()
        if reply.hang:
            if received.complete:
                self.stopping.wait()
            handler.close_connection = True
            return
        if reply.delay_s:
            time.sleep(reply.delay_s)
        handler.send_response_only(reply.status)
        for name, value in reply.headers:
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body)
        handler.wfile.flush()

    def snapshot(self) -> list[Received]:
        with self._changed:
            return list(self.requests)

    def wait_for(self, enough: Callable[[list[Received]], bool], timeout_s: float) -> bool:
        """Waits until the requests so far satisfy `enough`; says whether they did in time."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while not enough(self.requests):
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def wait_for_count(self, count: int, timeout_s: float = 30) -> bool:
        return self.wait_for(lambda requests: len(requests) >= count, timeout_s)

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "Receiver":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def free_port() -> int:
    """A port nobody listens on now. Taking it later can race; on loopback in a test that is accepted."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
