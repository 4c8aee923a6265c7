"""What must hold of a history, decided over plain records so that hand-made ones can be judged too (selftest.py).

The bound on duplicates. A delivery that was answered with 2xx is sent again only if that answer was not stored: the node
died, or was silent so long that it was taken for dead. So a duplicate needs such a fault between the beginning of the
answered request and the moment by which its outcome is stored without any fault (`SETTLES_WITHIN_S`), and a fault can
cost at most what was then in flight. A fault that is shorter than the lease costs none."""

from __future__ import annotations

import collections
import dataclasses

from .history import NEVER, Accepted, Change, Fault, History, Recorded, Request, Webhook

CAUSES = {"http_status", "timeout", "dns", "address_refused", "connect", "tls", "protocol", "unknown"}

RULES = {
    "lost": "every accepted event was delivered, or failed after all its attempts, at each subscribed webhook",
    "unfinished": "every delivery comes to an end",
    "gave up early": "no delivery fails before its attempts are used up",
    "cancelled": "nothing is cancelled that nobody disabled or deleted",
    "early": "no retry begins before its wait is over",
    "after change": "no send of the old state begins after a disable, a delete or a new URL was acknowledged",
    "sent too often": "no delivery is sent more often than its attempts",
    "attempt sent twice": "one attempt is at most one request",
    "duplicate": "what was answered with 2xx is sent again only if a fault kept the answer from being stored",
    "too many duplicates": "a fault costs at most the duplicates of what was in flight",
    "foreign tenant": "no webhook gets another tenant's event",
    "unsigned": "every signature is valid",
    "doubled": "no event has two deliveries for one webhook",
    "stray": "no webhook gets what it did not subscribe to",
    "made up": "nothing is sent that nobody published, nothing recorded that no receiver answered",
    "mixed up": "a delivery carries one event to one webhook",
    "stale write": "nothing is recorded or begun after a delivery was recorded as delivered",
    "attempt numbers": "attempts are numbered without gaps, and within the cap",
    "unrecorded": "every request is in the service's own history",
    "wrong status": "the service never contradicts a receiver",
}


@dataclasses.dataclass(frozen=True)
class Terms:
    """What the service was told, and what of its own limits the bounds follow from."""

    most_sends: int = 4
    wait_s: float = 1.0
    # A node that was silent for so long may have been taken for dead.
    lease_s: float = 15.0
    beat_s: float = 3.0
    attempt_s: float = 3.0
    settles_within_s: float = 2.0
    # A node acts for so long on what it saw before it lost the database.
    sight_s: float = 1.0
    # After a paused node goes on, what stood between its gate and the write leaves at once.
    resumes_within_s: float = 0.5


@dataclasses.dataclass(frozen=True)
class Violation:
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


@dataclasses.dataclass
class Verdict:
    violations: list[Violation]
    counts: dict[str, int]
    # Duplicates by the fault they are put down to.
    duplicates: dict[Fault, int]
    # Sends that a paused node had let through its gate before the acknowledgement; not violations.
    resumed: list[str]


def check(history: History, terms: Terms) -> Verdict:
    return _Check(history, terms).run()


