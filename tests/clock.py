"""A clock for what waits: tests neither wait nor depend on how fast a machine is."""

from __future__ import annotations


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        # A pause of nothing at all would never end; time passes while work is done, too.
        self.now += max(seconds, 0.001)
