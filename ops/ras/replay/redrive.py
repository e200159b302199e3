"""Re-driving a topic: the records of a window of time handed to their function again, without touching a consumer group.

Producers stamp their records, so timestamps do not follow offsets: a window is a stretch of the log and, within it, the
records whose own timestamp is in the window.

How far a run is stands in a note (`checkpoints`), every few seconds and when it stops: a run that was stopped goes on there,
to the end that the topic had when it began. One that was killed hands what came after its last note over again, which
changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from result_aggregator.domain.outcomes import HANDED_BACK

from ras import invoke as functions
from ras.dead_letters.letter import Place
from ras.errors import FailedError
from ras.invoke import FAILED, Redelivery
from ras.kafka.records import event_record
from ras.kafka.topic import TopicLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from confluent_kafka import Message

    from ras.checkpoints import Checkpoints
    from ras.invoke import Invoke, Outcome
    from ras.kafka.msk_iam import Brokers

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Before records that were handed back are tried again; after the last one the run stops."""

NOTE_EVERY_S = 10.0
"""A note names every record that the function broke on, and a bucket with versions keeps each that was ever written."""


@dataclass(frozen=True)
class Window:
    """Moments in milliseconds: from the first up to, not including, the last; without a last, all that follow."""

    from_ms: int
    to_ms: int | None

    @property
    def is_everything(self) -> bool:
        return self.from_ms <= 0 and self.to_ms is None

    def holds(self, message: Message) -> bool:
        """Records without a timestamp (-1) are in no window but that of everything."""
        stamp = message.timestamp()[1]
        return self.is_everything or (self.from_ms <= stamp and (self.to_ms is None or stamp < self.to_ms))


EVERYTHING = Window(0, None)


