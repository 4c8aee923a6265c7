"""Truvera's face: a client that knows nothing but Truvera's documents registers, a receiver written for Truvera checks the
token in the body and nothing else, and no trace of a token is left where it does not belong."""

from __future__ import annotations

import hmac
import json
import re
from pathlib import Path

from support import verify
from support.checks import Checks
from support.corpus import exact, load, member
from support.receiver import Received, Receiver, Reply
from support.service import ADMIN_KEY, Answer, Client, Service
from support.tls import TestAuthority

TWELVE = """credential_create credential_issued credential_revoke credential_unrevoke did_create did_update_key
did_update_controller did_delete registry_create registry_delete schema_create proof_submitted""".split()
MEMBERS = ["created", "description", "events", "id", "secret", "status", "url"]
TOKEN = re.compile(r"[A-Za-z0-9_-]{64}\Z")


class TruveraClient:
    """By Truvera's documents: one key in one header, 200 means success, objects with seven members."""

    def __init__(self, client: Client, header: str):
        self.client = client
        self.shown = {header: f"Bearer {ADMIN_KEY}" if header == "Authorization" else ADMIN_KEY}

    def call(self, method: str, path: str, body: object = None) -> Answer:
        return self.client.call(method, path, body, token=None, headers=self.shown)


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    tokens: dict[str, str] = {}

    def answer(request: Received) -> Reply | int:
        # The receiver of Truvera's documents: the token first, then the event.
        said = json.loads(request.body)
        known = tokens.get(request.target, "")
        if request.target == "/echo":
            return Reply(500, body=b"you sent: " + request.body)
        return 200 if hmac.compare_digest(said["token"], known) else 401

    with Receiver(authority, answer) as receiver, Service(
        folder, authority.ca_file, SEALPOST_RETRY_INTERVALS="1s", SEALPOST_LOG="debug"
    ) as service:
        service.start()
        hooks = _calls(checks, service, receiver, tokens)
        _events(checks, service, receiver, tokens, hooks)
        _rotation(checks, service, receiver, tokens, hooks)
        _command_line(checks, service)
        _no_trace(checks, service, tokens, hooks)


def _calls(checks: Checks, service: Service, receiver: Receiver, tokens: dict) -> dict:
    bearer = TruveraClient(service.client, "Authorization")
    dock = TruveraClient(service.client, "DOCK-API-TOKEN")
    truvera = TruveraClient(service.client, "TRUVERA-API-TOKEN")
    made = [
        bearer.call("POST", "/webhooks", {"url": receiver.url("/all"), "events": ["*"], "description": "all"}),
        dock.call("POST", "/webhooks", {"url": receiver.url("/proofs"), "events": ["proof_submitted"], "status": 1}),
        truvera.call("POST", "/webhooks", {"url": receiver.url("/echo"), "events": ["did_delete"], "status": 0}),
    ]
    checks.equal("each of three headers registers, with 200", [answer.status for answer in made], [200] * 3)
    hooks = {name: answer.json for name, answer in zip(("all", "proofs", "echo"), made)}
    checks.that("a webhook has seven members", all(sorted(hook) == MEMBERS for hook in hooks.values()), hooks)
    checks.that(
        "a token has 64 characters and is not another's",
        all(TOKEN.match(hook["secret"]) for hook in hooks.values())
        and len({hook["secret"] for hook in hooks.values()}) == 3,
    )
    for name, hook in hooks.items():
        tokens["/" + name] = hook["secret"]
    checks.equal("Receive All begins with Truvera's twelve", hooks["all"]["events"][:12], TWELVE)
    listed = dock.call("GET", "/webhooks").json
    checks.equal("the list is a bare array, newest first", listed, list(reversed(list(hooks.values()))))
    checks.equal("offset and limit", dock.call("GET", "/webhooks?offset=1&limit=1").json, listed[1:2])
    enabled = truvera.call("PATCH", f"/webhooks/{hooks['echo']['id']}", {"status": 1})
    hooks["echo"]["status"] = 1
    checks.equal("a change names what it changes", (enabled.status, enabled.json), (200, hooks["echo"]))

    mattr = service.client.create_webhook(receiver.url("/mattr"), ["OpenIdCredentialIssued"])
    foreign = bearer.call("GET", f"/webhooks/{mattr['id']}")
    checks.equal(
        "a webhook of MATTR's face is not on this one, said in its shape",
        (foreign.status, sorted(foreign.json), foreign.json["status"]),
        (404, ["message", "status", "type"], 404),
    )
    of_mattr = [hook["id"] for hook in service.client.get("/v1/webhooks").json["data"]]
    checks.equal("nor these on that one", of_mattr, [mattr["id"]])
    two = service.client.call("GET", "/webhooks", headers={"DOCK-API-TOKEN": "another"})
    checks.equal("two different keys are none", (two.status, two.json["status"]), (401, 401))
    return hooks


