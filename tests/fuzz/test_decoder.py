"""The decoder under a short fuzzing that is the same every time; `make fuzz` goes on for as long as it is told to."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from result_aggregator.domain import events

from tests.fuzz import inputs
from tests.fuzz.target import IGNORED, REJECTIONS, outcome

if TYPE_CHECKING:
    from random import Random as AnyRandom

RECORDS = 6_000


@pytest.mark.slow
def test_no_record_is_a_crash() -> None:
    """Every one of 6,000 is read or rejected as documented, and the fuzzing comes to everything that can be."""
    rng = Random(1)  # noqa: S311 - reproducible, not secret
    found = Counter(outcome(inputs.record(rng)) for _ in range(RECORDS))
    kinds = {kind.__name__ for kind in events.AnyEvent.__args__}

    assert found.keys() == {
        *(f"event {kind}" for kind in kinds),
        *(f"ignored {reason}" for reason in IGNORED),
        *(f"rejected {code}" for code in REJECTIONS),
    }


@given(st.randoms(use_true_random=False))
@settings(
    max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
def test_hypothesis_finds_no_crash(rng: AnyRandom) -> None:
    """The same with Hypothesis choosing, which would show the smallest record that breaks something."""
    outcome(inputs.record(rng))
