"""Ingest: the records of one invocation into the view.

Reading decides what each record is; the changes of all events are merged per item in memory; then three steps write
essays' own items (`domain.claims`), the essays and rankings of batches, and the batches. That order lets a batch's times
cover only events that are in, and a crash in between is mended by the redelivery, because a duplicate still takes the
steps that follow.

While the view is rebuilt there are two tables, and each takes all steps by itself: an essay can have been claimed in
one and not yet in the other.
"""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from result_aggregator import contracts
from result_aggregator.contracts.rejection import MAX_PROBLEMS, Ignored, Problem, RejectedError
from result_aggregator.domain import claims, registers, table_layout
from result_aggregator.domain.outcomes import HANDED_BACK, IGNORED, OUTCOMES, REJECTED
from result_aggregator.domain.ranking import RankingTooLargeError
from result_aggregator.domain.store_interface import StoreError, UnacceptableError, UnavailableError, Written
from result_aggregator.msk_event import NotBase64Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from result_aggregator.deadline import Deadline
    from result_aggregator.domain.events import AnyEvent
    from result_aggregator.domain.store_interface import WritableView
    from result_aggregator.domain.table_layout import Change, Key
    from result_aggregator.msk_event import Record

Result = TypeVar("Result")

# Writes are waits: DynamoDB answers in a few milliseconds, and a function has a fraction of a CPU to spend meanwhile.
WRITERS = 16
# S3 takes some 100 ms for a small object ("Best practices design patterns: optimizing Amazon S3 performance"): a flood
# of poison would leave WRITERS waiting, and its partition behind.
KEEPERS = 64


class DeadLetters(Protocol):
    """Where rejected records go: `store.dead_letters.DeadLetterStore`."""

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
    batch_ids: set[str] = field(default_factory=set)
    """the batches that the record is of, by its event or by the claims that its essay has"""
    is_dropped: bool = False
    """nothing of it is written any more"""

    @property
    def is_live(self) -> bool:
        """Whether there is something of it to write."""
        return self.event is not None and self.outcome != HANDED_BACK and not self.is_dropped

    def reject(self, rejection: RejectedError) -> None:
        """It can never be applied."""
        self.outcome, self.reason, self.rejection = REJECTED, rejection.code, rejection

    def hand_back(self, reason: str) -> None:
        """It could not be handled now."""
        self.outcome, self.reason = HANDED_BACK, reason

    def fail(self, failure: StoreError) -> None:
        """The store did not take one of its changes."""
        if isinstance(failure, UnacceptableError):
            self.reject(RejectedError("not_storable", [Problem("", str(failure))]))
            self.is_dropped = True
        else:
            self.hand_back(str(failure))

    def refuse(self, essay_ids: Sequence[str]) -> None:
        """These essays are claimed by as many batches as can be: the record is kept for them, the rest of it is written."""
        problems = [
            Problem("", f"essay {essay_id} is claimed by {claims.MAX_CLAIMS} other batches")
            for essay_id in essay_ids[:MAX_PROBLEMS]
        ]
        self.reject(RejectedError("too_many_claims", problems))
        without = set(essay_ids)
        self.changes = [change for change in self.changes if table_layout.essay_of(change.key) not in without]
        self.is_dropped = not self.changes


@dataclass(slots=True)
class Report:
    """What became of an invocation's records. The counts add up to the records received."""

    handled: list[Handled] = field(default_factory=list)
    waiting: claims.Waiting = claims.NOTHING_WAITS

    def counts(self) -> dict[str, int]:
        """Records by outcome, every outcome named."""
        found = Counter(handled.outcome for handled in self.handled)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    def handed_back(self) -> list[Record]:
        """The records to be delivered again."""
        return [handled.record for handled in self.handled if handled.outcome == HANDED_BACK]


