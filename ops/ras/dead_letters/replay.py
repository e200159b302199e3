"""Replaying dead letters: through the functions, whose answer says what became of each record, or through Kafka.

Nothing can be lost. Through the functions, a letter is removed once its record is applied, a duplicate, stale or
ignored; one that is rejected again has been written anew by the function, under its own key, before it answers.
Through Kafka a letter is set aside once the broker has the record, because nobody tells what becomes of it; should
the record be rejected again, its letter comes back to where it was.

Both may be stopped at any point and run again: what is done has left, what is not is where it was, and what was
interrupted in between is replayed twice, which changes nothing (the view is a function of the set of events).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from result_aggregator import replay_headers
from result_aggregator.domain.outcomes import APPLIED, DUPLICATE, HANDED_BACK, IGNORED, STALE
from result_aggregator.names import REJECTED_PREFIX
from result_aggregator.topics import TOPICS

from ras import invoke as functions
from ras.dead_letters.bucket import Malformed, Stored
from ras.invoke import FAILED, Outcome, Redelivery
from ras.kafka.publish import Event, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ras.dead_letters.bucket import DeadLetterBucket, Filters
    from ras.dead_letters.letter import DeadLetter, Place, RecordId
    from ras.invoke import Invoke

DEFAULT_LIMIT = 3
"""Replays after which a letter is left alone: what was rejected three times will not be applied the fourth time."""

GROUP = 200
"""Letters at a time, to keep requests to S3 parallel; whole objects, so a little more where batches were given up."""

OUT_OF_ORDER = 3
"""Invocations in a row whose every record is handed back, after which a run ends: the table does not answer."""

PUBLISHED = "published"
TO_REPLAY = "to replay"
PURGED = "purged"
OVER_LIMIT = "over the limit"
NO_CONSUMER = "not consumed any more"
NOT_BYTES = "not as Kafka had it"
MALFORMED = "malformed"

SETTLED = frozenset({APPLIED, DUPLICATE, STALE, IGNORED})
"""Outcomes after which a record needs no letter."""


@dataclass
class Result:
    """What became of the letters of a run: numbers by outcome, and those that need a person, with the reason."""

    counts: Counter[str] = field(default_factory=Counter)
    left: list[tuple[str, str, str]] = field(default_factory=list)
    """(place or object key, outcome, reason)"""
    stopped: str = ""
    """Why the run ended early; empty where it did not."""

    @property
    def clean(self) -> bool:
        """True where no wanted letter stayed behind."""
        return not self.left and not self.stopped

    def leave(self, what: object, outcome: str, reason: str = "") -> None:
        self.counts[outcome] += 1
        self.left.append((str(what), outcome, reason))


@dataclass(frozen=True)
class Choice:
    """Which letters a run takes: those that the filters admit, or the ones named, up to a number of replays."""

    filters: Filters
    named: frozenset[RecordId] = frozenset()
    limit: int = DEFAULT_LIMIT
    force: bool = False

    def split(self, stored: Stored, result: Result) -> list[DeadLetter]:
        """The letters of an object to replay now; the others that are wanted are noted in `result`."""
        chosen: dict[RecordId, DeadLetter] = {}
        for letter in stored.letters:
            if self.named and letter.id not in self.named:
                continue
            if not self.named and not self.filters.admit(letter):
                continue
            if letter.replays >= self.limit and not self.force:
                result.leave(letter.place, OVER_LIMIT, f"{letter.code}, {letter.replays} replays")
            elif letter.place.topic not in TOPICS:
                result.leave(letter.place, NO_CONSUMER, letter.place.topic)
            else:
                chosen[letter.id] = letter
        return list(chosen.values())


def redelivery(letter: DeadLetter) -> Redelivery:
    """The letter's record for its function: as it first came, with the headers of this replay."""
    received = letter.received.get("headers")
    own = [{name: list(value)} for name, value in _headers(letter).items()]
    headers = [*received, *own] if isinstance(received, list) else own
    return Redelivery({**letter.received, "headers": headers}, letter.event_source_arn)


def _headers(letter: DeadLetter) -> dict[str, bytes]:
    return replay_headers.headers(letter.received, attempt=letter.replays + 1)


def preview(objects: Iterable[Stored | Malformed], choice: Choice) -> tuple[Result, list[DeadLetter]]:
    """What a run would take, changing nothing: the letters to replay, and those that it would leave."""
    result = Result()
    letters: dict[RecordId, DeadLetter] = {}
    for group in _groups(objects, result):
        for stored in group:
            letters.update((letter.id, letter) for letter in choice.split(stored, result))
    result.counts[TO_REPLAY] += len(letters)
    return result, list(letters.values())


