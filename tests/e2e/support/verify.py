"""Judging a received request with code that nobody of this project wrote, and by the rules MATTR's receivers follow."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import re
import subprocess
import time
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms
from standardwebhooks import Webhook

from .receiver import Received

COVERED = (
    "@request-target",
    "@method",
    "content-digest",
    "content-type",
    "x-mattr-event-type",
    "x-mattr-webhook-id",
)
# In Truvera's dialect the ids that its body lacks.
TRUVERA_COVERED = (*COVERED[:4], "x-sealpost-delivery-id", "x-sealpost-event-id")
SIGNATURE_INPUT = re.compile(
    r"^sig1=\((?P<covered>[^)]*)\);created=(?P<created>\d+)(;expires=(?P<expires>\d+))?;keyid=\"(?P<keyid>[^\"]+)\"$"
)
BODY = re.compile(
    rb'^\{"deliveryId":"(?P<delivery>[0-9a-f-]{36})","deliveryTimestamp":"(?P<at>[^"]+)",'
    rb'"webhookId":"(?P<webhook>[0-9a-f-]{36})","event":\{"id":"(?P<event>[0-9a-f-]{36})",'
    rb'"type":"(?P<type>[^"]+)","payload":(?P<payload>\{.*\}),"timestamp":"(?P<timestamp>[^"]+)"\}\}$',
    re.DOTALL,
)
ISO_MS = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


class Refused(Exception):
    """A verifier said no; the text is its reason."""


class Keys(HTTPSignatureKeyResolver):
    """The tenant's JWKS, fetched once, as receivers do."""

    def __init__(self, jwks: dict):
        self.by_id = {key["kid"]: key for key in jwks["keys"]}

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(_unpadded(self.by_id[key_id]["x"]))

    def resolve_private_key(self, key_id: str):
        raise NotImplementedError("receivers hold no private key")


def by_http_message_signatures(
    request: Received, keys: Keys, body: bytes | None = None, covered: tuple[str, ...] = COVERED
) -> None:
    """PyPI `http-message-signatures` (RFC 9421), with the digest held against the body. Raises if it refuses."""
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=keys)
    results = verifier.verify(
        request,
        max_age=datetime.timedelta(minutes=5),
        require_components=covered,
        body=request.body if body is None else body,
    )
    if len(results) != 1:
        raise Refused(f"{len(results)} signatures, want exactly one")


def by_standard_webhooks(request: Received, secret: str, body: bytes | None = None) -> None:
    """PyPI `standardwebhooks`. Raises if it refuses."""
    Webhook(secret).verify(request.body if body is None else body, dict(request.headers.items()))


def by_mattr_rules(request: Received, keys: Keys, body: bytes | None = None) -> None:
    """The rules of MATTR's published verifier: every label must verify, the URL is rebuilt from `Host`, the
    digest is compared as text, `expires` has no tolerance. Raises `Refused`."""
    body = request.body if body is None else body
    signature_input, signature = request.header("signature-input"), request.header("signature")
    if not signature_input or not signature:
        raise Refused("no signature")
    found = SIGNATURE_INPUT.match(signature_input)
    if not found:
        raise Refused(f"Signature-Input has another shape: {signature_input}")
    if found["expires"] and int(found["expires"]) < time.time():
        raise Refused("expired")
    names = re.findall(r'"([^"]+)"', found["covered"])
    lines = []
    for name in names:
        if name == "@request-target":
            value = request.target
        elif name == "@method":
            value = request.method
        elif name.startswith("@"):
            raise Refused(f"component {name} is not one of MATTR's")
        else:
            values = request.headers.get_all(name)
            if not values:
                raise Refused(f"{name} is signed and absent")
            value = ", ".join(v.strip() for v in values)
        if name == "content-digest":
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            if value != f"sha-256=:{digest}:":
                raise Refused("ContentDigestMismatch")
        lines.append(f'"{name}": {value}')
    if "content-digest" not in names:
        raise Refused("the body is not bound")
    lines.append('"@signature-params": ' + signature_input.removeprefix("sig1="))
    wire = re.match(r"^sig1=:([A-Za-z0-9+/=]+):$", signature)
    if not wire:
        raise Refused(f"Signature has another shape: {signature}")
    if found["keyid"] not in keys.by_id:
        raise Refused("MissingKey")
    try:
        keys.resolve_public_key(found["keyid"]).verify(base64.b64decode(wire[1]), "\n".join(lines).encode())
    except InvalidSignature:
        raise Refused("FailedToVerify") from None


def refuses(verifier, *arguments, **options) -> bool:
    """Whether a verifier says no: the negative control of every positive one."""
    try:
        verifier(*arguments, **options)
    except Exception:
        return True
    return False


def thumbprint(jwk: dict) -> str:
    """RFC 7638 for an OKP key."""
    text = json.dumps({name: jwk[name] for name in ("crv", "kty", "x")}, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def in_node(lines: list[dict]) -> list[dict]:
    """Hands tasks to `node_side.cjs` (npm `standardwebhooks`, JSON.stringify) and returns its answers in order."""
    script = Path(__file__).with_name("node_side.cjs")
    run = subprocess.run(
        ["node", str(script)],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ},
    )
    if run.returncode != 0:
        raise AssertionError(f"node_side.cjs failed: {run.stderr[-600:]}")
    answers = [json.loads(line) for line in run.stdout.split("\n") if line]
    if len(answers) != len(lines):
        raise AssertionError(f"node_side.cjs answered {len(answers)} of {len(lines)}")
    return answers