def ingest(
    records: Iterable[Record], views: Sequence[WritableView], dead_letters: DeadLetters, deadline: Deadline
) -> Report:
    """Bring records into the view; what can never be is kept, what cannot be until the deadline is handed back.

    `views` is one table, or two that are kept in step: what is in the second is in the first, so that moving readers
    from the second to the first never shows them less than they saw. What became of a record is told of the first.
    Raises nothing on the records' account.
    """
    handled = [_read(record) for record in records]
    waiting = claims.NOTHING_WAITS
    for number, view in enumerate(views):
        # The last quarter of the time is the dead letters'.
        begin, end = (0.75 * (number + part) / len(views) for part in (0, 1))
        steps = [deadline.share(begin + (end - begin) * step / 3) for step in (1, 2, 3)]
        if number == 0:
            writing = _Writing([one for one in handled if one.is_live], view)
            writing.run(steps)
            waiting = writing.waiting
        else:
            _follow(handled, view, steps)
    rejected = [one for one in handled if one.rejection is not None and one.outcome == REJECTED]
    kept = _keepers().map(lambda one: deadline.attempt(partial(_keep, one, dead_letters)), rejected)
    for one, failure in zip(rejected, kept, strict=True):
        if isinstance(failure, StoreError):
            # Not kept means not handled: it must come again.
            one.hand_back(f"dead letter not kept: {failure}")
    return Report(handled, waiting)


def _follow(handled: Sequence[Handled], view: WritableView, steps: Sequence[Deadline]) -> None:
    """Write what is in the first table to the second: a record that fails there fails."""
    again = [
        (one, Handled(one.record, event=one.event, changes=one.changes)) for one in handled if one.is_live
    ]
    _Writing([second for _, second in again], view).run(steps)
    for one, second in again:
        if second.outcome == HANDED_BACK or (second.rejection is not None and one.rejection is None):
            one.outcome, one.reason, one.rejection = second.outcome, second.reason, second.rejection


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


