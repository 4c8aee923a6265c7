"""The 155 real credential events of `fixtures/real-events.jsonl`."""

from __future__ import annotations

import dataclasses
import json

from .service import REPOSITORY


@dataclasses.dataclass(frozen=True)
class SourceEvent:
    line: str  # the text as it is published
    type: str
    timestamp: str


def load() -> list[SourceEvent]:
    text = (REPOSITORY / "fixtures" / "real-events.jsonl").read_text(encoding="utf-8")
    events = []
    for line in text.split("\n"):
        if line:
            event = json.loads(line)
            events.append(SourceEvent(line, event["type"], event["timestamp"]))
    return events


def types(events: list[SourceEvent]) -> list[str]:
    """Every type that occurs, in order of first use."""
    return list(dict.fromkeys(event.type for event in events))


def exact(text: str | bytes) -> object:
    """JSON as a value that keeps member order and the spelling of every number."""
    return json.loads(
        text,
        object_pairs_hook=lambda pairs: ("object", tuple(pairs)),
        parse_int=lambda spelled: ("number", spelled),
        parse_float=lambda spelled: ("number", spelled),
        parse_constant=lambda spelled: ("not JSON", spelled),
    )


def member(value: object, name: str) -> object:
    """One member of an `exact` object."""
    return dict(value[1])[name]
