"""Many tenants on one service: an operator makes them, their clients get access tokens, PyJWT checks those."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from urllib.parse import urlencode

import jwt

from support.checks import Checks
from support.receiver import Receiver, Reply
from support.service import Client, Service
from support.tls import TestAuthority

FORM = "application/x-www-form-urlencoded"
BASE = "posts.test"
PUBLIC = f"https://{BASE}"


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    with Receiver(authority, lambda _: Reply(200)) as receiver:
        with Service(
            folder / "data", authority.ca_file, SEALPOST_BASE_DOMAIN=BASE, SEALPOST_PUBLIC_URL=PUBLIC
        ).start() as service:
            operator = _operator(checks, service)
            acme = _tenant(checks, operator, "acme")
            other = _tenant(checks, operator, "other")
            token = _token(checks, service, acme)
            _checked(checks, service, token, acme)
            _used(checks, service, receiver, token, acme, other)
            _rotated(checks, service, token, acme)
            _revoked(checks, service, operator, token, acme)
            _deleted(checks, service, operator, acme)


def _operator(checks: Checks, service: Service) -> Client:
    made = service.run("bootstrap", "operator", "--json")
    checks.equal("an operator is made while the service runs", made.returncode, 0)
    key = json.loads(made.stdout)["key"]
    checks.that("its key is shown once, with a prefix of its own", key.startswith("spo_"))
    return Client(service.address, key)


def _tenant(checks: Checks, operator: Client, name: str) -> dict:
    made = operator.call("POST", "/v1/tenants", {"name": name.title(), "subdomain": name})
    checks.equal(f"tenant {name} is made", made.status, 201)
    tenant = made.json
    checks.equal("with a host of its own", tenant["subdomain"], f"{name}.{BASE}")
    return tenant


def _ask(service: Service, tenant: dict, secret: str | None = None):
    body = {
        "client_id": tenant["client"]["clientId"],
        "client_secret": secret or tenant["client"]["clientSecret"],
        "audience": f"https://{tenant['subdomain']}",
        "grant_type": "client_credentials",
    }
    return service.client.call("POST", "/oauth/token", body, token=None, headers={"host": tenant["subdomain"]})


def _token(checks: Checks, service: Service, tenant: dict) -> str:
    client, secret = tenant["client"]["clientId"], tenant["client"]["clientSecret"]
    answer = _ask(service, tenant)
    checks.equal("a token for JSON, as MATTR's clients ask", answer.status, 200)
    checks.equal("for a day", (answer.json["expires_in"], answer.json["token_type"]), (86400, "Bearer"))
    form = urlencode({"grant_type": "client_credentials", "client_id": client, "client_secret": secret})
    answer = service.client.call("POST", "/oauth/token", form, token=None, content_type=FORM)
    checks.equal("a token for a form", answer.status, 200)
    basic = {"authorization": "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()}
    answer = service.client.call(
        "POST", "/oauth/token", "grant_type=client_credentials", token=None, content_type=FORM, headers=basic
    )
    checks.equal("a token for HTTP Basic", answer.status, 200)
    wrong = _ask(service, tenant, "spk_wrong")
    checks.equal(
        "wrong credentials are told in MATTR's words",
        (wrong.status, wrong.json),
        (401, {"error": "access_denied", "error_description": "Unauthorized"}),
    )
    return _ask(service, tenant).json["access_token"]


def _keys(service: Service) -> dict[str, jwt.PyJWK]:
    document = service.client.call("GET", "/.well-known/jwks.json", token=None).json
    return {key.key_id: key for key in jwt.PyJWKSet.from_dict(document).keys}


def _decoded(service: Service, token: str, audience: str) -> dict:
    header = jwt.get_unverified_header(token)
    key = _keys(service)[header["kid"]]
    return jwt.decode(token, key, algorithms=["EdDSA"], audience=audience, issuer=PUBLIC)


def _checked(checks: Checks, service: Service, token: str, tenant: dict) -> None:
    checks.equal("its type is that of RFC 9068", jwt.get_unverified_header(token)["typ"], "at+jwt")
    claims = _decoded(service, token, f"https://{tenant['subdomain']}")
    checks.equal("PyJWT verifies it with the published key", claims["client_id"], tenant["client"]["clientId"])
    checks.equal("it names tenant and roles", (claims["tenant_id"], claims["roles"]), (tenant["id"], ["admin"]))
    for member in ("iss", "sub", "aud", "exp", "iat", "jti", "client_id"):
        checks.that(f"RFC 9068 wants `{member}`", member in claims)
    head, body, signature = token.split(".")
    last = "A" if body[-2] != "A" else "B"
    forged = f"{head}.{body[:-2]}{last}{body[-1]}.{signature}"
    try:
        _decoded(service, forged, f"https://{tenant['subdomain']}")
        refused = False
    except jwt.PyJWTError:
        refused = True
    checks.that("PyJWT refuses it with one character changed", refused)
    answer = Client(service.address, forged).call("GET", "/v1/webhooks", headers={"host": tenant["subdomain"]})
    checks.equal("and so does the service", answer.status, 401)


def _used(
    checks: Checks, service: Service, receiver: Receiver, token: str, tenant: dict, other: dict
) -> None:
    own = {"host": tenant["subdomain"]}
    client = Client(service.address, token)
    hook = {"events": ["did_create"], "url": receiver.url()}
    made = client.call("POST", "/v1/webhooks", hook, headers=own)
    checks.equal("a webhook is registered with the token", made.status, 201)
    event = client.call("POST", "/v1/webhooks/events", {"type": "did_create", "payload": {"n": 1}}, headers=own)
    checks.equal("an event is published with it", event.status, 202)
    receiver.wait_for_count(1, 10)
    kid = client.call("GET", "/v1/webhooks/jwks", headers=own, token=None).json["keys"][0]["kid"]
    foreign = client.call("GET", "/v1/webhooks/jwks", headers={"host": other["subdomain"]}, token=None)
    checks.that("it is signed with the tenant's own key", f'keyid="{kid}"' in receiver.snapshot()[0].header("signature-input"))
    checks.that("which no other tenant has", kid not in foreign.body.decode())
    checks.equal("at another tenant's host the token is nothing", client.call("GET", "/v1/webhooks", headers={"host": other["subdomain"]}).status, 401)
    stranger = Client(service.address, other["client"]["clientSecret"])
    seen = stranger.call("GET", f"/v1/webhooks/{made.json['id']}", headers={"host": other["subdomain"]})
    checks.equal("the other tenant finds no such webhook", seen.status, 404)


def _rotated(checks: Checks, service: Service, token: str, tenant: dict) -> None:
    checks.equal("the token key is rotated", service.run("key", "rotate", "--tokens", "--yes").returncode, 0)
    own = {"host": tenant["subdomain"]}
    checks.equal("tokens that are out stay good", Client(service.address, token).call("GET", "/v1/webhooks", headers=own).status, 200)
    fresh = _ask(service, tenant).json["access_token"]
    kids = {jwt.get_unverified_header(one)["kid"] for one in (token, fresh)}
    checks.equal("a fresh one has the fresh key, and both are published", kids, set(_keys(service)))
    service.stop()
    service.start()
    for name, one in (("old", token), ("fresh", fresh)):
        answer = Client(service.address, one).call("GET", "/v1/webhooks", headers=own)
        checks.equal(f"after a restart the {name} one is good", answer.status, 200)


def _revoked(checks: Checks, service: Service, operator: Client, token: str, tenant: dict) -> None:
    operator = Client(service.address, operator.token)
    began = time.monotonic()
    path = f"/v1/tenants/{tenant['id']}/clients/{tenant['client']['clientId']}"
    checks.equal("the client is deleted", operator.call("DELETE", path).status, 204)
    answer = Client(service.address, token).call("GET", "/v1/webhooks", headers={"host": tenant["subdomain"]})
    checks.equal("its token ends at once", (answer.status, time.monotonic() - began < 2), (401, True))
    checks.equal("and gives no other", _ask(service, tenant).status, 401)


def _deleted(checks: Checks, service: Service, operator: Client, tenant: dict) -> None:
    operator = Client(service.address, operator.token)
    checks.equal("the tenant is deleted", operator.call("DELETE", f"/v1/tenants/{tenant['id']}").status, 204)
    checks.equal("it is not listed", tenant["id"] in [one["id"] for one in operator.get("/v1/tenants").json["data"]], False)
    host = {"host": tenant["subdomain"]}
    checks.equal("its host is nobody's", operator.call("GET", "/v1/webhooks/jwks", headers=host, token=None).status, 404)
    log = service.run("audit", "--json")
    checks.equal("the audit log is read", log.returncode, 0)
    checks.that("and says who rotated the token key", "rotate token keys" in log.stdout, log.stdout)
    secret = tenant["client"]["clientSecret"]
    everywhere = [path for path in service.data.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    checks.equal("the client's secret is in no file", everywhere, [])
