"""Every line of the sample files is understood, and the view of them is as written down by hand."""

from __future__ import annotations

import random

import pytest
from result_aggregator.contracts import Ignored, read
from result_aggregator.topics import TOPICS

from tests import fold, samples

THIN = ("27703e5d-5a29-4f56-81fe-0945540b238b", "d43e6873-025e-4f00-bb76-f56ea40c5709")
"""Events of essays that beside them say more on another topic (docs/platform.md)."""


def test_every_line_is_understood() -> None:
    """No sample is rejected; ignored are the ranking without essays, and two events of a topic that is not read."""
    ignored = [
        (line.value["event_id"], outcome.reason)
        for line in samples.every_line()
        if isinstance(outcome := read(line.topic, line.encoded(), None), Ignored)
    ]

    assert ignored == [
        ("ac642a30-c9e3-4659-a5a3-4078795c2b9b", "empty_ranking"),
        *((event_id, "unknown_topic") for event_id in THIN),
    ]


def test_topics_of_the_samples_are_consumed() -> None:
    """The routing table knows every topic that the samples use, but one: what its events say is in others."""
    unread = {line.topic for line in samples.every_line()} - set(TOPICS)

    assert unread == {"huleedu.batch.spellcheck.phase.completed.v1"}


@pytest.mark.parametrize("batch_id", samples.expected())
def test_answers_are_as_written_down(batch_id: str) -> None:
    """The fold of all samples answers every batch as the expectations say."""
    table = fold.fold(fold.read_all(samples.events()))
    made = fold.answer(table, batch_id)

    assert made is not None
    assert samples.differences(made, samples.expected()[batch_id]) == []


@pytest.mark.parametrize("seed", range(20))
def test_order_and_duplicates_change_nothing(seed: int) -> None:
    """Shuffled, and with a third of them twice, the samples come to the same items."""
    events = fold.read_all(samples.events())
    shuffled = events + random.Random(seed).sample(events, len(events) // 3)  # noqa: S311 - a shuffle, not a secret
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a shuffle, not a secret

    assert fold.fold(shuffled) == fold.fold(events)
