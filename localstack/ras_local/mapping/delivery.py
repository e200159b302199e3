"""Delivering a batch to the function until the outcome of every record is known.

Nothing here knows a Kafka client, boto3 or a real clock: `worker` brings those. Each behaviour names the page of the
AWS Lambda developer guide that it comes from; where the guide is silent, the docstring says what was chosen.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import MalformedResponseError
from .events import oversized, render_event
from .records import span
from .responses import Failed, NotReached, failed_items
from .settings import INFINITE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .events import EventSource
    from .records import KafkaRecord
    from .responses import Invoke, Succeeded
    from .settings import MappingSettings


@dataclass(frozen=True)
class Discarded:
    """Records that the mapping gave up on, and why: what an on-failure destination is told."""

    records: tuple[KafkaRecord, ...]
    condition: str
    invocations: int
    last_failure: Failed | None = None


RETRIES_EXHAUSTED = "RetryAttemptsExhausted"
PAYLOAD_EXCEEDED = "MaximumPayloadSizeExceeded"
AGE_EXCEEDED = "RecordAgeExceeded"
"""The word of the other stream sources; for Kafka the guide names none."""


@dataclass
class Tally:
    """What became of a batch: `delivered + discarded` is the number of its records."""

    delivered: int = 0
    discarded: int = 0
    invocations: int = 0
    failures: int = 0
    not_reached: int = 0


@dataclass
class _Part:
    """A piece of a batch that goes through invocations of its own."""

    records: list[KafkaRecord]
    retries: int = 0
    invocations: int = 0
    last_failure: Failed | None = None


def backoff(failures: int, spread: Callable[[], float] = random.random) -> float:
    """Seconds before the next attempt: doubling from 0.1 to 10, each shortened by up to half at random.

    Chosen: the guide says only that retries back off exponentially.
    """
    longest = min(10.0, 0.1 * 2.0 ** min(failures, 10))
    return longest * (1 - spread() / 2)


@dataclass
class Delivery:
    """Brings batches to the function until the outcome of every record is known.

    `wait` sleeps, and raises to give up when the poller stops: nothing of that batch is committed then, and it is
    read again. `on_failure` keeps or drops what is given up on and must not return before that is certain.
    """

    settings: MappingSettings
    source: EventSource
    invoke: Invoke
    on_failure: Callable[[Discarded], None]
    now_ms: Callable[[], int]
    wait: Callable[[float], None]
    log: Callable[[str], None] = lambda _: None
    pause: Callable[[int], float] = backoff

    def deliver(self, records: Sequence[KafkaRecord]) -> Tally:
        """Send a batch; returns once each record was taken by the function or given up on.

        On-demand mode: a failed batch is sent again as a whole until it succeeds, and whatever the function returns
        counts as success ("Processing messages": MSK). Provisioned mode: only the records that the function lists
        are sent again; a batch that failed as a whole is split in two where bisecting is on, which uses up no retry;
        records over the age limit and batches out of retries go to the on-failure destination. Throttles and service
        errors use up no retries ("How event source mappings retry").
        Chosen: pieces of a batch go one after the other, so that the order in a partition is kept.
        """
        tally = Tally()
        pending = deque([_Part(list(records))])
        while pending:
            part = self._without_expired(pending.popleft(), tally)
            if not part.records:
                continue
            if len(part.records) == 1 and oversized(self.source, part.records):
                self._discard(part, PAYLOAD_EXCEEDED, tally)
                continue
            outcome = self._attempt(part, tally)
            failed, whole, failure = self._judge(outcome, part.records)
            tally.delivered += len(part.records) - len(failed)
            if not failed:
                continue
            part.last_failure = failure
            tally.failures += 1
            self._log_failure(failed, failure)
            if whole and self.settings.bisect and len(failed) > 1:
                middle = len(failed) // 2
                for half in (failed[middle:], failed[:middle]):
                    pending.appendleft(_Part(half, part.retries, part.invocations, failure))
                self.wait(self.pause(part.retries))
                continue
            part.records = failed
            if part.retries == self.settings.retry_limit:
                self._discard(part, RETRIES_EXHAUSTED, tally)
                continue
            self.wait(self.pause(part.retries))
            part.retries += 1
            pending.appendleft(part)
        return tally

    def _attempt(self, part: _Part, tally: Tally) -> Succeeded | Failed:
        event = render_event(self.source, part.records)
        unreached = 0
        while True:
            outcome = self.invoke(event)
            if not isinstance(outcome, NotReached):
                tally.invocations += 1
                part.invocations += 1
                return outcome
            tally.not_reached += 1
            self.log(
                f"{self.settings.function_name} was not reached and will be tried again: {outcome.reason}"
            )
            self.wait(self.pause(unreached))
            unreached += 1

    def _judge(
        self, outcome: Succeeded | Failed, records: list[KafkaRecord]
    ) -> tuple[list[KafkaRecord], bool, Failed | None]:
        """The records that failed, whether that is the batch as a whole, and the function's error if it had one."""
        if isinstance(outcome, Failed):
            return records, True, outcome
        if not self.settings.report_batch_item_failures:
            return [], False, None
        try:
            listed = failed_items(outcome.payload, records)
        except MalformedResponseError as error:
            return records, True, Failed(str(error), outcome.request_id)
        failed = [record for record in records if (record.lane, record.offset) in listed]
        return (
            failed,
            False,
            Failed("the function handed records back", outcome.request_id) if failed else None,
        )

    def _without_expired(self, part: _Part, tally: Tally) -> _Part:
        """Give up on records older than MaximumRecordAgeInSeconds, before the first attempt as before any other."""
        if self.settings.maximum_record_age_s == INFINITE:
            return part
        oldest = self.now_ms() - self.settings.maximum_record_age_s * 1000
        expired = [record for record in part.records if record.timestamp < oldest]
        if expired:
            self._discard(
                _Part(expired, part.retries, part.invocations, part.last_failure), AGE_EXCEEDED, tally
            )
            part.records = [record for record in part.records if record.timestamp >= oldest]
        return part

    def _discard(self, part: _Part, condition: str, tally: Tally) -> None:
        discarded = Discarded(tuple(part.records), condition, part.invocations, part.last_failure)
        self.log(f"gave up on {span(part.records)}: {condition} after {part.invocations} invocations")
        self.on_failure(discarded)
        tally.discarded += len(part.records)

    def _log_failure(self, failed: Sequence[KafkaRecord], failure: Failed | None) -> None:
        reason = failure.reason if failure else ""
        self.log(f"{self.settings.function_name} failed {span(failed)}: {reason}")
