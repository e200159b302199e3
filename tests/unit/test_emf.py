"""The embedded metric format: what is counted is read back, in as few lines as its labels allow."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from result_aggregator import metrics
from result_aggregator.emf import MOST_VALUES, EmbeddedMetrics

CALLS = metrics.DB_OPERATIONS
SECONDS = metrics.DB_OPERATION_DURATION
ESSAYS = metrics.ESSAYS_AGGREGATED
OPERATION = {"operation": "Query", "status": "success"}


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Any:
    """The lines that a write makes, parsed."""

    def write(counted: EmbeddedMetrics) -> list[dict[str, Any]]:
        counted.write()
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return write


def values(lines: list[dict[str, Any]]) -> Counter[tuple[str, tuple[tuple[str, str], ...], float]]:
    """Every value by its metric and labels, as the specification has a reader find them."""
    found: Counter[tuple[str, tuple[tuple[str, str], ...], float]] = Counter()
    for line in lines:
        for directive in line["_aws"]["CloudWatchMetrics"]:
            [dimensions] = directive["Dimensions"]
            labels = tuple(sorted((name, line[name]) for name in dimensions))
            for metric in directive["Metrics"]:
                assert len(line[metric["Name"]]) <= MOST_VALUES
                found.update((metric["Name"], labels, value) for value in line[metric["Name"]])
    return found


def test_labels_that_agree_share_a_line(written: Any) -> None:
    """With a directive each, and units."""
    counted = EmbeddedMetrics("Space")
    counted.add(OPERATION, {CALLS: 1})
    counted.add({"operation": "Query"}, {SECONDS: [0.5, 0.25]})
    counted.add({"phase": "nlp"}, {ESSAYS: 3})
    [line] = written(counted)
    head = line.pop("_aws")

    assert line == {
        "operation": "Query",
        "status": "success",
        "phase": "nlp",
        "service": "result-aggregator",
        CALLS.name: [1],
        SECONDS.name: [0.5, 0.25],
        ESSAYS.name: [3],
    }
    assert head["CloudWatchMetrics"] == [
        {
            "Namespace": "Space",
            "Dimensions": [["operation", "status", "service"]],
            "Metrics": [{"Name": CALLS.name, "Unit": "Count"}],
        },
        {
            "Namespace": "Space",
            "Dimensions": [["operation", "service"]],
            "Metrics": [{"Name": SECONDS.name, "Unit": "Seconds"}],
        },
        {
            "Namespace": "Space",
            "Dimensions": [["phase", "service"]],
            "Metrics": [{"Name": ESSAYS.name, "Unit": "Count"}],
        },
    ]
    assert written(counted) == []


def test_labels_that_differ_do_not(written: Any) -> None:
    """Nor do more values of a metric than one line takes."""
    counted = EmbeddedMetrics("Space")
    counted.add(OPERATION, {CALLS: 1})
    counted.add({"operation": "BatchGetItem", "status": "success"}, {CALLS: 2})
    counted.add({"operation": "Query"}, {SECONDS: [1.0] * MOST_VALUES + [2.0]})
    counted.add({"operation": "Query"}, {SECONDS: [1.0] * MOST_VALUES})
    lines = written(counted)

    assert [len(line[SECONDS.name]) for line in lines if SECONDS.name in line] == [
        MOST_VALUES,
        1,
        MOST_VALUES,
    ]
    assert [line[CALLS.name] for line in lines if CALLS.name in line] == [[1], [2]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([CALLS, SECONDS, ESSAYS]),
            st.sampled_from("ab"),
            st.lists(st.integers(0, 3), min_size=1),
        )
    )
)
def test_every_value_is_read_back(written: Any, added: list[tuple[metrics.Metric, str, list[int]]]) -> None:
    """Once, whatever was counted, in whatever order."""
    counted, wanted = EmbeddedMetrics("Space"), Counter[Any]()
    for metric, label, numbers in added:
        labels = dict.fromkeys(metric.labels, label)
        counted.add(labels, {metric: numbers})
        dimensions = tuple(sorted({**labels, "service": "result-aggregator"}.items()))
        wanted.update((metric.name, dimensions, number) for number in numbers)

    assert values(written(counted)) == wanted


def test_other_labels_than_the_metrics_are_refused() -> None:
    """They would be counted in CloudWatch and shown by nobody."""
    with pytest.raises(ValueError, match=ESSAYS.name):
        EmbeddedMetrics("Space").add({"function": "f"}, {ESSAYS: 1})
