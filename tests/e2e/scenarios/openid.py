"""Tokens of an OpenID provider that nobody here wrote: PyJWT makes them, `cryptography` the keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from support.checks import Checks
from support.receiver import Received, Receiver, Reply
from support.service import Client, Service
from support.tls import TestAuthority

AUDIENCE = "https://webhooks.example"
ALGORITHMS = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}


class Provider:
    """Discovery and keys over HTTPS; counts how often it is asked for the keys."""

    def __init__(self, authority: TestAuthority):
        self.keys: dict[str, tuple[str, object]] = {}
        self.asked = 0
        self.down = False
        self.receiver = Receiver(authority, self.answer)
        self.issuer = self.receiver.url("/realms/acme")

    def add(self, kid: str, algorithm: str, key: object) -> None:
        self.keys[kid] = (algorithm, key)

    def answer(self, request: Received) -> Reply:
        if self.down:
            return Reply(503)
        if request.target == "/realms/acme/.well-known/openid-configuration":
            return _json({"issuer": self.issuer, "jwks_uri": self.receiver.url("/realms/acme/certs")})
        if request.target == "/realms/acme/certs":
            self.asked += 1
            return _json({"keys": [self._jwk(kid) for kid in self.keys]})
        return Reply(404)

    def _jwk(self, kid: str) -> dict:
        algorithm, key = self.keys[kid]
        made = get_default_algorithms()[algorithm].to_jwk(key.public_key())
        return {**(made if isinstance(made, dict) else json.loads(made)), "kid": kid, "use": "sig", "alg": algorithm}

    def token(self, kid: str, *, key: object = None, header: dict | None = None, **changed) -> str:
        algorithm, own = self.keys[kid]
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": AUDIENCE, "sub": "robot-7", "iat": now, "exp": now + 300,
            "tenant_id": "default", "realm_access": {"roles": ["webhook-ops", "offline_access"]}, **changed,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key or own, algorithm=algorithm, headers={"kid": kid, **(header or {})})


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    provider = Provider(authority)
    provider.add("rsa", "RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048))
    provider.add("ec", "ES256", ec.generate_private_key(ec.SECP256R1()))
    provider.add("ed", "EdDSA", ed25519.Ed25519PrivateKey.generate())
    settings = {
        "SEALPOST_OPENID_ISSUER": provider.issuer,
        "SEALPOST_OPENID_AUDIENCE": AUDIENCE,
        "SEALPOST_OPENID_ROLES_CLAIM": "/realm_access/roles",
        "SEALPOST_OPENID_ROLES": "webhook-ops=issuer,webhook-audit=auditor",
    }
    with Service(folder / "data", authority.ca_file, **settings).start() as service:
        _good(checks, service, provider)
        _forged(checks, service, provider)
        _rotated(checks, service, provider)
        _away(checks, service, provider)
    provider.receiver.close()


def _status(service: Service, token: str, path: str = "/v1/webhooks") -> int:
    return Client(service.address, token).call("GET", path).status


def _good(checks: Checks, service: Service, provider: Provider) -> None:
    checks.equal("nobody is asked before a token comes", provider.asked, 0)
    for kid, (algorithm, _) in provider.keys.items():
        checks.equal(f"a token of {algorithm} is taken", _status(service, provider.token(kid)), 200)
    checks.equal("one question for all of them", provider.asked, 1)
    hook = {"events": ["did_create"], "url": provider.receiver.url("/hook")}
    made = Client(service.address, provider.token("rsa")).call("POST", "/v1/webhooks", hook)
    checks.equal("its role may register", made.status, 201)
    log = service.run("audit", "--json").stdout
    checks.that("the audit log names provider and subject", f"openid {provider.issuer} robot-7" in log, log)
    auditor = provider.token("ec", realm_access={"roles": ["webhook-audit"]})
    checks.equal("an auditor may read the log", _status(service, auditor, "/v1/webhooks/audit"), 200)
    checks.equal("and register nothing", Client(service.address, auditor).call("POST", "/v1/webhooks", hook).status, 403)
    checks.equal("roles of others are none", _status(service, provider.token("ec", realm_access={"roles": ["admin"]})), 403)


def _forged(checks: Checks, service: Service, provider: Provider) -> None:
    now = int(time.time())
    rsa_key = provider.keys["rsa"][1]
    public = rsa_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    good = provider.token("ed")
    forged = {
        "another key under a known kid": provider.token("ed", key=ed25519.Ed25519PrivateKey.generate()),
        "no signature": f"{_part({'alg': 'none', 'kid': 'rsa'})}.{good.split('.')[1]}.",
        "an HMAC with the public key": _hmac_token(good, public),
        "expired": provider.token("rsa", exp=now - 60),
        "not yet": provider.token("rsa", nbf=now + 600),
        "no end": provider.token("rsa", exp=None),
        "another audience": provider.token("rsa", aud="https://other.example"),
        "another issuer": provider.token("rsa", iss="https://localhost/realms/evil"),
        "no subject": provider.token("rsa", sub=None),
        "no such tenant": provider.token("rsa", tenant_id="nobody"),
        "a critical header": provider.token("rsa", header={"crit": ["x"], "x": 1}),
        "an unknown kid": provider.token("ed", header={"kid": "none-such"}),
        "its body changed": good[:-90] + ("A" if good[-90] != "A" else "B") + good[-89:],
    }
    checks.each(
        "each forgery is refused",
        forged.items(),
        lambda item: None if _status(service, item[1]) == 401 else f"{item[0]}: {_status(service, item[1])}",
    )
    checks.equal("the good one still opens", _status(service, good), 200)
    checks.that("forgeries made it ask once more at most", provider.asked <= 2, provider.asked)


def _rotated(checks: Checks, service: Service, provider: Provider) -> None:
    """After a restart nothing is cached: the new key is in, the withdrawn one is out."""
    old = provider.token("rsa")
    del provider.keys["rsa"]
    provider.add("rsa-2", "RS256", rsa.generate_private_key(public_exponent=65537, key_size=3072))
    service.stop()
    service.start()
    checks.equal("the provider's new key is taken", _status(service, provider.token("rsa-2")), 200)
    checks.equal("the withdrawn one is not", _status(service, old), 401)


def _away(checks: Checks, service: Service, provider: Provider) -> None:
    provider.down = True
    checks.equal("known keys serve while it is away", _status(service, provider.token("rsa-2")), 200)
    service.stop()
    service.start()
    answer = Client(service.address, provider.token("rsa-2")).call("GET", "/v1/webhooks")
    checks.equal("without keys nobody can tell", answer.status, 503)
    checks.that("and it says when to ask again", int(answer.headers["retry-after"]) > 0)
    checks.equal("other credentials do not depend on it", service.client.get("/v1/webhooks").status, 200)


def _json(document: dict) -> Reply:
    return Reply(200, body=json.dumps(document).encode(), headers=(("content-type", "application/json"),))


def _part(value: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _hmac_token(good: str, secret: bytes) -> str:
    signed = f"{_part({'alg': 'HS256', 'kid': 'rsa'})}.{good.split('.')[1]}"
    mac = base64.urlsafe_b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    return f"{signed}.{mac}"
