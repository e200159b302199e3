"""What the functions ask of DynamoDB, in calls and request units, held against the budgets; counts are exact.

The units are those that dynoxide reports through a meter between function and table. Where it is known to
tell something else than AWS (transactions, PartiQL) nothing here goes, and sizes are computed beside it as documented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import workload
from benchmarks.unit_meter import Meter, write_units
from tests import samples
from tests.real_servers import DYNOXIDE, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from benchmarks.unit_meter import Metered
    from tests.handlers.conftest import Service
    from tests.samples import Line

pytestmark = pytest.mark.integration

ESSAYS = 30


@pytest.fixture
def meter(request: pytest.FixtureRequest) -> Iterator[Meter]:
    """Stands between the functions and dynoxide."""
    require(DYNOXIDE)
    with Meter(request.getfixturevalue("dynoxide_url")) as made:
        yield made


@pytest.fixture
def dynamodb_url(meter: Meter) -> str:
    return meter.url


class Metering:
    """Delivers events and asks questions; says what each took."""

    def __init__(self, service: Service, meter: Meter) -> None:
        self._service, self._meter = service, meter
        self.total = 0
        """Of the last page of a listing."""

    def deliver(self, *lines: Line) -> Metered:
        """In one invocation per function."""
        self._meter.take()
        self._service.deliver(lines, size=10_000)
        return self._meter.take()

    def status(self, batch_id: str, essays: int) -> Metered:
        """The whole status answer, which must show so many essays."""
        self._meter.take()
        answer = self._service.get("/internal/v1/batches/{batch_id}/status", batch_id=batch_id)
        assert len(answer["body"]["essays"]) == essays
        return self._meter.take()

    def page(self, user_id: str, **query: str) -> tuple[Metered, str | None]:
        """A page of the listing, and where the next one begins."""
        self._meter.take()
        asked = {name: [value] for name, value in query.items()}
        answer = self._service.get("/internal/v1/batches/user/{user_id}", query=asked, user_id=user_id)
        cursor: str | None = answer["body"]["pagination"]["next_cursor"]
        self.total = answer["body"]["pagination"]["total"]
        return self._meter.take(), cursor


@pytest.fixture
def metering(service: Service, meter: Meter) -> Metering:
    return Metering(service, meter)


def events(topic: str, batch_id: str = "batch", essays: int = ESSAYS) -> list[Line]:
    return [line for line in workload.life("essay-heavy", batch_id, essays) if line.topic == topic]


def end_of(batch_id: str) -> Line:
    """The outcome that ends a batch's pipeline."""
    metadata = {"requested_pipeline": "cj_assessment", "completed_essay_count": ESSAYS}
    data = {"batch_id": batch_id, "phase": "CJ_ASSESSMENT", "outcome": "COMPLETED", "metadata": metadata}
    return samples.Line(workload.OUTCOME, batch_id, samples.envelope(data, at="2026-03-02T08:05:00Z"))


def test_an_essay_result_takes_one_write_unit(metering: Metering) -> None:
    """And no read; each batch that an invocation touches takes one more."""
    results = events(workload.SPELLCHECKED, "one") + events(workload.SPELLCHECKED, "other")
    taken = metering.deliver(*results)

    assert taken.write_units == len(results) + 2
    assert taken.read_units == 0
    assert taken.count == len(results) + 2


def test_that_holds_for_a_batch_that_is_listed(metering: Metering) -> None:
    """The user index is not written for results: nothing that it holds changes."""
    metering.deliver(*events(workload.REGISTERED))
    taken = metering.deliver(*events(workload.SPELLCHECKED))

    assert taken.write_units == ESSAYS + 1
    assert taken.index_units == 0
    assert taken.read_units == 0


def test_a_duplicate_is_one_conditional_write(metering: Metering) -> None:
    """One for each essay, and one for the batch."""
    results = events(workload.SPELLCHECKED)
    metering.deliver(*results)
    taken = metering.deliver(*results)

    assert taken.count == ESSAYS + 1
    assert taken.conditions_failed == ESSAYS + 1
    assert taken.write_units == ESSAYS + 1
    assert taken.read_units == 0


