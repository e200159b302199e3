"""Dead letters as the dashboard shows them: the newest of them all, and one of them in full."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ras.dead_letters import replay as replaying
from ras.dead_letters.bucket import Filters, Malformed, Stored
from ras.dead_letters.letter import DeadLetter, Kind, RecordId
from ras.errors import ConflictError
from ras.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras.dead_letters.bucket import DeadLetterBucket, ListedObject
    from ras.deployment import Deployment

LETTERS = 2_000
MEGABYTES = 16
"""Read for the list, of the newest objects: so many letters, give or take an object, and not more than so many bytes.
Older ones are counted only; `ras dead-letters list` shows every one."""

_EVERY = Filters(kinds=frozenset(Kind))
_AT_A_TIME = 32
_PROBLEMS_SHOWN = 3
_ID_AT_MOST = 255
_LINES_AT_MOST = 2_000
_LINE_AT_MOST = 1_000
_DEPTH_AT_MOST = 60


class RecentLetters:
    """The newest letters of a bucket. Objects that have not changed are not read again. Not thread-safe."""

    def __init__(self) -> None:
        # What is shown of each object, by key and ETag: a record may be a megabyte, its row is a line.
        self._read: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def listed(self, bucket: DeadLetterBucket) -> dict[str, Any]:
        """`{"letters": [newest first], "shown": objects, "objects": all of them, "bound": what ended it, or null}`.

        Raises botocore's errors.
        """
        entries = sorted(bucket.entries(_EVERY), key=lambda entry: entry.modified, reverse=True)
        readable = _not_over(entries, MEGABYTES * 1_000_000)
        rows: list[dict[str, Any]] = []
        read: dict[tuple[str, str], list[dict[str, Any]]] = {}
        shown = 0
        while shown < len(readable) and len(rows) < LETTERS:
            some = readable[shown : shown + _AT_A_TIME]
            for found in bucket.objects(one for one in some if (one.key, one.etag) not in self._read):
                self._read[found.entry.key, found.entry.etag] = list(_rows(found))
            for entry in some:
                known = self._read.get((entry.key, entry.etag))
                if known is not None:  # else it has gone, or has changed meanwhile
                    read[entry.key, entry.etag] = known
                if len(rows) < LETTERS:
                    rows += known or []
                    shown += 1
        self._read = read
        rows.sort(key=lambda row: str(row["kept_at"]), reverse=True)
        bound = None
        if shown < len(entries):
            bound = f"{LETTERS:,} letters" if len(rows) >= LETTERS else f"{MEGABYTES} MB"
        return {"letters": rows, "shown": shown, "objects": len(entries), "bound": bound}


def _not_over(entries: list[ListedObject], at_most: int) -> list[ListedObject]:
    """As many of the first entries as have no more bytes together."""
    sums = itertools.accumulate(entry.size for entry in entries)
    return [entry for entry, bytes_ in zip(entries, sums, strict=True) if bytes_ <= at_most]


def _rows(found: Stored | Malformed) -> Iterator[dict[str, Any]]:
    if isinstance(found, Malformed):
        yield {
            "kind": "malformed",
            "record": None,
            "id": None,
            "object": found.entry.key,
            "topic": "",
            "reason": "malformed",
            "problems": [{"path": "", "message": found.problem}],
            "kept_at": found.entry.modified.isoformat(),
            "replays": 0,
            "correlation_id": None,
        }
        return
    for letter in found.letters:
        correlation_id = letter.correlation_id
        yield {
            "kind": letter.kind,
            "record": str(letter.place),
            "id": str(letter.id),
            "object": letter.object_key,
            "topic": letter.place.topic,
            "reason": letter.code,
            "problems": [
                {"path": _cut(one.path), "message": _cut(one.message)}
                for one in letter.problems[:_PROBLEMS_SHOWN]
            ],
            "kept_at": letter.kept_at.isoformat(),
            "replays": letter.replays,
            # One that is longer is none to copy; the letter's page has all of it.
            "correlation_id": correlation_id
            if correlation_id and len(correlation_id) <= _ID_AT_MOST
            else None,
        }


@dataclass(frozen=True)
class Found:
    """One letter, and the object that it is in."""

    stored: Stored
    letter: DeadLetter


def find(bucket: DeadLetterBucket, name: str, key: str = "") -> Found | None:
    """The letter of `topic/partition/offset`, with or without `-digest`; None where there is none (any more).

    `key` is the object that had it when it was listed, else every batch that was given up is read to find it.
    Raises ConflictError where several records have the name, and botocore's errors.
    """
    record = RecordId.parse(name)
    if record is None:
        return None
    if key and (found := _in(bucket.at(key), record)):
        return found
    records = bucket.of(record)
    if len(records) > 1:
        raise ConflictError(
            f"{len(records)} records have the name {name}", "Choose one in the list of dead letters."
        )
    return next((_in(stored, one) for one, stored in records.items()), None)


def _in(stored: Stored | Malformed | None, name: RecordId) -> Found | None:
    if not isinstance(stored, Stored):
        return None
    return next((Found(stored, letter) for letter in stored.letters if name.names(letter.id)), None)


def malformed(bucket: DeadLetterBucket, key: str) -> tuple[Malformed, str] | None:
    """An object that is no dead letter, and its text; None for any other."""
    found = bucket.at(key)
    return (found, text_of(bucket.body(found.entry))) if isinstance(found, Malformed) else None


# --- replay ---


def preview(found: Found, *, force: bool) -> replaying.Result:
    """What a replay of this letter would do, doing nothing."""
    result, _ = replaying.preview([found.stored], _choice(found, force=force))
    return result


def replay(deployment: Deployment, found: Found, *, force: bool) -> replaying.Result:
    """Hand the record to its function, as `ras dead-letters replay` does. Raises OperatorError, botocore's errors."""
    bucket = deployment.dead_letters
    return replaying.through_functions([found.stored], bucket, deployment.invoke, _choice(found, force=force))


