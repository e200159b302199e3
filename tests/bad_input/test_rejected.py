"""What can never be applied is kept with its reason and its bytes, and its neighbours go on: on every topic."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

import pytest

from tests.bad_input import spoilt
from tests.bad_input.good import GOOD, ONE_A_TOPIC
from tests.samples import record

if TYPE_CHECKING:
    from tests.bad_input.conftest import Deliveries
    from tests.bad_input.good import Good

pytestmark = pytest.mark.slow

every_topic = pytest.mark.parametrize("good", ONE_A_TOPIC, ids=lambda good: good.topic)
every_dialect = pytest.mark.parametrize("good", GOOD, ids=lambda good: good.name)


@pytest.fixture
def dynamodb_url() -> None:
    """The emulated one in this process: of these records only the good neighbours reach the table."""


@every_topic
def test_what_is_no_event(deliveries: Deliveries, good: Good) -> None:
    """Not UTF-8, not JSON, not an object, truncated, NaN, 10,000 levels deep, a string of a megabyte."""
    deliveries.reject(good, spoilt.unreadable(good))


@every_topic
def test_what_has_a_bad_envelope(deliveries: Deliveries, good: Good) -> None:
    """Without an id, a time or data, or with wrong ones, or from the future."""
    deliveries.reject(good, spoilt.bad_envelopes(good))


@every_topic
def test_what_has_a_bad_field(deliveries: Deliveries, good: Good) -> None:
    """Every field of the contract: missing, of every wrong type, and past its limits, with the field's path."""
    deliveries.reject(good, spoilt.bad_fields(good))


@every_dialect
def test_what_is_nobodys(deliveries: Deliveries, good: Good) -> None:
    """It names no batch, or no essay, in any dialect."""
    deliveries.reject(good, spoilt.nobodys(good))


@every_dialect
def test_what_the_api_could_not_show(deliveries: Deliveries, good: Good) -> None:
    """A batch called `user`: its status would have the path of a listing."""
    deliveries.reject(good, spoilt.unreachable(good))


@every_topic
def test_what_is_not_base64(deliveries: Deliveries, good: Good) -> None:
    """Which no mapping should send: kept as it came."""
    broken = [
        record(good.topic, b"", n) | {"value": value} for n, value in enumerate(["%%%", "é", "YQ", 5, {}])
    ]
    counts = deliveries.invoke(good.topic, [*broken, record(good.topic, good.of("good"), 9)])
    letters = deliveries.service.dead_letters().values()

    assert [(letter["value"], letter["reason"]["code"]) for letter in letters] == [
        (one["value"], "not_base64") for one in broken
    ]
    problems = [letter["reason"]["problems"][0] for letter in letters]
    assert {problem["path"] for problem in problems} == {""}
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is what is compared
        b64decode("YQ", validate=True)
    assert problems[2]["message"] == str(caught.value)
    assert counts == {"applied": 1, "rejected": len(broken)}
    assert deliveries.stored("good")


def test_a_letter_has_the_whole_record(deliveries: Deliveries) -> None:
    """Beside reason and value: topic, partition, offset, timestamp, key and headers, as they came."""
    topic = ONE_A_TOPIC[0].topic
    bad = record(topic, b"poison", 7, 3) | {"key": "a2V5", "headers": [{"trace": [-61, -91]}]}
    deliveries.invoke(topic, [bad])
    [(place, letter)] = deliveries.service.dead_letters().items()

    assert place.startswith(f"rejected/{topic}/3/{7:020d}-")
    assert bad.items() <= letter.items()


WORDS = {
    "huleedu.batch.pipeline.completed.v1": (
        "final_status",
        ["done", "in_progress", "pending", "skipped", ""],
    ),
    "huleedu.els.batch_phase.outcome.v1": ("outcome", ["done", ""]),
    "huleedu.els.batch.phase.outcome.v1": ("phase_status", ["done", ""]),
}


@pytest.mark.parametrize("topic", WORDS)
def test_what_has_an_unknown_status_word(deliveries: Deliveries, topic: str) -> None:
    """And a pipeline's end with a word that is no end."""
    [good] = [one for one in ONE_A_TOPIC if one.topic == topic]
    field, words = WORDS[topic]

    deliveries.reject(good, spoilt.with_words(good, field, words))


@pytest.mark.parametrize("field", ["phase", "phase_name"])
def test_what_has_an_unknown_phase(deliveries: Deliveries, field: str) -> None:
    """Kept, not ignored: it is a mistake to be seen, or a phase to be added and replayed."""
    good = next(
        one
        for one in GOOD
        if one.topic == "huleedu.els.batch_phase.outcome.v1" and field in one.value["data"]
    )

    deliveries.reject(good, spoilt.with_words(good, field, ["plagiarism", ""], "unknown_phase", "data.phase"))