def test_a_stale_result_is_one_conditional_write(metering: Metering) -> None:
    """Its batch, whose times it may widen backwards, takes at most one more beside its own."""
    older = events(workload.SPELLCHECKED)
    newer = [
        line._replace(value=samples.envelope(line.value["data"], at="2026-03-03T08:00:00Z")) for line in older
    ]
    metering.deliver(*newer)
    taken = metering.deliver(*older)

    assert taken.read_units == 0
    assert taken.conditions_failed == ESSAYS + 1
    assert taken.count <= ESSAYS + 2


@pytest.mark.parametrize("batches", [0, 1, 2, 5])
def test_a_result_that_names_no_batch(metering: Metering, batches: int) -> None:
    """Takes one write unit for itself, one for each batch that claims its essay, and one for that batch's times."""
    essay, *claiming = workload.ids(1 + batches)
    for batch in claiming:
        metering.deliver(workload.slot(essay, batch, 1))
    first, newer = (
        metering.deliver(workload.analysed(essay, 2)),
        metering.deliver(result := workload.analysed(essay, 4)),
    )
    again, older = metering.deliver(result), metering.deliver(workload.analysed(essay, 3))

    assert [taken.write_units for taken in (first, newer, again, older)] == [1 + 2 * batches] * 4
    assert [taken.count for taken in (first, newer, again, older)] == [1 + 2 * batches] * 4
    assert [taken.read_units for taken in (first, newer, again, older)] == [0] * 4


def test_the_first_of_results_that_comes_late(metering: Metering) -> None:
    """Is found to be older by one write, and moves the time at which the essay's results began by another."""
    [essay] = workload.ids(1)
    metering.deliver(workload.analysed(essay, 4))
    taken, again = metering.deliver(late := workload.analysed(essay, 3)), metering.deliver(late)

    assert (taken.count, taken.write_units, again.count) == (2, 2, 1)


def test_a_slot_assignment(metering: Metering) -> None:
    """Takes three: the essay, the claim, and the batch. A result that waits for it comes along."""
    [essay, other, batch] = workload.ids(3)
    metering.deliver(workload.analysed(other, 1))
    meeting, alone = (
        metering.deliver(workload.slot(other, batch, 2)),
        metering.deliver(first := workload.slot(essay, batch, 3)),
    )
    again, renamed = metering.deliver(first), metering.deliver(workload.slot(other, batch, 4))

    assert [taken.write_units for taken in (meeting, alone, again, renamed)] == [3] * 4
    assert [taken.count for taken in (meeting, alone, again, renamed)] == [3] * 4
    assert [taken.read_units for taken in (meeting, alone, again, renamed)] == [0] * 4


@pytest.mark.parametrize("claimed", [False, True], ids=["first", "claimed"])
@pytest.mark.parametrize("analysed_before", [False, True], ids=["no results", "results"])
def test_a_summary_takes_two_an_essay(metering: Metering, *, claimed: bool, analysed_before: bool) -> None:
    """And one for the batch: whether the essays were claimed, or analysed, before or not."""
    batch, *essays = workload.ids(31)
    if claimed:
        metering.deliver(*(workload.slot(essay, batch, 1) for essay in essays))
    if analysed_before:
        metering.deliver(*(workload.analysed(essay, 2) for essay in essays))
    taken = metering.deliver(told := workload.summary(batch, essays[:25], essays[25:], 3))
    again, results = (
        metering.deliver(told),
        metering.deliver(*(workload.analysed(essay, 4) for essay in essays)),
    )

    assert [one.write_units for one in (taken, again, results)] == [2 * 30 + 1] * 3
    assert [one.read_units for one in (taken, again, results)] == [0] * 3


def test_a_summary_of_five_thousand(metering: Metering) -> None:
    """Goes in one invocation, at the same price."""
    batch, *essays = workload.ids(5001)
    taken = metering.deliver(workload.summary(batch, essays[:4000], essays[4000:], 3))

    assert taken.write_units == taken.count == 2 * 5000 + 1


