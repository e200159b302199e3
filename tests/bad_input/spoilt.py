"""Good events spoilt in every way of the design's section 8, and what each must be rejected with."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from result_aggregator.contracts import batches, cj_assessment, fields
from result_aggregator.domain.events import EssayPhaseEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bad_input.good import Good

INFINITY = float("inf")
"""Written as 1e999, which is JSON."""

MEGABYTE = "x" * 1_000_000


class Spoilt(NamedTuple):
    """A record's value that can never be applied, and the reason's code and path that its dead letter must have."""

    name: str
    value: bytes
    code: str
    path: str


def unreadable(good: Good) -> Iterator[Spoilt]:
    """What is no event at all."""
    event = good.of("bad")
    text = json.dumps(event)
    begun = json.dumps({**event, "data": None}).removesuffix("null}")
    deep = {
        "lists": b"[" * 10_000 + b"]" * 10_000,
        "objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "inside data": (begun + '{"unknown":' + "[" * 10_000 + "]" * 10_000 + "}}").encode(),
    }
    not_json = {
        "nothing": b"",
        "not UTF-8": text.encode().replace(b'"data"', b'"\xff\xfe"'),
        "UTF-16": text.encode("utf-16"),
        "not JSON": b"hello",
        "cut in half": text.encode()[: len(text) // 2],
        "cut by one": text.encode()[:-1],
        "followed by another": (text + text).encode(),
        "NaN": (begun + '{"unknown": NaN}}').encode(),
        "Infinity": (begun + '{"unknown": -Infinity}}').encode(),
        "half a surrogate pair": (begun + '{"unknown": "\\ud800"}}').encode(),
        **{f"10,000 {what} deep": value for what, value in deep.items()},
    }
    not_an_object = {"a list": [event], "null": None, "a number": 1, "text": text, "1 MB of text": MEGABYTE}
    for name, value in not_json.items():
        yield Spoilt(name, value, "not_json", "")
    for name, other in not_an_object.items():
        yield Spoilt(name, json.dumps(other).encode(), "not_an_object", "")


def bad_envelopes(good: Good) -> Iterator[Spoilt]:
    """What has no good envelope around its data."""
    bad: dict[str, list[Any]] = {
        "event_id": [None, 5, "", "abc", {}, MEGABYTE],
        "event_timestamp": [None, 1_772_438_400, "", "yesterday", "2026", "20260302", "1772438400", {}, MEGABYTE,
                            "2026-13-02T08:00:00Z", "0001-01-01T00:00:00+05:00", "10000-01-01T00:00:00Z"],
        "data": [None, [], "text", 5],
    }  # fmt: skip
    for name, values in bad.items():
        yield _invalid(name, _without(good.of("bad"), [name]), "left out")
        for value in values:
            yield _invalid(name, _with(good.of("bad"), [name], value), _shown(value))
    # The records of the tests are stamped 2026-03-02T08:00:00Z by the broker.
    ahead = _with(good.of("bad"), ["event_timestamp"], "2026-03-03T08:00:00.000001Z")
    yield Spoilt("over 24 h ahead", _encoded(ahead), "from_the_future", "event_timestamp")


def bad_fields(good: Good) -> Iterator[Spoilt]:
    """Every field that the contract of its topic names, wrong in every way that its type can be."""
    for path, hint, is_required in _fields(good.contract()):
        place = ["data", *path]
        dotted = ".".join(map(str, place))
        if is_required:
            yield _invalid(dotted, _without(good.of("bad"), place), "left out")
            yield _invalid(dotted, _with(good.of("bad"), place, None), "null")
        for value, code in _wrong(hint):
            spoilt = _with(good.of("bad"), place, value)
            yield Spoilt(f"{dotted} {_shown(value)}", _encoded(spoilt), code, dotted)


def nobodys(good: Good) -> Iterator[Spoilt]:
    """What does not say which batch or which essay it is of, in any dialect's words."""
    if not isinstance(good.event(), EssayPhaseEnded):  # a result without a batch waits for one
        no_batch = _forgetting(good.of("bad"), "bad")
        yield _invalid("data.batch_id", no_batch, "in no dialect")
    essay_id = good.essay_id()
    if essay_id is not None:
        entry = _entry_of(good.value["data"], essay_id)
        path = f"data.{entry}.essay_id" if entry else "data.essay_id"
        yield _invalid(path, _forgetting(good.of("bad"), essay_id), "in no dialect")


def unreachable(good: Good) -> Iterator[Spoilt]:
    """What is of a batch that the API has no path for."""
    yield _invalid("data.batch_id", good.of("user"), "the word of the listings' path")


def with_words(
    good: Good, field: str, words: list[str], code: str = "unknown_status", path: str = ""
) -> Iterator[Spoilt]:
    """A field of the data with words that mean nothing."""
    for word in words:
        spoilt = _with(good.of("bad"), ["data", field], word)
        yield Spoilt(repr(word), _encoded(spoilt), code, path or f"data.{field}")