class _Check:
    def __init__(self, history: History, terms: Terms):
        self.history, self.terms = history, terms
        self.violations: list[Violation] = []
        self.duplicates: dict[Fault, int] = collections.Counter()
        self.resumed: list[str] = []
        self.requests: dict[str, list[Request]] = collections.defaultdict(list)
        for request in history.requests:
            self.requests[request.delivery_id].append(request)
        for of_delivery in self.requests.values():
            of_delivery.sort(key=lambda request: (request.attempt, request.seen_at))
        self.webhooks = {webhook.id: webhook for webhook in history.webhooks}
        self.recorded = {row.delivery_id: row for row in history.recorded}
        self.of_event: dict[str, list[Recorded]] = collections.defaultdict(list)
        for row in history.recorded:
            self.of_event[row.event_id].append(row)
        self.accepted = {event.event_id: event for event in history.accepted}

    def breach(self, rule: str, what: str) -> None:
        assert rule in RULES, rule
        self.violations.append(Violation(rule, what))

    def run(self) -> Verdict:
        for event in self.history.accepted:
            self._event(event)
        for row in self.history.recorded:
            self._recorded(row, self.requests.get(row.delivery_id, []))
        for delivery_id, requests in self.requests.items():
            self._sends(f"delivery {delivery_id}", requests)
            self._waits(f"delivery {delivery_id}", requests)
            self._duplicates(f"delivery {delivery_id}", requests)
        for fault, count in self.duplicates.items():
            most = in_flight(self.history.requests, fault, self.terms)
            if count > most:
                self.breach("too many duplicates", f"{count} after {fault.kind} of {fault.target}, {most} in flight")
        for webhook in self.history.webhooks:
            self._after_changes(webhook)
        return Verdict(self.violations, self._counts(), dict(self.duplicates), self.resumed)

    # --- nothing is lost ---------------------------------------------------------------------------------------

    def _event(self, event: Accepted) -> None:
        rows = collections.Counter(row.webhook_id for row in self.of_event[event.event_id])
        for webhook in self.history.webhooks:
            count = rows.pop(webhook.id, 0)
            if count > 1:
                self.breach("doubled", f"event {event.event_id} has {count} deliveries for webhook {webhook.id}")
            may = webhook.tenant == event.tenant and event.type in webhook.types and is_there(webhook, event, may=True)
            if count and not may:
                self.breach("stray", f"event {event.event_id} has a delivery for webhook {webhook.id}")
            if not count and may and is_there(webhook, event, may=False):
                self.breach("lost", f"event {event.event_id} was accepted, webhook {webhook.id} has no delivery of it")
        for webhook_id in rows:
            self.breach("stray", f"event {event.event_id} has a delivery for webhook {webhook_id}, which nobody made")

    def _recorded(self, row: Recorded, requests: list[Request]) -> None:
        name = f"delivery {row.delivery_id}"
        got_it = any(request.answered in range(200, 300) for request in requests)
        if row.event_id not in self.accepted and row.event_id not in self.history.unsure:
            self.breach("made up", f"{name} is of event {row.event_id}, which nobody published")
        numbers = [attempt.number for attempt in row.attempts]
        if numbers != list(range(1, len(numbers) + 1)) or len(numbers) > self.terms.most_sends:
            self.breach("attempt numbers", f"{name} has {numbers}")
        for attempt in row.attempts[:-1]:
            if attempt.outcome == "delivered":
                self.breach("stale write", f"{name}: attempt {attempt.number} is recorded as delivered, others follow")
        by_number = {attempt.number: attempt for attempt in row.attempts}
        for request in requests:
            attempt = by_number.get(request.attempt)
            if attempt is None:
                self.breach("unrecorded", f"{name}: attempt {request.attempt} was sent and is not recorded")
            elif attempt.status_code is not None and attempt.status_code != request.answered:
                self.breach("wrong status", f"{name}: {attempt}, the receiver said {request.answered}")
        for attempt in row.attempts:
            if attempt.outcome == "delivered" and not any(
                request.attempt == attempt.number and request.answered in range(200, 300) for request in requests
            ):
                self.breach("made up", f"{name}: attempt {attempt.number} is recorded as delivered and was not")

        if row.status == "delivered":
            if not got_it:
                self.breach("lost", f"{name} is recorded as delivered, no receiver got it")
        elif row.status == "failed":
            unnamed = [attempt for attempt in row.attempts if attempt.outcome not in CAUSES]
            if not row.reason or unnamed or len(row.attempts) < self.terms.most_sends:
                self.breach("gave up early", f"{name} failed ({row.reason}) after {row.attempts}")
        elif row.status == "cancelled":
            event, webhook = self.accepted.get(row.event_id), self.webhooks.get(row.webhook_id)
            if event and webhook and not was_closed(webhook, event):
                self.breach("cancelled", f"{name} was cancelled ({row.reason}), nobody asked for that")
        else:
            self.breach("unfinished", f"{name} is {row.status} after {len(row.attempts)} attempts")

    # --- what was sent -----------------------------------------------------------------------------------------

    def _sends(self, name: str, requests: list[Request]) -> None:
        first = requests[0]
        if first.delivery_id not in self.recorded:
            self.breach("unrecorded", f"{name} was sent and is not recorded")
        if len({(request.event_id, request.webhook_id) for request in requests}) > 1:
            self.breach("mixed up", f"{name} carried several events or webhooks")
        if len(requests) > self.terms.most_sends:
            self.breach("sent too often", f"{name}: {len(requests)} requests")
        for number, count in collections.Counter(request.attempt for request in requests).items():
            if count > 1:
                self.breach("attempt sent twice", f"{name}: attempt {number} came {count} times")
        for request in requests:
            if request.complaint is not None:
                self.breach("unsigned", f"{name}, attempt {request.attempt}: {request.complaint}")
            webhook, event = self.webhooks.get(request.webhook_id), self.accepted.get(request.event_id)
            owner = event.tenant if event else request.tenant
            if webhook and (webhook.tenant != request.tenant or webhook.tenant != owner):
                self.breach("foreign tenant", f"{name}: {request.tenant}'s event went to a webhook of {webhook.tenant}")

    def _waits(self, name: str, requests: list[Request]) -> None:
        """From each request to the next one that was seen, at least a wait for each attempt between them."""
        for before, after in zip(requests, requests[1:]):
            waits = (after.attempt - before.attempt) * self.terms.wait_s
            over = before.answered_at if before.answered_at is not None else before.earliest
            # One that got no answer in time may still have been answered later than it was given up.
            over = min(over, before.earliest + self.terms.attempt_s)
            if waits > 0 and after.seen_at < over + waits:
                early = over + waits - after.seen_at
                self.breach("early", f"{name}: attempt {after.attempt} came {early * 1000:.0f} ms before its time")

    def _duplicates(self, name: str, requests: list[Request]) -> None:
        done = next((request for request in requests if was_delivered(request, self.terms)), None)
        if done is None:
            return
        for request in requests[requests.index(done) + 1 :]:
            fault = cause(self.history.faults, done, self.terms)
            if fault is None:
                said = f"{name}: attempt {request.attempt} although attempt {done.attempt} was answered {done.answered}"
                self.breach("duplicate", said)
            else:
                self.duplicates[fault] += 1

    # --- changes hold ------------------------------------------------------------------------------------------

    def _after_changes(self, webhook: Webhook) -> None:
        requests = [request for request in self.history.requests if request.webhook_id == webhook.id]
        for change, url, until in closed(webhook):
            for request in requests:
                if url is not None and request.url != url:
                    continue
                # Surely after the one, and surely before what opened it again.
                if request.earliest <= change.answered_at or request.seen_at >= until:
                    continue
                late = (request.earliest - change.answered_at) * 1000
                what = f"attempt {request.attempt} of {request.delivery_id} {late:.0f} ms after {change.kind}"
                if resumed(self.history.faults, change, request, self.terms):
                    self.resumed.append(what)
                else:
                    self.breach("after change", what)

    def _counts(self) -> dict[str, int]:
        status = collections.Counter(row.status for row in self.history.recorded)
        outcome = collections.Counter(attempt.outcome for row in self.history.recorded for attempt in row.attempts)
        again = sum(1 for request in self.history.requests if request.attempt > 1)
        changes = [change for webhook in self.history.webhooks for change in webhook.changes]
        return {
            "events accepted": len(self.history.accepted),
            "of these unanswered at first": sum(event.ambiguous for event in self.history.accepted),
            "deliveries": len(self.history.recorded),
            **{f"  {name}": count for name, count in sorted(status.items())},
            "requests received": len(self.history.requests),
            "  of later attempts": again,
            "attempts recorded as unknown": outcome["unknown"],
            "changes of webhooks acknowledged": sum(change.kind != "create" for change in changes),
            "faults": len(self.history.faults),
            "duplicates": sum(self.duplicates.values()),
            "sends of paused nodes after a change": len(self.resumed),
        }


