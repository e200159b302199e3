"""How the view lies in the table: which item and which registers an event sets.

    pk               sk          holds
    batch#<batch>    batch       the batch's registers, its three times, and what the user index shows of it
    batch#<batch>    cj          the ranking: one register and its entries
    batch#<batch>    e#<essay>   one essay's registers: identity and one per phase

All of a batch is one partition, sorted so that a reader meets the batch, its ranking, then its essays.
A register is set where its value is greater than the stored one; times only move outwards. Both are semilattices,
so merging the changes of events in any order, any number of times, gives the same items.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

from result_aggregator.domain import registers
from result_aggregator.domain.events import (
    AnyEvent,
    BatchDescribed,
    BatchPhaseChanged,
    EssayIdentified,
    EssayPhaseEnded,
    EssaysRanked,
    PipelineEnded,
)
from result_aggregator.domain.ranking import pack

BATCH = "batch"
RANKING = "cj"
# Short on purpose: a sort key takes 1024 bytes, and an id of 255 characters can take 1020.
ESSAY_PREFIX = "e#"

OWNER = "owner"
ESSAY_COUNT = "essay_count"
REQUESTED_PIPELINE = "pipeline"
PIPELINE_END = "end"
IDENTITY = "identity"
JOB = "job"

# Attributes beside registers.
USER_ID = "user_id"
ENTRIES = "entries"
CREATED_AT = "created_at"
STARTED_AT = "started_at"
UPDATED_AT = "updated_at"
STANDING = "standing"
"""How a batch ended, as the user index keeps it (`view.standing`): a function of the item's registers, written after them."""

# Register -> the attribute that is written exactly when it is (`change_of`).
_FOLLOWERS = {JOB: ENTRIES, OWNER: USER_ID}

Attribute = str | bytes
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


def essay_id_of(sort_key: str) -> str:
    """The essay an essay item is of."""
    return sort_key[len(ESSAY_PREFIX) :]


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
    """What to merge into one item: registers by name, attributes that follow a register, and a batch's times."""

    key: Key
    registers: dict[str, str] = field(default_factory=dict)
    followers: dict[str, Item] = field(default_factory=dict)
    """register name -> the attributes written exactly when that register is"""
    times: Times | None = None
    applied: set[str] = field(default_factory=set)
    """registers that an attempt at the change wrote before it failed: the next one finds them as duplicates"""

    def set(self, name: str, value: str, followers: Item | None = None) -> None:
        """Propose a register's value; the greater of two proposals stays."""
        if value > self.registers.get(name, ""):
            self.registers[name] = value
            if followers is not None:
                self.followers[name] = followers

    def merge(self, other: Change) -> None:
        """Take in another change of the same item."""
        for name, value in other.registers.items():
            self.set(name, value, other.followers.get(name))
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
    return isinstance(event, BatchPhaseChanged | EssayPhaseEnded | EssaysRanked)


def times_of(event: AnyEvent) -> Times:
    """What the event alone says of its batch's times."""
    time = registers.time_of(event.version)
    return Times(created_at=time, updated_at=time, started_at=time if is_result(event) else None)


def change_of(event: AnyEvent) -> Change:
    """The registers that an event sets, all in one item; the batch's times are apart (`times_of`).

    Raises RankingTooLargeError.
    """
    if event.batch_id is None:
        raise NotImplementedError("a result that names no batch")
    pk, version = partition(event.batch_id), event.version
    match event:
        case EssayPhaseEnded():
            change = Change(Key(pk, ESSAY_PREFIX + event.essay_id))
            change.set(event.phase, registers.encode(version, event.result))
        case EssayIdentified():
            change = Change(Key(pk, ESSAY_PREFIX + event.essay_id))
            identity = [event.filename, event.original_text_storage_id]
            change.set(IDENTITY, registers.encode(version, identity))
        case EssaysRanked():
            change = Change(Key(pk, RANKING))
            entries = pack(event.entries)
            # The checksum has rankings of one version, which should not be, compare by content and not by arrival.
            job = registers.encode(version, [event.job_id, event.status, zlib.crc32(entries)])
            change.set(JOB, job, {ENTRIES: entries})
        case PipelineEnded():
            change = Change(Key(pk, BATCH))
            change.set(PIPELINE_END, registers.encode(version, event.end))
        case BatchDescribed():
            change = Change(Key(pk, BATCH))
            if event.user_id is not None:
                # Beside the register, because it is the partition key of the user index.
                change.set(OWNER, registers.encode(version, event.user_id), {USER_ID: event.user_id})
            if event.essay_count is not None:
                change.set(ESSAY_COUNT, registers.encode(version, event.essay_count))
            if event.requested_pipeline is not None:
                change.set(REQUESTED_PIPELINE, registers.encode(version, event.requested_pipeline))
            if isinstance(event, BatchPhaseChanged):
                change.set(event.phase, registers.encode(version, event.state))
    return change


def change_to(item: Item) -> Change:
    """The change that brings everything of a stored item into another table's item, where it is newer."""
    change = Change(Key(str(item["pk"]), str(item["sk"])))
    beside = {"pk", "sk", *_FOLLOWERS.values(), CREATED_AT, STARTED_AT, UPDATED_AT, STANDING}
    for name in item.keys() - beside:
        follower = _FOLLOWERS.get(name)
        change.set(name, str(item[name]), {follower: item[follower]} if follower else None)
    if CREATED_AT in item:
        started_at = str(item[STARTED_AT]) if STARTED_AT in item else None
        change.times = Times(str(item[CREATED_AT]), str(item[UPDATED_AT]), started_at)
    return change


def merged(item: Item | None, change: Change) -> Item:
    """The item after a change: what the store's conditional writes come to. The model that tests hold it against."""
    result: Item = dict(item or {})
    for name, value in change.registers.items():
        if value > str(result.get(name, "")):
            result[name] = value
            result.update(change.followers.get(name, {}))
    if change.times is not None:
        for name, value in improvements(result, change.times).items():
            result[name] = value
    return result


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
