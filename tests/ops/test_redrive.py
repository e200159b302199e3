"""Re-driving a topic through its function: nothing is skipped, whenever it stops, and no answer changes."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from ras.checkpoints import FolderCheckpoints
from ras.errors import OperatorError
from ras.invoke import BATCH_RECORDS, FunctionFailedError
from ras.kafka.msk_iam import Brokers
from ras.kafka.publish import Event, publish
from ras.replay.redrive import NOTE_EVERY_S, PAUSES_S, Run, again, prepare, redrive
from result_aggregator.topics import TOPICS

from tests import samples
from tests.clock import Time
from tests.ops import brokers as kafka
from tests.ops import made
from tests.real_servers import KAFKA, running_broker, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.handlers.conftest import Service

FILES = ("platform_2025_06", "platform_2026_02")


@pytest.fixture
def consumed(topic: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty topic that a function consumes."""
    monkeypatch.setitem(TOPICS, topic, TOPICS[made.SPELLCHECK])
    return topic


class Function:
    """A function that notes what it is given, and says of each record what a rule says."""

    def __init__(self, rule: Callable[[int], str] = lambda _: "applied") -> None:
        self.rule = rule
        self.given: list[tuple[str, int]] = []

    def __call__(self, _: str, event: dict[str, Any]) -> dict[str, Any]:
        items = [(lane, one["offset"]) for lane, batch in event["records"].items() for one in batch]
        self.given += items
        return {
            "outcomes": [
                {"partition": lane, "offset": offset, "outcome": self.rule(offset), "reason": "why"}
                for lane, offset in items
            ]
        }


def run(
    brokers: Brokers, topic: str, folder: Path, start: int = 0, end: int | None = None, **more: bool
) -> Run:
    return prepare(brokers, topic, from_ms=start, to_ms=end, notes=FolderCheckpoints(folder), **more)


def test_a_stretch_is_handed_over(brokers: Brokers, consumed: str, tmp_path: Path) -> None:
    """From the first moment up to, not including, the last; progress adds up, and no note is left."""
    kafka.fill(brokers, consumed, {0: [1000, 2000, 3000], 1: [500, 2500]})
    function, progress = Function(), list[int]()
    one = run(brokers, consumed, tmp_path, 1000, 3000)
    assert one.left == 3

    counts = redrive(one, brokers, function, on_progress=progress.append)

    assert sorted(function.given) == [(f"{consumed}-0", 0), (f"{consumed}-0", 1), (f"{consumed}-1", 1)]
    assert counts == {"applied": 3}
    assert sum(progress) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=["embedded", server(KAFKA)])
def either(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, brokers: Brokers, consumed: str
) -> Iterator[Brokers]:
    """A broker of each kind that has the topic `consumed`."""
    if request.param != KAFKA:
        yield brokers
        return
    with running_broker(KAFKA, tmp_path_factory.mktemp("kafka"), [consumed], 4) as bootstrap_servers:
        yield Brokers(bootstrap_servers)


def test_the_records_of_a_window_are_those_stamped_in_it(
    either: Brokers, consumed: str, tmp_path: Path
) -> None:
    """Producers stamp their records, so timestamps do not follow offsets: late ones lie behind the window's end."""
    hours = [10.0, 12.0, 9.5, 10.5, 11.0, 13.0, 11.25]
    kafka.fill(either, consumed, {0: [round(hour * 3_600_000) for hour in hours], 1: [1, 50_000_000]})
    function, progress = Function(), list[int]()
    one = run(either, consumed, tmp_path, 36_000_000, 41_400_000)  # 10:00 to 11:30

    assert (one.left, one.outside) == (4, 3)

    counts = redrive(one, either, function, on_progress=progress.append)

    assert function.given == [(f"{consumed}-0", offset) for offset in (0, 3, 4, 6)]
    assert counts == {"applied": 4}
    assert sum(progress) == 4


def test_a_stopped_run_over_a_window_goes_on_with_what_is_left_of_it(
    brokers: Brokers, consumed: str, tmp_path: Path
) -> None:
    """Records outside the window count for nothing, and what is stamped into it meanwhile is the mapping's business."""
    kafka.fill(brokers, consumed, {0: [5000, 1, 9000] * 100})
    given: list[tuple[str, int]] = []
    for stops in (True, False):
        function = Function()

        def invoke(
            folder: str, event: dict[str, Any], *, stops: bool = stops, to: Function = function
        ) -> Any:
            if stops and to.given:
                raise KeyboardInterrupt
            return to(folder, event)

        one = run(brokers, consumed, tmp_path, 4000, 6000)
        assert one.resumed is not stops
        assert one.left == 100 - len(given)
        with contextlib.suppress(KeyboardInterrupt):
            redrive(one, brokers, invoke)
        given += function.given
        kafka.fill(brokers, consumed, {0: [5000]})

    assert 0 < len(function.given) < 100
    assert given == [(f"{consumed}-0", offset) for offset in range(0, 300, 3)]
    assert one.counts == {"applied": 100}


