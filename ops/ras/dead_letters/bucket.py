"""The bucket of dead letters: found by filter, read in parallel, and taken out only in the version that was read.

Deleting and rewriting are conditional on the object's ETag. A function may reject the same record meanwhile and
write its letter anew; that newer letter then stays.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import ClientError
from result_aggregator.names import (
    DISCARDED_BATCH_PREFIX,
    GIVEN_UP_PREFIX,
    REJECTED_PREFIX,
    REPLAYED_PREFIX,
)

from ras.dead_letters.letter import (
    DeadLetter,
    Kind,
    MalformedError,
    RecordId,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

WORKERS = 16
"""Requests to S3 at a time. Each is a wait of some 20 ms."""

_CLOCKS_DIFFER = timedelta(minutes=1)

PENDING: frozenset[Kind] = frozenset({Kind.REJECTED, Kind.GIVEN_UP})
"""What still waits for somebody; a replayed letter has been dealt with unless the record comes back."""


@dataclass(frozen=True)
class Filters:
    """Which letters are wanted: all that are given must fit, empty ones fit everything. `until` is exclusive."""

    kinds: frozenset[Kind] = PENDING
    topics: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    batch_id: str | None = None

    def admit(self, letter: DeadLetter) -> bool:
        return (
            letter.kind in self.kinds
            and (not self.topics or letter.place.topic in self.topics)
            and (not self.reasons or letter.code.casefold() in {r.casefold() for r in self.reasons})
            and (self.since is None or letter.kept_at >= self.since)
            and (self.until is None or letter.kept_at < self.until)
            and (self.batch_id is None or letter.names_batch(self.batch_id))
        )

    def prefixes(self) -> list[str]:
        """Where such letters can lie. A given-up batch does not show its topics in a documented way."""
        by_topic = [f"{quote(topic, safe='')}/" for topic in sorted(self.topics)] or [""]
        found = []
        for kind, bases in (
            (Kind.REJECTED, [REJECTED_PREFIX]),
            (Kind.GIVEN_UP, [GIVEN_UP_PREFIX]),
            (Kind.REPLAYED, [f"{REPLAYED_PREFIX}{REJECTED_PREFIX}", f"{REPLAYED_PREFIX}{GIVEN_UP_PREFIX}"]),
        ):
            if kind in self.kinds:
                found += [base + topic for base in bases for topic in by_topic]
        if Kind.GIVEN_UP in self.kinds:
            found.append(DISCARDED_BATCH_PREFIX)
        return found


@dataclass(frozen=True)
class ListedObject:
    """An object of the bucket, not yet read."""

    key: str
    etag: str
    modified: datetime
    size: int = 0


@dataclass(frozen=True)
class Stored:
    """An object and the letters in it: one, or those of a batch that was given up."""

    entry: ListedObject
    letters: tuple[DeadLetter, ...] = field(repr=False)


@dataclass(frozen=True)
class Malformed:
    """An object that cannot be read as dead letters, and why."""

    entry: ListedObject
    problem: str


class DeadLetterBucket:
    """One deployment's dead letters. Methods raise botocore's errors when S3 refuses or does not answer."""

    def __init__(self, s3: S3Client, name: str) -> None:
        self.name = name
        self._s3 = s3

    # --- finding and reading ---

    def entries(self, filters: Filters | None = None) -> Iterator[ListedObject]:
        """The objects in which wanted letters can be, in the order of their keys within each prefix."""
        filters = filters or Filters()
        for prefix in filters.prefixes():
            for entry in self._listed(prefix):
                # A letter may be older than its object but not younger, give or take their clocks.
                if filters.since is None or entry.modified >= filters.since - _CLOCKS_DIFFER:
                    yield entry

    def _listed(self, prefix: str) -> Iterator[ListedObject]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            for listed in page.get("Contents", []):
                yield ListedObject(listed["Key"], listed["ETag"], listed["LastModified"], listed["Size"])

    def counts(self) -> Counter[str]:
        """Objects by what they hold: `rejected` and `given-up` records, given-up `batches`, `replayed` records.

        A replayed record that has come back is counted where it waits now, and not as replayed.
        """
        found = Counter(dict.fromkeys(("rejected", "given-up", "batches", "replayed"), 0))
        keys = [entry.key for entry in self.entries(Filters(kinds=frozenset(Kind)))]
        waiting = {_record_part(key) for key in keys if not key.startswith(REPLAYED_PREFIX)}
        for key in keys:
            top = key.split("/")[0]
            if key.startswith(DISCARDED_BATCH_PREFIX):
                found["batches"] += 1
            elif not (key.startswith(REPLAYED_PREFIX) and _record_part(key) in waiting):
                found[top] += 1
        return found

    def objects(self, entries: Iterable[ListedObject]) -> Iterator[Stored | Malformed]:
        """Read entries, some ahead and in their order. What has gone since it was listed is left out."""
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="dead-letters")
        ahead: deque[Future[Stored | Malformed | None]] = deque()
        try:
            for entry in entries:
                ahead.append(pool.submit(self.read, entry))
                if len(ahead) > 4 * WORKERS and (found := ahead.popleft().result()):
                    yield found
            while ahead:
                if found := ahead.popleft().result():
                    yield found
        finally:
            pool.shutdown(cancel_futures=True)

    def read(self, entry: ListedObject) -> Stored | Malformed | None:
        """The object as it is now; None where it has gone."""
        try:
            answer = self._s3.get_object(Bucket=self.name, Key=entry.key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                return None
            raise
        body = answer["Body"].read()
        entry = ListedObject(entry.key, answer["ETag"], answer["LastModified"], len(body))
        try:
            return Stored(entry, parse(entry.key, body, answer["LastModified"]))
        except MalformedError as error:
            return Malformed(entry, str(error))

    def body(self, entry: ListedObject) -> bytes:
        """An object as it is."""
        return self._s3.get_object(Bucket=self.name, Key=entry.key)["Body"].read()

    def at(self, key: str) -> Stored | Malformed | None:
        """The object of a key; None where there is none."""
        found = list(self._s3.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1).get("Contents", []))
        if not found or found[0]["Key"] != key:
            return None
        return self.read(ListedObject(key, found[0]["ETag"], found[0]["LastModified"]))

    def of(self, name: RecordId) -> dict[RecordId, Stored]:
        """The records that a name fits, each with the object that holds its letter: its own, else its discarded batch.

        More than one where the topic was created again, or a producer sent copied headers.
        """
        found: dict[RecordId, Stored] = {}
        for prefix in (REJECTED_PREFIX, GIVEN_UP_PREFIX):
            for base in ("", REPLAYED_PREFIX):
                _add_named(found, name, self.objects(self._listed(name.place.key_prefix(base + prefix))))
        if not found:
            batches = (entry for entry in self.entries() if entry.key.startswith(DISCARDED_BATCH_PREFIX))
            _add_named(found, name, self.objects(batches))
        return found

    # --- taking out ---

    def take_out(
        self, stored: Stored, gone: Collection[RecordId], replays: Mapping[RecordId, int] | None = None
    ) -> None:
        """Remove some letters of an object, and note on others how often they have been replayed now.

        What stays of a given-up batch becomes letters of its own, written before the batch is removed.
        """
        replays = replays or {}
        staying = [letter for letter in stored.letters if letter.id not in gone]
        if len(staying) == len(stored.letters) and not replays:
            return
        if not stored.entry.key.startswith(DISCARDED_BATCH_PREFIX):
            for letter in staying:
                self._put(stored.entry.key, letter.stored(replays=replays.get(letter.id)), stored.entry)
            if not staying:
                self._delete(stored.entry)
            return
        for letter in staying:
            self._put(letter.id.object_key(GIVEN_UP_PREFIX), letter.stored(replays=replays.get(letter.id)))
        self._delete(stored.entry)

    def set_aside(self, stored: Stored, replays: Mapping[RecordId, int]) -> None:
        """Move the letters of these records to those replayed, each with its count; first written, then removed."""
        for letter in stored.letters:
            if letter.id in replays:
                self._put(
                    letter.id.object_key(REPLAYED_PREFIX + _home(letter)),
                    letter.stored(replays=replays[letter.id]),
                )
        if not stored.entry.key.startswith(REPLAYED_PREFIX):  # else it has just been overwritten
            self.take_out(stored, set(replays))

    def remove(self, malformed: Malformed) -> None:
        """Remove an object that holds no letters."""
        self._delete(malformed.entry)

    def in_parallel(self, work: Iterable[Any]) -> None:
        """Run functions that change different objects. Raises the first error once all have ended."""
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="dead-letters") as pool:
            for future in [pool.submit(one) for one in work]:
                future.result()

    def _put(self, key: str, letter: Mapping[str, Any], over: ListedObject | None = None) -> None:
        condition: dict[str, Any] = {"IfMatch": over.etag} if over else {}
        try:
            self._s3.put_object(
                Bucket=self.name,
                Key=key,
                Body=json.dumps(letter).encode(),
                ContentType="application/json",
                **condition,
            )
        except ClientError as error:
            if not _changed(error):
                raise

    def _delete(self, entry: ListedObject) -> None:
        try:
            self._s3.delete_object(Bucket=self.name, Key=entry.key, IfMatch=entry.etag)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NotImplemented":
                # LocalStack's S3 has no conditional deletion: a letter that came in this moment is lost there.
                self._s3.delete_object(Bucket=self.name, Key=entry.key)
            elif not _changed(error):
                raise


def _add_named(found: dict[RecordId, Stored], name: RecordId, objects: Iterable[Stored | Malformed]) -> None:
    for one in objects:
        if isinstance(one, Stored):
            for letter in filter(lambda letter: name.names(letter.id), one.letters):
                found.setdefault(letter.id, one)


def _record_part(key: str) -> str:
    """What of a key names the record, below the prefix of its kind."""
    return key.removeprefix(REPLAYED_PREFIX).partition("/")[2]


def _home(letter: DeadLetter) -> str:
    """The prefix of its kind, for one that is to lie alone."""
    inner = letter.object_key.removeprefix(REPLAYED_PREFIX)
    return REJECTED_PREFIX if inner.startswith(REJECTED_PREFIX) else GIVEN_UP_PREFIX


def _changed(error: ClientError) -> bool:
    """True where the object is not the one that was read any more: a newer letter, or somebody else was quicker."""
    return error.response.get("Error", {}).get("Code") in (
        "PreconditionFailed",
        "ConditionalRequestConflict",
        "NoSuchKey",
        "404",
        "412",
        "409",
    )
