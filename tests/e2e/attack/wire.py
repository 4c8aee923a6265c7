"""Bytes that no client sends: floods, bombs, half requests, smuggled ones, slow ones. Each gets its answer or its end in
time, and afterwards the process is as small as before and answers everybody else."""

from __future__ import annotations

import dataclasses
import socket
import struct
import threading
import time
from pathlib import Path

from support.checks import Checks
from support.service import ADMIN_KEY, Client, Service

AUTH = f"authorization: Bearer {ADMIN_KEY}\r\n".encode()
JSON = b"content-type: application/json\r\n"
MB = 1024 * 1024
# How long a head, a body or an idle connection may take, and some room for the machine.
CUT_OFF_S = 34
SLOW_PEERS = 300
# Memory that may stay: threads' stacks and the allocator's own.
KEPT_BYTES = 96 * MB


@dataclasses.dataclass
class Attack:
    what: str
    sent: bytes | list[bytes]
    # Statuses that are right; an end without an answer is `None`.
    right: tuple[int | None, ...]


def post(body: bytes, *headers: bytes, path: bytes = b"/v1/webhooks/events", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    head = b"POST " + path + b" HTTP/1.1\r\nhost: a\r\n" + AUTH + JSON + b"".join(h + b"\r\n" for h in headers)
    return head + b"content-length: %d\r\n\r\n" % length + body


def get(*headers: bytes, target: bytes = b"/v1/webhooks", version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + target + b" " + version + b"\r\nhost: a\r\n" + AUTH + b"".join(h + b"\r\n" for h in headers) + b"\r\n"


def event(payload: bytes) -> bytes:
    return b'{"type":"did_create","payload":' + payload + b"}"


CHUNKED = b"POST /v1/webhooks/events HTTP/1.1\r\nhost: a\r\n" + AUTH + JSON + b"transfer-encoding: chunked\r\n"
HEADER_REFUSED = (400, 431, None)
ATTACKS = (
    Attack("10,000 headers", get(*[b"x-%d: 1" % n for n in range(10_000)]), HEADER_REFUSED),
    Attack("one header of 1 MB", get(b"x: " + b"a" * MB), HEADER_REFUSED),
    Attack("a target of 1 MB", get(target=b"/" + b"a" * MB), (414, *HEADER_REFUSED)),
    Attack("a query of 30,000 bytes", get(target=b"/v1/webhooks?" + b"limit=1&" * 3700), HEADER_REFUSED),
    Attack("no host", b"GET /v1/webhooks HTTP/1.1\r\n" + AUTH + b"\r\n", (400,)),
    Attack("two hosts", get(b"host: b"), (400,)),
    Attack("a host that is no host", b"GET / HTTP/1.1\r\nhost: a b/@\r\n\r\n", (400,)),
    Attack("a NUL in a header", get(b"x: a\0b"), HEADER_REFUSED),
    Attack("a bare line feed in a header", get(b"x: a\nb: c"), (200, 400, None)),
    Attack("HTTP/0.9", b"GET /v1/webhooks\r\n\r\n", (400, None)),
    Attack("HTTP/7.1", get(version=b"HTTP/7.1"), (400, 505, None)),
    Attack("a method of 1 MB", b"A" * MB + b" / HTTP/1.1\r\nhost: a\r\n\r\n", HEADER_REFUSED),
    Attack("a TLS greeting", bytes.fromhex("16030100c8010000c40303") + b"\0" * 190, (400, None)),
    Attack("the beginning of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 64, (400, 505, None)),
    Attack("random bytes", bytes((n * 7919 + n // 3) % 256 for n in range(65536)), (400, None)),
    Attack("a length and chunks", CHUNKED + b"content-length: 4\r\n\r\n0\r\n\r\n", (400, None)),
    Attack("two lengths", post(b"{}", b"content-length: 3"), (400, None)),
    Attack("a negative length", CHUNKED.replace(b"transfer-encoding: chunked", b"content-length: -1") + b"\r\n", (400, None)),
    Attack("a length of 2^70", post(b"", length=1 << 70), (400, 413, None)),
    Attack("a length of 2^62", post(b"", length=1 << 62), (413, None)),
    Attack("a chunk of 2^64", CHUNKED + b"\r\n10000000000000000\r\n", (400, None)),
    Attack("a chunk size of 1 MB", CHUNKED + b"\r\n" + b"0" * MB, (400, 408, None)),
    Attack("chunks that never end in size", CHUNKED + b"\r\n" + (b"ffff\r\n" + b"a" * 0xffff + b"\r\n") * 800, (413, None)),
    Attack("60 MB where 1 MB is the most", post(b"[" + b" " * (60 * MB)), (413, None)),
    Attack("chunked in another coding", CHUNKED.replace(b"chunked", b"gzip, chunked") + b"\r\n0\r\n\r\n", (400, 415, 501, None)),
    Attack("a compressed body", post(b"\x1f\x8b" + b"\0" * 100, b"content-encoding: gzip"), (400, 415)),
    Attack("100,000 levels of arrays", post(event(b"[" * 100_000 + b"]" * 100_000)), (400,)),
    Attack("100,000 levels of objects", post(event(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)), (400,)),
    Attack("levels that are not closed", post(event(b"[" * 200_000)), (400,)),
    Attack("100,000 members of one name", post(event(b"{" + b'"a":1,' * 100_000 + b'"a":1}')), (400, 413)),
    Attack("100,000 members", post(event(b"{" + b"".join(b'"%d":1,' % n for n in range(100_000)) + b'"a":1}')), (202, 400, 413)),
    Attack("a number of 500,000 digits", post(event(b'{"a":' + b"9" * 500_000 + b"}")), (202, 400)),
    Attack("an exponent of 10^18", post(event(b'{"a":1e999999999999999999}')), (202, 400)),
    Attack("half a surrogate", post(event(b'{"a":"\\ud800"}')), (202, 400)),
    Attack("bytes that are not UTF-8", post(event(b'{"a":"\xff\xfe"}')), (400,)),
    Attack("a byte order mark", post(b"\xef\xbb\xbf" + event(b"{}")), (400,)),
    Attack("50,000 events in an array", post(b"[" + b",".join([event(b"{}")] * 50_000) + b"]"), (400, 413)),
    Attack("an empty array", post(b"[]"), (400,)),
    Attack("an expectation that is not met", get(b"expect: 418-teapot"), (200, 417, 400)),
    Attack("an upgrade to nothing", get(b"connection: upgrade", b"upgrade: websocket"), (200, 400, 426)),
    Attack("a tunnel", b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: 169.254.169.254:80\r\n\r\n", (400, 404, 405)),
    Attack("a target with a scheme", get(target=b"http://169.254.169.254/latest/meta-data"), (400, 404)),
    Attack("a way up", get(target=b"/v1/../../../etc/passwd"), (400, 404)),
    Attack("an encoded way up", get(target=b"/v1/%2e%2e%2f%2e%2e%2fetc%2fpasswd"), (400, 404)),
    Attack("a credential of 20 KB", get().replace(ADMIN_KEY.encode(), b"a" * 20_000), (401,)),
    Attack("a token with 400 dots", get().replace(ADMIN_KEY.encode(), b"." * 400), (401,)),
    Attack("two credentials", get(AUTH.strip()), (200, 400, 401)),
)


def run(checks: Checks, folder: Path) -> None:
    with Service(folder) as service:
        service.start()
        client = service.client
        webhooks = client.get("/v1/webhooks")
        for attack in ATTACKS[:3]:
            _status(service.address, attack.sent)
        size, files = _resident(service), _files(service)

        for attack in ATTACKS:
            status, took = _status(service.address, attack.sent)
            right = status in attack.right and took < CUT_OFF_S
            checks.that(f"{attack.what}: {'an end' if status is None else status}", right, f"{status} in {took:.1f} s")
        _pipelined(checks, service)
        _half_requests(checks, service)
        _slow(checks, service, client)

        checks.equal("all the same, the list is as it was", client.get("/v1/webhooks").json, webhooks.json)
        end = time.monotonic() + 30
        while _files(service) > files + 4 and time.monotonic() < end:
            time.sleep(0.2)
        checks.that("no connection is left open", _files(service) <= files + 4, f"{files} files before, {_files(service)} after")
        grown = _resident(service) - size
        checks.that("memory is given back", grown < KEPT_BYTES, f"{grown // MB} MB more")
        checks.note(f"{grown / MB:+.0f} MB resident after all of it")
        log = service.log_file.read_text(errors="replace")
        checks.that("nothing panicked", "panicked" not in log, log[-600:])
        checks.that("no credential is in the log", ADMIN_KEY not in log)
        checks.that("it ends well", service.stop() == 0)


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=CUT_OFF_S + 4)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _status(address: str, sent: bytes) -> tuple[int | None, float]:
    """The first answer, or None if the connection ends without one."""
    began = time.monotonic()
    with _connect(address) as connection:
        # Beside the reading: a service that refuses early does not take the rest.
        sending = threading.Thread(target=_send, args=(connection, sent), daemon=True)
        sending.start()
        answer = b""
        try:
            while b"\r\n" not in answer:
                more = connection.recv(4096)
                if not more:
                    break
                answer += more
        except OSError:
            pass
        return _first(answer), time.monotonic() - began


def _send(connection: socket.socket, sent: bytes) -> None:
    try:
        connection.sendall(sent)
    except OSError:
        pass  # refused before it was all sent


def _first(answer: bytes) -> int | None:
    parts = answer.split(b"\r\n", 1)[0].split(b" ")
    return int(parts[1]) if len(parts) > 1 and parts[0].startswith(b"HTTP/") and parts[1].isdigit() else None


def _read_all(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while more := connection.recv(65536):
            answer += more
    except OSError:
        pass
    return answer


def _pipelined(checks: Checks, service: Service) -> None:
    """Many requests in one go: each gets its own answer, in order, and the last one ends the connection."""
    with _connect(service.address) as connection:
        sent = get(target=b"/livez") * 999 + get(b"connection: close", target=b"/livez")
        threading.Thread(target=_send, args=(connection, sent), daemon=True).start()
        answers = _read_all(connection).count(b"HTTP/1.1 200")
    checks.equal("1,000 requests in one go get 1,000 answers", answers, 1000)


def _half_requests(checks: Checks, service: Service) -> None:
    """Connections that are reset in the middle of a request."""
    for n in range(200):
        with _connect(service.address) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(post(event(b"{}"), length=1000)[: 40 + n])
    checks.equal("after 200 resets it answers", service.client.get("/v1/webhooks").status, 200)


def _slow(checks: Checks, service: Service, client: Client) -> None:
    """Peers that send a byte now and then, more of them than a handful: others are served meanwhile, and they are cut off."""
    heads = [_connect(service.address) for _ in range(SLOW_PEERS)]
    bodies = [_connect(service.address) for _ in range(SLOW_PEERS)]
    for connection in bodies:
        connection.sendall(post(b"", length=5000))
    began, worst, cut = time.monotonic(), 0.0, None
    while cut is None and time.monotonic() - began < CUT_OFF_S + 10:
        for connection in heads:
            _trickle(connection, b"G")
        for connection in bodies:
            _trickle(connection, b" ")
        asked = time.monotonic()
        status = client.call("GET", "/livez", token=None, timeout_s=10).status
        worst = max(worst, time.monotonic() - asked)
        if status != 200:
            break
        if all(_is_over(connection) for connection in heads + bodies):
            cut = time.monotonic() - began
        time.sleep(0.5)
    checks.that(f"{2 * SLOW_PEERS} slow peers are all cut off", cut is not None)
    checks.that("others are served meanwhile within a second", worst < 1, f"{worst:.2f} s")
    checks.note(f"cut off after {cut or 0:.0f} s; meanwhile the slowest answer for others took {worst * 1000:.0f} ms")
    for connection in heads + bodies:
        connection.close()


def _trickle(connection: socket.socket, byte: bytes) -> None:
    try:
        connection.sendall(byte)
    except OSError:
        pass


def _is_over(connection: socket.socket) -> bool:
    """An end, or an answer after which nothing more is asked for."""
    connection.setblocking(False)
    try:
        connection.recv(4096, socket.MSG_PEEK)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(CUT_OFF_S)


def _resident(service: Service) -> int:
    text = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) * 1024


def _files(service: Service) -> int:
    """Open connections of the service, as the kernel lists them for everybody."""
    port = f":{int(service.address.rpartition(':')[2]):04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    # 01: established, 08: closed by the peer and not yet by the service.
    return sum(row[1].endswith(port) and row[3] in ("01", "08") for row in rows)
