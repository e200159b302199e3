"""The metrics as Prometheus text, held against Prometheus' own parser, and when there is a new answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from result_aggregator import metrics
from result_aggregator.domain.outcomes import OUTCOMES
from result_aggregator.domain.store_interface import UnavailableError
from result_aggregator.metrics import METRICS, Kind, Series, Total
from result_aggregator.prometheus import Exposition, render

from tests.prometheus import parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

# The implementation guide, "Metrics Implementation": names, types (its histograms are summaries here) and labels.
GUIDE = {
    "ras_api_requests_total": (Kind.COUNTER, {"endpoint", "method", "status_code"}),
    "ras_api_request_duration_seconds": (Kind.SUMMARY, {"endpoint", "method"}),
    "ras_api_errors_total": (Kind.COUNTER, {"endpoint", "error_type"}),
    "ras_messages_processed_total": (Kind.COUNTER, set()),
    "ras_message_processing_duration_seconds": (Kind.SUMMARY, set()),
    "ras_consumer_errors_total": (Kind.COUNTER, set()),
    "ras_db_operations_total": (Kind.COUNTER, {"operation", "status"}),
    "ras_db_operation_duration_seconds": (Kind.SUMMARY, {"operation"}),
    "ras_cache_hits_total": (Kind.COUNTER, set()),
    "ras_cache_misses_total": (Kind.COUNTER, set()),
    "ras_batches_aggregated_total": (Kind.COUNTER, set()),
    "ras_essays_aggregated_total": (Kind.COUNTER, {"phase"}),
}

MINUTE_MS = 1_772_442_060_000


@dataclass
class Counted:
    """What all instances have counted, and what was asked for."""

    applied: float = 0
    asked: list[tuple[datetime, datetime]] = field(default_factory=list)
    is_away: bool = False

    def totals(self, start: datetime, end: datetime) -> Mapping[Series, Total]:
        self.asked.append((start, end))
        if self.is_away:
            raise UnavailableError("away")
        return {Series(metrics.RECORDS["applied"], ("f",)): Total(self.applied)}


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float

    def __call__(self) -> float:
        return self.now


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def applied(text: str) -> tuple[float, float]:
    """Value and time of the one series of `Counted`."""
    (sample,) = next(one for one in parsed(text) if one.name == "ras_records_applied").samples
    assert isinstance(sample.timestamp, float)
    return sample.value, sample.timestamp


@pytest.mark.parametrize("name", GUIDE)
def test_the_guides_metrics_exist(name: str) -> None:
    """Under its name, of its type, with at least its labels."""
    kind, labels = GUIDE[name]

    assert METRICS[name].kind == kind
    assert labels <= set(METRICS[name].labels)


def test_every_outcome_has_its_counter() -> None:
    """So that the counts add up to the records received."""
    assert metrics.RECORDS.keys() == set(OUTCOMES)


def test_names_tell_unit_and_kind() -> None:
    """As Prometheus asks: counters end in _total, durations in _seconds; and CloudWatch takes the labels."""
    for metric in METRICS.values():
        assert metric.name.endswith("_total" if metric.kind is Kind.COUNTER else "_seconds")
        assert metric.help.endswith(".")
        # What is without labels would have to be shown as zero while there is nothing of it.
        assert metric.labels
        assert len({*metric.labels, metrics.SERVICE_DIMENSION}) == len(metric.labels) + 1


def test_every_metric_is_shown_with_help_and_type() -> None:
    """Before anything happened, too."""
    families = {family.name: family for family in parsed(render({}, MINUTE_MS))}

    shown = {
        f"{name}_total" if family.type == "counter" else name: (family.type, family.documentation)
        for name, family in families.items()
    }
    assert shown == {name: (metric.kind, metric.help) for name, metric in METRICS.items()}


def test_values_come_through() -> None:
    """Whole and broken numbers (without the bits that another order of adding changes), sum and count, labels, time."""
    totals = {
        Series(metrics.ESSAYS_AGGREGATED, ("spellcheck",)): Total(12_345_678_901),
        Series(metrics.ESSAYS_AGGREGATED, ("nlp",)): Total(0),
        Series(metrics.DB_OPERATION_DURATION, ("Query",)): Total(0.1 + 0.2, 3),
    }

    found = {
        (sample.name, *sample.labels.values()): (sample.value, sample.timestamp)
        for family in parsed(render(totals, MINUTE_MS))
        for sample in family.samples
        if sample.labels
    }

    assert found == {
        ("ras_essays_aggregated_total", "spellcheck"): (12_345_678_901, MINUTE_MS / 1000),
        ("ras_essays_aggregated_total", "nlp"): (0, MINUTE_MS / 1000),
        ("ras_db_operation_duration_seconds_sum", "Query"): (0.3, MINUTE_MS / 1000),
        ("ras_db_operation_duration_seconds_count", "Query"): (3, MINUTE_MS / 1000),
    }


@pytest.mark.parametrize(
    "value", ['a"b', "a\\b", "a\nb", "\\n", '\\"', "a,b", "a}b 7", "#", "", " ", "ß→", "\u202e", "x" * 255]
)
def test_hostile_label_values_stay_values(value: str) -> None:
    """Quotes, backslashes and line ends break out of no label."""
    series = Series(metrics.API_ERRORS, (value, "end"))

    families = list(parsed(render({series: Total(7)}, MINUTE_MS)))

    (sample,) = next(family for family in families if family.name == "ras_api_errors").samples
    assert (sample.labels, sample.value) == ({"endpoint": value, "error_type": "end"}, 7)
    assert len(families) == len(METRICS)


def test_the_parser_refuses_what_is_wrong() -> None:
    """What the tests above rely on."""
    with pytest.raises(ValueError, match=r"."):
        list(text_string_to_metric_families('ras_x{a="b" 1\n'))


def test_counts_begin_with_the_month() -> None:
    """From the first of the month to the coming midnight, UTC, whatever the time of day."""
    for now, start, end in (
        ("2026-03-17T13:45:59", "2026-03-01", "2026-03-18"),
        ("2026-03-31T23:59:59", "2026-03-01", "2026-04-01"),
        ("2026-04-01T00:00:00", "2026-04-01", "2026-04-02"),
        ("2024-02-29T12:00:00", "2024-02-01", "2024-03-01"),
    ):
        store = Counted()
        Exposition(store, clock=Clock(at(now))).scrape()

        assert [(a.timestamp(), b.timestamp()) for a, b in store.asked] == [(at(start), at(end))]


def test_an_instance_asks_once_a_minute() -> None:
    """Whatever comes in; and it says until when there is nothing newer."""
    store, clock = Counted(), Clock(at("2026-03-17T13:45:20"))
    exposition = Exposition(store, clock=clock)
    ages = []
    for second in (20, 21, 59.9, 60, 119):
        clock.now = at("2026-03-17T13:45:00") + second
        ages.append(exposition.scrape().max_age)

    assert ages == [40, 39, 1, 60, 1]
    assert len(store.asked) == 2


def test_instances_change_their_answers_together() -> None:
    """A later answer of any instance has a later time, or the same: a scraper drops it then, and no counter steps down."""
    store, clock = Counted(), Clock(0)
    instances = [Exposition(store, clock=clock) for _ in range(3)]
    accepted: dict[float, float] = {}
    for step in range(300):
        store.applied = clock.now = at("2026-03-17T13:45:00") + 7 * step
        value, time = applied(instances[step % 7 % 3].scrape().text)
        accepted.setdefault(time, value)

    assert list(accepted) == sorted(accepted)
    assert list(accepted.values()) == sorted(accepted.values())
    assert len(accepted) == 300 * 7 // 60


def test_a_failure_is_not_kept() -> None:
    """The next question is asked anew, and an answer of the minute before is not passed off as this minute's."""
    store, clock = Counted(applied=5), Clock(at("2026-03-17T13:45:00"))
    exposition = Exposition(store, clock=clock)
    assert applied(exposition.scrape().text) == (5, clock.now)

    store.is_away, clock.now = True, clock.now + 60
    with pytest.raises(UnavailableError):
        exposition.scrape()
    store.is_away, store.applied = False, 6

    assert applied(exposition.scrape().text) == (6, clock.now)
