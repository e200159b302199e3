"""How the view lies in the table: which item and which registers an event sets.

    pk               sk          holds
    batch#<batch>    batch       the batch's registers, its three times, and what the user index shows of it
    batch#<batch>    cj          the ranking: one register and its entries
    batch#<batch>    cj#<job>    the essays that a CJ job could not score: one register
    batch#<batch>    e#<essay>   one essay's registers: identity, one per phase, and `named`, by a summary of the batch
    essay#<essay>    results     the essay's results that name no batch: a register and the earliest time per phase;
                                 and the batches that claim it (see `domain.claims`)

All of a batch is one partition, sorted so that a reader meets the batch, its rankings, then its essays.
A register is set where its value is greater than the stored one; times only move outwards; claims are only added. All
are semilattices, so merging the changes of events in any order, any number of times, gives the same items.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from result_aggregator.domain import registers
from result_aggregator.domain.events import (
    AnyEvent,
    BatchDescribed,
    BatchPhaseChanged,
    EssayIdentified,
    EssayPhaseEnded,
    EssaysNotScored,
    EssaysRanked,
    EssaysSummarized,
    PipelineEnded,
)
from result_aggregator.domain.phases import BY_NAME, PHASE_NAMES, PHASES
from result_aggregator.domain.ranking import pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BATCH = "batch"
RANKING = "cj"
# A job's id takes up to 1020 bytes of 1024.
LIST_PREFIX = "cj#"
# Short on purpose: a sort key takes 1024 bytes, and an id of 255 characters can take 1020.
ESSAY_PREFIX = "e#"
RESULTS = "results"

OWNER = "owner"
ESSAY_COUNT = "essay_count"
REQUESTED_PIPELINE = "pipeline"
PIPELINE_END = "end"
IDENTITY = "identity"
NAMED = "named"
"""Of an essay that a summary of its batch names without more: the register has no payload."""
JOB = "job"
LISTED = "listed"
"""The essays that a CJ job could not score."""
ASSIGNMENT = "a"
DESCRIPTION_PREFIX = "d_"
"""Before the letters of the registration fields that a register holds: see `description`."""
REASON_PREFIX = "w_"
"""Before a phase's short name: why it failed, as the event that was sent to say so has it."""

# Registers of a batch item -> the attribute that they are stored in since December 2026, with short versions. Before, they
# were stored under their own names, with long ones; an item may have both, and the newer of them is read.
_SHORT_NAMES = {
    ESSAY_COUNT: "n",
    REQUESTED_PIPELINE: "p",
    PIPELINE_END: "e",
    **{phase.name: f"b_{phase.short}" for phase in PHASES},
}

MAX_ERROR_BYTES = 512
"""Bytes of an error in a batch item, as JSON: those of all phases and of a failed job leave it within 4 KB."""

# Attributes beside registers.
USER_ID = "user_id"
ENTRIES = "entries"
CREATED_AT = "created_at"
STARTED_AT = "started_at"
UPDATED_AT = "updated_at"
STANDING = "standing"
"""How a batch ended, as the user index keeps it (`view.standing`): a function of the item's registers, written after them."""
CLAIMS = "claims"
FIRST_PREFIX = "first_"
"""Before a register's name: the earliest time of the results that name no batch, as the register keeps the newest alone."""

# Register -> the attribute that is written exactly when it is (`changes_of`).
_FOLLOWERS = {JOB: ENTRIES, OWNER: USER_ID}

Attribute = str | bytes | frozenset[str]
Item = dict[str, Attribute]


class Key(NamedTuple):
    """The primary key of an item."""

    pk: str
    sk: str


def partition(batch_id: str) -> str:
    """The partition key of everything of a batch."""
    return f"batch#{batch_id}"


def batch_id_of(partition_key: str) -> str:
    """The batch a partition is of."""
    return partition_key[len("batch#") :]


def batch_key(batch_id: str) -> Key:
    """The key of the batch item."""
    return Key(partition(batch_id), BATCH)


def ranking_key(batch_id: str) -> Key:
    """The key of the batch's ranking."""
    return Key(partition(batch_id), RANKING)


def essay_key(batch_id: str, essay_id: str) -> Key:
    """The key of an essay's item in a batch."""
    return Key(partition(batch_id), ESSAY_PREFIX + essay_id)


def list_key(batch_id: str, job_id: str) -> Key:
    """The key of what a CJ job could not score."""
    return Key(partition(batch_id), LIST_PREFIX + job_id)


def job_id_of(sort_key: str) -> str:
    """The CJ job a list is of."""
    return sort_key[len(LIST_PREFIX) :]


