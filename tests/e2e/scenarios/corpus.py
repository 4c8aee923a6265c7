"""The whole shared corpus over TLS: published singly, as an array and as NDJSON; every request verified by receivers
that nobody here wrote; bodies held byte for byte against an independent normaliser."""

from __future__ import annotations

import base64
import collections
from pathlib import Path

from support import verify
from support.checks import Checks
from support.corpus import exact, load, member, types
from support.receiver import Received, Receiver
from support.service import Service
from support.tls import TestAuthority

BOTH = {"signatures": ["http-message-signatures", "standard-webhooks"]}
SUMMARY, ISSUED = "OpenIdCredentialIssuedSummary", "OpenIdCredentialIssued"


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    events = load()
    checks.equal("the fixture holds 155 events", len(events), 155)
    counts = collections.Counter(event.type for event in events)

    with Receiver(authority) as receiver, Service(folder, authority.ca_file) as service:
        service.start()
        client = service.client
        hooks = {
            "all": client.create_webhook(receiver.url("/hooks/all"), types(events), BOTH),
            "summaries": client.create_webhook(receiver.url("/hooks/summaries"), [SUMMARY], BOTH),
            "issued": client.create_webhook(receiver.url("/hooks/o'clock/é"), [ISSUED], BOTH),
            "plain": client.create_webhook(receiver.url("/hooks/plain"), ["proof_submitted"]),
            "off": client.create_webhook(receiver.url("/hooks/off"), ["proof_submitted"], disabled=True),
        }
        name_of = {hook["id"]: name for name, hook in hooks.items()}
        secrets = {name: client.secret(hook["id"]) for name, hook in hooks.items()}
        keys = verify.Keys(client.jwks())

        published = _publish(checks, client, events)
        expected = {
            "all": 155 + counts[ISSUED],
            "summaries": counts[SUMMARY] + counts[ISSUED],
            "issued": counts[ISSUED],
            "plain": counts["proof_submitted"],
        }
        receiver.wait_for_count(sum(expected.values()), 60)
        checks.that("every delivery comes to rest", client.wait_until_quiet(30))
        requests = receiver.snapshot()
        arrived = collections.Counter(name_of.get(r.header("x-mattr-webhook-id"), "unknown") for r in requests)
        checks.equal("every event arrives once at every subscriber", dict(arrived), expected)

        _verify(checks, requests, keys, secrets, name_of)
        _wire(checks, requests, service.client, name_of, hooks)
        _bodies(checks, events, published, requests)
        _history(checks, client, published, requests, hooks)


def _publish(checks: Checks, client, events) -> list[dict]:
    """Lines 1-50 one by one, 51-100 as an array, 101-155 as NDJSON; each line exactly as the fixture has it."""
    published = [client.publish(event.line) for event in events[:50]]
    published += client.publish("[" + ",\n".join(e.line for e in events[50:100]) + "]")["data"]
    published += client.publish(
        "".join(e.line + "\n" for e in events[100:]), content_type="application/x-ndjson"
    )["data"]

    def complaint(pair) -> str | None:
        event, answer = pair
        if answer["type"] != event.type:
            return f"{answer['type']} for {event.type}"
        if answer["timestamp"] != event.timestamp:
            return f"timestamp {answer['timestamp']}, published {event.timestamp}"
        derived = [d["type"] for d in answer.get("derived", [])]
        want = [SUMMARY] if event.type == ISSUED else []
        return None if derived == want else f"derived {derived}, want {want}"

    checks.each("202 names type, timestamp and derived events, in order", zip(events, published), complaint)
    promised = sum(
        answer["deliveries"] + sum(d["deliveries"] for d in answer.get("derived", [])) for answer in published
    )
    # The disabled webhook's deliveries are rows too: recorded as cancelled, or not counted as to be delivered.
    proofs = sum(event.type == "proof_submitted" for event in events)
    checks.that(
        "the answers count every delivery", promised in (337, 337 + proofs), f"{promised}, want 337 (+ {proofs})"
    )
    return published


