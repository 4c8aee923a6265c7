"""Bad input: one table of requests with the status and body each gets; then nothing of it may be found in the store."""

from __future__ import annotations

import dataclasses
import http.client
import json
import uuid
from pathlib import Path

from support.checks import Checks
from support.receiver import Receiver
from support.service import ADMIN_KEY, Answer, Client, Service
from support.tls import TestAuthority

EVENTS = "/v1/webhooks/events"
ABSENT = "0190c0de-0000-7000-8000-000000000000"
ANY = object()


@dataclasses.dataclass
class Refusal:
    """A request and the answer it must get. `param` and `msg` are looked for among `details`; `ANY` is anything."""

    what: str
    method: str
    path: str
    body: object = None
    status: int = 400
    code: str = "BadRequest"
    param: object = None
    msg: object = None
    location: str | None = None
    content_type: str | None = "application/json"
    headers: dict | None = None


def event(**members) -> dict:
    return {"type": "did_create", "payload": {"status": "ok"}, **members}


def with_payload(text: str) -> str:
    return '{"type":"did_create","payload":' + text + "}"


def nested(levels: int) -> str:
    """An object with this many levels, itself included."""
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


def publishing() -> list[Refusal]:
    def post(what: str, body: object, **more) -> Refusal:
        return Refusal(what, "POST", EVENTS, body, **more)

    bare = {"location": "body"}
    return [
        post("no type", {"payload": {}}, param="type", **bare),
        post("no payload", {"type": "did_create"}, param="payload", **bare),
        post("type not registered", event(type="no_such_type"), param="type", **bare),
        post("type is a number", event(type=7), param="type", **bare),
        post("payload is an array", event(payload=[1]), param="payload", **bare),
        post("payload is null", event(payload=None), param="payload", **bare),
        post("payload is a string", event(payload="{}"), param="payload", **bare),
        post("id is no UUID", event(id="abc"), param="id", **bare),
        post("timestamp is no time", event(timestamp="yesterday"), param="timestamp", **bare),
        post("timestamp without zone", event(timestamp="2026-11-21T21:47:23"), param="timestamp", **bare),
        post("subjects is a string", event(subjects="me"), param="subjects", **bare),
        post("unknown field", event(colour="red"), param="colour", msg="Unknown field", **bare),
        post("orderingKey", event(orderingKey="k"), param="orderingKey", msg="Not supported yet", **bare),
        post("urgent", event(urgent=True), param="urgent", msg="Not supported yet", **bare),
        post("not JSON", "{", param=ANY),
        post("empty body", b"", param=ANY),
        post("a bare string", '"did_create"', param=ANY),
        post("text after the value", json.dumps(event()) + "x", param=ANY),
        post("invalid UTF-8", b'{"type":"did_create","payload":{"s":"\xff\xfe"}}', param=ANY),
        post("overlong UTF-8", b'{"type":"did_create","payload":{"s":"\xc0\xaf"}}', param=ANY),
        post("UTF-8 that spells a surrogate", b'{"type":"did_create","payload":{"s":"\xed\xa0\x80"}}', param=ANY),
        post("a raw control character", b'{"type":"did_create","payload":{"s":"\x01"}}', param=ANY),
        post("NaN", with_payload('{"n":NaN}'), param=ANY),
        post("a number with a leading zero", with_payload('{"n":01}'), param=ANY),
        post("duplicate member name", with_payload('{"a":1,"a":2}'), param=ANY),
        post("duplicate after unescaping", with_payload(r'{"a":1,"\u0061":2}'), param=ANY),
        post("duplicate deep inside", with_payload('{"x":[{"y":{"b":1,"b":1}}]}'), param=ANY),
        post("duplicate in the event itself", '{"type":"did_create","type":"did_delete","payload":{}}', param=ANY),
        post("65 levels", with_payload(nested(65)), param=ANY),
        post("100,000 levels", with_payload(nested(100_000)), param=ANY),
        post("100,000 levels, never closed", '{"type":"did_create","payload":' + '{"a":' * 100_000, param=ANY),
        post("empty array", [], param=ANY),
        post("1001 events", [event() for _ in range(1001)], param=ANY),
        post("one bad event among good ones", [event(), event(type="no_such_type"), event()], param="[1].type", **bare),
        post("the same id twice with other content",
             [event(id=ABSENT), event(id=ABSENT, payload={"status": "other"})], status=409, code="Conflict"),
        post("event over 1 MiB", event(payload={"s": "x" * (1024 * 1024)}), status=413, code="PayloadTooLarge"),
        post("request over 16 MiB", [event(payload={"s": "x" * 1_000_000}) for _ in range(17)],
             status=413, code="PayloadTooLarge"),
        post("text/plain", json.dumps(event()), content_type="text/plain", status=415, code="UnsupportedMediaType"),
        post("no content type", json.dumps(event()), content_type=None, status=415, code="UnsupportedMediaType"),
        post("NDJSON with a bad line", json.dumps(event()) + "\n{\n", content_type="application/x-ndjson", param=ANY),
        post("NDJSON of 1001 lines", (json.dumps(event()) + "\n") * 1001, content_type="application/x-ndjson", param=ANY),
        post("CloudEvent with data_base64",
             {"specversion": "1.0", "id": "1", "source": "/e2e", "type": "did_create", "data_base64": "e30="},
             content_type="application/cloudevents+json", param="data_base64", **bare),
        post("CloudEvent whose data is no object",
             {"specversion": "1.0", "id": "1", "source": "/e2e", "type": "did_create", "data": [1]},
             content_type="application/cloudevents+json", param="data", **bare),
        post("CloudEvent without source",
             {"specversion": "1.0", "id": "1", "type": "did_create", "data": {}},
             content_type="application/cloudevents+json", param="source", **bare),
        post("CloudEvent of version 0.3",
             {"specversion": "0.3", "id": "1", "source": "/e2e", "type": "did_create", "data": {}},
             content_type="application/cloudevents+json", param="specversion", **bare),
        post("Idempotency-Key of 256 bytes", event(), headers={"idempotency-key": "k" * 256}, param=ANY),
        Refusal("PUT of the event list", "PUT", EVENTS, event(), status=405, code="MethodNotAllowed"),
        Refusal("PATCH of a webhook", "PATCH", f"/v1/webhooks/{ABSENT}", {}, status=405, code="MethodNotAllowed"),
    ]  # fmt: skip