class _Writing:
    """The events of an invocation on their way into one table."""

    def __init__(self, events: Sequence[Handled], view: WritableView) -> None:
        self._events, self._view = events, view
        self._changes: dict[Key, Change] = {}
        """what was written, by item"""
        self._written: dict[Key, dict[str, Written]] = {}
        """what became of the registers of items"""
        self._claimed: dict[Key, dict[str, Written]] = {}
        """what became of the claims on essays' own items"""
        self._brought: dict[Key, list[Change]] = {}
        """what essays' own items bring to batches"""
        self._won: set[tuple[Key, str]] = set()
        self.waiting = claims.NOTHING_WAITS
        """what began to wait for a batch, and what found one"""

    def run(self, steps: Sequence[Deadline]) -> None:
        """Take the three steps, each until its deadline, and say of each record what became of it."""
        self._write_own_items(steps[0])
        self._write_essays(steps[1])
        self._write_batches(steps[2])
        for one in self._events:
            if one.outcome not in (REJECTED, HANDED_BACK):
                fates = set(self._fates(one))
                # Without any the event said nothing but its time, as the summary of no essays does.
                one.outcome = next((fate.value for fate in Written if fate in fates), Written.DUPLICATE.value)

    def _write_own_items(self, deadline: Deadline) -> None:
        """Write results that name no batch, and claims."""
        changes: dict[Key, Change] = {}
        for one in self._events:
            for change in one.changes:
                if table_layout.is_own(change.key):
                    _merge(changes, change)
        results = _write_all(changes, self._view.write_own, deadline)
        for key, result in results.items():
            if not isinstance(result, StoreError):
                self._written[key], self._claimed[key] = result.registers, result.claims
                self._brought[key] = list(claims.brought(changes[key], result.item))
                self.waiting += claims.waiting(result)
        self._changes |= changes
        for one in self._events:
            self._fail(one, results, (change.key for change in one.changes))
            refused = [
                essay_id
                for change in one.changes
                if one.is_live
                and (essay_id := table_layout.essay_of(change.key)) is not None
                and not change.claims.keys() <= self._claimed.get(change.key, {}).keys()
            ]
            if refused:
                one.refuse(refused)

    def _write_essays(self, deadline: Deadline) -> None:
        """Write what lies outside the batch items: essays and rankings, and what essays' own items bring."""
        changes: dict[Key, Change] = {}
        for one in self._events:
            for change in self._outside(one):
                _merge(changes, change)
        results = _write_all(changes, self._view.write, deadline)
        self._note(changes, results)
        for one in self._events:
            self._fail(one, results, (change.key for change in self._outside(one)))

    def _outside(self, one: Handled) -> Iterator[Change]:
        """The changes of essays and rankings that an event makes."""
        if one.is_live:
            for change in (*one.changes, *self._brought_by(one)):
                if change.key.sk not in (table_layout.BATCH, table_layout.RESULTS):
                    yield change

    def _brought_by(self, one: Handled) -> Iterator[Change]:
        """What an event has essays' own items bring: a result to each batch, a claim to its own."""
        for change in one.changes:
            for brought in self._brought.get(change.key, ()):
                if not change.claims or table_layout.batch_id_of(brought.key.pk) in change.claims:
                    yield brought

    def _write_batches(self, deadline: Deadline) -> None:
        """Write batch items: their registers, and the times of every event that is in."""
        changes: dict[Key, Change] = {}
        contributors: dict[Key, list[Handled]] = {}
        for one in self._events:
            for change in self._of_batches(one):
                _merge(changes, change)
                one.batch_ids.add(table_layout.batch_id_of(change.key.pk))
                contributors.setdefault(change.key, []).append(one)
        results = _write_all(changes, self._view.write, deadline)
        self._note(changes, results)
        for one in self._events:
            self._fail(one, results, (change.key for change in one.changes))
        for key, result in results.items():
            if isinstance(result, StoreError):
                # Essays that are in come again too: as duplicates they widen the batch's times then.
                for one in contributors[key]:
                    if not one.is_dropped:
                        one.hand_back(str(result))

    def _of_batches(self, one: Handled) -> Iterator[Change]:
        """The changes of batch items that an event makes."""
        if not one.is_live or one.event is None:
            return
        if one.event.batch_id is not None:
            key = table_layout.batch_key(one.event.batch_id)
            yield table_layout.Change(key, times=table_layout.times_of(one.event))
        for change in (*one.changes, *self._brought_by(one)):
            if change.key.sk == table_layout.BATCH:
                yield change

    def _note(
        self, changes: Mapping[Key, Change], results: Mapping[Key, dict[str, Written] | StoreError]
    ) -> None:
        self._changes |= changes
        for key, result in results.items():
            if not isinstance(result, StoreError):
                self._written[key] = result

    def _fail(self, one: Handled, results: Mapping[Key, object], keys: Iterable[Key]) -> None:
        """Fail an event with the first of its items that was not written."""
        if one.is_live:
            failures = (results.get(key) for key in keys)
            failure = next((found for found in failures if isinstance(found, StoreError)), None)
            if failure is not None:
                one.fail(failure)

    def _fates(self, one: Handled) -> Iterator[Written]:
        """What became of an event's registers and claims: those it won in memory by what the store said."""
        for change in one.changes:
            for name, value in change.registers.items():
                if self._wins(change.key, name, value):
                    yield self._written[change.key][name]
                else:
                    winner = self._changes[change.key].registers[name]
                    same = registers.version_of(value) == registers.version_of(winner)
                    yield Written.DUPLICATE if same else Written.STALE
            for batch_id in change.claims:
                is_new = self._claimed[change.key][batch_id] is Written.APPLIED
                if is_new and (change.key, batch_id) not in self._won:
                    self._won.add((change.key, batch_id))
                    yield Written.APPLIED
        for brought in self._brought_by(one):
            # A batch that got it now: of a result that is there already, whose first delivery was killed in between.
            for name, value in brought.registers.items():
                is_mine = any(change.registers.get(name) == value for change in one.changes)
                is_new = self._written[brought.key].get(name) is Written.APPLIED
                if is_mine and is_new and self._wins(brought.key, name, value):
                    yield Written.APPLIED

    def _wins(self, key: Key, name: str, value: str) -> bool:
        """Whether a register's value is the one that was written, and the first of its kind to be asked about."""
        wins = value == self._changes[key].registers.get(name) and (key, name) not in self._won
        if wins:
            self._won.add((key, name))
        return wins


def _merge(changes: dict[Key, Change], change: Change) -> None:
    changes.setdefault(change.key, table_layout.Change(change.key)).merge(change)


def _write_all(
    changes: Mapping[Key, Change], write_one: Callable[[Change], Result], deadline: Deadline
) -> dict[Key, Result | StoreError]:
    """What became of each change.

    A few writers that take one after the other, and not a task for each: to hand one over costs more than to sign it.
    """
    waiting = deque(changes.values())
    results: dict[Key, Result | StoreError] = {}

    def write() -> None:
        while True:
            try:
                change = waiting.popleft()  # atomic; to ask first whether something is left would not be
            except IndexError:
                return
            try:
                results[change.key] = deadline.attempt(partial(write_one, change))
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