@dataclass
class Run:
    """A topic's stretch: `next` and `end` offsets by partition; of it, the records of a window."""

    topic: str
    next: dict[int, int]
    end: dict[int, int]
    notes: Checkpoints
    name: str
    resumed: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(place, reason) of records that the function broke on."""
    window: Window = EVERYTHING
    wanted: int | None = None
    """Records of the window still to go; None where the window is everything, and they were not counted."""
    outside: int = 0
    """Records that were found in the stretch when it was looked through, and are not in the window."""

    @property
    def left(self) -> int:
        """Records still to go; where they were not counted, offsets: the records may be fewer."""
        if self.wanted is not None:
            return self.wanted
        return sum(max(0, end - self.next[number]) for number, end in self.end.items())

    def save(self) -> None:
        note = {"next": self.next, "end": self.end, "counts": self.counts, "failed": self.failed}
        if self.wanted is not None:
            note |= {"wanted": self.wanted, "outside": self.outside}
        self.notes.write(self.name, note)

    def forget(self) -> None:
        self.notes.remove(self.name)


def prepare(
    brokers: Brokers,
    topic: str,
    *,
    from_ms: int,
    to_ms: int | None,
    notes: Checkpoints,
    restart: bool = False,
) -> Run:
    """A new run, or the one with the same topic, moments and cluster that was stopped.

    `from_ms` is inclusive, `to_ms` exclusive, both by the records' timestamps; without it, up to the present end. The
    topic is read once to count the records of the window, unless that is everything.
    """
    window = Window(from_ms, to_ms)
    log = TopicLog(brokers, topic)
    cluster_id, bounds = log.cluster_and_bounds()
    # Not the brokers' addresses: another machine may have others for the same cluster.
    name = _name(f"{cluster_id} {topic} {from_ms} {to_ms}")
    highs = {number: held.high for number, held in bounds.items()}
    found = None if restart else _saved(topic, notes, name, window)
    # A topic that was made anew counts its offsets from zero: a note on the former one would skip records. Seen is only
    # one that is shorter still than the former was; a client is not told a topic's own id with its offsets.
    if found is not None and all(end <= highs.get(number, 0) for number, end in found.end.items()):
        return found
    starts = log.positions_at(from_ms)
    ends = {number: max(end, starts.get(number, 0)) for number, end in highs.items()}
    run = Run(topic, starts, ends, notes, name, window=window)
    return run if window.is_everything else _counted(run, log)


def _counted(run: Run, log: TopicLog) -> Run:
    """The run with its records counted, and its stretch up to the last of them: only reading on finds which that is."""
    wanted, last = 0, dict(run.next)
    behind: Counter[int] = Counter()  # by partition, the records outside the window since its last one inside
    for message in log.read(run.next, run.end):
        number = int(message.partition() or 0)
        if not run.window.holds(message):
            behind[number] += 1
            continue
        wanted += 1
        run.outside += behind.pop(number, 0)
        last[number] = int(message.offset() or 0) + 1
    run.wanted, run.end = wanted, last
    return run


def again(topic: str, failed: Iterable[tuple[str, str]], notes: Checkpoints) -> Run:
    """A run over the stretches that hold the records on which the function broke (`Run.failed`), or the stopped one."""
    name = _name(f"{topic} failed")
    if (found := _saved(topic, notes, name)) is not None:
        return found
    run = Run(topic, {}, {}, notes, name)
    for text, _ in failed:
        if place := Place.parse(text):
            number, offset = place.partition, place.offset
            run.next[number] = min(offset, run.next.get(number, offset))
            run.end[number] = max(offset + 1, run.end.get(number, 0))
    return run


def _name(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _saved(topic: str, notes: Checkpoints, name: str, window: Window = EVERYTHING) -> Run | None:
    """The run of a note. None where there is none, and where it took a window for the offsets between two moments."""
    saved = notes.read(name)
    try:
        counted = {} if window.is_everything else {"wanted": saved["wanted"], "outside": saved["outside"]}
        return Run(
            topic,
            {int(number): offset for number, offset in saved["next"].items()},
            {int(number): offset for number, offset in saved["end"].items()},
            notes,
            name,
            resumed=True,
            counts=Counter(saved["counts"]),
            failed=[(place, reason) for place, reason in saved["failed"]],
            window=window,
            **counted,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def redrive(
    run: Run,
    brokers: Brokers,
    invoke: Invoke,
    *,
    event_source_arn: str = "",
    on_progress: Callable[[int], None] = lambda _: None,
    wait: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Counter[str]:
    """Hand every record of the run to its function; returns the number of records by outcome.

    `on_progress` is told how `left` falls. Records that are handed back are tried again after PAUSES_S.
    Raises OperatorError where they are still, or the function is out of reach; the run then goes on from there.
    """
    log = TopicLog(brokers, run.topic)
    noted, due = True, clock()  # the first at once: it holds the topic's end
    try:
        for batch in _batches(log.read(run.next, run.end)):
            records = [
                Redelivery(event_record(message), event_source_arn)
                for message in batch
                if run.window.holds(message)
            ]
            outcomes = _settled(invoke, records, wait) if records else {}
            noted = True  # half of what follows is not to be noted: it would be counted again
            for place, outcome in outcomes.items():
                run.counts[outcome.name] += 1
                if outcome.name == FAILED:
                    run.failed.append((str(place), outcome.reason))
            before = run.left
            for message in batch:
                run.next[int(message.partition() or 0)] = int(message.offset() or 0) + 1
            if run.wanted is not None:
                run.wanted -= len(records)
            noted = False
            if clock() >= due:
                run.save()
                noted, due = True, clock() + NOTE_EVERY_S
            on_progress(before - run.left)
    except BaseException:
        if not noted:
            # Why it stopped is what is to be told, not that nothing can be noted either.
            with contextlib.suppress(BotoCoreError, ClientError, OSError):
                run.save()
        raise
    run.forget()
    return run.counts


def _settled(
    invoke: Invoke, records: list[Redelivery], wait: Callable[[float], None]
) -> dict[Place, Outcome]:
    found: dict[Place, Outcome] = {}
    for pause in (*PAUSES_S, None):
        for outcomes in functions.deliver(invoke, records):
            found.update(outcomes)
        records = [
            record
            for record in records
            if (outcome := found.get(record.place)) is not None and outcome.name == HANDED_BACK
        ]
        if not records:
            break
        if pause is None:
            raise FailedError(
                f"{len(records)} records are handed back again and again: {found[records[0].place].reason}",
                "The run goes on from there when the same command is run again.",
            )
        wait(pause)
    return found


def _batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    batch: list[Message] = []
    for message in messages:
        batch.append(message)
        if len(batch) == functions.BATCH_RECORDS:
            yield batch
            batch = []
    if batch:
        yield batch