def _verify(checks: Checks, requests: list[Received], keys, secrets, name_of) -> None:
    def name(request: Received) -> str:
        return name_of[request.header("x-mattr-webhook-id")]

    checks.each(
        "http-message-signatures (PyPI) verifies signature and digest",
        requests,
        lambda r: verify.by_http_message_signatures(r, keys),
    )
    checks.each(
        "a receiver by MATTR's rules verifies it", requests, lambda r: verify.by_mattr_rules(r, keys)
    )
    both = [r for r in requests if name(r) != "plain"]
    checks.each(
        "standardwebhooks (PyPI) verifies it", both, lambda r: verify.by_standard_webhooks(r, secrets[name(r)])
    )
    answers = verify.in_node(
        [
            {
                "task": "verify",
                "secret": secrets[name(r)],
                "headers": dict(r.headers.items()),
                "body": base64.b64encode(r.body).decode(),
            }
            for r in both
        ]
    )
    checks.each(
        "standardwebhooks (npm) verifies it",
        answers,
        lambda a: None if a["genuine"] == "verified" and a["utf8"] else a["genuine"],
    )

    # Negative controls: the same verifiers refuse the same requests with one byte or one path changed.
    def not_fooled(r: Received) -> str | None:
        bent = r.body[:-3] + bytes([r.body[-3] ^ 1]) + r.body[-2:]
        if not verify.refuses(verify.by_http_message_signatures, r, keys, body=bent):
            return "http-message-signatures took a changed body"
        if not verify.refuses(verify.by_mattr_rules, r, keys, body=bent):
            return "the MATTR receiver took a changed body"
        if name(r) != "plain" and not verify.refuses(
            verify.by_standard_webhooks, r, secrets[name(r)], body=bent
        ):
            return "standardwebhooks took a changed body"
        genuine, r.target = r.target, r.target + "x"
        fooled = not verify.refuses(verify.by_mattr_rules, r, keys)
        r.target = genuine
        return "the MATTR receiver took another path" if fooled else None

    checks.each("control: each verifier refuses a changed body or path", requests[:40], not_fooled)
    checks.each(
        "control: npm refuses a changed body",
        answers,
        lambda a: None if a["tampered"].startswith("refused") else "took it",
    )
    checks.that(
        "control: another webhook's secret does not verify",
        verify.refuses(verify.by_standard_webhooks, both[0], secrets["plain"]),
    )


def _wire(checks: Checks, requests: list[Received], client, name_of, hooks) -> None:
    covered = " ".join(f'"{name}"' for name in verify.COVERED)

    def signature(r: Received) -> str | None:
        found = verify.SIGNATURE_INPUT.match(r.header("signature-input") or "")
        if not found or found["covered"] != covered:
            return f"Signature-Input {r.header('signature-input')}"
        if int(found["expires"] or 0) - int(found["created"]) != 300:
            return f"expires {found['expires']} for created {found['created']}"
        if abs(int(found["created"]) - r.wall) > 10:
            return "created is not now"
        for once in ("signature", "signature-input", "content-digest", "content-type", "content-length"):
            if len(r.headers.get_all(once) or []) != 1:
                return f"{once} occurs {len(r.headers.get_all(once) or [])} times"
        return None

    checks.each("one signature, components and parameters as documented, expires 300 s later", requests, signature)

    def headers(r: Received) -> str | None:
        parts = verify.BODY.match(r.body)
        if not parts:
            return f"body has another shape: {r.body[:200]!r}"
        say = {name: value.decode() for name, value in parts.groupdict().items()}
        want = {
            "content-type": "application/json",
            "x-mattr-webhook-id": say["webhook"],
            "x-mattr-event-type": say["type"],
            "x-sealpost-event-id": say["event"],
            "x-sealpost-delivery-id": say["delivery"],
            "x-sealpost-attempt": "1",
        }
        if name_of[say["webhook"]] != "plain":
            want["webhook-id"] = say["delivery"]
        for header, value in want.items():
            if r.header(header) != value:
                return f"{header}: {r.header(header)}, want {value}"
        if not (r.header("user-agent") or "").startswith("sealpost/"):
            return f"user-agent {r.header('user-agent')}"
        if r.method != "POST" or not verify.ISO_MS.match(say["at"]):
            return f"{r.method} at {say['at']}"
        return None

    checks.each("headers and body name the same ids, members in order, compact", requests, headers)
    plain = [r for r in requests if name_of[r.header("x-mattr-webhook-id")] == "plain"]
    checks.each(
        "without the setting there is no webhook-* header",
        plain,
        lambda r: next((f"{n} is there" for n in r.headers if n.lower().startswith("webhook-")), None),
    )
    issued = client.get(f"/v1/webhooks/{hooks['issued']['id']}").json["url"]
    checks.that("path characters that verifiers rewrite are percent-encoded", issued.endswith("/hooks/o%27clock/%C3%A9"), issued)
    checks.each(
        "the target on the wire is the registered one",
        [r for r in requests if name_of[r.header("x-mattr-webhook-id")] == "issued"],
        lambda r: None if r.target == "/hooks/o%27clock/%C3%A9" else r.target,
    )
    jwks = client.call("GET", "/v1/webhooks/jwks", token=None)
    checks.equal("JWKS may be cached for five minutes", jwks.headers.get("cache-control"), "public, max-age=300")
    checks.each(
        "a JWK has five members and its thumbprint as kid",
        jwks.json["keys"],
        lambda k: None
        if sorted(k) == ["crv", "kid", "kty", "use", "x"] and k["kid"] == verify.thumbprint(k)
        else repr(k),
    )