def webhooks(url: str) -> list[Refusal]:
    def post(what: str, body: object, **more) -> Refusal:
        return Refusal(what, "POST", "/v1/webhooks", body, **{"location": "body", **more})

    one = ["OpenIdCredentialIssued"]
    refused_urls = {
        "plain http": "http://example.com/hook",
        "an IPv4 address": "https://93.184.216.34/hook",
        "an IPv4 address in disguise": "https://0x5db8d822/hook",
        "an IPv6 address": "https://[2606:2800:220:1:248:1893:25c8:1946]/hook",
        "a query": "https://example.com/hook?a=1",
        "an empty query": "https://example.com/hook?",
        "a fragment": "https://example.com/hook#a",
        "an empty fragment": "https://example.com/hook#",
        "no URL": "example.com/hook",
        "an empty text": "",
        "another scheme": "file:///etc/passwd",
        "a private name": "https://metadata.google.internal/hook",
        "credentials": "https://user:pass@example.com/hook",
        "localhost below port 1024": "https://localhost/hook",
    }
    return [
        *(post(f"url is {what}", {"events": one, "url": bad}, param="url") for what, bad in refused_urls.items()),
        post("url missing", {"events": one}, param="url"),
        post("url is a number", {"events": one, "url": 1}, param="url"),
        post("events missing", {"url": url}, param="events"),
        post("events empty", {"events": [], "url": url}, param="events"),
        post("events twice the same", {"events": one * 2, "url": url}, param=ANY),
        post("an event type that is not registered", {"events": ["Nope"], "url": url}, param=ANY),
        post("events is a string", {"events": "OpenIdCredentialIssued", "url": url}, param="events"),
        post("disabled is a string", {"events": one, "url": url, "disabled": "no"}, param="disabled"),
        post("unknown member", {"events": one, "url": url, "name": "x"}, param="name", msg="Unknown field"),
        post("id on create", {"id": ABSENT, "events": one, "url": url}, param="id", msg="Unknown field"),
        post("not JSON", "{", param=ANY, location=None),
        post("an array", [], param=ANY, location=None),
        post("no content type", json.dumps({"events": one, "url": url}), content_type="text/plain", status=415, code="UnsupportedMediaType", location=None),
    ]  # fmt: skip