def _events(checks: Checks, service: Service, receiver: Receiver, tokens: dict, hooks: dict) -> None:
    events = load()
    keys = verify.Keys(service.client.jwks())
    published = {}
    for event in events:
        published[service.client.publish(event.line)["id"]] = event
    ours = [event for event in events if event.type in TWELVE]
    checks.equal("the fixture has all twelve", {event.type for event in ours}, set(TWELVE))
    checks.that("everything comes to rest", service.client.wait_until_quiet(30))
    requests = [r for r in receiver.snapshot() if r.target == "/all"]
    checks.equal("each event of Truvera's arrives once, and none of MATTR's", len(requests), len(ours))
    checks.each(
        "a receiver written for Truvera takes it", requests, lambda r: None if r.answered == 200 else str(r.answered)
    )

    def exactly(request: Received) -> str | None:
        source = published[request.event_id]
        data = member(exact(source.line), "payload")
        want = ("object", (("token", tokens["/all"]), ("event", source.type), ("data", data)))
        return None if exact(request.body.decode()) == want else f"{source.type} {request.body[:200]!r}"

    checks.each("the body is exactly token, event, data", requests, exactly)
    checks.each(
        "http-message-signatures (PyPI) verifies it as well",
        requests,
        lambda r: verify.by_http_message_signatures(r, keys, covered=verify.TRUVERA_COVERED),
    )
    bent = requests[0].body.replace(b"{", b"[", 1)
    checks.that(
        "control: it refuses a changed body",
        verify.refuses(
            verify.by_http_message_signatures, requests[0], keys, body=bent, covered=verify.TRUVERA_COVERED
        ),
    )
    proofs = [r for r in receiver.snapshot() if r.target == "/proofs"]
    got = {json.loads(r.body)["event"] for r in proofs}
    checks.equal("a webhook gets what it asked for", got, {"proof_submitted"})

    bare = {"type": "credential_issued", "payload": {"credential": {"id": "urn:c", "name": "Zoë"}, "key": "did:x#1"}}
    event = service.client.publish(bare)
    checks.that("it comes to rest", service.client.wait_until_quiet(10))
    body = next(json.loads(r.body) for r in receiver.snapshot() if r.event_id == event["id"])
    size = len('{"id":"urn:c","name":"Zoë"}'.encode())
    checks.equal(
        "a bare credential is completed",
        list(body["data"].items()),
        [
            ("id", "urn:c"),
            ("signingOps", 1),
            ("byteSize", size),
            ("key", "did:x#1"),
            ("credential", bare["payload"]["credential"]),
        ],
    )


def _rotation(checks: Checks, service: Service, receiver: Receiver, tokens: dict, hooks: dict) -> None:
    number = hooks["all"]["id"]
    tested = service.client.call("POST", f"/v1/webhooks/{number}/test", {"type": "did_create"})
    checks.equal("Sealpost's calls take the number", tested.status, 202)
    service.client.wait_until_quiet(10)
    old = tokens["/all"]
    rotated = service.client.call("POST", f"/v1/webhooks/{number}/token/rotate")
    tokens["/all"] = rotated.json["token"]
    checks.that("rotation answers with a new token", rotated.status == 200 and tokens["/all"] != old)
    event = service.client.publish({"type": "did_create", "payload": {"did": "did:x"}})
    service.client.wait_until_quiet(10)
    sent = [r for r in receiver.snapshot() if r.event_id == event["id"] and r.target == "/all"]
    checks.equal("a receiver that knows only the new one takes what follows", [r.answered for r in sent], [200])
    tokens["/old"] = old


def _command_line(checks: Checks, service: Service) -> None:
    create = ("webhook", "create", "https://hooks.example.com/in", "--events", "did_create")
    made = service.run(*create, "--dialect", "truvera")
    shown = re.search(r"^token   [A-Za-z0-9_-]{64}$", made.stdout, re.M)
    checks.that("sealpost webhook create shows the token", shown is not None, made)
    listed = service.run("webhook", "list", "--dialect", "truvera", "--json")
    checks.that("sealpost webhook list does not", listed.returncode == 0 and "secret" not in listed.stdout, listed.stderr)


def _no_trace(checks: Checks, service: Service, tokens: dict, hooks: dict) -> None:
    client = service.client
    rows = client.pages("/v1/webhooks/deliveries", webhookId=hooks["echo"]["id"])
    details = [client.get(f"/v1/webhooks/deliveries/{row['id']}").json for row in rows]
    excerpts = [a["responseExcerpt"] for detail in details for a in detail["attempts"]]
    checks.that(
        "a receiver that echoes leaves an excerpt without the token",
        excerpts != [] and all('"token":"[secret]"' in excerpt for excerpt in excerpts),
        excerpts,
    )
    audit = json.dumps(client.pages("/v1/webhooks/audit"))
    checks.that("the audit log has the rotation", '"rotate token"' in audit)
    places = {
        "the log": service.log_file.read_text(errors="replace"),
        "the audit log": audit,
        "MATTR's list": client.get("/v1/webhooks").body.decode(),
        "the deliveries": json.dumps(client.pages("/v1/webhooks/deliveries")) + json.dumps(details),
        "the API's document": client.get("/openapi.json").body.decode(),
        "the store": "".join(p.read_bytes().decode("latin-1") for p in service.data.iterdir() if p.is_file()),
    }
    for name, text in places.items():
        checks.that(f"no token is in {name}", text != "" and not any(token in text for token in tokens.values()))