def through_functions(
    objects: Iterable[Stored | Malformed],
    bucket: DeadLetterBucket,
    invoke: Invoke,
    choice: Choice,
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Result:
    """Hand letters to their functions and remove those whose records need none any more.

    `on_progress` is told the number of objects dealt with. Ends early where the functions can do nothing now: every
    record of OUT_OF_ORDER invocations in a row is handed back. Raises OperatorError when a function is out of reach.
    """
    result = Result()
    seen: dict[RecordId, Outcome] = {}
    in_vain = 0
    for group in _groups(objects, result):
        chosen = {id(stored): choice.split(stored, result) for stored in group}
        fresh = {
            letter.id: letter for letters in chosen.values() for letter in letters if letter.id not in seen
        }
        try:
            for outcomes in _delivered(invoke, fresh.values()):
                seen.update(outcomes)
                handed_back = all(outcome.name == HANDED_BACK for outcome in outcomes.values())
                in_vain = in_vain + 1 if handed_back else 0
                if in_vain == OUT_OF_ORDER:
                    result.stopped = next(iter(outcomes.values())).reason
                    break
        finally:
            # Also after an error or Ctrl-C: what is known by now is acted on, so that it is not done again.
            done = [(stored, chosen[id(stored)]) for stored in group]
            bucket.in_parallel(partial(_settle, bucket, stored, letters, seen) for stored, letters in done)
        for letter in fresh.values():
            _note(letter, seen, result)
        on_progress(len(group))
        if result.stopped:
            break
    return result


def _delivered(invoke: Invoke, letters: Iterable[DeadLetter]) -> Iterator[dict[RecordId, Outcome]]:
    """The outcomes of each invocation. A function tells them by place, so no two records of one place go together."""
    turns: list[dict[Place, DeadLetter]] = []
    taken: Counter[Place] = Counter()
    for letter in letters:
        turn = taken[letter.place]
        taken[letter.place] += 1
        if turn == len(turns):
            turns.append({})
        turns[turn][letter.place] = letter
    for one in turns:
        for outcomes in functions.deliver(invoke, map(redelivery, one.values())):
            yield {one[place].id: outcome for place, outcome in outcomes.items()}


def _settle(
    bucket: DeadLetterBucket,
    stored: Stored,
    letters: Sequence[DeadLetter],
    outcomes: Mapping[RecordId, Outcome],
) -> None:
    gone, raised = set(), {}
    for letter in letters:
        outcome = outcomes.get(letter.id)
        if outcome is None or outcome.name == HANDED_BACK:
            continue  # not judged: as it was
        if outcome.name == FAILED:
            raised[letter.id] = letter.replays + 1
        elif outcome.name in SETTLED or not _is_its_own_letter(letter):
            # Rejected again, a record has a letter of its own now, which the function has written.
            gone.add(letter.id)
    bucket.take_out(stored, gone, raised)


def _is_its_own_letter(letter: DeadLetter) -> bool:
    """True for the object that the function overwrites when it rejects the record again.

    Not so for a letter whose key has no digest: rejected again, its record has one with a digest now.
    """
    return letter.object_key == letter.id.object_key(REJECTED_PREFIX)


def _note(letter: DeadLetter, outcomes: Mapping[RecordId, Outcome], result: Result) -> None:
    outcome = outcomes.get(letter.id)
    if outcome is None:
        return  # the run ended before it
    if outcome.name in SETTLED:
        result.counts[outcome.name] += 1
    else:
        result.leave(letter.place, outcome.name, outcome.reason)


def through_kafka(
    objects: Iterable[Stored | Malformed],
    bucket: DeadLetterBucket,
    choice: Choice,
    *,
    bootstrap_servers: str,
    settings: Mapping[str, object],
    on_progress: Callable[[int], None] = lambda _: None,
) -> Result:
    """Publish letters to their topics again, key, value and headers as they were, and set them aside.

    The record gets a new offset and a new timestamp: with its old one the topic's retention or the mapping's maximum
    record age could drop it unread. Raises OperatorError when the broker does not take every record of a group; those
    it took are then published again by the next run.
    """
    result = Result()
    seen: set[RecordId] = set()
    for group in _groups(objects, result):
        events: list[Event] = []
        published: list[tuple[Stored, dict[RecordId, int]]] = []
        for stored in group:
            counts: dict[RecordId, int] = {}
            for letter in choice.split(stored, result):
                try:
                    event = _event(letter)
                except ValueError as error:
                    result.leave(
                        letter.place, NOT_BYTES, f"{error}; only a replay through the function takes it"
                    )
                    continue
                counts[letter.id] = letter.replays + 1
                if letter.id not in seen:
                    events.append(event)
                    seen.add(letter.id)
            published.append((stored, counts))
        if events:
            publish(bootstrap_servers, events, settings=settings)
        bucket.in_parallel(
            partial(bucket.set_aside, stored, counts) for stored, counts in published if counts
        )
        result.counts[PUBLISHED] += len(events)
        on_progress(len(group))
    return result


def _event(letter: DeadLetter) -> Event:
    """Raises ValueError where key, value or headers cannot be had as bytes."""
    headers = (*letter.headers(), *_headers(letter).items())
    return Event(letter.place.topic, letter.value(), letter.key(), headers, partition=letter.place.partition)


def purge(
    objects: Iterable[Stored | Malformed],
    bucket: DeadLetterBucket,
    admit: Callable[[DeadLetter], bool],
    *,
    malformed: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Result:
    """Remove the letters that `admit` wants, and malformed objects where `malformed` says so."""
    result = Result()
    group: list[Callable[[], None]] = []
    for found in objects:
        if isinstance(found, Malformed):
            if malformed:
                group.append(partial(bucket.remove, found))
                result.counts[PURGED] += 1
            else:
                result.leave(found.entry.key, MALFORMED, found.problem)
        else:
            gone = {letter.id for letter in found.letters if admit(letter)}
            group.append(partial(bucket.take_out, found, gone))
            result.counts[PURGED] += len(gone)
        if len(group) >= GROUP:
            bucket.in_parallel(group)
            on_progress(len(group))
            group = []
    bucket.in_parallel(group)
    on_progress(len(group))
    return result


def _groups(objects: Iterable[Stored | Malformed], result: Result) -> Iterator[list[Stored]]:
    """Objects in groups of some GROUP letters; malformed ones are noted."""
    group: list[Stored] = []
    letters = 0
    for found in objects:
        if isinstance(found, Malformed):
            result.leave(found.entry.key, MALFORMED, found.problem)
            continue
        group.append(found)
        letters += len(found.letters)
        if letters >= GROUP:
            yield group
            group, letters = [], 0
    if group:
        yield group