def test_a_note_of_a_window_that_was_taken_for_a_stretch_is_not_taken(
    brokers: Brokers, consumed: str, tmp_path: Path
) -> None:
    """Earlier versions noted the offset at which they took the window to end: the records behind it were left out."""
    kafka.fill(brokers, consumed, {0: [10, 30, 20]})
    notes = FolderCheckpoints(tmp_path)
    run(brokers, consumed, tmp_path, 10, 25).save()
    (written,) = tmp_path.glob("*.json")
    notes.write(written.stem, {"next": {"0": 1}, "end": {"0": 1}, "counts": {"applied": 1}, "failed": []})
    one = run(brokers, consumed, tmp_path, 10, 25)

    assert not one.resumed
    assert one.left == 2


def test_preparing_writes_nothing(brokers: Brokers, consumed: str, tmp_path: Path) -> None:
    """That is all that --dry-run does."""
    kafka.fill(brokers, consumed, {0: [1, 2]})
    run(brokers, consumed, tmp_path / "replays")

    assert list(tmp_path.iterdir()) == []


def test_a_stopped_run_goes_on_where_it_was(brokers: Brokers, consumed: str, tmp_path: Path) -> None:
    """Stopped at every invocation: each record is handed over, none but the interrupted ones twice."""
    numbers = {partition: list(range(1, 91)) for partition in range(4)}
    kafka.fill(brokers, consumed, numbers)
    function, stops = Function(), 0
    while True:
        calls = iter(range(1))

        def invoke(folder: str, event: dict[str, Any], calls: Any = calls) -> dict[str, Any]:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return function(folder, event)

        one = run(brokers, consumed, tmp_path)
        assert one.resumed is (stops > 0)
        try:
            counts = redrive(one, brokers, invoke)
        except KeyboardInterrupt:
            stops += 1
            kafka.fill(brokers, consumed, {0: [1]})  # new records are the mapping's business
        else:
            break

    assert stops == 3
    assert sorted(function.given) == [(f"{consumed}-{p}", n) for p in numbers for n in range(90)]
    assert counts == {"applied": 360}


class Written(FolderCheckpoints):
    """Checkpoints of which it is kept how far each said that the run was."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.offsets: list[int] = []

    def write(self, name: str, content: Any) -> None:
        super().write(name, content)
        self.offsets.append(content["next"][0])


def test_a_run_is_noted_now_and_then(brokers: Brokers, consumed: str, tmp_path: Path) -> None:
    """Once it has begun, every few seconds from then on, and where it stops; not after each invocation."""
    kafka.fill(brokers, consumed, {0: list(range(1, 10 * BATCH_RECORDS + 1))})
    time, notes, function = Time(), Written(tmp_path), Function()
    seconds = iter([1, 1, 1, NOTE_EVERY_S, 1, 1, 1])

    def invoke(folder: str, event: dict[str, Any]) -> dict[str, Any]:
        if not (took := next(seconds, 0)):
            raise KeyboardInterrupt
        time.sleep(took)
        return function(folder, event)

    with pytest.raises(KeyboardInterrupt):
        redrive(
            prepare(brokers, consumed, from_ms=0, to_ms=None, notes=notes), brokers, invoke, clock=time.clock
        )

    assert notes.offsets == [BATCH_RECORDS * number for number in (1, 4, 7)]


def test_why_a_run_stopped_is_told_where_nothing_can_be_noted(
    brokers: Brokers, consumed: str, tmp_path: Path
) -> None:
    """As credentials that have expired take the bucket, too."""
    kafka.fill(brokers, consumed, {0: list(range(1, 3 * BATCH_RECORDS + 1))})
    calls = iter(["", "", "the function is out of reach"])

    class Full(Written):
        def write(self, name: str, content: Any) -> None:
            if self.offsets:
                raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "no note"}}, "PutObject")
            super().write(name, content)

    def invoke(folder: str, event: dict[str, Any]) -> dict[str, Any]:
        if why := next(calls):
            raise OperatorError(why)
        return Function()(folder, event)

    notes = Full(tmp_path)
    with pytest.raises(OperatorError, match="out of reach"):
        redrive(prepare(brokers, consumed, from_ms=0, to_ms=None, notes=notes), brokers, invoke)
    assert notes.offsets == [BATCH_RECORDS]


def test_a_run_can_begin_anew(brokers: Brokers, consumed: str, tmp_path: Path) -> None:
    """--restart forgets where the last one was; so does another moment, or an unreadable note."""
    kafka.fill(brokers, consumed, {0: list(range(1, 151))})
    stopped = run(brokers, consumed, tmp_path)
    stopped.next[0] = 100
    stopped.save()

    assert run(brokers, consumed, tmp_path).left == 50
    assert run(brokers, consumed, tmp_path, restart=True).left == 150
    assert run(brokers, consumed, tmp_path, 1).left == 150
    (tmp_path / f"{stopped.name}.json").write_text("{")
    assert run(brokers, consumed, tmp_path).left == 150


def test_a_note_on_a_topic_of_the_same_name_is_not_taken(
    brokers: Brokers, consumed: str, tmp_path: Path
) -> None:
    """A topic that was made anew counts from zero: what the former one's note goes beyond is not in it."""
    kafka.fill(brokers, consumed, {0: list(range(1, 41))})
    former = run(brokers, consumed, tmp_path)
    former.next[0], former.end[0] = 10, 50
    former.save()

    new = run(brokers, consumed, tmp_path)

    assert (new.resumed, new.left) == (False, 40)


