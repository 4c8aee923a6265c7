"""Guessing credentials: an answer, and the time it takes, say nothing about how near a guess came.

Kinds of guesses are asked in turn, so that whatever the machine does meets all of them alike; what is compared is the time
that one in ten is faster than, which other work on the machine moves least. A difference would be a look into the store for one and none for the other, or a comparison that ends early."""

from __future__ import annotations

import base64
import http.client
import json
import statistics
import time
from pathlib import Path
from urllib.parse import urlencode

from support.checks import Checks
from support.service import ADMIN_KEY, Service

ROUNDS = 400
# Of those times; a hash of another length or a look into the store would be more.
MAY_DIFFER_S = 0.0003
FORM = {"content-type": "application/x-www-form-urlencoded"}


def run(checks: Checks, folder: Path) -> None:
    with Service(folder, SEALPOST_BASE_DOMAIN="sealpost.example") as service:
        service.start()
        operator = json.loads(service.run("bootstrap", "operator", "--json").stdout)["key"]
        made = service.client.call("POST", "/v1/tenants", {"name": "t", "subdomain": "t"}, token=operator).json
        client, secret = made["client"]["clientId"], made["client"]["clientSecret"]
        host = made["subdomain"]

        def bearer(key: str):
            return ("GET", "/v1/webhooks", None, {"authorization": f"Bearer {key}"})

        def grant(client: str, secret: str):
            form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
            return ("POST", "/oauth/token", urlencode(form), {**FORM, "host": host})

        def basic(client: str, secret: str):
            text = base64.b64encode(f"{client}:{secret}".encode()).decode()
            headers = {**FORM, "host": host, "authorization": f"Basic {text}"}
            return ("POST", "/oauth/token", "grant_type=client_credentials", headers)

        near = ADMIN_KEY[:-1] + ("a" if ADMIN_KEY[-1] != "a" else "b")
        far = ADMIN_KEY[:4] + "z" * (len(ADMIN_KEY) - 4)
        wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")
        unknown = "01" + client[2:] if client[:2] != "01" else "ff" + client[2:]
        _alike(checks, service, "an API key", {"one letter off": bearer(near), "nothing like it": bearer(far)})
        _alike(checks, service, "a client by form", {
            "a known client, a wrong secret": grant(client, wrong),
            "an unknown client": grant(unknown, wrong),
        })
        _alike(checks, service, "a client by Basic", {
            "a known client, a wrong secret": basic(client, wrong),
            "an unknown client": basic(unknown, wrong),
        })
        _alike(checks, service, "another tenant's host", {
            "a host that is": ("GET", "/v1/webhooks", None, {"host": host, "authorization": f"Bearer {near}"}),
            "a host that is not": ("GET", "/v1/webhooks", None, {"host": "u." + host, "authorization": f"Bearer {near}"}),
        }, same_answer=False)
        # The right ones are let in, or nothing above says anything.
        checks.equal("the key itself opens", service.client.get("/v1/webhooks").status, 200)
        checks.equal("the secret itself opens", _ask(service, grant(client, secret))[0], 200)


def _alike(checks: Checks, service: Service, what: str, guesses: dict, same_answer: bool = True) -> None:
    times: dict[str, list[float]] = {name: [] for name in guesses}
    answers: dict[str, set] = {name: set() for name in guesses}
    connection = http.client.HTTPConnection(*service.address.split(":"), timeout=10)
    for _ in range(ROUNDS):
        for name, guess in guesses.items():
            began = time.perf_counter()
            answer = _ask_on(connection, guess)
            times[name].append(time.perf_counter() - began)
            answers[name].add(answer)
    connection.close()
    if same_answer:
        first, *others = answers.values()
        checks.that(f"{what}: every wrong one gets the same answer", len(first) == 1 and all(o == first for o in others), answers)
    fast = {name: statistics.quantiles(of, n=10)[0] for name, of in times.items()}
    spread = max(fast.values()) - min(fast.values())
    told = ", ".join(f"{name} {time_s * 1e6:.0f} us" for name, time_s in fast.items())
    checks.that(f"{what}: the time tells nothing", spread < MAY_DIFFER_S, told)
    checks.note(told)


def _ask(service: Service, guess) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*service.address.split(":"), timeout=10)
    try:
        return _ask_on(connection, guess)
    finally:
        connection.close()


def _ask_on(connection: http.client.HTTPConnection, guess) -> tuple[int, bytes]:
    method, path, body, headers = guess
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