_DESCRIPTION = {
    "c": "course_code",
    "l": "class_id",
    "o": "org_id",
    "p": "student_prompt_storage_id",
}


def attribute_of(register: str) -> str:
    """The attribute of a batch item that a register is stored in."""
    return _SHORT_NAMES.get(register, register)


DECIDES_STANDING = tuple(
    name
    for register in (ESSAY_COUNT, REQUESTED_PIPELINE, PIPELINE_END, *PHASE_NAMES)
    for name in (register, attribute_of(register))
)
"""The attributes that a batch's standing (`view.standing`) is a function of."""


def batch_register(item: Item, register: str) -> str | None:
    """The value of a batch item's register: the newer one, where the item has it in both forms."""
    found = [str(item[name]) for name in (attribute_of(register), register) if name in item]
    return max(found, key=registers.version_of, default=None)


def description(event: BatchDescribed) -> tuple[str, list[str]] | None:
    """The register of an event's registration fields, and its payload; None where the event has none of them.

    Each field is a register of its own to the reader: an event that does not have it leaves it alone. But a version
    takes 32 bytes of an item that has 1,024, and the platform sends these together. So there is one register for each
    set of fields that comes together, named by their letters: of two events with the same set the newer wins, and of
    two registers that hold a field the newer one is read (`described`).
    """
    found = {
        letter: value for letter, name in _DESCRIPTION.items() if (value := getattr(event, name)) is not None
    }
    return (DESCRIPTION_PREFIX + "".join(found), [*found.values()]) if found else None


def described(item: Item) -> dict[str, str]:
    """The registration fields of a batch item, by name: of each the newest."""
    found: dict[str, str] = {}
    names = [name for name in item if name.startswith(DESCRIPTION_PREFIX)]
    # By their versions; where those are the same, which should not be, by content and not by arrival.
    for name in sorted(names, key=lambda name: (str(item[name]), name)):
        letters = name[len(DESCRIPTION_PREFIX) :]
        values = registers.payload_of(str(item[name]))
        found |= {_DESCRIPTION[letter]: value for letter, value in zip(letters, values, strict=True)}
    return found


def essay_id_of(sort_key: str) -> str:
    """The essay an essay item is of."""
    return sort_key[len(ESSAY_PREFIX) :]


_OWN_PREFIX = "essay#"


def own_key(essay_id: str) -> Key:
    """The key of an essay's own item, outside of any batch."""
    return Key(_OWN_PREFIX + essay_id, RESULTS)


def is_own(key: Key) -> bool:
    """Whether the key is that of an essay's own item."""
    return key.sk == RESULTS


def essay_of(key: Key) -> str | None:
    """The essay that an item is of, in a batch or its own; None of a batch's other items."""
    if is_own(key):
        return key.pk[len(_OWN_PREFIX) :]
    return essay_id_of(key.sk) if key.sk.startswith(ESSAY_PREFIX) else None


@dataclass(slots=True)
class Times:
    """When things happened to a batch, by event time: earliest event, earliest phase or essay result, latest event."""

    created_at: str
    updated_at: str
    started_at: str | None = None

    def widen(self, other: Times) -> None:
        """Take in another's times."""
        self.created_at = min(self.created_at, other.created_at)
        self.updated_at = max(self.updated_at, other.updated_at)
        if other.started_at is not None:
            self.started_at = min(self.started_at or other.started_at, other.started_at)


@dataclass(slots=True)
class Change:
    """What to merge into one item: registers by name, attributes that follow a register, a batch's times, and claims."""

    key: Key
    registers: dict[str, str] = field(default_factory=dict)
    followers: dict[str, Item] = field(default_factory=dict)
    """register name -> the attributes written exactly when that register is"""
    times: Times | None = None
    copies: dict[str, str] = field(default_factory=dict)
    """registers that another item has: written where they are newer, and no conflict where they are there already"""
    firsts: dict[str, str] = field(default_factory=dict)
    """register name -> earliest time of its results; of an essay's own item"""
    claims: dict[str, None] = field(default_factory=dict)
    """ids of batches that claim the essay, in the order of the events; of an essay's own item"""
    applied: set[str] = field(default_factory=set)
    """registers that an attempt at the change wrote before it failed: the next one finds them as duplicates"""

    def set(self, name: str, value: str, followers: Item | None = None) -> None:
        """Propose a register's value; the greater of two proposals stays."""
        if value > self.registers.get(name, ""):
            self.registers[name] = value
            if followers is not None:
                self.followers[name] = followers

    def copy(self, name: str, value: str) -> None:
        """Bring along another item's register."""
        if name in self.registers:
            self.set(name, value)
        else:
            self.copies[name] = max(value, self.copies.get(name, ""))

    def note_first(self, name: str, time: str) -> None:
        """A result of this register came with this time."""
        self.firsts[name] = min(time, self.firsts.get(name, time))

    def merge(self, other: Change) -> None:
        """Take in another change of the same item."""
        for name, value in other.registers.items():
            self.set(name, value, other.followers.get(name))
            if (copied := self.copies.pop(name, None)) is not None:
                self.set(name, copied)
        for name, value in other.copies.items():
            self.copy(name, value)
        for name, time in other.firsts.items():
            self.note_first(name, time)
        self.claims |= other.claims
        self.widen(other.times)

    def widen(self, times: Times | None) -> None:
        """Take in times."""
        if times is None:
            return
        if self.times is None:
            self.times = Times(times.created_at, times.updated_at, times.started_at)
        else:
            self.times.widen(times)


