#!/usr/bin/env python3
"""Three nodes on one PostgreSQL while everything befalls them, then a checker over what was seen.

    cluster.py [--seconds N] [--seed N] [--database pair|single] [--only FAULT] [--asynchronous] [--keep] [--selftest]

`pair` (the default) is a primary with a synchronous standby that is promoted now and then, `single` one server alone.
`--asynchronous` is a planted mistake: nobody waits for the standby, so a promotion loses what was acknowledged, and the
checker must say so. The last line is `e2e: N passed, N failed`."""

from __future__ import annotations

import argparse
import collections
import json
import random
import secrets
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster import selftest  # noqa: E402
from cluster.checker import RULES, Terms, Verdict, check  # noqa: E402
from cluster.database import Database  # noqa: E402
from cluster.driver import TYPES, Administrator, Caller, Publisher, Tenant, path, resolved  # noqa: E402
from cluster.helpers import Proxy, Receivers  # noqa: E402
from cluster.history import NEVER, Attempt, Change, Fault, History, Recorded, Webhook, read_requests  # noqa: E402
from cluster.nemesis import Nemesis  # noqa: E402
from cluster.nodes import Node, faketime  # noqa: E402
from support.checks import Checks  # noqa: E402
from support.service import ADMIN_KEY, Client, binary  # noqa: E402

NODES = ("one", "two", "three")
WAITS = "1s,1s,1s"
BASE = "posts.test"
PUBLISHERS = 8
PAUSE_S = 0.05
# Of each tenant; those that nobody changes.
STEADY = ("quick", "flaky", "slow", "stuck")
QUIET_WITHIN_S = 90
# Every node, after the last fault.
ANSWERS_WITHIN_S = 30


def run(checks: Checks, folder: Path, wanted: argparse.Namespace) -> None:
    proxy = Proxy()
    database = Database(proxy, standby=wanted.database == "pair", synchronous=not wanted.asynchronous)
    nodes: list[Node] = []
    try:
        nodes = _nodes(folder, database, proxy)
        tenants = _tenants(nodes[0])
        keys = {tenant.name: _keys(nodes[0], tenant) for tenant in tenants}
        receivers = Receivers(folder / "requests.jsonl", wanted.seed, keys)
        history, errors = _history(folder, wanted, nodes, database, proxy, receivers, tenants)
        receivers.close()
        history.requests = read_requests(folder / "requests.jsonl")
        history.save(folder / "history.jsonl")
        terms = Terms()
        verdict = check(history, terms)
        _report(history, verdict, wanted)
        _judge(checks, history, verdict, errors, wanted, nodes)
    finally:
        for node in nodes:
            if node.runs():
                node.go_on()
                node.service.stop()
        database.close()
        proxy.close()


def _nodes(folder: Path, database: Database, proxy: Proxy) -> list[Node]:
    key_file = folder / "master.key"
    key_file.touch(mode=0o600)
    key_file.write_text(f"sealpost-master-key-1 {secrets.token_hex(32)}\n")
    environment = {
        "SEALPOST_MASTER_KEY_FILE": str(key_file),
        "SEALPOST_RETRY_INTERVALS": WAITS,
        "SEALPOST_EGRESS_HTTP": "loopback",
        "SEALPOST_BASE_DOMAIN": BASE,
        "SEALPOST_PUBLIC_URL": f"https://{BASE}",
        "SEALPOST_LOG": "warn",
    }
    nodes = [Node(name, folder, database, proxy, **environment) for name in NODES]
    starts = [threading.Thread(target=node.start) for node in nodes]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    return nodes


def _tenants(node: Node) -> list[Tenant]:
    """`default` with its admin key, and another that an operator makes."""
    operator = json.loads(node.service.run("bootstrap", "operator", "--json").stdout)["key"]
    made = Client(node.service.address, operator).call("POST", "/v1/tenants", {"name": "Acme", "subdomain": "acme"})
    if made.status != 201:
        raise AssertionError(f"make a tenant: {made!r}")
    return [
        Tenant("default", ADMIN_KEY, node.service.address),
        Tenant("acme", made.json["client"]["clientSecret"], made.json["subdomain"]),
    ]


def _keys(node: Node, tenant: Tenant) -> dict:
    # By the host of a tenant; the one without a host of its own shows its keys to whoever holds a key of it.
    host = tenant.host if tenant.name != "default" else f"default.{BASE}"
    answer = node.client.call("GET", "/v1/webhooks/jwks", token=None, headers={"host": host})
    if answer.status != 200:
        raise AssertionError(f"keys of {tenant.name}: {answer!r}")
    return answer.json


