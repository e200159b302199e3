"""Queries: the two questions that the platform asks of the view."""

from __future__ import annotations

import re
from itertools import accumulate, islice
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import to_json

from result_aggregator import cursors
from result_aggregator.domain import ids, statuses, table_layout, view
from result_aggregator.domain.store_interface import Listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from result_aggregator.domain.store_interface import IndexEntry, ReadableView
    from result_aggregator.domain.table_layout import Item
    from result_aggregator.domain.view import JsonObject

ESSAYS_BUDGET = 5_400_000
"""Bytes of essays in an answer.

Lambda returns 6 MB at most (6,291,556 bytes of its own JSON, in which the body is a string once more). The essays are
counted as they come out there, with all beyond ASCII escaped, as Lambda's runtimes before Python 3.12 do. What remains is
for the batch itself, and for base64 taking a third more than the compressed body where that hardly shrinks.
"""

# Batches that run to be looked at together: what a BatchGetItem takes.
_LOOK_AT = 100

# Index entries to read at a time behind a cursor, for those of a status: more than nearly every user has, in one Query.
_ENTRIES = 2000

_TIME = re.compile(r"[0-9]{8}T[0-9]{12}")
_VERSION = re.compile(_TIME.pattern + r" [0-9a-f]{32}|")

encode = to_json
"""A value as the JSON of an answer, in UTF-8. A quarter of the time that the standard library's encoder takes."""


class UnknownBatchError(LookupError):
    """There is no such batch for this caller. `orphan`: it has events, but none that names its owner."""

    def __init__(self, batch_id: str, *, orphan: bool = False) -> None:
        super().__init__(batch_id)
        self.orphan = orphan


class OutdatedCursorError(Exception):
    """The ranking that the cursor's pages began with has been replaced."""


class Status(NamedTuple):
    """A batch with a page of its essays. The essays are JSON already: how long they are decides how many they are."""

    batch: JsonObject
    essays: list[bytes]
    pagination: JsonObject

    def json(self) -> bytes:
        """The guide's BatchStatusResponse, with `phases` and `pagination`."""
        before, essays, pagination = encode(self.batch)[:-1], b",".join(self.essays), encode(self.pagination)
        return b'%b,"essays":[%b],"pagination":%b}' % (before, essays, pagination)


def batch_status(
    store: ReadableView,
    batch_id: str,
    default_pipeline: Sequence[str],
    user_id: str | None = None,
    *,
    limit: int | None = None,
    cursor: str | None = None,
) -> Status:
    """The status of a batch with a page of its essays, all that fit without a `limit`.

    With `user_id` the caller vouches for the owner, and another's batch is unknown. A first page reads the whole batch,
    one Query per megabyte, and counts its essays by status; a page behind a cursor reads what it shows, with two calls.
    Raises UnknownBatchError, InvalidCursorError, OutdatedCursorError and StoreError.
    """
    bound_to = ("essays", batch_id, user_id)
    after, since = _essay_position(cursors.read(cursor, bound_to)) if cursor is not None else ("", "")
    found: Iterator[Item]
    if cursor is None:
        found = store.read_partition(batch_id)
        # The batch item comes first. Who may not know of the batch is answered from it alone, after one page of the Query:
        # not all of a large batch is read for a refusal.
        first = next(found, None)
        batch = _known_batch(batch_id, first, user_id)
        before, found = _split_rankings(found)
        ranking = view.decode_ranking(before)
    else:
        head = store.read_head(batch_id)
        batch = _known_batch(batch_id, head[0] if head else None, user_id)
        ranking = view.decode_ranking(head)
        if _version_of(ranking) != since:
            raise OutdatedCursorError
        # One more than is shown, because it says that there is a next page.
        found = store.read_essays(batch_id, after, None if limit is None else limit + 1)

    essays: list[bytes] = []
    essay_ids: list[str] = []
    counts = view.StatusCounts() if cursor is None else None
    length, is_cut = 0, False
    for answer in view.essay_answers(found, ranking, after):
        if counts is not None:
            counts.add(answer)
        if not is_cut:
            text = encode(answer)
            essays.append(text)
            essay_ids.append(answer["essay_id"])
            length += len(text)
            is_cut = length > ESSAYS_BUDGET or len(essays) - 1 == limit
        if is_cut and counts is None:
            break
    shown = _fitting(essays, length, limit)
    is_cut = shown < len(essays)
    return Status(
        batch=view.batch_answer(batch_id, batch, default_pipeline)
        | {"phases": view.phase_summaries(batch, default_pipeline, counts.by_phase() if counts else None)},
        essays=essays[:shown],
        pagination={
            "limit": limit,
            "next_cursor": cursors.make([essay_ids[shown - 1], _version_of(ranking)], bound_to)
            if is_cut
            else None,
        },
    )


def _fitting(essays: Sequence[bytes], length: int, limit: int | None) -> int:
    """How many of the first essays, `length` bytes in all, an answer takes."""
    if _LARGEST * length > ESSAYS_BUDGET:
        sizes = enumerate(accumulate(map(_size, essays)))
        fitting = next((number for number, size in sizes if size > ESSAYS_BUDGET), len(essays))
    else:
        fitting = len(essays)
    return fitting if limit is None else min(fitting, limit)


# A byte becomes six at the most (`_size`): U+007F, as `\u007f`.
_LARGEST = 6


