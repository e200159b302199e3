"""Pages: put together they are the whole, whatever their size, and no answer is larger than Lambda can return."""

from __future__ import annotations

import gzip
import json
import random
from base64 import b64decode
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_aggregator import cursors, query
from result_aggregator.api import Api
from result_aggregator.domain import registers, table_layout, view
from result_aggregator.domain.ranking import RankedEssay, pack
from result_aggregator.domain.table_layout import Change, Key

from tests import fold
from tests.samples import DEFAULT_PIPELINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from result_aggregator.prometheus import Exposition

ROLE = "arn:aws:iam::123456789012:role/api-gateway-service"
CALLER = "arn:aws:sts::123456789012:assumed-role/api-gateway-service/session"
# What Lambda returns at most, and says when it is more ("Response payload size exceeded maximum allowed payload size").
LAMBDA_RETURNS = 6_291_556


def version(n: int) -> str:
    return f"20260302T08000{n % 10}000000 {n:032x}"


def batch(
    essays: Iterable[str], ranked: Iterable[str] | None, result: Callable[[str], dict[str, Any]]
) -> fold.Table:
    """A batch `b` of the user `u`: essays with a spellcheck, and a ranking of others or the same."""
    table: fold.Table = {
        table_layout.batch_key("b"): {
            "user_id": "u",
            "owner": registers.encode(version(1), "u"),
            "spellcheck": registers.encode(version(2), ["COMPLETED", 1, 1, None]),
            "nlp": registers.encode(version(2), ["IN_PROGRESS"]),
            "created_at": version(1)[:21],
            "updated_at": version(2)[:21],
            "started_at": version(2)[:21],
        }
    }
    if ranked is not None:
        entries = tuple(RankedEssay(name, n, n / 7, n) for n, name in enumerate(ranked, 1))
        job = registers.encode(version(3), ["job", "COMPLETED", 0])
        table[table_layout.ranking_key("b")] = {"job": job, "entries": pack(entries)}
    for n, name in enumerate(essays):
        change = Change(
            Key("batch#b", f"e#{name}"), {"spellcheck": registers.encode(version(n), result(name))}
        )
        table[change.key] = table_layout.merged(None, change)
    return table


def status(table: fold.Table, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        query.batch_status(fold.View(table), "b", DEFAULT_PIPELINE, **asked).json()
    )
    return found


def pages(table: fold.Table, limit: int | None) -> list[dict[str, Any]]:
    """All pages of a batch."""
    found = [status(table, limit=limit)]
    while cursor := found[-1]["pagination"]["next_cursor"]:
        found.append(status(table, limit=limit, cursor=cursor))
    return found


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=4)


