"""When records become a batch."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .events import room, weight

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .events import EventSource
    from .records import KafkaRecord
    from .settings import MappingSettings


class Backlog:
    """Records that were read and not yet sent, and the rule for when they become a batch.

    A batch is sent when its window ends, when it has BatchSize records, or when one more record would take the event
    over the payload limit ("Batching behavior"). The window starts when the previous invocation ended, not with the
    first record; a window of 0 sends at once whatever is there. A batch may hold records of several partitions, but
    none of a partition that has a batch in flight, so each partition keeps its order.
    """

    def __init__(self, settings: MappingSettings, source: EventSource, *, now: float) -> None:
        self._settings = settings
        self._room = room(source)
        self._records: deque[KafkaRecord] = deque()
        self._window_start = now

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: KafkaRecord) -> None:
        self._records.append(record)

    def restart_window(self, now: float) -> None:
        """To be called when an invocation has ended."""
        self._window_start = now

    def forget(self, lanes: Iterable[str]) -> None:
        """Drop what belongs to partitions that another consumer reads from now on."""
        gone = set(lanes)
        self._records = deque(record for record in self._records if record.lane not in gone)

    def take(self, *, now: float, in_flight: Iterable[str] = ()) -> list[KafkaRecord]:
        """The next batch if one is due, else an empty list. Records of lanes in flight stay behind."""
        busy = set(in_flight)
        batch: list[KafkaRecord] = []
        size = 0
        full = False
        for record in self._records:
            if record.lane in busy:
                continue
            size += weight(record)
            if batch and size > self._room:
                full = True
                break
            batch.append(record)
            if len(batch) == self._settings.batch_size:
                full = True
                break
        window_over = now - self._window_start >= self._settings.window_s
        if not batch:
            if window_over:
                self._window_start = now  # an empty window ends without a batch, and the next one starts
            return []
        if not (full or window_over):
            return []
        taken = {id(record) for record in batch}
        self._records = deque(record for record in self._records if id(record) not in taken)
        self._window_start = now
        return batch
