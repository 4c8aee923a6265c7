"""What is known of a run, as plain records: what publishers and administrators were answered, what receivers saw, what
was done to the nodes, and what the service says of itself.

All times are seconds of the machine's one monotonic clock. Where a moment is not known exactly, the record holds the bound
that can only hide a fault and never invents one: a request begins not before `earliest`, a change is acknowledged not later
than `answered_at`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

NEVER = float("inf")


@dataclasses.dataclass(frozen=True)
class Accepted:
    """An event that was answered with 2xx, at once or when its publisher asked again."""

    event_id: str
    tenant: str
    type: str
    asked_at: float  # the first time
    answered_at: float  # with 2xx
    ambiguous: bool = False  # an earlier answer was missing, or said that it is not known


@dataclasses.dataclass(frozen=True)
class Change:
    """One call of an administrator; those of one webhook follow each other."""

    webhook_id: str
    kind: str  # create, disable, enable, move, delete
    asked_at: float
    answered_at: float  # of the answer that acknowledged it
    url: str  # from then on


@dataclasses.dataclass(frozen=True)
class Webhook:
    id: str
    tenant: str
    types: frozenset[str]
    changes: tuple[Change, ...]  # in order, the first is `create`


@dataclasses.dataclass(frozen=True)
class Request:
    """One request as a receiver saw it."""

    delivery_id: str
    event_id: str
    webhook_id: str
    attempt: int
    url: str
    tenant: str  # the one the payload names
    earliest: float  # its first byte was not there before
    seen_at: float  # it was read
    answered: int | None = None
    answered_at: float | None = None  # just before the answer was written
    complaint: str | None = None  # what is wrong with its signature


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that was done to a node, to its way to the database, or to the database."""

    kind: str
    target: str
    began: float
    ended: float


@dataclasses.dataclass(frozen=True)
class Attempt:
    number: int
    outcome: str
    status_code: int | None = None


@dataclasses.dataclass(frozen=True)
class Recorded:
    """One delivery as the service tells it."""

    delivery_id: str
    event_id: str
    webhook_id: str
    status: str
    reason: str | None
    attempts: tuple[Attempt, ...]


@dataclasses.dataclass
class History:
    accepted: list[Accepted] = dataclasses.field(default_factory=list)
    # Answers that never became 2xx: whatever is delivered of these is no invention.
    unsure: list[str] = dataclasses.field(default_factory=list)
    webhooks: list[Webhook] = dataclasses.field(default_factory=list)
    requests: list[Request] = dataclasses.field(default_factory=list)
    faults: list[Fault] = dataclasses.field(default_factory=list)
    recorded: list[Recorded] = dataclasses.field(default_factory=list)

    def save(self, file: Path) -> None:
        """One JSON line a record, for whoever wants to look at a run again."""
        with file.open("w", encoding="utf-8") as lines:
            for name in ("accepted", "webhooks", "requests", "faults", "recorded"):
                for record in getattr(self, name):
                    lines.write(json.dumps({"record": name, **dataclasses.asdict(record)}, default=sorted) + "\n")


def read_requests(file: Path) -> list[Request]:
    """What the receivers wrote: a line for each request, and one for its answer if it got one."""
    asked: dict[int, dict] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        number = record.pop("number")
        asked.setdefault(number, {}).update(record)
    return [Request(**record) for record in asked.values()]