def settings(webhook_id: str) -> list[Refusal]:
    path = f"/v1/webhooks/{webhook_id}/settings"

    def put(what: str, body: object, param: object, msg: object = None) -> Refusal:
        return Refusal(f"setting {what}", "PUT", path, body, param=param, msg=msg, location="body")

    return [
        put("unknown", {"colour": "red"}, "colour", "Unknown field"),
        put("ordering", {"ordering": "webhook"}, "ordering", "Not supported yet"),
        put("encryption", {"encryption": {"jwksUrl": "https://example.com/jwks"}}, "encryption", "Not supported yet"),
        put("signatures empty", {"signatures": []}, "signatures"),
        put("signatures unknown", {"signatures": ["http-message-signatures", "md5"]}, "signatures"),
        put("timeoutMs zero", {"timeoutMs": 0}, "timeoutMs"),
        put("timeoutMs text", {"timeoutMs": "3s"}, "timeoutMs"),
        put("17 waits", {"retry": {"intervals": ["1s"] * 17}}, "retry"),
        put("negative wait", {"retry": {"intervals": ["-1s"]}}, "retry"),
        put("maxInFlight zero", {"maxInFlight": 0}, "maxInFlight"),
        put("payload unknown", {"payload": "everything"}, "payload"),
        put("header host", {"headers": {"host": "evil.example"}}, "headers"),
        put("header signature", {"headers": {"Signature-Input": "x"}}, "headers"),
        put("header with a line break", {"headers": {"x-a": "1\r\nx-b: 2"}}, "headers"),
        put("17 headers", {"headers": {f"x-{n}": "v" for n in range(17)}}, "headers"),
        put("headers over 8 KiB", {"headers": {"x-a": "v" * 8200}}, "headers"),
        put("retention unknown", {"retention": "forever"}, "retention"),
        put("alertAfter zero", {"alertAfter": 0}, "alertAfter"),
    ]


def ids_and_queries() -> list[Refusal]:
    paths = ["/v1/webhooks/{}", "/v1/webhooks/{}/settings", "/v1/webhooks/{}/secret",
             EVENTS + "/{}", "/v1/webhooks/deliveries/{}", "/core/v1/webhooks/{}"]  # fmt: skip
    found = []
    for path in paths:
        found.append(Refusal(f"absent id: GET {path}", "GET", path.format(ABSENT), status=404, code="NotFound"))
        found.append(Refusal(f"no id: GET {path}", "GET", path.format("abc"), param="id", msg="Invalid value", location="params"))
    found += [
        Refusal("absent id: DELETE", "DELETE", f"/v1/webhooks/{ABSENT}", status=404, code="NotFound"),
        Refusal("absent id: PUT", "PUT", f"/v1/webhooks/{ABSENT}",
                {"events": ["did_create"], "url": "https://example.com/h"}, status=404, code="NotFound"),
        Refusal("absent id: redeliver", "POST", f"/v1/webhooks/deliveries/{ABSENT}/redeliver", status=404, code="NotFound"),
        Refusal("absent id: cancel", "POST", f"/v1/webhooks/deliveries/{ABSENT}/cancel", status=404, code="NotFound"),
        Refusal("absent id: erase payload", "DELETE", f"{EVENTS}/{ABSENT}/payload", status=404, code="NotFound"),
        Refusal("absent id: test", "POST", f"/v1/webhooks/{ABSENT}/test", {}, status=404, code="NotFound"),
    ]  # fmt: skip
    for query, param in [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"),
                         ("cursor=abc", "cursor"), ("cursor=%00", "cursor")]:  # fmt: skip
        for path in ["/v1/webhooks", EVENTS, "/v1/webhooks/deliveries"]:
            found.append(Refusal(f"{path}?{query}", "GET", f"{path}?{query}", param=param, location="query"))
    for path, query, param in [
        (EVENTS, "from=yesterday", "from"), ("/v1/webhooks/deliveries", "status=lost", "status"),
        ("/v1/webhooks/deliveries", "webhookId=abc", "webhookId"), ("/v1/webhooks/deliveries", "eventId=abc", "eventId"),
    ]:  # fmt: skip
        found.append(Refusal(f"{path}?{query}", "GET", f"{path}?{query}", param=param, location="query"))
    return found


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    with Receiver(authority) as receiver, Service(folder, authority.ca_file) as service:
        service.start()
        client = service.client
        hook = client.create_webhook(receiver.url(), ["did_create"])
        settings_path = f"/v1/webhooks/{hook['id']}/settings"
        before = client.get(settings_path).json

        for case in [*publishing(), *webhooks(receiver.url("/other")), *settings(hook["id"]), *ids_and_queries()]:
            answer = client.call(
                case.method, case.path, case.body, content_type=case.content_type, headers=case.headers
            )
            checks.that(f"{case.what}: {case.status}", (said := _wrong(case, answer)) is None, said)

        _credentials(checks, service)
        _nothing_stored(checks, client, receiver, hook, settings_path, before)
        _idempotency(checks, client, receiver)
        _at_the_limit(checks, client, receiver)
        _bare_http(checks, service, client)