def _size(text: bytes) -> int:
    """What JSON takes inside a string of ASCII JSON; see `ESSAYS_BUDGET`."""
    if text.isascii():  # a fifth of the time, which every essay takes
        return len(text) + text.count(b'"') + text.count(b"\\") + 5 * text.count(b"\x7f")
    return len(encode_basestring_ascii(text.decode()))


def _known_batch(batch_id: str, first: Item | None, user_id: str | None) -> view.Batch:
    """The batch of a partition's first item. Raises UnknownBatchError."""
    batch = view.decode_batch(first) if first and first["sk"] == table_layout.BATCH else None
    if batch is None:
        raise UnknownBatchError(batch_id, orphan=first is not None)
    if user_id is not None and user_id != batch.user_id:
        raise UnknownBatchError(batch_id)
    return batch


def _split_rankings(found: Iterator[Item]) -> tuple[list[Item], Iterator[Item]]:
    """What comes before the essays, which is the ranking and the jobs' lists, and the essays."""
    before: list[Item] = []
    for item in found:
        if str(item["sk"]).startswith(table_layout.ESSAY_PREFIX):
            return before, _with_first(item, found)
        before.append(item)
    return before, found


def _with_first(first: Item, others: Iterator[Item]) -> Iterator[Item]:
    yield first
    yield from others


def _version_of(ranking: view.Ranking | None) -> str:
    return ranking.version if ranking else ""


def _essay_position(content: Sequence[Any]) -> tuple[str, str]:
    match content:
        case [str(after), str(since)] if not ids.problem_of(after) and _VERSION.fullmatch(since):
            return after, since
    raise cursors.InvalidCursorError


def user_batches(
    store: ReadableView,
    user_id: str,
    default_pipeline: Sequence[str],
    *,
    limit: int,
    offset: int = 0,
    cursor: str | None = None,
    status: str | None = None,
) -> JsonObject:
    """A user's batches without their essays, newest first: `{batches, pagination}`.

    With an offset, all of the index is read, a Query per megabyte (thousands of batches), and counted. Behind a cursor it is
    read from there on, and `total` is what was counted when the paging began. The batches themselves take a call per
    hundred: those shown, and where batches that run are asked for by `status`, those of the user that do.
    Raises InvalidCursorError and StoreError.
    """
    bound_to = ("batches", user_id, status)
    skip, after, total = offset, None, None
    if cursor is not None:
        after, total = _batch_position(cursors.read(cursor, bound_to))
        skip = 0
    batches = _Batches(store, user_id, default_pipeline)
    places: Iterable[Listed]
    if status is None:
        places = (place for place, _ in store.batches_of(user_id, after, limit + 1 if after else None))
    else:
        places = batches.of_status(store.batches_of(user_id, after, _ENTRIES if after else None), status)
    if total is None:
        places = list(places)
        total = len(places)
    # One more than is shown, because it says that there is a next page.
    found = list(islice(places, skip, skip + limit + 1))
    shown, is_cut = found[:limit], len(found) > limit
    return {
        "batches": [
            answer
            for answer in batches.answers(shown)
            if status is None or answer["overall_status"] == status
        ],
        "pagination": {
            "limit": limit,
            "offset": offset if cursor is None else None,
            "total": total,
            "next_cursor": cursors.make([*shown[-1], total], bound_to) if is_cut else None,
        },
    }


def _batch_position(content: Sequence[Any]) -> tuple[Listed, int]:
    match content:
        case [str(created_at), str(batch_id), int(total)] if (
            _TIME.fullmatch(created_at) and not ids.problem_of(batch_id) and total >= 0
        ):
            return Listed(created_at, batch_id), int(total)
    raise cursors.InvalidCursorError


class _Batches:
    """A user's batches, each read once for an answer however often it is asked for."""

    def __init__(self, store: ReadableView, user_id: str, default_pipeline: Sequence[str]) -> None:
        self._store, self._user_id, self._default_pipeline = store, user_id, default_pipeline
        self._answers: dict[str, JsonObject | None] = {}

    def answers(self, places: Iterable[Listed]) -> Iterator[JsonObject]:
        """The answers of those that are the user's: the index lags behind the table by milliseconds."""
        batch_ids = [place.batch_id for place in places]
        unread = [batch_id for batch_id in batch_ids if batch_id not in self._answers]
        found = self._store.read_batches(unread) if unread else {}
        for batch_id in unread:
            batch = view.decode_batch(found.get(batch_id, {}))
            self._answers[batch_id] = (
                view.batch_answer(batch_id, batch, self._default_pipeline)
                if batch is not None and batch.user_id == self._user_id
                else None
            )
        return (answer for batch_id in batch_ids if (answer := self._answers[batch_id]) is not None)

    def of_status(self, entries: Iterable[IndexEntry], status: str) -> Iterator[Listed]:
        """The places of those with an overall status.

        The index tells how a batch ended. Those that run are looked at, a hundred together, where such are asked for.
        """
        runs = status in statuses.RUNNING
        waiting: list[Listed] = []
        for place, standing in entries:
            told = view.status_of(standing, self._default_pipeline)
            if told not in (status, None) and not (runs and told == view.RUNS):
                continue
            if told == status and not waiting:
                yield place
                continue
            waiting.append(place)
            if len(waiting) == _LOOK_AT:
                yield from self._looked_at(waiting, status)
                waiting = []
        yield from self._looked_at(waiting, status)

    def _looked_at(self, places: Sequence[Listed], status: str) -> Iterator[Listed]:
        fitting = {one["batch_id"] for one in self.answers(places) if one["overall_status"] == status}
        return (place for place in places if place.batch_id in fitting)
