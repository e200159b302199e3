"""What `ras status` says of a mapping: the poller's word, and what the broker shows besides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ras.kafka.lag import Progress
from ras_local.settings import StackDir
from ras_local.status import Status

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("told", "progress", "problem"),
    [
        ("", Progress(5, 9), ""),
        ("boom", Progress(5, 9), "boom"),
        ("", Progress(5, 9, dropped=3), "the broker dropped 3 records before they were read"),
        ("boom", Progress(5, 9, dropped=3), "boom; the broker dropped 3 records before they were read"),
        (
            "",
            Progress(0, 9, remade=True),
            "the topic was deleted and made again; the group's commits are of the earlier one",
        ),
    ],
)
def test_a_problem_is_shown_that_the_poller_has_not_noticed(
    tmp_path: Path, told: str, progress: Progress, problem: str
) -> None:
    """It may not run; what lies in the broker is known all the same."""
    entry = {"topic": "t", "problem": told}
    [shown] = Status(StackDir(tmp_path), {}, None, [entry], {"t": progress}, None, []).document()["mappings"]

    assert shown == {"topic": "t", "problem": problem, "lag": progress.lag}
