"""What a mapping's worker threads do with a batch."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from .delivery import Delivery
from .errors import DestinationError, StoppedError
from .records import span

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from .delivery import Discarded, Tally
    from .events import EventSource
    from .gate import Gate
    from .problems import Problems
    from .records import KafkaRecord
    from .responses import InvocationResult, Invoke
    from .settings import MappingSettings
    from .status import Counters

logger = logging.getLogger(__name__)


class Worker:
    """Delivers batches through the function's gate, until the mapping stops; several threads use it at a time."""

    def __init__(
        self,
        settings: MappingSettings,
        source: EventSource,
        *,
        invoke: Invoke,
        destination: Callable[[Discarded], None],
        gate: Gate,
        stopping: threading.Event,
        counters: Counters,
        problems: Problems,
    ) -> None:
        self._settings = settings
        self._invoke_function = invoke
        self._destination = destination
        self._gate = gate
        self._stopping = stopping
        self._counters = counters
        self._problems = problems
        self._delivery = Delivery(
            settings=settings,
            source=source,
            invoke=self._invoke,
            on_failure=self._on_failure,
            now_ms=lambda: int(time.time() * 1000),
            wait=self._wait,
            log=lambda text: logger.warning("%s", text),
        )

    def deliver(self, batch: Sequence[KafkaRecord]) -> Tally:
        """Returns once every record has an outcome. Raises StoppedError where the mapping stops before."""
        return self._delivery.deliver(batch)

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise StoppedError

    def _invoke(self, event: str) -> InvocationResult:
        with self._gate:
            if self._stopping.is_set():
                raise StoppedError
            return self._invoke_function(event)

    def _on_failure(self, discarded: Discarded) -> None:
        """Hand discarded records to the destination, trying until it has them.

        Chosen, as AWS says only that it counts such failures: nothing of the batch is committed meanwhile, so its
        partitions stand still, loudly, and a poller that starts again reads it again. Nothing is lost without a word;
        the destination may get a batch twice.
        """
        attempt = 0
        try:
            while True:
                try:
                    self._destination(discarded)
                except DestinationError as error:
                    attempt += 1
                    self._counters.destination_failures += 1
                    self._problems.of_destination(
                        f"{self._settings.on_failure_arn} does not take {span(discarded.records)}: {error}"
                    )
                    self._wait(min(10.0, 0.5 * attempt))
                else:
                    return
        finally:
            self._problems.destination_is_done()
