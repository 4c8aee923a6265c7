"""What befalls the cluster: faults in an order and for times that a seed decides, each written down with when it was.

Three hands work at once: one does what is short to a node, one what outlasts a lease, one does it to the database. Each
works through a shuffled deck, so that a run of a minute has every kind at least once."""

from __future__ import annotations

import random
import threading
import time

from .database import Database
from .helpers import Proxy
from .history import Fault
from .nodes import Node, faketime

# Longer than the 15 s after which a silent node is taken for lost.
OUTLASTS_S = (17.5, 21.0)
SHORT = ("kill", "pause", "cut", "hole", "delay", "clock", "restart")
LONG = ("pause", "hole")
SINGLE = ("postgres", "postgres")
PAIR = ("postgres", "promote", "lagging")
# Longer than any statement may take.
LAGS_S = 12.5


class Nemesis:
    """`burst` gives a node more at once than it can send."""

    def __init__(
        self,
        seed: int,
        only: list[str],
        nodes: list[Node],
        database: Database,
        proxy: Proxy,
        burst,
        began: float,
        until: float,
    ):
        self.nodes, self.database, self.proxy, self.burst = nodes, database, proxy, burst
        self.began, self.until = began, until
        self.faults: list[Fault] = []
        self.errors: list[str] = []
        self.stop = threading.Event()
        rng = random.Random(seed)
        work = [(SHORT, self._short), (LONG, self._long), (PAIR if len(database.members) > 1 else SINGLE, self._database)]
        self.hands = []
        for at, (deck, do) in enumerate(work):
            cards = [kind for kind in deck if not only or kind in only]
            hand = threading.Thread(target=self._work, args=(cards, do, random.Random(rng.random()), at), daemon=True)
            if cards:
                self.hands.append(hand)

    def start(self) -> None:
        for hand in self.hands:
            hand.start()

    def join(self) -> None:
        """Every fault is over, every node runs."""
        for hand in self.hands:
            hand.join(180)
            if hand.is_alive():
                self.errors.append("a fault does not end")

    def _work(self, deck: list[str], do, rng: random.Random, at: int) -> None:
        self.stop.wait(1.5 + 1.5 * at)
        while True:
            cards = rng.sample(deck, len(deck))
            for kind in cards:
                if self.stop.is_set() or time.monotonic() > self.until:
                    return
                try:
                    do(kind, rng)
                except Exception as error:
                    self.errors.append(f"{kind}: {type(error).__name__}: {error}")
                    print(f"  {self.errors[-1]}", flush=True)
                    return
                self.stop.wait(rng.uniform(0.3, 1.5))

    def _record(self, kind: str, target: str, began: float) -> None:
        fault = Fault(kind, target, began, time.monotonic())
        self.faults.append(fault)
        print(f"  {fault.began - self.began:6.1f} s  {kind} {target} for {fault.ended - fault.began:.1f} s", flush=True)

    # --- to a node ---------------------------------------------------------------------------------------------

    def _short(self, kind: str, rng: random.Random) -> None:
        if kind == "restart":
            for node in self.nodes:
                if node.busy.acquire(blocking=False):
                    try:
                        self._restart(node)
                    finally:
                        node.busy.release()
            return
        self._one_node(kind, rng, rng.uniform(0.3, 4.0))

    def _long(self, kind: str, rng: random.Random) -> None:
        self._one_node(kind, rng, rng.uniform(*OUTLASTS_S))

    def _one_node(self, kind: str, rng: random.Random, span_s: float) -> None:
        free = [node for node in rng.sample(self.nodes, len(self.nodes)) if node.busy.acquire(blocking=False)]
        if not free:
            return
        for node in free[1:]:
            node.busy.release()
        try:
            getattr(self, f"_{kind}")(free[0], rng, span_s)
        finally:
            free[0].busy.release()

    def _kill(self, node: Node, rng: random.Random, span_s: float) -> None:
        began = time.monotonic()
        node.kill()
        self._record("kill", node.name, began)
        self.stop.wait(span_s / 2)
        node.start()

    def _pause(self, node: Node, rng: random.Random, span_s: float) -> None:
        # In the middle of its work, if there is any.
        self.burst(node)
        time.sleep(rng.uniform(0.0, 0.4))
        began = time.monotonic()
        node.pause()
        self.stop.wait(span_s)
        # Recorded to just after it goes on.
        node.go_on()
        self._record("pause", node.name, began)

    def _cut(self, node: Node, rng: random.Random, span_s: float) -> None:
        self._disturb("cut", node, span_s)

    def _hole(self, node: Node, rng: random.Random, span_s: float) -> None:
        self._disturb("hole", node, span_s)

    def _delay(self, node: Node, rng: random.Random, span_s: float) -> None:
        self._disturb("delay", node, span_s, rng.uniform(0.02, 0.15))

    def _disturb(self, what: str, node: Node, span_s: float, delay_s: float = 0.0) -> None:
        began = time.monotonic()
        self.proxy.do(node.links, what, delay_s)
        self.stop.wait(span_s)
        self.proxy.do(node.links, "clear")
        self._record(what, node.name, began)

    def _clock(self, node: Node, rng: random.Random, span_s: float) -> None:
        """Killed, and started with a wall clock of its own; most of the time the other way than before."""
        if faketime() is None:
            return
        ahead_s = rng.choice([-1, 1]) * rng.uniform(1.5, 8.0)
        began = time.monotonic()
        node.kill()
        self._record("kill", f"{node.name}, its clock then {ahead_s:+.1f} s", began)
        node.set_clock(ahead_s)
        node.start()

    def _restart(self, node: Node) -> None:
        began = time.monotonic()
        status = node.stop()
        self._record("restart" if status == 0 else "kill", node.name, began)
        node.start()

    # --- to the database ---------------------------------------------------------------------------------------

    def _database(self, kind: str, rng: random.Random) -> None:
        if kind == "postgres":
            self._postgres(rng)
        else:
            self._promote(LAGS_S if kind == "lagging" else rng.uniform(0.0, 1.0))
        # Time in between for what a fault of a node does by itself.
        self.stop.wait(rng.uniform(3, 8))

    def _postgres(self, rng: random.Random) -> None:
        member, began = self.database.primary, time.monotonic()
        self.database.kill(member)
        self.stop.wait(rng.uniform(0, 2))
        self.database.start(member)
        self._record("postgres", member, began)

    def _promote(self, lag_s: float) -> None:
        """The follower lags, then the primary dies, then the follower takes over; and the former primary follows it."""
        former, began = self.database.primary, time.monotonic()
        way = f"replication-{former}"
        self.proxy.do([way], "hole")
        self.stop.wait(lag_s)
        self.database.kill(former)
        self.proxy.do([way], "cut")
        self.database.promote()
        self._record("promote", f"{self.database.primary}, {lag_s:.1f} s behind", began)
        self.proxy.do([way], "clear")
        self.database.follow(former)
