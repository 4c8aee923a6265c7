"""Payloads that tempt a relay to rewrite them: number spellings, escapes, lone surrogates, member order.

The corpus is what issuers really send; this is what they could send."""

from __future__ import annotations

from pathlib import Path

from support import verify
from support.checks import Checks
from support.receiver import Receiver
from support.service import Service
from support.tls import TestAuthority

FORMS = {
    "number spellings are kept": '{"a":1e-07,"b":1E400,"c":-0,"d":1.0,"e":0.10,"f":12345678901234567890123,"g":1e+2}',
    "integer-like and odd member names keep their order": '{"b":1,"10":2,"2":3,"__proto__":{"x":1},"":4,"constructor":5}',
    "white space goes": ' {\t"a" : [ 1 ,\r\n 2 , { } , [ ] ] , "b" : { "c" : null } }\n',
    "escapes become what JSON.stringify writes": r'{"s":"\/\u0041\u00e9\b\f\n\r\t\u0000\u001F\u007f\"\\"}',
    "line separators and non-characters stay raw": '{"s":"\u2028\u2029\ufffe\ufeff\u200b"}',
    "a surrogate pair becomes its character": r'{"s":"\ud83d\ude00 \uD83D\uDE00"}',
    "lone surrogates stay escaped, in lower case": r'{"s":"\uD800","t":"\udc00\ud800x","\uDFFF":1}',
    "a name is kept after unescaping": r'{"\u0061":1,"\/":2}',
    "64 levels are allowed": '{"a":' + "[" * 63 + "]" * 63 + "}",
    "an empty payload": "{}",
}


def run(checks: Checks, folder: Path) -> None:
    authority = TestAuthority(folder / "tls")
    with Receiver(authority) as receiver, Service(folder, authority.ca_file) as service:
        service.start()
        client = service.client
        hook = client.create_webhook(
            receiver.url(),
            ["did_create"],
            {"signatures": ["http-message-signatures", "standard-webhooks", "standard-webhooks-ed25519"]},
        )
        keys, secret = verify.Keys(client.jwks()), client.secret(hook["id"])
        normal = verify.in_node([{"task": "normalise", "text": text} for text in FORMS.values()])
        ids = {}
        for name, text in FORMS.items():
            answer = client.call("POST", "/v1/webhooks/events", f'{{"type":"did_create","payload":{text}}}')
            if answer.status == 202:
                ids[name] = answer.json["id"]
            else:
                checks.that(name, False, answer)
        receiver.wait_for_count(len(ids), 20)
        by_event = {r.event_id: r for r in receiver.snapshot()}
        for (name, _), want in zip(FORMS.items(), normal):
            if name in ids:
                request = by_event.get(ids[name])
                got = verify.BODY.match(request.body)["payload"].decode() if request else "nothing arrived"
                checks.equal(name, got, want["text"])
        checks.each(
            "each verifies by both libraries",
            by_event.values(),
            lambda r: verify.by_http_message_signatures(r, keys)
            or verify.by_standard_webhooks(r, secret),
        )
        checks.each(
            "with standard-webhooks-ed25519 both versions sign",
            by_event.values(),
            lambda r: None
            if sorted(part.split(",")[0] for part in r.header("webhook-signature").split(" ")) == ["v1", "v1a"]
            else r.header("webhook-signature"),
        )