# --- what the rules stand on -----------------------------------------------------------------------------------


def is_there(webhook: Webhook, event: Accepted, may: bool) -> bool:
    """Whether the event, accepted somewhen between question and answer, finds the webhook: possibly, or certainly. A
    disabled one is found too; its delivery is cancelled at once."""
    made, gone = webhook.changes[0], [change for change in webhook.changes if change.kind == "delete"]
    if may:
        return made.asked_at <= event.answered_at and not any(change.answered_at < event.asked_at for change in gone)
    return made.answered_at <= event.asked_at and not any(change.asked_at <= event.answered_at for change in gone)


def was_closed(webhook: Webhook, event: Accepted) -> bool:
    """Whether the webhook was disabled or deleted at any time since the event came."""
    for at, change in enumerate(webhook.changes):
        if change.kind in ("disable", "delete"):
            opened = next((later for later in webhook.changes[at + 1 :] if later.kind == "enable"), None)
            if opened is None or opened.answered_at >= event.asked_at:
                return True
    return False


def closed(webhook: Webhook) -> list[tuple[Change, str | None, float]]:
    """For each change: the URL to which nothing may begin after its acknowledgement (None: to any), and until when."""
    found = []
    for at, change in enumerate(webhook.changes):
        later = webhook.changes[at + 1 :]
        if change.kind == "delete":
            found.append((change, None, NEVER))
        elif change.kind == "disable":
            opened = next((next_one.asked_at for next_one in later if next_one.kind == "enable"), NEVER)
            found.append((change, None, opened))
        elif change.kind == "move":
            before = webhook.changes[at - 1].url
            back = next((next_one.asked_at for next_one in later if next_one.url == before), NEVER)
            found.append((change, before, back))
    return found