def test_results_of_a_batch_meet_it_together(metering: Metering) -> None:
    """What an invocation brings of a batch moves its times once: two units a result, one for the batch."""
    batch, *essays = workload.ids(31)
    metering.deliver(*(workload.slot(essay, batch, 1) for essay in essays))
    taken = metering.deliver(*(workload.analysed(essay, 2) for essay in essays))

    assert (taken.write_units, taken.count) == (2 * 30 + 1, 2 * 30 + 1)


@pytest.mark.parametrize("essays", [30, 1000, 5000])
def test_a_ranking_takes_no_more_than_a_write_unit_an_essay(
    metering: Metering, essays: int, dynamodb: DynamoDBClient, table: str
) -> None:
    """Far less: its item's kilobytes, as AWS documents them, and one for the batch. A replacement takes as much."""
    essay_ids = [f"essay-{number:04d}" for number in range(essays)]
    first = metering.deliver(workload.ranking("batch", essay_ids, 0))
    second = metering.deliver(workload.ranking("batch", essay_ids, 1))
    found = dynamodb.get_item(TableName=table, Key={"pk": {"S": "batch#batch"}, "sk": {"S": "cj"}})
    item = {name: dict(value) for name, value in found["Item"].items()}

    assert first.write_units <= essays + 2
    assert (first.count, second.count) == (2, 2)
    assert second.write_units == write_units(item) + 1
    assert first.read_units == second.read_units == 0


def test_a_status_answer_takes_one_call(metering: Metering) -> None:
    """Up to a megabyte; its read units are its items' size in steps of four kilobytes."""
    for batch_id, essays in (("small", 30), ("large", 1000)):
        metering.deliver(*workload.life("essay-heavy", batch_id, essays))
        taken = metering.status(batch_id, essays)

        assert [call.operation for call in taken.calls] == ["Query"]
        assert taken.read_units <= essays / 4


def test_the_end_of_a_batch_takes_one_write_more(metering: Metering) -> None:
    """Its standing, and the user index with it; what else a batch's events bring is one write each."""
    registered = metering.deliver(*events(workload.REGISTERED))
    [first], last = events(workload.OUTCOME), end_of("batch")
    metering.deliver(*events(workload.SPELLCHECKED))
    on_the_way, ended = metering.deliver(first), metering.deliver(last)
    again = metering.deliver(last)

    assert [one.count for one in (registered, on_the_way, ended, again)] == [1, 1, 2, 1]
    assert [one.index_units for one in (registered, on_the_way, ended, again)] == [1, 0, 1, 0]
    assert [one.read_units for one in (registered, on_the_way, ended, again)] == [0, 0, 0, 0]


@pytest.mark.parametrize("status", ["COMPLETED", "PROCESSING", "REGISTERED"])
def test_a_page_of_one_status_takes_two_calls(metering: Metering, status: str) -> None:
    """However many others there are: the index knows how batches ended, and those that run are read together."""
    lines = []
    for number in range(150):
        registered, *rest = workload.life("essay-heavy", f"batch-{number}", 1)
        registered.value["data"]["user_id"] = "teacher"
        lines.append(registered)
        if number < 140:
            lines += [line for line in rest if line.topic == workload.SPELLCHECKED]
        if number < 120:
            lines.append(end_of(f"batch-{number}"))
    metering.deliver(*lines)
    first, cursor = metering.page("teacher", limit="5", status=status)
    second, _ = metering.page("teacher", limit="5", status=status, cursor=cursor or "")

    assert cursor
    assert [first.count, second.count] == [2, 2]
    assert {"COMPLETED": 120, "PROCESSING": 20, "REGISTERED": 10}[status] == metering.total


def test_a_page_of_the_listing_takes_two_calls(metering: Metering) -> None:
    """The first one and those behind it, whichever way they are asked for."""
    lines = [line for number in range(30) for line in events(workload.REGISTERED, f"batch-{number}")]
    for line in lines:
        line.value["data"]["user_id"] = "teacher"
    metering.deliver(*lines)
    first, cursor = metering.page("teacher", limit="10")
    second, _ = metering.page("teacher", limit="10", cursor=cursor or "")
    third, _ = metering.page("teacher", limit="10", offset="20")

    assert cursor
    assert [taken.count for taken in (first, second, third)] == [2, 2, 2]