def _wrong(case: Refusal, answer: Answer) -> str | None:
    if answer.status != case.status:
        return f"got {answer!r}"
    if answer.content_type != "application/json":
        return f"content type {answer.content_type}"
    body = answer.json
    if not {"code", "message"} <= body.keys() <= {"code", "message", "details"}:
        return f"members {sorted(body)}"
    if body["code"] != case.code:
        return f"code {body['code']}, want {case.code}"
    if not isinstance(body["message"], str) or not body["message"]:
        return f"message {body['message']!r}"
    details = body.get("details", [])
    for detail in details:
        if not {"msg", "param", "location"} <= detail.keys() <= {"value", "msg", "param", "location"}:
            return f"detail {detail}"
    if case.status == 404:
        # Both documented forms: with the detail of the id, or bare.
        good = [{"location": "params", "msg": "Resource Not Found", "param": "id", "value": ABSENT}]
        return None if details in ([], good) else f"details {details}"
    if case.param not in (None, ANY):
        for detail in details:
            if (
                detail["param"] == case.param
                and (case.msg is None or detail["msg"] == case.msg)
                and (case.location is None or detail["location"] == case.location)
            ):
                return None
        return f"no detail {case.location} {case.param} {case.msg or ''} in {body}"
    return None


def _credentials(checks: Checks, service: Service) -> None:
    address = service.address
    tries = {
        "no token": {},
        "wrong token": {"authorization": "Bearer " + "x" * 40},
        "token with one character more": {"authorization": f"Bearer {ADMIN_KEY}x"},
        "half a token": {"authorization": f"Bearer {ADMIN_KEY[:20]}"},
        "empty token": {"authorization": "Bearer "},
        "other scheme": {"authorization": f"Basic {ADMIN_KEY}"},
    }
    for what, headers in tries.items():
        for method, path in [("GET", "/v1/webhooks"), ("POST", EVENTS), ("GET", f"/v1/webhooks/{ABSENT}/secret")]:
            body = json.dumps(event()) if method == "POST" else None
            answer = Client(address, None).call(method, path, body, headers=headers)
            checks.equal(
                f"{what}: {method} {path} is 401 text/plain `Unauthorized`",
                (answer.status, answer.content_type, answer.body),
                (401, "text/plain", b"Unauthorized"),
            )
    open_paths = ["/v1/webhooks/jwks", "/livez", "/readyz", "/openapi.json"]
    for path in open_paths:
        answer = Client(address, None).get(path)
        checks.equal(f"{path} is open", answer.status, 200)


def _nothing_stored(checks: Checks, client: Client, receiver: Receiver, hook: dict, settings_path: str, before) -> None:
    checks.equal("no event was stored", client.get(EVENTS).json, {"data": []})
    checks.equal("no delivery was stored", client.get("/v1/webhooks/deliveries").json, {"data": []})
    checks.equal("the webhooks are as before", client.get("/v1/webhooks").json, {"data": [hook]})
    checks.equal("the settings are as before", client.get(settings_path).json, before)
    checks.equal("nothing was sent", len(receiver.snapshot()), 0)


