"""Ingest: the records of one invocation into the view.

Reading decides what each record is; the changes of all events are merged per item in memory; essays and rankings are
written, then their batches. That order lets a batch's times cover only events that are in, and a crash in between is
mended by the redelivery, because a duplicate still widens its batch's times.
"""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Protocol

from result_aggregator import contracts
from result_aggregator.contracts.rejection import Ignored, Problem, RejectedError
from result_aggregator.domain import registers, table_layout
from result_aggregator.domain.outcomes import HANDED_BACK, IGNORED, OUTCOMES, REJECTED
from result_aggregator.domain.ranking import RankingTooLargeError
from result_aggregator.domain.store_interface import StoreError, UnacceptableError, UnavailableError, Written
from result_aggregator.msk_event import NotBase64Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from result_aggregator.deadline import Deadline
    from result_aggregator.domain.events import AnyEvent
    from result_aggregator.domain.store_interface import WritableView
    from result_aggregator.domain.table_layout import Change, Key
    from result_aggregator.msk_event import Record

# Writes are waits: DynamoDB answers in a few milliseconds, and a function has a fraction of a CPU to spend meanwhile.
WRITERS = 16
# S3 takes some 100 ms for a small object ("Best practices design patterns: optimizing Amazon S3 performance"): a flood
# of poison would leave WRITERS waiting, and its partition behind.
KEEPERS = 64


class DeadLetters(Protocol):
    """Where rejected records go: `store.s3.DeadLetterStore`."""

    def keep(self, record: Record, rejection: RejectedError) -> None: ...


@dataclass(slots=True)
class Handled:
    """One record and what became of it: exactly one of OUTCOMES, with the reason of those that have one."""

    record: Record
    outcome: str = ""
    reason: str = ""
    event: AnyEvent | None = None
    changes: Sequence[Change] = ()
    rejection: RejectedError | None = None

    def reject(self, rejection: RejectedError) -> None:
        """It can never be applied."""
        self.outcome, self.reason, self.rejection = REJECTED, rejection.code, rejection

    def hand_back(self, reason: str) -> None:
        """It could not be handled now."""
        self.outcome, self.reason = HANDED_BACK, reason


