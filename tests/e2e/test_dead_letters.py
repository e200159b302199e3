"""Dead letters and replays on the deployed stack: by its functions, its broker and its mappings."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from ras import stack_file
from ras.cli import main
from ras.dead_letters.bucket import Filters
from ras.dead_letters.letter import Kind
from ras.deployment import choose
from ras.kafka.publish import Event, publish
from ras.kafka.topic import TopicLog
from ras.time_argument import milliseconds
from ras_local.capabilities import Lack
from result_aggregator.topics import TOPICS

from tests import samples
from tests.ops import made
from tests.tiers import long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result
    from ras.deployment import Deployment
    from ras.stack_file import Stack
    from ras_local.settings import StackDir

pytestmark = pytest.mark.e2e

SPELLCHECK = made.SPELLCHECK
FUNCTION = "ras-local-ingest-essays"


@pytest.fixture
def ras(running: Stack, state: StackDir, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:  # noqa: ARG001 (it runs)
    """The command line, on this stack."""
    monkeypatch.setenv("RAS_STATE_DIR", str(state.root))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


@pytest.fixture
def deployment(running: Stack, state: StackDir) -> Iterator[Deployment]:  # noqa: ARG001 (it runs)
    """The running stack; its bucket of dead letters is empty before and after."""
    found = choose(state=state)
    empty(found)
    yield found
    empty(found)


def empty(deployment: Deployment) -> None:
    bucket = deployment.dead_letters
    for entry in bucket.entries(made.EVERY):
        deployment.cloud.s3.delete_object(Bucket=bucket.name, Key=entry.key)


def register(running: Stack, batch_id: str, count: int = 2) -> None:
    value = samples.envelope(
        {"batch_id": batch_id, "user_id": f"user-of-{batch_id}", "expected_essay_count": count}
    )
    publish(
        running.bootstrap_servers, [Event(made.REGISTERED, json.dumps(value).encode(), batch_id.encode())]
    )


def essays(running: Stack, batch_id: str) -> list[str]:
    answer = running.get(f"/internal/v1/batches/{batch_id}/status")
    assert answer.status_code == 200, answer.text
    return [essay["essay_id"] for essay in answer.json()["essays"]]


def answers(running: Stack) -> dict[str, Any]:
    """Every answer on the samples."""
    found = {}
    for batch_id in samples.expected():
        answer = running.get(f"/internal/v1/batches/{batch_id}/status", headers={"X-Correlation-ID": "same"})
        found[batch_id] = (answer.status_code, answer.json())
    for user_id in samples.expected_listing():
        answer = running.get(f"/internal/v1/batches/user/{user_id}", headers={"X-Correlation-ID": "same"})
        found[user_id] = (answer.status_code, answer.json())
    return found


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.2)


def test_a_letter_that_can_be_read_by_now_is_applied(
    running: Stack, deployment: Deployment, ras: Callable[..., Result]
) -> None:
    """Kept by an earlier version: the dry run changes nothing, the replay applies it, its letter is gone."""
    register(running, "replayed")
    stack_file.wait_consumed(running)
    s3, bucket = deployment.cloud.s3, deployment.bucket_name
    made.reject(s3, bucket, made.record(made.result("late", batch_id="replayed"), 1_000_000))
    made.reject(s3, bucket, made.record(b"poison", 1_000_001), "not_json")
    before = made.contents(s3, bucket)
    assert "would replay" in ras("dead-letters", "replay", "--dry-run").stdout
    assert made.contents(s3, bucket) == before
    assert essays(running, "replayed") == []

    output = ras("dead-letters", "replay", "--yes", code=1).stderr

    assert "1 applied, 1 rejected again" in output
    assert essays(running, "replayed") == ["late"]
    [left] = made.letters(deployment.dead_letters)
    assert (left.place.offset, left.replays, left.function) == (1_000_001, 1, FUNCTION)
    assert "1 record rejected" in ras("status").stdout


def test_a_batch_that_was_given_up_is_replayed(
    running: Stack, deployment: Deployment, ras: Callable[..., Result]
) -> None:
    """The function cannot reach its table, the mapping gives up after its retries; mended, a replay applies all."""
    register(running, "given-up")
    stack_file.wait_consumed(running)
    functions = deployment.cloud.functions
    [mapping] = [one for one in deployment.mappings() if one.topic == SPELLCHECK]
    retries = mapping.described["MaximumRetryAttempts"]
    functions.update_event_source_mapping(UUID=mapping.uuid, MaximumRetryAttempts=3)
    settings = functions.get_function_configuration(FunctionName=FUNCTION)["Environment"]["Variables"]
    broken: Any = {"Variables": {**settings, "TABLE_NAME": "missing"}}
    functions.update_function_configuration(FunctionName=FUNCTION, Environment=broken)
    try:
        values = [made.result(f"essay-{n}", batch_id="given-up") for n in range(3)]
        publish(
            running.bootstrap_servers,
            [Event(SPELLCHECK, value, b"given-up") for value in [*values, b"poison"]],
        )
        stack_file.wait_consumed(running)
    finally:
        mended: Any = {"Variables": settings}
        functions.update_function_configuration(FunctionName=FUNCTION, Environment=mended)
        functions.update_event_source_mapping(UUID=mapping.uuid, MaximumRetryAttempts=retries)
    given_up = Filters(kinds=frozenset({Kind.GIVEN_UP}))
    letters = list(made.letters(deployment.dead_letters, given_up))
    assert sorted(letter.value() or b"" for letter in letters) == sorted(values)
    assert essays(running, "given-up") == []

    assert "3 applied" in ras("dead-letters", "replay", "--yes", "--kind", "given-up").stderr

    assert essays(running, "given-up") == ["essay-0", "essay-1", "essay-2"]
    assert [letter.code for letter in made.letters(deployment.dead_letters)] == ["not_json"]


@pytest.mark.on_kafka
def test_through_kafka_poison_comes_back_to_its_letter(
    running: Stack, deployment: Deployment, ras: Callable[..., Result]
) -> None:
    """Published again, rejected again, by the whole path: one letter under its first place, its count raised."""
    headers = (("trace", b"\xff"), ("trace", b"2"))
    publish(running.bootstrap_servers, [Event(SPELLCHECK, b"poison", b"key", headers)])
    stack_file.wait_consumed(running)
    [first] = made.letters(deployment.dead_letters)

    for attempt in (1, 2, 3):
        assert "1 published" in ras("dead-letters", "replay", "--via", "kafka", "--yes").stderr
        stack_file.wait_consumed(running)
        [again] = made.letters(deployment.dead_letters, Filters())
        assert (again.place, again.replays, again.received) == (first.place, attempt, first.received)
    assert "over the limit" in ras("dead-letters", "replay", "--via", "kafka", "--yes", code=1).stderr

    [aside] = made.letters(deployment.dead_letters, Filters(kinds=frozenset({Kind.REPLAYED})))
    assert (aside.place, aside.replays) == (first.place, 3)


@pytest.mark.needs(Lack.MSK)
@pytest.mark.on_kafka
@pytest.mark.timeout(1200)  # on Apache Kafka the topics hold the chaos test's events too
@pytest.mark.parametrize("times", [1, long(3)])
def test_reading_everything_again_changes_no_answer(
    filled: Stack, deployment: Deployment, ras: Callable[..., Result], times: int
) -> None:
    """All groups rewound to the beginning, then all topics handed to the functions, that many times each."""
    before = answers(filled)
    assert before.keys() >= samples.expected().keys()
    for _ in range(times):
        output = ras("replay", "--all-topics", "--from", "beginning", "--yes", "--wait").stderr
        assert "caught up" in output
        assert answers(filled) == before
        output = ras("replay", "--all-topics", "--from", "beginning", "--via", "function", "--yes").stderr
        assert " applied" not in output
        assert answers(filled) == before
    mappings = deployment.mappings()

    assert {mapping.topic for mapping in mappings} == set(TOPICS)
    assert all(mapping.enabled for mapping in mappings)


@pytest.mark.needs(Lack.MSK)
@pytest.mark.on_kafka
def test_a_rewind_begins_at_its_moment(
    running: Stack, deployment: Deployment, state: StackDir, ras: Callable[..., Result]
) -> None:
    """What was published before is not read again, what was published after is; the dry run says how much."""

    def delivered() -> int:
        [entry] = [one for one in stack_file.mappings(state) if one["topic"] == SPELLCHECK]
        total: int = entry["delivered"]
        return total

    publish(running.bootstrap_servers, [Event(SPELLCHECK, None, b"before") for _ in range(5)])
    stack_file.wait_consumed(running)
    time.sleep(0.01)
    since = datetime.now(UTC)
    publish(running.bootstrap_servers, [Event(SPELLCHECK, None, b"after") for _ in range(7)])
    stack_file.wait_consumed(running)
    command = ("replay", "--topic", SPELLCHECK, "--from", since.isoformat())
    assert "7 records would be read again" in ras(*command, "--dry-run").stderr
    assert all(mapping.enabled for mapping in deployment.mappings())

    ras(*command, "--yes", "--wait")
    wait_until(lambda: delivered() == 7)  # counted since the mapping was enabled again

    log = TopicLog(deployment.brokers(), SPELLCHECK)
    found = log.positions_at(milliseconds(since))
    ends = {number: held.high for number, held in log.bounds().items()}
    assert sum(ends[number] - found[number] for number in found) == 7


@pytest.mark.on_kafka
def test_moments_are_found_as_by_reading(filled: Stack, deployment: Deployment) -> None:
    """Whichever broker it is, the offsets of a moment are those of the first record that is not older."""
    log = TopicLog(deployment.brokers(), SPELLCHECK)
    bounds = log.bounds()
    starts = {number: held.low for number, held in bounds.items()}
    ends = {number: held.high for number, held in bounds.items()}
    records = [
        (message.partition(), message.offset(), message.timestamp()[1]) for message in log.read(starts, ends)
    ]
    assert filled
    for moment in sorted({stamp for _, _, stamp in records})[:: max(1, len(records) // 10)]:
        wanted = dict(ends)
        for partition, offset, stamp in records:
            if stamp >= moment and partition is not None and offset is not None:
                wanted[partition] = min(wanted[partition], offset)

        assert log.positions_at(moment) == wanted