# Whatever a field's type is, none of them is it: at least one wrong type, and everything past the type's limits.
_ID = ["", "x" * 256, "a\nb", "a\x00b", "a\x7fb", "a\x85b", MEGABYTE, 5, ["x"], {}]
_INTEGER = ["5", 1.5, True, [], {}, 2**53 + 1, 10**30, -1]
_WRONG: dict[Any, list[Any]] = {
    fields.Id: _ID,
    fields.Count: _INTEGER,
    cj_assessment.Rank: [*_INTEGER, 0],
    float: ["1.5", True, [], {}, INFINITY, -INFINITY, 10**400],
    bool: ["true", 1, {}],
    fields.Text: [5, {}, [5], "x" * 1025],
    fields.ShortText: [5, {}, [5], "x" * 256],
    fields.ErrorText: [5, {}, ["x"], "x" * 65_537],
    fields.Summary: [5, {}, ["x"], "x" * 65_537],
    fields.Status: [5, {}, ["x"]],
    batches.PhaseName: [5, {}, "x" * 65],
    batches.Number: ["5", 1.5, True, [], {}, 2**53 + 1, -(2**53) - 1],
}
_UNKNOWN_STATUS = ["", "done", "success", "failedly", "\x00", MEGABYTE]


def _wrong(hint: Any) -> Iterator[tuple[Any, str]]:
    """Values that a type does not take, and the code that each is rejected with."""
    if hint is fields.Status:
        for word in _UNKNOWN_STATUS:
            yield word, "unknown_status"
    if get_origin(hint) is list:
        wrong: list[Any] = [5, "text", {}]
    elif isinstance(hint, type) and issubclass(hint, BaseModel):
        wrong = [5, "text", []]
    else:
        wrong = _WRONG[hint]
    for value in wrong:
        yield value, "invalid_field"


def _fields(model: type[BaseModel]) -> Iterator[tuple[list[str | int], Any, bool]]:
    """Every field of a contract, nested ones too: its path, its type without `| None`, whether it is required.

    A list stands for its first entry.
    """
    for name, hint in get_type_hints(model, include_extras=True).items():
        if name not in model.model_fields:
            continue
        inner = _essence(hint)
        yield [name], inner, model.model_fields[name].is_required()
        path: list[str | int] = [name]
        if get_origin(inner) is list:
            inner, path = _essence(get_args(inner)[0]), [name, 0]
            if inner in _WRONG:
                yield path, inner, False
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            for rest, nested, is_required in _fields(inner):
                yield path + rest, nested, is_required


def _essence(hint: Any) -> Any:
    """A type as `_WRONG` knows it."""
    if hint in _WRONG:
        return hint
    if get_origin(hint) is Annotated:
        return _essence(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        [hint] = [one for one in get_args(hint) if one is not NoneType]
        return _essence(hint)
    return hint


def _invalid(path: str, event: dict[str, Any], how: str) -> Spoilt:
    return Spoilt(f"{path} {how}", _encoded(event), "invalid_field", path)


def _encoded(event: dict[str, Any]) -> bytes:
    return json.dumps(event).replace("Infinity", "1e999").encode()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:20]}… of {len(text)}"


def _with(event: dict[str, Any], place: list[str | int], value: Any) -> dict[str, Any]:
    return _changed(event, place, lambda holder, name: holder.__setitem__(name, value))


def _without(event: dict[str, Any], place: list[str | int]) -> dict[str, Any]:
    return _changed(event, place, lambda holder, name: holder.__delitem__(name))


def _changed(
    event: dict[str, Any], place: list[str | int], change: Callable[[Any, str | int], None]
) -> dict[str, Any]:
    """The event with one place changed; what has to be there for it to be a place is made."""
    changed = copy.deepcopy(event)
    holder: Any = changed
    for step, following in pairwise(place):
        empty: Any = [None] if following == 0 else {}
        if isinstance(holder, dict) and not holder.get(str(step)):
            holder[step] = empty
        elif isinstance(holder, list) and holder[0] is None:
            holder[0] = empty
        holder = holder[step]
    change(holder, place[-1])
    return changed


def _forgetting(value: Any, wanted: str) -> Any:
    """A value without the fields that hold `wanted`."""
    match value:
        case dict():
            return {name: _forgetting(inner, wanted) for name, inner in value.items() if inner != wanted}
        case list():
            return [_forgetting(inner, wanted) for inner in value]
    return value


def _entry_of(data: dict[str, Any], essay_id: str) -> str | None:
    """Where in a ranking an essay is: `<list>.<index>`; None where the data is of one essay."""
    for name, entries in data.items():
        for n, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict) and essay_id in entry.values():
                return f"{name}.{n}"
    return None