def test_records_that_broke_the_function_are_handed_over_again(
    brokers: Brokers, consumed: str, tmp_path: Path
) -> None:
    """With what lies between them, partition by partition; stopped in between, it goes on there."""
    kafka.fill(brokers, consumed, {0: list(range(1, 151)), 1: [1, 2, 3]})
    failed = [(f"{consumed}/{partition}/{offset}", "why") for partition, offset in ((0, 7), (0, 140), (1, 1))]
    function, stops = Function(), iter(range(1))

    def invoke(folder: str, event: dict[str, Any]) -> dict[str, Any]:
        if len(function.given) >= 100 and next(stops, None) is not None:
            raise KeyboardInterrupt
        return function(folder, event)

    with pytest.raises(KeyboardInterrupt):
        redrive(again(consumed, failed, FolderCheckpoints(tmp_path)), brokers, invoke)
    rest = again(consumed, failed, FolderCheckpoints(tmp_path))
    assert (rest.resumed, rest.left) == (True, 35)

    assert redrive(rest, brokers, invoke) == {"applied": 135}
    assert sorted(function.given) == [*((f"{consumed}-0", n) for n in range(7, 141)), (f"{consumed}-1", 1)]


def test_what_is_handed_back_is_tried_again(brokers: Brokers, consumed: str, tmp_path: Path) -> None:
    """After a pause, and those records alone."""
    kafka.fill(brokers, consumed, {0: [1, 2, 3]})
    tries = iter(["applied", "handed_back", "applied", "applied"])
    function, pauses = Function(lambda _: next(tries)), list[float]()
    counts = redrive(run(brokers, consumed, tmp_path), brokers, function, wait=pauses.append)

    assert [offset for _, offset in function.given] == [0, 1, 2, 1]
    assert (counts, pauses) == ({"applied": 3}, [1.0])


def test_a_run_stops_where_everything_is_handed_back(brokers: Brokers, consumed: str, tmp_path: Path) -> None:
    """And goes on there once the table answers again."""
    kafka.fill(brokers, consumed, {0: [1, 2]})
    function, pauses = Function(lambda _: "handed_back"), list[float]()
    with pytest.raises(OperatorError, match="2 records are handed back again and again: why"):
        redrive(run(brokers, consumed, tmp_path), brokers, function, wait=pauses.append)
    assert tuple(pauses) == PAUSES_S

    function.rule = lambda _: "applied"
    assert redrive(run(brokers, consumed, tmp_path), brokers, function) == {"applied": 2}


def test_the_record_that_breaks_the_function_is_told(brokers: Brokers, consumed: str, tmp_path: Path) -> None:
    """The others are applied, and the run goes on."""
    kafka.fill(brokers, consumed, {0: [1, 2, 3]})
    function = Function()

    def invoke(folder: str, event: dict[str, Any]) -> dict[str, Any]:
        if any(one["offset"] == 1 for batch in event["records"].values() for one in batch):
            raise FunctionFailedError("out of memory")
        return function(folder, event)

    one = run(brokers, consumed, tmp_path)

    assert redrive(one, brokers, invoke) == {"applied": 2, "failed": 1}
    assert one.failed == [(f"{consumed}/0/1", "out of memory")]


def test_replaying_whole_topics_changes_no_answer(service: Service, brokers: Brokers, tmp_path: Path) -> None:
    """All topics with samples and poison, handed over twice: the answers are those of the first time."""
    lines = samples.events(*FILES)
    events = [Event(line.topic, line.encoded(), line.key.encode()) for line in lines]
    poison = Event(made.SPELLCHECK, b"poison", b"k")
    begun = time.time_ns() // 1_000_000  # other tests have published to these topics before
    publish(brokers.bootstrap_servers, [*events, poison])

    def everything() -> tuple[dict[str, int], dict[str, Any], dict[str, Any]]:
        total: Counter[str] = Counter()
        for topic in {event.topic for event in events}:
            total += redrive(run(brokers, topic, tmp_path, begun), brokers, service.invoke)
        route = "/internal/v1/batches/{batch_id}/status"
        answers = {batch: service.get(route, batch_id=batch)["body"] for batch in samples.expected(*FILES)}
        kept = made.contents(service.s3, service.bucket)
        return dict(total), answers, {key: {**json.loads(body), "kept": None} for key, body in kept.items()}

    first, second, third = everything(), everything(), everything()

    assert first[0]["applied"] > 0
    assert "applied" not in second[0]
    assert sum(second[0].values()) == len(lines) + 1
    assert second[1:] == first[1:]
    assert third == second
    for batch_id, expectation in samples.expected(*FILES).items():
        assert samples.differences(first[1][batch_id], expectation) == []