@settings(deadline=None)
@given(
    st.lists(NAMES, unique=True, max_size=12),
    st.none() | st.lists(NAMES, unique=True, min_size=1, max_size=12),
    st.sets(st.integers(0, 11)),
    st.integers(1, 14),
)
def test_pages_together_are_the_whole(
    essays: list[str], others: list[str] | None, also: set[int], limit: int
) -> None:
    """For any essays, with an item, a place in the ranking or both, and any limit: the same essays in the same order."""
    ranked = None
    if others is not None:
        ranked = list(dict.fromkeys([*others, *(essays[n] for n in sorted(also) if n < len(essays))]))
    table = batch(essays, ranked, lambda name: {"status": "FAILED" if len(name) > 2 else "COMPLETED"})
    whole, cut = status(table), pages(table, limit)

    assert [essay for page in cut for essay in page["essays"]] == whole["essays"]
    assert [essay["essay_id"] for essay in whole["essays"]] == sorted({*essays, *(ranked or [])})
    assert whole == fold.answer(table, "b")
    assert whole["pagination"] == {"limit": None, "next_cursor": None}
    for page in cut[:-1]:
        assert len(page["essays"]) == page["pagination"]["limit"] == limit
    assert len(cut) == max(1, -(-len(whole["essays"]) // limit))
    # What is said of the batch is the same on every page, but for the counts, which the first page alone has.
    assert cut[0]["phases"] == whole["phases"]
    for page in cut[1:]:
        assert page["phases"] == [{**phase, "essay_statuses": None} for phase in whole["phases"]]
        assert {**page, "phases": 0, "essays": 0, "pagination": 0} == {
            **whole, "phases": 0, "essays": 0, "pagination": 0,
        }  # fmt: skip


def test_phases_are_summed_up() -> None:
    """Those of the pipeline in its order, others that have a register, and the essays' own statuses beside them."""
    table = batch("abc", "cd", lambda name: {"status": "FAILED" if name == "c" else "COMPLETED"})
    none = dict.fromkeys(["PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "SKIPPED", "CANCELLED"], 0)
    time = "2026-03-02T08:00:02.000000Z"

    assert status(table)["phases"] == [
        {
            "name": "spellcheck", "status": "COMPLETED", "completed_count": 1, "failed_count": 1, "error": None,
            "last_updated": time, "completed_at": time, "essay_statuses": {**none, "COMPLETED": 2, "FAILED": 1},
        },
        {
            "name": "cj_assessment", "status": None, "completed_count": None, "failed_count": None, "error": None,
            "last_updated": None, "completed_at": None, "essay_statuses": {**none, "COMPLETED": 2},
        },
        {
            "name": "nlp", "status": "IN_PROGRESS", "completed_count": 0, "failed_count": 0, "error": None,
            "last_updated": time, "completed_at": None, "essay_statuses": none,
        },
    ]  # fmt: skip


def test_a_reading_sees_one_ranking() -> None:
    """A ranking that is replaced, or comes, between two pages ends the reading; other changes do not."""
    table = batch("abc", "abc", lambda _: {"status": "COMPLETED"})
    cursor = status(table, limit=1)["pagination"]["next_cursor"]
    table[Key("batch#b", "e#z")] = {"spellcheck": registers.encode(version(9), {"status": "FAILED"})}
    assert [essay["essay_id"] for essay in status(table, cursor=cursor)["essays"]] == ["b", "c", "z"]

    job = registers.encode(version(4), ["job", "COMPLETED", 0])
    newer = table | {
        table_layout.ranking_key("b"): {"job": job, "entries": pack((RankedEssay("a", 1, 0.5),))}
    }
    with pytest.raises(query.OutdatedCursorError):
        status(newer, cursor=cursor)
    unranked = batch("abc", None, lambda _: {"status": "COMPLETED"})
    cursor = status(unranked, limit=1)["pagination"]["next_cursor"]
    assert len(status(unranked, cursor=cursor)["essays"]) == 2
    with pytest.raises(query.OutdatedCursorError):
        status(table, cursor=cursor)


BINDINGS = [("b", None), ("b", "u"), ("c", None), ("c", "u"), ("b", "v")]


@settings(deadline=None)
@given(st.sampled_from(BINDINGS), st.sampled_from(BINDINGS))
def test_a_cursor_belongs_to_its_request(
    made_for: tuple[str, str | None], asked_by: tuple[str, str | None]
) -> None:
    """Of another batch, another vouched owner, or another question, it is refused before anything is looked up."""
    cursor = cursors.make(["e", ""], ("essays", *made_for))
    nothing: fold.Table = {}

    def ask() -> None:
        batch_id, user_id = asked_by
        query.batch_status(fold.View(nothing), batch_id, DEFAULT_PIPELINE, user_id, cursor=cursor)

    with pytest.raises(query.UnknownBatchError if made_for == asked_by else cursors.InvalidCursorError):
        ask()
    with pytest.raises(cursors.InvalidCursorError):
        query.user_batches(fold.View(nothing), "b", DEFAULT_PIPELINE, limit=1, cursor=cursor)


def test_every_flipped_bit_is_found() -> None:
    """Every bit of every character, and every character cut off, put in or doubled."""
    bound = ("essays", "b", None)
    cursor = cursors.make(["essay-1", version(1)], bound)
    damaged = [
        cursor[:n] + chr(ord(cursor[n]) ^ 1 << bit) + cursor[n + 1 :]
        for n in range(len(cursor))
        for bit in range(8)
    ]
    damaged += [cursor[:n] + cursor[n + 1 :] for n in range(len(cursor))]
    damaged += [cursor[:n] + extra + cursor[n:] for n in range(len(cursor) + 1) for extra in "A=\n é"]
    assert cursors.read(cursor, bound) == ["essay-1", version(1)]

    for text in damaged:
        with pytest.raises(cursors.InvalidCursorError):
            cursors.read(text, bound)


FORGED: list[list[Any]] = [
    [],
    ["e"],
    ["e", 1],
    [1, ""],
    ["", ""],
    ["x" * 256, ""],
    ["\ud800", ""],
    ["a\nb", ""],
    ["e", "not a version"],
    ["e", version(1), 1],
]


@pytest.mark.parametrize("content", FORGED, ids=repr)
def test_a_forged_cursor_is_refused(content: list[Any]) -> None:
    """Anybody can make a digest; what cannot have been a position is refused all the same."""
    try:
        cursor = cursors.make(content, ("essays", "b", None))
    except UnicodeEncodeError:
        cursor = "not even UTF-8"
    with pytest.raises(cursors.InvalidCursorError):
        status(batch("ab", None, lambda _: {"status": "COMPLETED"}), cursor=cursor)


@pytest.mark.parametrize(
    "content",
    [["2", "b", 1], [version(1)[:21], "", 1], [version(1)[:21], "b", -1], [version(1)[:21], "b", "1"], ["b"]],
    ids=repr,
)
def test_a_forged_place_in_a_listing_is_refused(content: list[Any]) -> None:
    """The same for a listing."""
    cursor = cursors.make(content, ("batches", "u", None))
    with pytest.raises(cursors.InvalidCursorError):
        query.user_batches(fold.View({}), "u", DEFAULT_PIPELINE, limit=1, cursor=cursor)


# Batch items by the overall status that they come to; `@` stands for a version.
STANDS = {
    "REGISTERED": {},
    "PROCESSING": {"started_at": "20260302T080000000000", "spellcheck": '@ ["COMPLETED",2,0,null]'},
    "COMPLETED": {"spellcheck": '@ ["COMPLETED",2,0,null]', "cj_assessment": '@ ["COMPLETED",2,0,null]'},
    "PARTIALLY_COMPLETED": {"pipeline": '@ "nlp"', "nlp": '@ ["COMPLETED",1,1,null]'},
    "FAILED": {"pipeline": '@ "spellcheck"', "spellcheck": '@ ["FAILED",0,2,"why"]'},
    "CANCELLED": {"end": '@ ["CANCELLED",[],0,0,false]'},
}


def stands(status: str, at: str) -> table_layout.Item:
    """A batch item."""
    item: table_layout.Item = {"user_id": "u", "created_at": at, "updated_at": at}
    return item | {name: value.replace("@", f"{at} {1:032x}") for name, value in STANDS[status].items()}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([*STANDS]), st.booleans()),
        max_size=12,
    ),
    st.integers(1, 13),
    st.sampled_from([None, *STANDS]),
    st.integers(1, 3),
)
def test_pages_of_a_listing_together_are_the_whole(
    made: list[tuple[int, str, bool]], limit: int, only: str | None, together: int
) -> None:
    """By cursor and by offset, however many batches share a moment, with and without a status.

    Of an ended batch the index tells its status, of a running one nothing; nor of one from before standings were kept.
    """
    table: fold.Table = {}
    for n, (moment, status, is_kept) in enumerate(made):
        at = f"20260302T08000{moment}000000"
        item = stands(status, at)
        table[table_layout.batch_key(f"b{n}")] = item
        batch = view.decode_batch(item)
        assert batch is not None
        if is_kept:
            item["standing"] = view.standing(batch)

    def ask(**asked: Any) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(query, "_LOOK_AT", together)
            return query.user_batches(fold.View(table), "u", DEFAULT_PIPELINE, status=only, **asked)

    whole = ask(limit=100)["batches"]
    found = [ask(limit=limit)]
    while cursor := found[-1]["pagination"]["next_cursor"]:
        found.append(ask(limit=limit, cursor=cursor))

    assert [one for page in found for one in page["batches"]] == whole
    assert [(one["created_at"], one["batch_id"]) for one in whole] == sorted(
        ((one["created_at"], one["batch_id"]) for one in whole), reverse=True
    )
    assert [one["overall_status"] for one in sorted(whole, key=itemgetter("batch_id"))] == [
        status
        for _, status in sorted((f"b{n}", status) for n, (_, status, _) in enumerate(made))
        if only in (None, status)
    ]
    assert {page["pagination"]["total"] for page in found} == {len(whole)}
    assert len(found) == max(1, -(-len(whole) // limit))
    by_offset = [ask(limit=limit, offset=n)["batches"] for n in range(0, len(whole), limit)]
    assert [one for page in by_offset for one in page] == whole


def test_a_batch_that_ended_just_now_is_on_no_page_of_what_it_was() -> None:
    """The index lags behind the table: what a page shows is as the table has it."""
    at = "20260302T080000000000"
    completed = view.decode_batch(stands("COMPLETED", at))
    assert completed is not None
    table = {table_layout.batch_key("b"): {**stands("FAILED", at), "standing": view.standing(completed)}}

    shown = query.user_batches(fold.View(table), "u", DEFAULT_PIPELINE, limit=1, status="COMPLETED")

    assert shown["batches"] == []


CONTENT = {
    "four bytes a character": ("\U0001f600", {"error": "\U0001f600" * 500}),
    "three bytes a character": ("\u3042", {"error": "\u3042" * 500}),
    "quotes and backslashes": ('"', {"error": '"\\' * 250, "corrected_text_storage_id": '"' * 1024}),
    "control characters": ("z", {"error": "\x01" * 500, "corrected_text_storage_id": "\x7f" * 1024}),
    "noise": ("z", None),
}


def no_metrics() -> Exposition:
    raise AssertionError("nobody asks for metrics here")


@pytest.mark.parametrize(("letter", "result"), CONTENT.values(), ids=CONTENT.keys())
@pytest.mark.parametrize("accepted", ["identity", "gzip"])
@pytest.mark.slow
def test_no_answer_is_larger_than_lambda_returns(
    letter: str, result: dict[str, Any] | None, accepted: str
) -> None:
    """5,000 essays of the worst content come in as many pages as it takes, however the runtime escapes and packs them."""
    noise = random.Random(1)  # noqa: S311 - text that does not compress, not a secret

    def text(_: str) -> dict[str, Any]:
        if result is not None:
            return {"status": "FAILED", **result}
        return {"status": "FAILED", "error": "".join(chr(noise.randrange(0x20, 0x7F)) for _ in range(500))}

    names = [f"{n:05}" + letter * 250 for n in range(5000)]
    view = fold.View(batch(names, None, text))
    api = Api(view, {ROLE: "api-gateway-service"}, DEFAULT_PIPELINE, no_metrics)
    asked: dict[str, list[str]] = {}
    shown: list[str] = []
    while True:
        answer = api.answer(
            {
                "httpMethod": "GET",
                "resource": "/internal/v1/batches/{batch_id}/status",
                "path": "/internal/v1/batches/b/status",
                "pathParameters": {"batch_id": "b"},
                "headers": {"Accept": "*/*", "Accept-Encoding": accepted},
                "multiValueQueryStringParameters": asked,
                "requestContext": {"identity": {"userArn": CALLER}},
            }
        )
        for ensure_ascii in (True, False):
            assert len(json.dumps(answer, ensure_ascii=ensure_ascii).encode()) < LAMBDA_RETURNS
        body = read(answer)
        shown += [essay["essay_id"] for essay in body["essays"]]
        if body["pagination"]["next_cursor"] is None:
            break
        asked = {"cursor": [body["pagination"]["next_cursor"]]}

    assert shown == names


def read(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["statusCode"] == 200
    text = answer["body"]
    body: dict[str, Any] = json.loads(
        gzip.decompress(b64decode(text)) if answer.get("isBase64Encoded") else text
    )
    return body