def _idempotency(checks: Checks, client: Client, receiver: Receiver) -> None:
    known = str(uuid.uuid4())
    first = client.call("POST", EVENTS, event(id=known))
    again = client.call("POST", EVENTS, event(id=known))
    other = client.call("POST", EVENTS, event(id=known, payload={"status": "changed"}))
    checks.equal("an id once: 202", first.status, 202)
    checks.equal("the same again: 200 with the first result", (again.status, again.json), (200, first.json))
    spaced = json.dumps(event(id=known), indent=3)
    checks.equal("white space is not content", client.call("POST", EVENTS, spaced).status, 200)
    refused = _wrong(Refusal("", "", "", status=409, code="Conflict"), other)
    checks.that("other content under it: 409", refused is None, refused)

    key = {"idempotency-key": "e2e-1"}
    first = client.call("POST", EVENTS, event(), headers=key)
    again = client.call("POST", EVENTS, event(), headers=key)
    other = client.call("POST", EVENTS, event(type="did_delete"), headers=key)
    checks.equal("Idempotency-Key: 202, then 200 with the same result",
                 (first.status, again.status, again.json), (202, 200, first.json))  # fmt: skip
    refused = _wrong(Refusal("", "", "", status=409, code="Conflict"), other)
    checks.that("Idempotency-Key with other content: 409", refused is None, refused)

    whole = {"idempotency-key": "e2e-2"}
    batch = [event(payload={"n": n}) for n in range(3)]
    first = client.call("POST", EVENTS, batch, headers=whole)
    again = client.call("POST", EVENTS, batch, headers=whole)
    checks.equal("it covers a whole array", (first.status, again.status, again.json), (202, 200, first.json))

    cloud = {"specversion": "1.0", "id": "7", "source": "/e2e", "type": "did_create", "data": {"status": "ce"}}
    answers = [client.call("POST", EVENTS, cloud, content_type="application/cloudevents+json") for _ in range(2)]
    checks.equal("CloudEvents: source and id are the key", [a.status for a in answers], [202, 200])
    checks.equal("and the answer is the same", answers[1].json, answers[0].json)

    checks.that("quiet", client.wait_until_quiet(20))
    checks.equal("repeats delivered nothing again", len(receiver.snapshot()), 6)


def _at_the_limit(checks: Checks, client: Client, receiver: Receiver) -> None:
    """The largest allowed inputs go through: the limits are where they are said to be."""
    arrived = len(receiver.snapshot())
    filler = "x" * (1024 * 1024 - len('{"s":""}'))
    answer = client.call("POST", EVENTS, with_payload('{"s":"' + filler + '"}'))
    checks.equal("a payload of exactly 1 MiB is accepted", answer.status, 202)
    checks.equal("64 levels are accepted", client.call("POST", EVENTS, with_payload(nested(64))).status, 202)
    checks.equal("1000 events are accepted", client.call("POST", EVENTS, [event(payload={"n": n}) for n in range(1000)]).status, 202)
    checks.that("they all arrive", receiver.wait_for_count(arrived + 1002, 60), len(receiver.snapshot()) - arrived)


def _bare_http(checks: Checks, service: Service, client: Client) -> None:
    """What no HTTP client sends: the service answers or hangs up, and lives on."""
    import socket

    host, _, port = service.address.rpartition(":")
    for what, sent in {
        "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        "two lengths": b"POST /v1/webhooks/events HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "length and chunks": b"POST /v1/webhooks/events HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "a header of 1 MiB": b"GET /v1/webhooks HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * (1 << 20) + b"\r\n\r\n",
    }.items():
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            try:
                raw.sendall(sent)
                said = raw.recv(4096)
            except (ConnectionError, TimeoutError):
                said = b""
        checks.that(f"{what}: no 2xx", not said.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")), said[:80])
    try:
        alive = client.get("/livez").status
    except (OSError, http.client.HTTPException) as error:
        alive = repr(error)
    checks.equal("the service lives on", alive, 200)
