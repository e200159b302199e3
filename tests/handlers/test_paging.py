"""Paging through the query function: what each page costs in calls of DynamoDB, and whose cursor is whose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator import cursors

from tests.samples import Line, envelope

if TYPE_CHECKING:
    from tests.handlers.conftest import Service

STATUS = "/internal/v1/batches/{batch_id}/status"
LISTING = "/internal/v1/batches/user/{user_id}"
SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
REGISTERED = "huleedu.batch.essays.registered.v1"
RANKING = "huleedu.cj_assessment.completed.v1"
ESSAYS = [f"e{n:02}" for n in range(12)]


def registered(batch_id: str, user_id: str = "u", at: str = "2026-03-02T08:00:00Z") -> Line:
    data = {"batch_id": batch_id, "user_id": user_id, "expected_essay_count": 12}
    return Line(REGISTERED, batch_id, envelope(data, at))


def ranked(batch_id: str, at: str) -> Line:
    rankings = [{"essay_id": name, "rank": n, "score": 1 / n} for n, name in enumerate(ESSAYS[3:], 1)]
    return Line(
        RANKING, batch_id, envelope({"batch_id": batch_id, "status": "COMPLETED", "rankings": rankings}, at)
    )


@pytest.fixture
def filled(service: Service) -> Service:
    """Batches `b` and `c` of `u` with twelve essays, nine of them with results of their own, nine ranked."""
    lines = []
    for batch_id in "bc":
        lines += [registered(batch_id), ranked(batch_id, "2026-03-02T08:00:00Z")]
        for name in ESSAYS[:9]:
            data = {"batch_id": batch_id, "essay_id": name, "status": "COMPLETED", "correction_count": 1}
            lines.append(Line(SPELLCHECK, name, envelope(data)))
    service.deliver(lines)
    return service


def page(service: Service, batch_id: str = "b", **query: str) -> dict[str, Any]:
    asked = {name: [value] for name, value in query.items()}
    return service.get(STATUS, query=asked, batch_id=batch_id)


def refusal(answer: dict[str, Any]) -> tuple[int, str]:
    return answer["statusCode"], answer["body"]["code"]


@pytest.mark.parametrize("limit", [1, 5, 11, 12, 13, 5000])
def test_pages_cost_what_they_show(filled: Service, calls: list[str], limit: int) -> None:
    """The first page is one Query, each behind a cursor two calls; together they are the whole."""
    whole = page(filled)["body"]
    assert calls == ["Query"]
    assert [essay["essay_id"] for essay in whole["essays"]] == ESSAYS
    calls.clear()
    answer = page(filled, limit=str(limit))
    assert calls == ["Query"]
    shown = answer["body"]["essays"]

    while cursor := answer["body"]["pagination"]["next_cursor"]:
        calls.clear()
        answer = page(filled, limit=str(limit), cursor=cursor)
        shown += answer["body"]["essays"]
        assert calls == ["Query", "Query"]
    assert shown == whole["essays"]


def test_a_cursor_is_of_its_batch_and_owner(filled: Service, calls: list[str]) -> None:
    """Elsewhere it is a 400 without a look at the table, whether there is such a batch or not."""
    cursor = page(filled, limit="5", user_id="u")["body"]["pagination"]["next_cursor"]
    assert page(filled, cursor=cursor, user_id="u", limit="2")["statusCode"] == 200
    calls.clear()

    for elsewhere in (
        page(filled, cursor=cursor),
        page(filled, cursor=cursor, user_id="v"),
        page(filled, "c", cursor=cursor, user_id="u"),
        page(filled, "missing", cursor=cursor, user_id="u"),
        page(filled, cursor="", user_id="u"),
        page(filled, cursor="x" * 5000, user_id="u"),
        filled.get(LISTING, query={"cursor": [cursor]}, user_id="u"),
    ):
        assert refusal(elsewhere) == (400, "invalid_cursor")
    assert calls == []


def test_a_cursor_opens_nothing(filled: Service) -> None:
    """Made for a vouched owner who is none, as anybody can, it leads to the same 404."""
    cursor = cursors.make(["e00", ""], ("essays", "b", "stranger"))

    assert refusal(page(filled, cursor=cursor, user_id="stranger")) == (404, "batch_not_found")


def test_a_new_ranking_ends_a_reading(filled: Service) -> None:
    """The next page is refused rather than mixed; other news are on it."""
    cursor = page(filled, limit="5")["body"]["pagination"]["next_cursor"]
    data = {"batch_id": "b", "essay_id": "e99", "status": "FAILED"}
    filled.deliver([Line(SPELLCHECK, "e99", envelope(data))])
    assert page(filled, cursor=cursor)["body"]["essays"][-1]["essay_id"] == "e99"
    filled.deliver([ranked("b", "2026-03-02T09:00:00Z")])

    assert refusal(page(filled, cursor=cursor)) == (400, "cursor_outdated")


def listing(service: Service, user_id: str = "u", **query: str) -> dict[str, Any]:
    asked = {name: [value] for name, value in query.items()}
    return service.get(LISTING, query=asked, user_id=user_id)


@pytest.fixture
def many(service: Service) -> Service:
    """A user's 130 batches, some of the same moment, every third with a result."""
    moments = [f"2026-03-02T07:{n // 2 % 60:02}:00Z" for n in range(130)]
    lines = [registered(f"b{n:03}", at=at) for n, at in enumerate(moments)]
    for n in range(0, 130, 3):
        data = {"batch_id": f"b{n:03}", "essay_id": "e", "status": "COMPLETED"}
        lines.append(Line(SPELLCHECK, "e", envelope(data)))
    service.deliver(lines)
    return service


