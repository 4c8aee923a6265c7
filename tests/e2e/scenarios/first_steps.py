"""What a newcomer does first, with curl: start, register, publish, and see a receiver verify it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from support.checks import Checks
from support.receiver import free_port
from support.service import ADMIN_KEY, Service, binary


def run(checks: Checks, folder: Path) -> None:
    if shutil.which("curl") is None:
        checks.that("curl is installed", False)
        return
    port = free_port()
    # `listen` over plain HTTP on loopback is the path without certificates; it is off unless asked for.
    with Service(folder, SEALPOST_EGRESS_HTTP="loopback") as service:
        service.start()
        listener, output = _listen(folder, service, port)
        try:
            base = f"http://{service.address}"
            created = _curl("POST", f"{base}/v1/webhooks", {"events": ["OpenIdCredentialIssued"], "url": f"http://localhost:{port}/hook"})
            checks.that("register: 201 with the webhook", created[0] == 201 and "id" in created[1], created)
            published = _curl(
                "POST",
                f"{base}/v1/webhooks/events",
                {"type": "OpenIdCredentialIssued", "payload": {"format": "ldp_vc", "userId": "u-1"}},
            )
            checks.that("publish: 202 with one delivery", published[0] == 202 and published[1]["deliveries"] == 1, published)
            shown = _wait_for(output, lambda text: "OpenIdCredentialIssued" in text, 10)
            checks.that("listen shows the event", "OpenIdCredentialIssued" in shown, shown)
            checks.that("and says that it verified", "verified" in shown.lower() and "not verified" not in shown.lower(), shown)
            seen = _curl("GET", f"{base}/v1/webhooks/deliveries?eventId={published[1]['id']}")
            checks.that(
                "history: delivered", seen[0] == 200 and [d["status"] for d in seen[1]["data"]] == ["delivered"], seen
            )
        finally:
            listener.send_signal(signal.SIGINT)
            try:
                listener.wait(5)
            except subprocess.TimeoutExpired:
                listener.kill()


def _listen(folder: Path, service: Service, port: int) -> tuple[subprocess.Popen, Path]:
    output = folder / "listen.log"
    environment = {**service.environment, "SEALPOST_API_KEY": ADMIN_KEY, "SEALPOST_SERVER": f"http://{service.address}"}
    with output.open("wb") as sink:
        listener = subprocess.Popen(
            [str(binary()), "listen", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    _wait_for(output, lambda text: str(port) in text, 10)
    return listener, output


def _wait_for(path: Path, enough, timeout_s: float) -> str:
    end = time.monotonic() + timeout_s
    while True:
        text = path.read_text(errors="replace")
        if enough(text) or time.monotonic() > end:
            return text
        time.sleep(0.05)


def _curl(method: str, url: str, body: object = None) -> tuple[int, object]:
    command = ["curl", "-sS", "-X", method, url, "-H", f"Authorization: Bearer {ADMIN_KEY}", "-w", "\n%{http_code}"]
    if body is not None:
        command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env={"PATH": os.environ["PATH"]})
    text, _, status = done.stdout.rpartition("\n")
    return int(status or 0), json.loads(text) if text else done.stderr