def _history(folder, wanted, nodes, database, proxy, receivers, tenants) -> tuple[History, list[str]]:
    """The run itself: load, faults, rest, and then everything that was written down."""
    rng = random.Random(wanted.seed)
    stop = threading.Event()
    caller = lambda tenant: Caller(nodes, tenant, random.Random(rng.random()))  # noqa: E731
    history = History(webhooks=[_steady(tenant, caller(tenant), kind, receivers) for tenant in tenants for kind in STEADY])
    publishers = [
        Publisher(number, caller(tenants[number % len(tenants)]), PAUSE_S, stop) for number in range(PUBLISHERS)
    ]
    administrators = [
        Administrator(
            number,
            caller(tenant),
            lambda kind, name, tenant=tenant: receivers.url(tenant.name, kind, name),
            [TYPES[number % len(TYPES)]],
            1.0,
            stop,
        )
        for number, tenant in enumerate([*tenants, *tenants])
    ]
    began = time.monotonic()
    burst = lambda node: rng.choice(publishers).burst(node)  # noqa: E731
    nemesis = Nemesis(wanted.seed, wanted.only, nodes, database, proxy, burst, began, began + wanted.seconds)
    for thread in (*publishers, *administrators):
        thread.start()
    nemesis.start()
    time.sleep(wanted.seconds)
    nemesis.join()
    stop.set()
    print(f"  {time.monotonic() - began:6.1f} s  faults are over", flush=True)
    for thread in (*publishers, *administrators):
        thread.join(60)
    print(f"  {time.monotonic() - began:6.1f} s  load is over", flush=True)
    errors = list(nemesis.errors)
    for node in nodes:
        took = publishers[0].knock(node, ANSWERS_WITHIN_S)
        print(f"  node {node.name} accepts" + (f" after {took:.1f} s" if took is not None else " nothing"), flush=True)
        if took is None:
            errors.append(f"node {node.name} accepted nothing for {ANSWERS_WITHIN_S} s after the last fault")
    for publisher in publishers:
        publisher.resolve()
    rested = time.monotonic()
    errors += _rest(nodes, tenants, rested)
    errors += [f"refused: {refusal}" for each in (*publishers, *administrators) for refusal in each.refusals]
    errors += [f"failed inside: {said}" for each in (*publishers, *administrators) for said in each.caller.failures]
    errors += [f"never answered: {lost.events}" for publisher in publishers for lost in publisher.unanswered]
    print(f"  {rested - began:6.1f} s  what was not answered is resolved; at rest {time.monotonic() - rested:.1f} s later", flush=True)

    history.accepted, history.unsure = resolved(publishers)
    history.faults = nemesis.faults
    history.webhooks += [webhook for each in administrators for webhook in each.webhooks]
    history.webhooks += _strangers(nodes[0], tenants, history.webhooks)
    history.recorded = [row for tenant in tenants for row in _recorded(nodes[0], tenant)]
    return history, errors


def _steady(tenant: Tenant, caller: Caller, kind: str, receivers: Receivers) -> Webhook:
    url, asked_at = receivers.url(tenant.name, kind, "steady"), time.monotonic()
    # The slow one has fewer slots than it needs, so that work waits in memory and on disk.
    answer = caller.call("POST", "/v1/webhooks", {"events": list(TYPES), "url": url})
    if answer is None or answer.status != 201:
        raise AssertionError(f"make webhook {url}: {answer!r}")
    webhook_id = answer.json["id"]
    return Webhook(
        webhook_id,
        tenant.name,
        frozenset(TYPES),
        (Change(webhook_id, "create", asked_at, time.monotonic(), path(url)),),
    )


def _rest(nodes: list[Node], tenants: list[Tenant], since: float) -> list[str]:
    """Until nothing is pending; what is wrong if that does not come."""
    client = nodes[0].client
    while time.monotonic() < since + QUIET_WITHIN_S:
        pending = 0
        for tenant in tenants:
            where = "/v1/webhooks/deliveries?status=pending&limit=1"
            answer = client.call("GET", where, headers={"host": tenant.host}, token=tenant.token)
            pending += answer.status != 200 or len(answer.json["data"])
        if not pending:
            return []
        time.sleep(0.25)
    return [f"something is still pending after {QUIET_WITHIN_S} s"]


def _pages(node: Node, tenant: Tenant, where: str) -> list[dict]:
    rows, cursor = [], ""
    while True:
        answer = node.client.call(
            "GET", f"{where}?limit=1000{cursor}", headers={"host": tenant.host}, token=tenant.token
        )
        if answer.status != 200:
            raise AssertionError(f"list {where}: {answer!r}")
        page = answer.json
        rows += page["data"]
        if "nextCursor" not in page:
            return rows
        cursor = f"&cursor={page['nextCursor']}"


def _strangers(node: Node, tenants: list[Tenant], known: list[Webhook]) -> list[Webhook]:
    """Made by calls that got no answer."""
    ids = {webhook.id for webhook in known}
    return [
        Webhook(
            row["id"], tenant.name, frozenset(row["events"]), (Change(row["id"], "create", 0, NEVER, path(row["url"])),)
        )
        for tenant in tenants
        for row in _pages(node, tenant, "/v1/webhooks")
        if row["id"] not in ids
    ]


