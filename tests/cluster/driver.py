"""Publishers and administrators: they use any node, and write down what they asked and what they were answered.

A publisher that gets no answer, or one that says it is not known, keeps the event apart and asks again under the same id
or key, at another node or when all is over. An administrator repeats a change until it is acknowledged."""

from __future__ import annotations

import dataclasses
import http.client
import random
import threading
import time
import uuid

from support.service import Answer, Client

from .history import NEVER, Accepted, Change, Webhook

EVENTS = "/v1/webhooks/events"
# Some wait for longer than the database waits for anything.
PATIENCE_S = (4.0, 16.0)
BURST = 150
# As a load balancer would do.
SHUNNED_S = 3.0
TYPES = ("did_create", "did_delete", "did_update_key")


@dataclasses.dataclass(frozen=True)
class Tenant:
    name: str
    token: str
    host: str


class Caller:
    """Calls to a node chosen by chance, for a while not to one that did not answer; `None` is no answer."""

    def __init__(self, nodes: list, tenant: Tenant, rng: random.Random):
        self.nodes, self.tenant, self.rng = nodes, tenant, rng
        # The service's own fault, whatever befell it.
        self.failures: list[str] = []
        self.shunned: dict[object, float] = {}

    def call(
        self, method: str, path: str, body: object = None, headers: dict | None = None, node=None
    ) -> Answer | None:
        node = node or self._choose()
        client: Client = node.client
        headers = {"host": self.tenant.host, **(headers or {})}
        try:
            patience_s = self.rng.choice(PATIENCE_S)
            answer = client.call(method, path, body, headers=headers, token=self.tenant.token, timeout_s=patience_s)
        except (OSError, http.client.HTTPException):
            self.shunned[node] = time.monotonic() + SHUNNED_S
            return None
        if answer.status == 500:
            self.failures.append(f"{method} {path}: {answer!r}")
        return answer

    def _choose(self):
        now = time.monotonic()
        return self.rng.choice([node for node in self.nodes if self.shunned.get(node, 0) < now] or self.nodes)


@dataclasses.dataclass
class Unanswered:
    """A publication of which nobody knows whether it was accepted."""

    events: list[dict]
    headers: dict
    asked_at: float


class Publisher(threading.Thread):
    def __init__(self, number: int, caller: Caller, pause_s: float, stop: threading.Event):
        super().__init__(daemon=True)
        self.number, self.caller, self.rng = number, caller, caller.rng
        self.pause_s, self.stop_event = pause_s, stop
        self.accepted: list[Accepted] = []
        self.unanswered: list[Unanswered] = []
        self.unsure: list[str] = []
        self.refusals: list[str] = []
        self.count = 0

    def run(self) -> None:
        while not self.stop_event.is_set():
            self._publish_one()
            if self.unanswered and self.rng.random() < 0.3:
                self._ask_again(self.unanswered.pop(0))
            time.sleep(self.rng.uniform(0, 2 * self.pause_s))

    def knock(self, node, within_s: float) -> float | None:
        """How long it takes until this node accepts an event; `None`: longer than that."""
        began = time.monotonic()
        while time.monotonic() < began + within_s:
            known = len(self.accepted)
            self._ask(Unanswered([self._event(with_id=True)], {}, time.monotonic()), False, node)
            if len(self.accepted) > known:
                return time.monotonic() - began
        return None

    def resolve(self) -> None:
        """When all is over: every unanswered publication becomes an accepted one."""
        end = time.monotonic() + 60
        while self.unanswered and time.monotonic() < end:
            self._ask_again(self.unanswered.pop(0))

    def burst(self, node) -> None:
        """More at once than there are slots: the node holds claims that it has not begun."""
        wanted = Unanswered([self._event(with_id=True) for _ in range(BURST)], {}, time.monotonic())
        threading.Thread(target=self._ask, args=(wanted, False, node), daemon=True).start()

    def _publish_one(self) -> None:
        keyed, headers = self.rng.random() < 0.3, {}
        event = self._event(with_id=not keyed)
        if keyed:
            headers["idempotency-key"] = f"{self.caller.tenant.name}-{self.number}-{self.count}"
        wanted = Unanswered([event], headers, time.monotonic())
        # Now and then at two nodes at once: one of them accepts it, the other says the same.
        if self.rng.random() < 0.03:
            twin = threading.Thread(target=self._ask, args=(wanted, True))
            twin.start()
            self._ask(wanted, False)
            twin.join()
        else:
            self._ask(wanted, False)

    def _event(self, with_id: bool) -> dict:
        self.count += 1
        payload = {"tenant": self.caller.tenant.name, "publisher": self.number, "n": self.count}
        payload["fill"] = "x" * self.rng.choice([0, 0, 100, 3000])
        event = {"type": self.rng.choice(TYPES), "payload": payload}
        if with_id:
            event["id"] = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        return event

    def _ask_again(self, wanted: Unanswered) -> None:
        self._ask(wanted, True)

    def _ask(self, wanted: Unanswered, again: bool, node=None) -> None:
        body = wanted.events if len(wanted.events) > 1 else wanted.events[0]
        answer = self.caller.call("POST", EVENTS, body, wanted.headers, node)
        now = time.monotonic()
        if answer is not None and answer.status in (200, 202):
            said = answer.json["data"] if len(wanted.events) > 1 else [answer.json]
            for event, result in zip(wanted.events, said, strict=True):
                if result["id"] != event.get("id", result["id"]):
                    self.refusals.append(f"id {result['id']} for {event['id']}")
                tenant = self.caller.tenant.name
                self.accepted.append(Accepted(result["id"], tenant, event["type"], wanted.asked_at, now, again))
        elif answer is None or answer.status in (429, 500, 503):
            self.unsure += [event["id"] for event in wanted.events if "id" in event]
            self.unanswered.append(wanted)
            time.sleep(0.05)
        else:
            self.refusals.append(repr(answer))