@dataclass(slots=True)
class Report:
    """What became of an invocation's records. The counts add up to the records received."""

    handled: list[Handled] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Records by outcome, every outcome named."""
        found = Counter(handled.outcome for handled in self.handled)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    def handed_back(self) -> list[Record]:
        """The records to be delivered again."""
        return [handled.record for handled in self.handled if handled.outcome == HANDED_BACK]


def ingest(
    records: Iterable[Record], view: WritableView, dead_letters: DeadLetters, deadline: Deadline
) -> Report:
    """Bring records into the view; what can never be is kept, what cannot be until the deadline is handed back.

    Raises nothing on the records' account.
    """
    handled = [_read(record) for record in records]
    events = [one for one in handled if one.event is not None]
    _write_essays(events, view, deadline.share(1 / 2))
    _write_batches(events, view, deadline.share(3 / 4))
    rejected = [one for one in handled if one.rejection is not None]
    kept = _keepers().map(lambda one: deadline.attempt(partial(_keep, one, dead_letters)), rejected)
    for one, failure in zip(rejected, kept, strict=True):
        if isinstance(failure, StoreError):
            # Not kept means not handled: it must come again.
            one.hand_back(f"dead letter not kept: {failure}")
    return Report(handled)


def _read(record: Record) -> Handled:
    handled = Handled(record)
    try:
        event = contracts.read(record.topic, record.value(), record.timestamp)
        if isinstance(event, Ignored):
            handled.outcome, handled.reason = IGNORED, event.reason
        else:
            handled.changes = table_layout.changes_of(event)
            handled.event = event
    except NotBase64Error as error:
        handled.reject(RejectedError("not_base64", [Problem("", str(error))]))
    except RankingTooLargeError as error:
        handled.reject(RejectedError("too_large", [Problem("data", str(error))]))
    except RejectedError as rejection:
        handled.reject(rejection)
    except Exception as error:  # noqa: BLE001 - a reader's bug must not stop the partition: the record is kept, and replayed once mended
        handled.reject(RejectedError("reader_failed", [Problem("", f"{type(error).__name__}: {error}")]))
    return handled


def _write_essays(events: Sequence[Handled], view: WritableView, deadline: Deadline) -> None:
    """Write what lies outside the batch items: essays and rankings."""
    merged: dict[Key, Change] = {}
    for one in events:
        for change in one.changes:
            if change.key.sk != table_layout.BATCH:
                merged.setdefault(change.key, table_layout.Change(change.key)).merge(change)
    _settle(events, merged, _write_all(merged, view, deadline))


def _write_batches(events: Sequence[Handled], view: WritableView, deadline: Deadline) -> None:
    """Write batch items: their registers, and the times of every event that is in."""
    merged: dict[Key, Change] = {}
    contributors: dict[Key, list[Handled]] = {}
    for one in events:
        if one.event is None or one.event.batch_id is None or one.outcome in (REJECTED, HANDED_BACK):
            continue
        key = table_layout.batch_key(one.event.batch_id)
        batch = merged.setdefault(key, table_layout.Change(key))
        batch.widen(table_layout.times_of(one.event))
        for change in one.changes:
            if change.key == key:
                batch.merge(change)
        contributors.setdefault(key, []).append(one)
    written = _write_all(merged, view, deadline)
    _settle([one for found in contributors.values() for one in found], merged, written)
    for key, result in written.items():
        if isinstance(result, StoreError):
            # Essays that are in come again too: as duplicates they widen the batch's times then.
            for one in contributors[key]:
                if one.outcome != REJECTED:
                    one.hand_back(str(result))


def _write_all(
    changes: Mapping[Key, Change], view: WritableView, deadline: Deadline
) -> dict[Key, dict[str, Written] | StoreError]:
    """What became of each change.

    A few writers that take one after the other, and not a task for each: to hand one over costs more than to sign it.
    """
    waiting = deque(changes.values())
    results: dict[Key, dict[str, Written] | StoreError] = {}

    def write() -> None:
        while True:
            try:
                change = waiting.popleft()  # atomic; to ask first whether something is left would not be
            except IndexError:
                return
            try:
                results[change.key] = deadline.attempt(partial(view.write, change))
            except Exception as error:  # noqa: BLE001 - a store's bug must cost its own records only: they come again
                failure = UnavailableError(f"{type(error).__name__}: {error}", soon=False)
                results[change.key] = failure

    others = [_writers().submit(write) for _ in range(min(len(waiting), WRITERS) - 1)]
    try:
        write()
        for other in others:
            other.result()
    finally:
        # Nobody writes on after the invocation, whatever ended it.
        waiting.clear()
        wait(others)
    return results


def _settle(
    handled: Sequence[Handled],
    merged: Mapping[Key, Change],
    written: Mapping[Key, dict[str, Written] | StoreError],
) -> None:
    """Say of each record what became of its registers: those it won in memory by what the store said."""
    won: set[tuple[Key, str]] = set()
    for one in handled:
        fates = {Written(one.outcome)} if one.outcome else set()
        for change in one.changes:
            if change.key not in written:
                continue
            result = written[change.key]
            if isinstance(result, StoreError):
                _fail(one, result)
                break
            for name, value in change.registers.items():
                winner = merged[change.key].registers[name]
                if value == winner and (change.key, name) not in won:
                    won.add((change.key, name))
                    fates.add(result[name])
                else:
                    same = registers.version_of(value) == registers.version_of(winner)
                    fates.add(Written.DUPLICATE if same else Written.STALE)
        else:
            if fates:
                one.outcome = next(fate.value for fate in Written if fate in fates)


def _fail(one: Handled, failure: StoreError) -> None:
    if isinstance(failure, UnacceptableError):
        one.reject(RejectedError("not_storable", [Problem("", str(failure))]))
    else:
        one.hand_back(str(failure))


def _keep(one: Handled, dead_letters: DeadLetters) -> None:
    if one.rejection is not None:
        dead_letters.keep(one.record, one.rejection)


@cache
def _writers() -> ThreadPoolExecutor:
    """The process's writer threads, kept between invocations as the connections are."""
    return ThreadPoolExecutor(WRITERS, thread_name_prefix="writer")


@cache
def _keepers() -> ThreadPoolExecutor:
    """The threads that keep dead letters; there are none before the first one."""
    return ThreadPoolExecutor(KEEPERS, thread_name_prefix="keeper")