def _choice(found: Found, *, force: bool) -> replaying.Choice:
    return replaying.Choice(_EVERY, frozenset({found.letter.id}), force=force)


# --- one letter, for people ---


@dataclass(frozen=True)
class Line:
    """A line of a record's JSON. `marked` where a problem's path leads."""

    indent: int
    text: str
    marked: bool = False


def lines_of(letter: DeadLetter) -> list[Line]:
    """The record's value as JSON, the fields that problems name marked; empty where it is none, or nested too deep.

    A path to a field that is not there marks what should have had it.
    """
    document = letter.document()
    if document is None:
        return []
    paths = {_existing(document, problem.path) for problem in letter.problems if problem.path}
    lines: list[Line] = []
    try:
        for line in _lines(document, (), paths, ""):
            if len(lines) == _LINES_AT_MOST:
                lines.append(Line(0, "… the rest is left out: `ras dead-letters show` has all of it"))
                break
            lines.append(line)
    except RecursionError:
        # What could be read deep down may be too deep to be written from here.
        return []
    return lines


def _existing(document: Any, path: str) -> tuple[str, ...]:
    """As much of a path as the document has."""
    steps: list[str] = []
    for step in path.split("."):
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            break
        steps.append(step)
    return tuple(steps)


def _lines(value: Any, at: tuple[str, ...], marked: set[tuple[str, ...]], name: str) -> Iterator[Line]:
    indent, here = len(at), at in marked
    inner: list[tuple[str, str, Any]] = []
    if isinstance(value, dict):
        inner = [(str(key), f"{_json(key)}: ", one) for key, one in value.items()]
    elif isinstance(value, list):
        inner = [(str(number), "", one) for number, one in enumerate(value)]
    if not inner or indent >= _DEPTH_AT_MOST:
        yield Line(indent, _cut(f"{name}{_json(value)}"), here)
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield Line(indent, f"{name}{opening}", here)
    for step, label, one in inner:
        yield from _lines(one, (*at, step), marked, label)
    yield Line(indent, closing)


def _json(value: Any) -> str:
    return visible(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    more = len(text) - _LINE_AT_MOST
    return text if more <= 0 else f"{text[:_LINE_AT_MOST]} … {more:,} more characters"


def text_of(content: bytes | None) -> str:
    """Bytes for people: their text with what is invisible made visible, or how Python writes them."""
    if content is None:
        return "(none)"
    try:
        text = visible(content.decode(), keep="\n\t")
    except UnicodeDecodeError:
        text = repr(content)
    return "\n".join(_cut(line) for line in text[: 64 * _LINE_AT_MOST].split("\n"))