def is_result(event: AnyEvent) -> bool:
    """Whether the event marks the batch as being processed: a phase's state or an essay's result, not an identity."""
    if isinstance(event, EssaysSummarized):
        return bool(event.failed_ids)
    return isinstance(event, BatchPhaseChanged | EssayPhaseEnded | EssaysRanked)


def times_of(event: AnyEvent) -> Times:
    """What the event alone says of its batch's times."""
    time = registers.time_of(event.version)
    return Times(created_at=time, updated_at=time, started_at=time if is_result(event) else None)


def result_of(event: EssayPhaseEnded) -> str:
    """The value of the register that an essay's result sets."""
    return _result(event.version, event.phase, event.result)


def _result(version: str, phase: str, result: dict[str, Any]) -> str:
    return registers.encode(version, BY_NAME[phase].pack(result))


def changes_of(event: AnyEvent) -> list[Change]:
    """The registers and claims that an event sets, an item each; the batch's times are apart (`times_of`).

    Raises RankingTooLargeError.
    """
    match event:
        case EssayPhaseEnded(batch_id=None):
            own = Change(own_key(event.essay_id))
            own.set(event.phase, result_of(event))
            own.note_first(event.phase, registers.time_of(event.version))
            return [own]
        case EssayPhaseEnded(batch_id=str(batch_id)):
            change = Change(essay_key(batch_id, event.essay_id))
            change.set(event.phase, result_of(event))
            return [change]
        case EssayIdentified():
            change = Change(essay_key(event.batch_id, event.essay_id))
            identity = [event.filename, event.original_text_storage_id, event.file_upload_id]
            change.set(IDENTITY, registers.encode(event.version, identity))
            return [_claim(event.batch_id, event.essay_id), change]
        case EssaysSummarized():
            return [*_changes_of_summary(event)]
        case EssaysRanked():
            return [*_changes_of_ranking(event)]
        case EssaysNotScored():
            change = Change(list_key(event.batch_id, event.job_id))
            change.set(LISTED, registers.encode(event.version, event.essay_ids))
            return [change]
        case PipelineEnded():
            change = Change(batch_key(event.batch_id))
            end = _trimmed(event.end, event.end._field_defaults)
            change.set(attribute_of(PIPELINE_END), registers.encode_short(event.version, end))
            return [change]
        case BatchDescribed():
            return [_change_of_description(event)]
    raise AssertionError("a result names its batch, or it names none")


def _claim(batch_id: str, essay_id: str) -> Change:
    return Change(own_key(essay_id), claims={batch_id: None})


def _changes_of_summary(event: EssaysSummarized) -> Iterator[Change]:
    named = registers.encode(event.version, None)
    failure = _result(event.version, event.phase, event.failure)
    essays = [(name, NAMED, named) for name in event.essay_ids]
    for essay_id, register, value in essays + [(name, event.phase, failure) for name in event.failed_ids]:
        yield _claim(event.batch_id, essay_id)
        change = Change(essay_key(event.batch_id, essay_id))
        change.set(register, value)
        yield change


def _changes_of_ranking(event: EssaysRanked) -> Iterator[Change]:
    change = Change(ranking_key(event.batch_id))
    entries = pack(event.entries)
    # The checksum has rankings of one version, which should not be, compare by content and not by arrival.
    job = registers.encode(event.version, [event.job_id, event.status, zlib.crc32(entries)])
    change.set(JOB, job, {ENTRIES: entries})
    yield change
    if event.assignment_id is not None:
        batch = Change(batch_key(event.batch_id))
        batch.set(ASSIGNMENT, registers.encode_short(event.version, event.assignment_id))
        yield batch