def was_delivered(request: Request, terms: Terms) -> bool:
    """Answered with 2xx, and early enough that the sender must have taken it for that."""
    if request.answered is None or request.answered_at is None or not 200 <= request.answered < 300:
        return False
    return request.answered_at - request.earliest < terms.attempt_s


def may_double(fault: Fault, faults: list[Fault], terms: Terms) -> bool:
    """Whether it can keep an outcome from being stored for good: the node is gone, or silent until it is given up."""
    if fault.kind == "kill":
        return True
    if fault.kind == "restart":
        # It ends in order unless the database is away meanwhile.
        return any(
            other.kind in ("cut", "hole", "postgres", "promote")
            and other.began <= fault.ended
            and fault.began <= other.ended + terms.attempt_s
            for other in faults
        )
    return fault.kind != "delay" and fault.ended - fault.began >= terms.lease_s - terms.beat_s


def cause(faults: list[Fault], done: Request, terms: Terms) -> Fault | None:
    """The fault that may have kept the answer to this request from being stored."""
    until = (done.answered_at or done.seen_at) + terms.settles_within_s
    found = [
        fault
        for fault in faults
        if fault.began <= until and fault.ended >= done.earliest and may_double(fault, faults, terms)
    ]
    # What was killed explains more than what was away.
    return min(found, key=lambda fault: (fault.kind != "kill", abs(fault.began - until)), default=None)


def in_flight(requests: list[Request], fault: Fault, terms: Terms) -> int:
    """Requests that were on their way, or answered and perhaps not stored, when the fault came and for as long as a node
    acts on what it saw before."""
    count = 0
    for request in requests:
        over = request.answered_at if request.answered_at is not None else request.earliest + terms.attempt_s
        if request.earliest <= fault.began + terms.sight_s and over + terms.settles_within_s >= fault.began:
            count += 1
    return count


def resumed(faults: list[Fault], change: Change, request: Request, terms: Terms) -> bool:
    """Whether a node was paused when the change was acknowledged, and this left just when it went on."""
    return any(
        fault.kind == "pause"
        and fault.began <= change.answered_at <= fault.ended
        and fault.ended - terms.resumes_within_s <= request.earliest <= fault.ended + terms.resumes_within_s
        for fault in faults
    )
