"""What the load tool says about its measurements, and the table that it makes tired. On a stack: tests/e2e/test_load."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.load import Sample, measured, percentile, verdict
from benchmarks.table_proxy import Capacity


def test_percentiles_are_of_the_nearest_rank() -> None:
    """Of 1..100 the 95th is 95; of one value it is that one; of none there is none."""
    hundred = [float(number) for number in range(1, 101)]

    assert [percentile(hundred, part) for part in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert percentile([7.0], 0.99) == 7
    assert percentile([], 0.5) == 0


def test_a_capacity_fills_up_again() -> None:
    """As many at once as in a second, then no more, and after half a second half of them."""
    now = 0.0
    capacity = Capacity(4, clock=lambda: now)

    assert [capacity.takes() for _ in range(5)] == [True] * 4 + [False]
    now = 0.5
    assert [capacity.takes() for _ in range(3)] == [True, True, False]
    now = 100.0
    assert sum(capacity.takes() for _ in range(10)) == 4


STATUS = Sample("status", 200, 0.01)
REFUSED = Sample("status", 503, 0.01, retry_after=True)


@pytest.mark.parametrize(
    ("step", "sample", "complaint"),
    [
        ("rising", STATUS, None),
        ("rising", Sample("missing batch", 404, 0.01), None),
        ("rising", Sample("missing batch", 200, 0.01), "wrong answers"),
        ("rising", Sample("status", 500, 0.01), "wrong answers"),
        ("rising", Sample("status", 0, 0.01), "no answer"),
        ("rising", REFUSED, None),
        ("rising", Sample("status", 503, 0.01), "without Retry-After"),
        ("table throttles", REFUSED, None),
        ("table throttles", STATUS, "nothing was refused"),
        ("table hangs", Sample("status", 503, 0.01), "without Retry-After"),
        ("after hanging", REFUSED, "requests refused"),
    ],
)
def test_verdicts(step: str, sample: Sample, complaint: str | None) -> None:
    """Wrong answers always count, and refusals without their seconds; any refusal once the trouble is over."""
    found = verdict([measured(step, 1, [sample], 1, Counter(Query=1))])

    assert len(found) == (complaint is not None)
    assert all(complaint in problem for problem in found if complaint)
