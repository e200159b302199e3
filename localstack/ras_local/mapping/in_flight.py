"""The batches of one mapping that are with its function."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from .errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .delivery import Tally
    from .records import KafkaRecord
    from .settings import MappingSettings

_MANY_PARTITIONS = 10_000


class InFlight:
    """Batches, each in a thread of its own, from when they are sent until they are removed.

    A batch that has ended stays until its outcome is committed, so that nothing of its partitions is sent meanwhile.
    As a context manager, it waits for its threads in the end.
    """

    def __init__(self, settings: MappingSettings, deliver: Callable[[list[KafkaRecord]], Tally]) -> None:
        self._deliver = deliver
        # Threads are created as they are needed, so never more of them than partitions.
        most = settings.concurrency(_MANY_PARTITIONS)
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=settings.topic)
        self._batches: dict[Future[Tally], list[KafkaRecord]] = {}

    def __enter__(self) -> InFlight:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, where)

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def lanes(self) -> set[str]:
        """The partitions that have a batch in flight."""
        return {record.lane for batch in self._batches.values() for record in batch}

    def send(self, batch: list[KafkaRecord]) -> None:
        self._batches[self._pool.submit(self._deliver, batch)] = batch

    def ended(self, *, wait: bool = False) -> dict[Future[Tally], list[KafkaRecord]]:
        """The batches whose outcome is known; with `wait`, all. One that was given up by stopping is removed."""
        ended = {}
        for future in [future for future in self._batches if wait or future.done()]:
            try:
                future.result()
            except StoppedError:
                del self._batches[future]
            else:
                ended[future] = self._batches[future]
        return ended

    def remove(self, future: Future[Tally]) -> None:
        del self._batches[future]