@pytest.mark.parametrize("limit", ["7", "100"])
@pytest.mark.slow
def test_a_listing_goes_on_at_flat_cost(many: Service, calls: list[str], limit: str) -> None:
    """A Query of the index and a BatchGetItem for every page; `total` is that of the first."""
    by_offset = [
        one for offset in ("0", "100") for one in listing(many, limit="100", offset=offset)["body"]["batches"]
    ]
    calls.clear()
    answer = listing(many, limit=limit)
    assert calls == ["Query", "BatchGetItem"]
    assert answer["body"]["pagination"]["offset"] == 0
    shown = answer["body"]["batches"]

    while cursor := answer["body"]["pagination"]["next_cursor"]:
        calls.clear()
        answer = listing(many, limit=limit, cursor=cursor)
        shown += answer["body"]["batches"]
        assert calls == ["Query", "BatchGetItem"]
        assert answer["body"]["pagination"]["offset"] is None
        assert answer["body"]["pagination"]["total"] == 130
    assert shown == by_offset
    assert len({one["batch_id"] for one in shown}) == 130


@pytest.mark.slow
def test_a_filtered_listing_goes_on(many: Service, calls: list[str]) -> None:
    """It looks at a hundred batches a call, and is the same by cursor and by offset."""
    answer = listing(many, limit="10", status="processing")
    assert calls == ["Query", "BatchGetItem", "BatchGetItem"]
    shown = answer["body"]["batches"]
    assert answer["body"]["pagination"]["total"] == 44
    while cursor := answer["body"]["pagination"]["next_cursor"]:
        answer = listing(many, limit="10", status="PROCESSING", cursor=cursor)
        shown += answer["body"]["batches"]

    assert len(shown) == answer["body"]["pagination"]["total"] == 44
    offsets = [
        listing(many, limit="10", status="PROCESSING", offset=str(n))["body"] for n in (0, 10, 20, 30, 40)
    ]
    assert shown == [one for page in offsets for one in page["batches"]]


def test_a_cursor_is_of_its_user_and_filter(many: Service, calls: list[str]) -> None:
    """Another user's, or another filter's, is a 400 without a look at the table."""
    cursor = listing(many, limit="10")["body"]["pagination"]["next_cursor"]
    filtered = listing(many, limit="10", status="REGISTERED")["body"]["pagination"]["next_cursor"]
    calls.clear()

    for elsewhere in (
        listing(many, "v", cursor=cursor),
        listing(many, "nobody", cursor=cursor),
        listing(many, cursor=cursor, status="REGISTERED"),
        listing(many, cursor=filtered),
        listing(many, cursor=filtered, status="FAILED"),
        page(many, "b000", cursor=cursor),
    ):
        assert refusal(elsewhere) == (400, "invalid_cursor")
    both = listing(many, cursor=cursor, offset="0")
    assert refusal(both) == (400, "bad_request")
    assert both["body"]["details"] == {"parameter": "offset"}
    assert calls == []