def _bodies(checks: Checks, events, published, requests: list[Received]) -> None:
    normal = verify.in_node([{"task": "normalise", "text": event.line} for event in events])
    summaries = verify.in_node(
        [{"task": "normalise", "text": e.line, "without": ["credential"]} for e in events if e.type == ISSUED]
    )
    want: dict[str, tuple[str, str, str]] = {}  # event id -> type, whole normalised event, source line
    derived = iter(summaries)
    for event, answer, text in zip(events, published, normal):
        want[answer["id"]] = (event.type, text["text"], event.line)
        if event.type == ISSUED:
            summary = next(derived)["text"].replace(f'"type":"{ISSUED}"', f'"type":"{SUMMARY}"', 1)
            want[answer["derived"][0]["id"]] = (SUMMARY, summary, "")

    def same_bytes(r: Received) -> str | None:
        parts = verify.BODY.match(r.body)
        kind, text, _ = want[r.event_id]
        payload, at = parts["payload"].decode(), parts["timestamp"].decode()
        rebuilt = f'{{"type":"{parts["type"].decode()}","payload":{payload},"timestamp":"{at}"}}'
        return None if rebuilt == text and kind == parts["type"].decode() else f"{kind}: {_difference(rebuilt, text)}"

    checks.each("payload bytes are those of an independent JSON.stringify normaliser", requests, same_bytes)

    def same_value(r: Received) -> str | None:
        _, _, source = want[r.event_id]
        if not source:
            return None
        got, meant = exact(verify.BODY.match(r.body)["payload"]), member(exact(source), "payload")
        return None if got == meant else "the value differs"

    checks.each("payload values are the published ones: member order, every digit of every number", requests, same_value)
    checks.each(
        "a derived summary is version 8 and has no credential",
        [r for r in requests if r.event_id in want and not want[r.event_id][2]],
        lambda r: None
        if r.event_id[14] == "8" and b'"credential":' not in r.body
        else f"{r.event_id} {r.body[:120]!r}",
    )
    stable = {answer["id"] for answer, text in zip(published, normal) if text["stable"]}
    checks.that(
        "most events hold nothing that ECMAScript rewrites", 120 <= len(stable) <= 154, f"{len(stable)} of 155"
    )
    answers = verify.in_node(
        [
            {
                "task": "verify",
                "secret": "whsec_AAAA",
                "headers": {},
                "body": base64.b64encode(r.body).decode(),
            }
            for r in requests
            if r.event_id in stable
        ]
    )
    checks.each(
        "of these, JSON.stringify(JSON.parse(body)) is the body",
        answers,
        lambda a: None if a["reserialises"] else "it is not",
    )


def _history(checks: Checks, client, published, requests: list[Received], hooks) -> None:
    rows = client.pages("/v1/webhooks/deliveries")
    by_status = collections.Counter(row["status"] for row in rows)
    proofs = sum(1 for answer in published if answer["type"] == "proof_submitted")
    checks.equal(
        "history: all delivered; the disabled webhook's are recorded as cancelled",
        dict(by_status),
        {"delivered": len(requests), "cancelled": proofs},
    )
    checks.each(
        "a cancelled one says why",
        [row for row in rows if row["status"] == "cancelled"],
        lambda row: None
        if row.get("reason") == "webhook_disabled" and row["webhookId"] == hooks["off"]["id"]
        else repr(row),
    )
    ids = {row["id"] for row in rows if row["status"] == "delivered"}
    checks.equal("history and receiver know the same delivery ids", ids, {r.delivery_id for r in requests})
    sample = client.get(f"/v1/webhooks/deliveries/{requests[0].delivery_id}").json
    attempts = sample.get("attempts", [])
    checks.that(
        "an attempt names number, start, duration, outcome and status",
        len(attempts) == 1
        and attempts[0]["number"] == 1
        and attempts[0]["outcome"] == "delivered"
        and attempts[0]["statusCode"] == 200
        and {"startedAt", "durationMs"} <= attempts[0].keys(),
        sample,
    )
    listed = client.pages("/v1/webhooks/events", limit=50)
    total = len(published) + sum(len(a.get("derived", [])) for a in published)
    checks.that(
        "every event is listed, page by page",
        len({e["id"] for e in listed}) == len(listed) and len(listed) in (len(published), total),
        f"{len(listed)} rows",
    )
    checks.that("a list holds no payload", all("payload" not in e for e in listed))


def _difference(got: str, want: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    return f"at {at}: got …{got[max(0, at - 20):at + 40]}…, want …{want[max(0, at - 20):at + 40]}…"
