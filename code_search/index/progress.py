"""How far an update is, and when what it has is worth publishing."""

from __future__ import annotations

import time
from dataclasses import dataclass

from code_search.index.snapshot import Snapshot
from code_search.index.store import Store

_FIRST_PAUSE = 5.0
_TIMES_THE_COST = 10.0


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total``; ``what`` is ``files`` or ``functions``."""

    what: str
    done: int
    total: int


class Pace:
    """Publishes at most every five seconds, and never spends more than a tenth of the time on it."""

    def __init__(self) -> None:
        self.cost, self.last = 0.0, time.perf_counter()

    @property
    def due(self) -> bool:
        return time.perf_counter() - self.last > max(_FIRST_PAUSE, _TIMES_THE_COST * self.cost)

    def publish(self, store: Store, snapshot: Snapshot) -> Snapshot:
        start = time.perf_counter()
        published = store.publish(snapshot)
        self.last = time.perf_counter()
        self.cost = self.last - start
        return published