def _change_of_description(event: BatchDescribed) -> Change:
    version = event.version
    change = Change(batch_key(event.batch_id))
    if event.user_id is not None:
        # Beside the register, because it is the partition key of the user index. The register has a checksum of it, as
        # a ranking's has.
        owner = registers.encode(version, zlib.crc32(event.user_id.encode()))
        change.set(OWNER, owner, {USER_ID: event.user_id})
    if event.essay_count is not None:
        change.set(attribute_of(ESSAY_COUNT), registers.encode_short(version, event.essay_count))
    if event.requested_pipeline is not None:
        change.set(
            attribute_of(REQUESTED_PIPELINE), registers.encode_short(version, event.requested_pipeline)
        )
    if told := description(event):
        change.set(told[0], registers.encode_short(version, told[1]))
    if isinstance(event, BatchPhaseChanged):
        state = event.state._replace(error=_bounded(event.state.error))
        value = registers.encode_short(version, _trimmed(state, state._field_defaults))
        change.set(attribute_of(event.phase), value)
        if event.reason is not None:
            reason = registers.encode_short(version, _bounded(event.reason))
            change.set(REASON_PREFIX + BY_NAME[event.phase].short, reason)
    return change


def _trimmed(values: tuple[Any, ...], defaults: Mapping[str, Any]) -> list[Any]:
    """Values without those at their end that are the defaults."""
    kept, expected = [*values], [*defaults.values()]
    while expected and kept[-1] == expected.pop():
        kept.pop()
    return kept


def _bounded(error: str | None) -> str | None:
    """As much of an error as `MAX_ERROR_BYTES` take."""
    if error is None or _json_bytes(error) <= MAX_ERROR_BYTES:
        return error
    taken = accumulate(map(_json_bytes, error))
    return error[: next(n for n, size in enumerate(taken) if size > MAX_ERROR_BYTES)]


def _json_bytes(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def change_to(item: Item) -> Change:
    """The change that brings everything of a stored item into another table's item, where it is newer."""
    change = Change(Key(str(item["pk"]), str(item["sk"])))
    beside = {"pk", "sk", *_FOLLOWERS.values(), CREATED_AT, STARTED_AT, UPDATED_AT, STANDING, CLAIMS}
    for name in item.keys() - beside:
        if name.startswith(FIRST_PREFIX):
            change.note_first(name[len(FIRST_PREFIX) :], str(item[name]))
        elif change.key.sk == BATCH and name in _SHORT_NAMES:
            change.set(_SHORT_NAMES[name], registers.shortened(str(item[name])))
        else:
            follower = _FOLLOWERS.get(name)
            change.set(name, str(item[name]), {follower: item[follower]} if follower else None)
    if CREATED_AT in item:
        started_at = str(item[STARTED_AT]) if STARTED_AT in item else None
        change.times = Times(str(item[CREATED_AT]), str(item[UPDATED_AT]), started_at)
    change.claims = dict.fromkeys(sorted(claims_of(item)))
    return change


def claims_of(item: Item) -> frozenset[str]:
    """The batches that claim the essay, by its own item."""
    found = item.get(CLAIMS, frozenset())
    return found if isinstance(found, frozenset) else frozenset()


def merged(item: Item | None, change: Change) -> Item:
    """The item after a change: what the store's conditional writes come to. The model that tests hold it against."""
    result: Item = dict(item or {})
    for name, value in change.registers.items():
        if value > str(result.get(name, "")):
            result[name] = value
            result.update(change.followers.get(name, {}))
    for name, value in change.copies.items():
        result[name] = max(value, str(result.get(name, "")))
    result.update(earlier(result, change.firsts))
    if change.claims:
        result[CLAIMS] = claims_of(result).union(change.claims)
    if change.times is not None:
        for name, value in improvements(result, change.times).items():
            result[name] = value
    return result


def earlier(item: Item, firsts: Mapping[str, str]) -> dict[str, str]:
    """The attributes of earliest times that would change in an item."""
    found = {FIRST_PREFIX + name: time for name, time in firsts.items()}
    return {name: time for name, time in found.items() if name not in item or time < str(item[name])}


def improvements(item: Item, times: Times) -> dict[str, str]:
    """The times that would change in an item."""
    better: dict[str, str] = {}
    if CREATED_AT not in item or times.created_at < str(item[CREATED_AT]):
        better[CREATED_AT] = times.created_at
    if times.started_at is not None and (STARTED_AT not in item or times.started_at < str(item[STARTED_AT])):
        better[STARTED_AT] = times.started_at
    if UPDATED_AT not in item or times.updated_at > str(item[UPDATED_AT]):
        better[UPDATED_AT] = times.updated_at
    return better
