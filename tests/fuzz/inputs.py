"""Records that nobody would write by hand: the sample events of all dialects mutated, arbitrary JSON, raw bytes.

Everything is chosen through a `random.Random`. A seeded one makes thousands of records a second, and the same ones
again; Hypothesis' own makes them shrink.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from result_aggregator.domain.phases import PHASES
from result_aggregator.topics import TOPICS

from tests import samples

if TYPE_CHECKING:
    from random import Random

Path = tuple[Any, ...]

# Results of the phases that no sample shows, so that their readers are reached too.
_RESULTS = [
    samples.Line(
        topic,
        "",
        samples.envelope(
            {"batch_id": "b", "essay_id": "e", "status": "completed", **dict.fromkeys(phase.results)}
        ),
    )
    for phase in PHASES
    for topic in phase.topics
]
# Of a phase that is none of the view's, which no sample shows either.
_RESULTS.append(
    samples.Line(
        "huleedu.els.batch.phase.outcome.v1",
        "",
        samples.envelope({"batch_id": "b", "phase_name": "student_matching", "phase_status": "completed"}),
    )
)
LINES: dict[str, list[samples.Line]] = {}
for _line in (*samples.events(), *_RESULTS):
    LINES.setdefault(_line.topic, []).append(_line)
assert LINES.keys() == TOPICS.keys()


def _names(value: Any) -> set[str]:
    match value:
        case dict():
            return {*value, *(name for inner in value.values() for name in _names(inner))}
        case list():
            return {name for inner in value for name in _names(inner)}
    return set()


NAMES = sorted(_names([line.value for lines in LINES.values() for line in lines]))
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 5, 2**53, 2**53 + 1, 2**63, 10**400, -0.0, 0.5, 1e308,
    "", "x", "5", "x" * 255, "x" * 256, "x" * 1025, "x" * 70_000, "a\nb", "a\x00b", "a\x85b", "\U0001f600" * 255,
    "completed", "CJ_ASSESSMENT_IN_PROGRESS", "awaiting_", "_failed", "done", "spellcheck", "cj_assessment", "student_matching",
    "2026-03-02T08:00:00", "2026-03-02", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-03-02T08:00:60Z",
    "00000000-0000-0000-0000-000000000000", "{00000000000000000000000000000000}", "urn:uuid:00000000-0000-0000-0000-000000000000",
    [], {}, [[]], [None], [{}], {"entity_id": "e", "parent_id": "b"}, {"references": {"corrected_text": {"storage_id": 5}}},
]  # fmt: skip
# What the parser refuses wherever it is, so that nothing else of the record is looked at.
NO_JSON: list[Any] = [float("inf"), float("nan"), "\ud800"]


def record(rng: Random) -> dict[str, Any]:
    """A record as an event source mapping hands it over."""
    line = _line_of(rng)
    topic = line.topic
    if rng.random() < 0.1:
        topic = rng.choice([*TOPICS, "huleedu.unknown.v1"])
    way = rng.random()
    if way < 0.8:
        content = _mutated(rng, line.value)
    elif way < 0.9:
        content = _text(rng, arbitrary(rng))
    else:
        content = rng.randbytes(rng.randrange(200))
    made = samples.record(topic, content)
    if rng.random() < 0.03:
        made["value"] = rng.choice([None, 5, "", "%%%", "é", "YQ", "YQ=", made["value"][:-1], [], {}])
    if rng.random() < 0.05:
        made["timestamp"] = rng.choice([None, -1, 0, 1, 2**63 - 1])
    return made


def _line_of(rng: Random) -> samples.Line:
    """A sample, every topic as likely."""
    return rng.choice(LINES[rng.choice([*LINES])])


def arbitrary(rng: Random, depth: int = 0) -> Any:
    """Any JSON value, its names often those that readers look for."""
    kind = rng.random()
    if depth > 5 or kind < 0.5:
        return copy.deepcopy(rng.choice(VALUES))
    inner = [arbitrary(rng, depth + 1) for _ in range(rng.randrange(5))]
    return inner if kind < 0.65 else {rng.choice(NAMES): value for value in inner}


def _mutated(rng: Random, event: dict[str, Any]) -> bytes:
    document: Any = copy.deepcopy(event)
    for _ in range(rng.randrange(6)):
        document = rng.choice(_MUTATIONS)(rng, document)
    if rng.random() < 0.02:
        _grow(rng, document)
    content = _text(rng, document)
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 0, 0, 1, 3))):
        content = _corrupted(rng, content)
    return content


def _text(rng: Random, document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.7:
        text = text.replace("Infinity", "1e999")
    return text.encode("utf-8", "surrogatepass")


def paths(document: Any) -> list[Path]:
    """Every place in a document but its root."""
    found: list[Path] = []
    waiting: list[tuple[Path, Any]] = [((), document)]
    while waiting:
        here, value = waiting.pop()
        steps = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        inner = [((*here, step), held) for step, held in steps]
        found += [path for path, _ in inner]
        waiting += inner
    return found


def holder_of(document: Any, path: Path) -> Any:
    """The object or list that a place is in."""
    for step in path[:-1]:
        document = document[step]
    return document


def _somewhere(rng: Random, document: Any) -> Path:
    """A place: in half the cases among the first levels, where what readers look at is."""
    found = paths(document)
    near = [path for path in found if len(path) <= 2]
    return rng.choice(near if near and rng.random() < 0.5 else found) if found else ()


def _drop(rng: Random, document: Any) -> Any:
    if path := _somewhere(rng, document):
        del holder_of(document, path)[path[-1]]
    return document


def _retype(rng: Random, document: Any) -> Any:
    if path := _somewhere(rng, document):
        value = rng.choice(VALUES if rng.random() < 0.97 else NO_JSON)
        holder_of(document, path)[path[-1]] = copy.deepcopy(value)
    return document


def _duplicate(rng: Random, document: Any) -> Any:
    """A list's entry once more, or an object's value under another name."""
    if path := _somewhere(rng, document):
        holder = holder_of(document, path)
        again = copy.deepcopy(holder[path[-1]])
        if isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), again)
        else:
            holder[rng.choice(NAMES)] = again
    return document


def _rename(rng: Random, document: Any) -> Any:
    path = _somewhere(rng, document)
    holder = holder_of(document, path)
    if path and isinstance(holder, dict):
        holder[rng.choice(NAMES)] = holder.pop(path[-1])
    return document


def _nest(rng: Random, document: Any) -> Any:
    """A value wrapped, mostly once, sometimes deeper than a parser goes."""
    # Twice that deep is too much for what makes the records.
    levels = rng.choice((1, 1, 2, 50, 300)) if all(len(path) < 50 for path in paths(document)) else 1
    path = _somewhere(rng, document)
    value = holder_of(document, path)[path[-1]] if path else document
    for _ in range(levels):
        value = [value] if levels > 2 or rng.random() < 0.5 else {rng.choice(NAMES): value}
    if not path:
        return value
    holder_of(document, path)[path[-1]] = value
    return document


def _splice(rng: Random, document: Any) -> Any:
    """A part of another event in place of a part of this one."""
    other = _line_of(rng).value
    theirs = _somewhere(rng, other)
    part = copy.deepcopy(holder_of(other, theirs)[theirs[-1]])
    if isinstance(document, dict) and rng.random() < 0.3:
        document["data"] = copy.deepcopy(other["data"])
    elif path := _somewhere(rng, document):
        holder_of(document, path)[path[-1]] = part
    return document


def _add(rng: Random, document: Any) -> Any:
    """A field that some reader looks for, where none or another was."""
    objects = [document, *(holder_of(document, path)[path[-1]] for path in paths(document))]
    if objects := [one for one in objects if isinstance(one, dict)]:
        rng.choice(objects)[rng.choice(NAMES)] = arbitrary(rng, 4)
    return document


def _repeat(rng: Random, document: Any) -> Any:
    """A ranking names an essay once more."""
    data = document.get("data") if isinstance(document, dict) else None
    for name in ("rankings", "essay_results"):
        entries = data.get(name) if isinstance(data, dict) else None
        if isinstance(entries, list) and entries:
            entries.append(copy.deepcopy(rng.choice(entries)))
    return document


_MUTATIONS = (_drop, _retype, _retype, _duplicate, _rename, _nest, _splice, _add, _repeat)


def _grow(rng: Random, document: Any) -> None:
    """A ranking becomes larger than any item."""
    data = document.get("data") if isinstance(document, dict) else None
    for name in ("rankings", "essay_results"):
        entries = data.get(name) if isinstance(data, dict) else None
        if isinstance(entries, list) and entries and isinstance(entries[0], dict):
            for n in range(1000):
                noise = f"{n}" + "".join(map(chr, rng.choices(range(0x4E00, 0x9FFF), k=250)))
                entries.append({**entries[0], "essay_id": noise, "is_anchor": False})


def _corrupted(rng: Random, content: bytes) -> bytes:
    """Bytes flipped, cut off, left out, put in, or once more."""
    at, length = rng.randrange(len(content) + 1), rng.randrange(1, 9)
    match rng.randrange(5):
        case 0:
            return (
                content[:at]
                + bytes(byte ^ (1 << rng.randrange(8)) for byte in content[at : at + 1])
                + content[at + 1 :]
            )
        case 1:
            return content[:at]
        case 2:
            return content[:at] + content[at + length :]
        case 3:
            return content[:at] + rng.randbytes(length) + content[at:]
    return content[:at] + content[at : at + 10 * length] + content[at:]
