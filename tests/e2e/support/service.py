"""The real binary as a child process, and a small client for its API."""

from __future__ import annotations

import atexit
import dataclasses
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

from .receiver import free_port

REPOSITORY = Path(__file__).resolve().parents[3]
ADMIN_KEY = "spk_end-to-end-admin-key-0123456789abcdef"
LISTENING = re.compile(r"^sealpost listening on http://(\S+)$")

_children: list[subprocess.Popen] = []


@atexit.register
def _leave_nothing_running() -> None:
    for child in _children:
        if child.poll() is None:
            child.kill()


def binary() -> Path:
    """Named by `SEALPOST_BINARY`, else the newest build of this repository."""
    named = os.environ.get("SEALPOST_BINARY")
    if named:
        return Path(named).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    built = [target / kind / "sealpost" for kind in ("release", "debug")]
    built = [path for path in built if path.exists()]
    if not built:
        raise SystemExit("no sealpost binary: run `cargo build --release -p sealpost` first")
    return max(built, key=lambda path: path.stat().st_mtime)


@dataclasses.dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def content_type(self) -> str:
        return (self.headers.get("content-type") or "").split(";")[0].strip().lower()

    def __repr__(self) -> str:
        return f"{self.status} {self.content_type} {self.body[:400]!r}"


class Client:
    """One connection per call: nothing here can hide or repeat a request."""

    def __init__(self, address: str, token: str | None = ADMIN_KEY):
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.token = token

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        content_type: str | None = "application/json",
        token: str | None = "",
        timeout_s: float = 30,
    ) -> Answer:
        """`body` as bytes or text is sent as it is, anything else as JSON. `token=None` sends none."""
        sent = {"authorization": f"Bearer {self.token}"} if token == "" and self.token else {}
        if token:
            sent["authorization"] = f"Bearer {token}"
        if body is not None:
            if not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            body = body.encode() if isinstance(body, str) else body
            if content_type is not None:
                sent["content-type"] = content_type
        sent.update(headers or {})
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                connection.request(method, path, body=body, headers=sent)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the service may refuse before it has read everything; its answer is what counts
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **query) -> Answer:
        return self.call("GET", path + ("?" + urlencode(query) if query else ""))

    def create_webhook(self, url: str, events: list[str], settings: dict | None = None, **more) -> dict:
        answer = self.call("POST", "/v1/webhooks", {"events": events, "url": url, **more})
        _expect(answer, 201, f"create webhook {url}")
        webhook = answer.json
        if settings is not None:
            _expect(
                self.call("PUT", f"/v1/webhooks/{webhook['id']}/settings", settings), 200, "put settings"
            )
        return webhook

    def secret(self, webhook_id: str) -> str:
        answer = self.get(f"/v1/webhooks/{webhook_id}/secret")
        _expect(answer, 200, "get secret")
        found = answer.json
        return found["secret"] if isinstance(found, dict) else found

    def jwks(self) -> dict:
        answer = self.call("GET", "/v1/webhooks/jwks", token=None)
        _expect(answer, 200, "get jwks")
        return answer.json

    def publish(self, body: object, expect: tuple[int, ...] = (202,), **options):
        answer = self.call("POST", "/v1/webhooks/events", body, **options)
        if answer.status not in expect:
            raise AssertionError(f"publish: {answer!r}")
        return answer.json

    def pages(self, path: str, **query) -> list[dict]:
        """Every row of a list, page by page."""
        rows: list[dict] = []
        query.setdefault("limit", 1000)
        while True:
            answer = self.get(path, **query)
            _expect(answer, 200, f"list {path}")
            page = answer.json
            rows.extend(page["data"])
            if "nextCursor" not in page:
                return rows
            query["cursor"] = page["nextCursor"]

    def wait_until_quiet(self, timeout_s: float, poll_s: float = 0.1) -> bool:
        """Until no delivery is pending."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            answer = self.get("/v1/webhooks/deliveries", status="pending", limit=1)
            if answer.status == 200 and not answer.json["data"]:
                return True
            time.sleep(poll_s)
        return False


def _expect(answer: Answer, status: int, what: str) -> None:
    if answer.status != status:
        raise AssertionError(f"{what}: wanted {status}, got {answer!r}")


class Service:
    """`serve` on its own data folder and a free loopback port. Settings come from the environment only."""

    def __init__(self, folder: Path, ca_file: Path | None = None, **environment: str):
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "serve.log"
        self.address = f"127.0.0.1:{free_port()}"
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "SEALPOST_LISTEN": self.address,
            "SEALPOST_STORE": f"sqlite:{self.data}/sealpost.db",
            "SEALPOST_BOOTSTRAP_API_KEY": ADMIN_KEY,
            "SEALPOST_EGRESS_ALLOW": "127.0.0.0/8",
            **({"SEALPOST_EGRESS_CA": str(ca_file)} if ca_file else {}),
            **environment,
        }
        self.process: subprocess.Popen | None = None
        self._ready = threading.Event()
        self.stdout: list[str] = []

    @property
    def client(self) -> Client:
        return Client(self.address)

    def spawn(self) -> None:
        """Starts the process without waiting for it."""
        self._ready = ready = threading.Event()
        with self.log_file.open("ab") as log:
            self.process = process = subprocess.Popen(
                [str(binary()), "serve"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        _children.append(process)

        def read() -> None:
            for line in process.stdout:
                line = line.rstrip("\n")
                self.stdout.append(line)
                found = LISTENING.match(line)
                if found:
                    self.address = found.group(1)
                    ready.set()
            # The end of its output: it died, and is waited for so that `is_ready` tells the two apart.
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                pass
            ready.set()

        threading.Thread(target=read, daemon=True).start()

    def is_ready(self, timeout_s: float) -> bool:
        return self._ready.wait(timeout_s) and self.process.poll() is None

    def start(self, timeout_s: float = 30) -> "Service":
        self.spawn()
        if not self.is_ready(timeout_s):
            raise AssertionError(f"serve did not get ready: {self.log_tail()}")
        return self

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self.process.kill()
        self._reap()

    def stop(self, timeout_s: float = 15) -> int | None:
        """SIGTERM; the exit status, or None if it would not end."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        status = self.process.returncode
        self._reap()
        return status

    def _reap(self) -> None:
        self.process.wait()
        if self.process in _children:
            _children.remove(self.process)

    def run(self, *arguments: str, timeout_s: float = 60, **more: str) -> subprocess.CompletedProcess:
        """Another command of the binary with the same settings."""
        return run(*arguments, cwd=self.folder, environment={**self.environment, **more}, timeout_s=timeout_s)

    def log_tail(self, lines: int = 12) -> str:
        if not self.log_file.exists():
            return "(no log)"
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def run(
    *arguments: str, cwd: Path, environment: dict[str, str], timeout_s: float = 60
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(binary()), *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
