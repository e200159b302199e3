"""How many invocations of one function run at a time, over all its mappings."""

from __future__ import annotations

import threading
import time


class Gate:
    """One invocation at a time, and more when that is too slow.

    Every concurrent invocation costs a process and its cold start, and a laptop has few cores. So a batch waits
    `patience_s` for the one that runs; after that, and for a while, up to `limit` may run, as pollers scale with lag.
    """

    def __init__(self, limit: int, *, patience_s: float = 1.0, calm_s: float = 10.0) -> None:
        self._limit = limit
        self._patience_s = patience_s
        self._calm_s = calm_s
        self._running = 0
        self._busy_until = 0.0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            begun = time.monotonic()
            while not self._may_run(begun):
                self._changed.wait(self._patience_s / 4)
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def _may_run(self, waiting_since: float) -> bool:
        now = time.monotonic()
        if self._running == 0:
            return True
        if self._running >= self._limit:
            return False
        if now - waiting_since >= self._patience_s:
            self._busy_until = now + self._calm_s
        return now < self._busy_until