@dataclasses.dataclass
class Done:
    """One change, from the first question to the answer that acknowledged it."""

    asked_at: float
    answered_at: float = NEVER
    tries: int = 0
    webhook_id: str | None = None


class Administrator(threading.Thread):
    """Keeps one webhook after the other busy: made, disabled, enabled, moved, deleted."""

    def __init__(self, number: int, caller: Caller, url, types: list[str], pause_s: float, stop: threading.Event):
        super().__init__(daemon=True)
        self.number, self.caller, self.rng = number, caller, caller.rng
        self.url, self.types, self.pause_s, self.stop_event = url, types, pause_s, stop
        self.webhooks: list[Webhook] = []
        self.refusals: list[str] = []

    def run(self) -> None:
        life = 0
        while not self.stop_event.is_set():
            life += 1
            self._live(life)

    def _live(self, life: int) -> None:
        address = lambda place: self.url("quick", f"{self.number}-{life}-{place}")  # noqa: E731
        url, place = address(0), 0
        made = self._until_answered("POST", "/v1/webhooks", {"events": self.types, "url": url}, (201,))
        if made.webhook_id is None:
            return
        webhook_id = made.webhook_id
        changes = [Change(webhook_id, "create", made.asked_at, made.answered_at, path(url))]
        for kind in self._plan():
            if self.stop_event.wait(self.rng.uniform(0.5, 2) * self.pause_s):
                break
            if kind == "move":
                place += 1
                url = address(place)
            done = self._change(webhook_id, kind, url)
            changes.append(Change(webhook_id, kind, *done[:2], path(url)))
            if done[1] == NEVER:
                break
            if done[2] and kind != "delete":
                # A try that got no answer may take effect any time later; after a delete it cannot.
                changes.append(Change(webhook_id, "delete", *self._change(webhook_id, "delete", url)[:2], path(url)))
                break
        self.webhooks.append(
            Webhook(webhook_id, self.caller.tenant.name, frozenset(self.types), tuple(changes))
        )

    def _change(self, webhook_id: str, kind: str, url: str) -> tuple[float, float, bool]:
        """Asked, answered (never: it may hold or not), and whether a try got no answer."""
        where = f"/v1/webhooks/{webhook_id}"
        if kind == "delete":
            # A delete that is asked again finds nothing: the first one was done.
            done = self._until_answered("DELETE", where, None, (200, 204, 404))
        else:
            body = {"events": self.types, "url": url, "disabled": kind == "disable"}
            done = self._until_answered("PUT", where, body, (200,))
        return (done.asked_at, done.answered_at, done.tries > 1)

    def _plan(self) -> list[str]:
        rounds = self.rng.randint(1, 3)
        steps = []
        for _ in range(rounds):
            steps += ["move"] if self.rng.random() < 0.5 else ["disable", "enable"]
        return [*steps, "delete"]

    def _until_answered(self, method: str, where: str, body: object, good: tuple[int, ...]) -> Done:
        """A webhook whose making got no answer may be there all the same; those are looked for when all is over."""
        done = Done(time.monotonic())
        while done.tries < 3 or not self.stop_event.is_set():
            done.tries += 1
            answer = self.caller.call(method, where, body)
            if answer is not None and answer.status in good:
                done.answered_at = time.monotonic()
                done.webhook_id = answer.json["id"] if answer.status == 201 else None
                return done
            if answer is not None and answer.status not in (500, 503, 429):
                self.refusals.append(f"{method} {where}: {answer!r}")
                return done
            time.sleep(0.1)
        return done


def path(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def resolved(publishers: list[Publisher]) -> tuple[list[Accepted], list[str]]:
    """Each event once, from its first question to its first answer; and the ids that were never answered with 2xx."""
    events: dict[str, Accepted] = {}
    for event in (event for publisher in publishers for event in publisher.accepted):
        known = events.get(event.event_id)
        if known is None:
            events[event.event_id] = event
        else:
            events[event.event_id] = dataclasses.replace(
                known,
                asked_at=min(known.asked_at, event.asked_at),
                answered_at=min(known.answered_at, event.answered_at),
                ambiguous=known.ambiguous and event.ambiguous,
            )
    unsure = {event_id for publisher in publishers for event_id in publisher.unsure} - events.keys()
    return list(events.values()), sorted(unsure)


