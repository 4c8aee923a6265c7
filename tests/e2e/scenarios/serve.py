"""Starting and stopping: one line when ready, a clear refusal otherwise, a drain on SIGTERM, the demo."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from support.checks import Checks
from support.receiver import Receiver, Reply
from support.service import Service, run as run_binary
from support.tls import TestAuthority


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    _start_and_stop(checks, folder / "life", authority)
    _refusals(checks, folder / "refusals", authority)
    _first_key(checks, folder / "first-key", authority)
    _demo(checks, folder / "demo")


def _start_and_stop(checks: Checks, folder: Path, authority: TestAuthority) -> None:
    with Receiver(authority, lambda _: Reply(200, delay_s=1.0)) as receiver:
        service = Service(folder, authority.ca_file).start()
        checks.equal("ready is one line on stdout", service.stdout, [f"sealpost listening on http://{service.address}"])
        client = service.client
        hook = client.create_webhook(receiver.url(), ["did_create"])
        key = service.data / "master.key"
        checks.that("the master key is made with mode 0600", key.exists() and stat.S_IMODE(key.stat().st_mode) == 0o600)
        checks.equal("no admin key is made beside a bootstrap key", (service.data / "admin.key").exists(), False)

        second = Service(folder, authority.ca_file)
        second.spawn()
        checks.that("a second one on the same folder ends with an error", second.process.wait(10) != 0)
        checks.equal("and never says that it listens", second.stdout, [])
        second.stop()

        client.publish({"type": "did_create", "payload": {"n": 1}})
        receiver.wait_for_count(1, 10)
        began = time.monotonic()
        status = service.stop()
        took = time.monotonic() - began
        checks.equal("SIGTERM: it drains and exits 0", status, 0)
        checks.that("within 10 s", took < 10, f"{took:.1f} s")

        service.start()
        rows = client.pages("/v1/webhooks/deliveries")
        checks.equal("what was in flight had its end recorded", [row["status"] for row in rows], ["delivered"])
        checks.equal("and was sent once", len(receiver.snapshot()), 1)
        checks.equal("webhooks survive a restart", client.get("/v1/webhooks").json["data"], [hook])
        service.stop()

        key.rename(key.with_suffix(".away"))
        service.spawn()
        checks.that("without its master key it refuses to start", not service.is_ready(10), service.stdout)
        checks.that("and makes no new one", not key.exists())
        service.stop()
        key.write_bytes(os.urandom(key.with_suffix(".away").stat().st_size))
        key.chmod(0o600)
        service.spawn()
        checks.that("with a wrong one too", not service.is_ready(10), service.stdout)
        service.stop()
        key.with_suffix(".away").replace(key)
        service.start()
        checks.equal("with its own it starts again", service.client.get("/readyz").status, 200)
        service.stop()


def _refusals(checks: Checks, folder: Path, authority: TestAuthority) -> None:
    wrong = {
        "a listen address beyond loopback without TLS or proxy": {"SEALPOST_LISTEN": "0.0.0.0:0"},
        "a short bootstrap key": {"SEALPOST_BOOTSTRAP_API_KEY": "x" * 31},
        "an unknown URL policy": {"SEALPOST_URL_POLICY": "lenient"},
        "17 retry waits": {"SEALPOST_RETRY_INTERVALS": ",".join(["1s"] * 17)},
        "a retry wait that is no duration": {"SEALPOST_RETRY_INTERVALS": "soon"},
        "an egress network that is none": {"SEALPOST_EGRESS_ALLOW": "everywhere"},
        "trust anchors that are not there": {"SEALPOST_EGRESS_CA": "/nonexistent/ca.pem"},
        "a store of another kind": {"SEALPOST_STORE": "mysql://localhost/sealpost"},
    }
    for number, (what, environment) in enumerate(wrong.items()):
        service = Service(folder / str(number), authority.ca_file)
        service.environment.update(environment)
        service.spawn()
        ready = service.is_ready(10)
        said = service.log_file.read_text(errors="replace").strip()
        checks.that(f"{what}: refused with a sentence", not ready and said != "", said)
        checks.that(f"{what}: without a panic", "panicked" not in said, said)
        checks.that(f"{what}: exit status is not 0", service.stop() not in (0, None))


def _first_key(checks: Checks, folder: Path, authority: TestAuthority) -> None:
    service = Service(folder, authority.ca_file)
    del service.environment["SEALPOST_BOOTSTRAP_API_KEY"]
    with service:
        service.start()
        path = service.data / "admin.key"
        checks.that("without a bootstrap key the first one is in admin.key, mode 0600",
                    path.exists() and stat.S_IMODE(path.stat().st_mode) == 0o600)  # fmt: skip
        key = path.read_text().strip() if path.exists() else ""
        checks.that("it starts with spk_", key.startswith("spk_"))
        checks.equal("it works", service.client.call("GET", "/v1/webhooks", token=key).status, 200)
        shown = "\n".join(service.stdout) + service.log_file.read_text(errors="replace")
        checks.that("it is neither printed nor logged", key == "" or key not in shown)


def _demo(checks: Checks, folder: Path) -> None:
    folder.mkdir(parents=True)
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder)}
    began = time.monotonic()
    done = run_binary("demo", cwd=folder, environment=environment, timeout_s=60)
    took = time.monotonic() - began
    checks.that("demo exits 0", done.returncode == 0, (done.stdout + done.stderr)[-500:])
    checks.that("in under 15 s", took < 15, f"{took:.1f} s")
    checks.equal("and leaves nothing behind in the folder", [path.name for path in folder.iterdir()], [])