def _recorded(node: Node, tenant: Tenant) -> list[Recorded]:
    """Every delivery with its attempts, as the API shows them."""
    rows = _pages(node, tenant, "/v1/webhooks/deliveries")
    found: list[Recorded | None] = [None] * len(rows)

    def load(share: range) -> None:
        for at in share:
            where = f"/v1/webhooks/deliveries/{rows[at]['id']}"
            row = node.client.call("GET", where, headers={"host": tenant.host}, token=tenant.token).json
            attempts = tuple(Attempt(each["number"], each["outcome"], each.get("statusCode")) for each in row["attempts"])
            found[at] = Recorded(
                row["id"], row["eventId"], row["webhookId"], row["status"], row.get("reason"), attempts
            )

    threads = [threading.Thread(target=load, args=(range(first, len(rows), 4),)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [row for row in found if row is not None]


def _report(history: History, verdict: Verdict, wanted: argparse.Namespace) -> None:
    print(f"\n  seed {wanted.seed}, {wanted.seconds} s, {wanted.database}")
    for name, count in verdict.counts.items():
        print(f"  {name:<42} {count:>8}")
    kinds = collections.Counter(fault.kind for fault in history.faults)
    print(f"  faults: {', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))}")
    waited = [_accepted_again(history, fault) for fault in history.faults if fault.kind in ("postgres", "promote")]
    if waited:
        print(f"  after a fault of the database events were accepted again within {max(waited):.1f} s")
    for fault, count in verdict.duplicates.items():
        print(f"  {count} duplicates after {fault.kind} of {fault.target}")
    found = collections.Counter(violation.rule for violation in verdict.violations)
    for rule in RULES:
        print(f"  {rule:<42} {found[rule]:>8}")
    print(flush=True)


def _accepted_again(history: History, fault: Fault) -> float:
    later = [event.answered_at for event in history.accepted if event.answered_at > fault.ended]
    return min(later, default=NEVER) - fault.ended


def _judge(checks: Checks, history: History, verdict: Verdict, errors: list[str], wanted, nodes: list[Node]) -> None:
    checks.equal("the run went as planned, and no call failed inside the service", errors[:3], [])
    by_rule = collections.defaultdict(list)
    for violation in verdict.violations:
        by_rule[violation.rule].append(violation.what)
    for rule, statement in RULES.items():
        wrong = by_rule[rule]
        checks.that(statement, not wrong, f"{len(wrong)} times: {'; '.join(wrong[:3])}")
    checks.equal("no node ended by itself", [said for node in nodes for said in node.ended_by_itself], [])
    panics = [node.name for node in nodes if b"panicked" in node.service.log_file.read_bytes()]
    checks.equal("no node panicked", panics, [])
    # That the run was hard enough to mean something.
    checks.that("events were accepted all along", len(history.accepted) > 5 * wanted.seconds, len(history.accepted))
    if wanted.seconds >= 60 and not wanted.only:
        kinds = {fault.kind for fault in history.faults}
        want = {"kill", "pause", "cut", "hole", "delay", "restart", "postgres"}
        want |= {"promote"} if wanted.database == "pair" else set()
        checks.equal("every kind of fault happened", want - kinds, set())
        checks.that("faults hit sends in flight", verdict.counts["attempts recorded as unknown"] > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description="three nodes on one PostgreSQL, and a checker of what was seen")
    parser.add_argument("--seconds", type=int, default=60, help="of load and faults")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one each run, printed")
    parser.add_argument("--database", choices=["pair", "single"], default="pair")
    parser.add_argument("--asynchronous", action="store_true", help="planted mistake: commits do not wait for the standby")
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", help="as nemesis.py names them; repeatable")
    parser.add_argument("--keep", action="store_true", help="leave the folder with histories and logs behind")
    parser.add_argument("--selftest", action="store_true", help="only show that the checker finds planted faults")
    wanted = parser.parse_args()
    wanted.seed = wanted.seed if wanted.seed is not None else random.randrange(1 << 32)
    checks = Checks("cluster")
    print("cluster selftest", flush=True)
    selftest.run(checks)
    if not wanted.selftest:
        print(f"\ncluster\nbinary: {binary()}\nseed: {wanted.seed}", flush=True)
        if faketime() is None:
            print("no faketime here: clocks are left alone", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="sealpost-cluster-"))
        try:
            run(checks, folder, wanted)
        except Exception:
            checks.crashed()
        if wanted.keep or checks.failed:
            print(f"  kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\ne2e: {checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed or not checks.passed else 0


if __name__ == "__main__":
    sys.exit(main())
