"""Trying again what failed for a passing reason, inside the time that a function has left."""

from __future__ import annotations

import time
from random import SystemRandom
from typing import TYPE_CHECKING, TypeVar

from result_aggregator.domain.store_interface import StoreError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# The system's: a writer that outlives its invocation must not move a generator that others have seeded.
_JITTER = SystemRandom()

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

# What a call that starts at the deadline may still take (`store.aws.LONGEST_CALL_S`), then the metrics and the answer.
RESERVE_S = 11.0


class Deadline:
    """Until when it is worth trying. One is shared by all writers of an invocation."""

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`seconds` from now. What a function has left less RESERVE_S, or half of it where that is little."""
        self._clock = clock
        self._sleep = sleep
        self._seconds = seconds
        self._end = clock() + seconds

    @classmethod
    def of_function(cls, remaining_ms: int) -> Deadline:
        """The deadline of a function that Lambda stops after `remaining_ms`."""
        remaining = remaining_ms / 1000
        return cls(max(remaining - RESERVE_S, remaining / 2))

    def share(self, part: float) -> Deadline:
        """A deadline after a part of this one's time: what gets stuck in one step must leave time for the next."""
        return Deadline(
            self._end - self._clock() - (1 - part) * self._seconds, clock=self._clock, sleep=self._sleep
        )

    def attempt(self, work: Callable[[], T]) -> T | StoreError:
        """The work's result, or the store's error as a value: one failure must not hide what became of the others.

        A passing failure is tried again after a pause of up to 50 ms, 100 ms, 200 ms, … 2 s: full jitter, so that
        writers that were throttled together do not come back together.
        """
        failure = UnavailableError("no time left")
        longest = FIRST_PAUSE_S
        # Asked before the first attempt too: behind a store that is down, the last of many changes must not start late.
        while self._clock() < self._end:
            try:
                return work()
            except UnavailableError as error:
                if not error.soon:
                    return error
                failure = error
            except StoreError as error:
                return error
            # Never past the end: the next step's share begins there.
            left = max(self._end - self._clock(), 0)
            self._sleep(min(_JITTER.uniform(0, longest), left))
            longest = min(2 * longest, LONGEST_PAUSE_S)
        return failure
