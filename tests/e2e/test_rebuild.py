"""The view rebuilt into a new table while it is asked all the time, on a stack of its own: it changes what is deployed."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from ras import stack_file
from ras.cli import main
from ras.deployment import choose
from ras.kafka.publish import Event, publish
from ras.rebuild.rebuild import Fill, read_tables
from ras_local import stack as stacks
from ras_local.settings import StackDir
from result_aggregator.domain import registers, table_layout

from tests import samples
from tests.e2e.conftest import ended_by_the_emulator
from tests.ops import made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result
    from ras.stack_file import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.usefixtures("embedded_emulator")]

FILES = ("platform_2025_06", "platform_2026_02")
LIVE = "asked-meanwhile"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> StackDir:
    return StackDir(tmp_path_factory.mktemp("rebuilt-stack"))


@pytest.fixture(scope="module")
def own(state: StackDir) -> Iterator[Stack]:
    """A stack that has consumed sample events."""
    try:
        started = stacks.up(state)
        for name in FILES:
            publish(started.bootstrap_servers, samples.publishable(name))
        stack_file.wait_consumed(started)
        yield started
    finally:
        stacks.down(state)


@pytest.fixture
def ras(own: Stack, state: StackDir, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:  # noqa: ARG001 (it runs)
    monkeypatch.setenv("RAS_STATE_DIR", str(state.root))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["rebuild", *arguments])
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


def answers(stack: Stack) -> dict[str, Any]:
    """Every answer on the samples."""
    asked = [f"/internal/v1/batches/{batch_id}/status" for batch_id in samples.expected(*FILES)]
    asked += [f"/internal/v1/batches/user/{user_id}" for user_id in samples.expected_listing()]
    found = {}
    for path in asked:
        answer = stack.get(path, headers={"X-Correlation-ID": "same"})
        found[path] = (answer.status_code, answer.json())
    return found


class Life:
    """Events that come in and questions that are asked, all the time, until it is told to end.

    No question fails, but for those that the emulator drops, and essays only ever become more, but for `going_back`: in the
    older table an event arrives last, so an answer may show less than the one before, for a moment.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.published = 0
        self.answered = 0
        self.dropped = 0
        self.problems: list[str] = []
        self.ever: set[str] = set()
        """Every essay that was in an answer."""
        self._ways = 0  # odd: on the way back
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(each,)) for each in (self._publish, self._ask)
        ]

    def __enter__(self) -> Life:
        registration = samples.envelope({"batch_id": LIVE, "user_id": "u", "expected_essay_count": 9999})
        self._send(made.REGISTERED, json.dumps(registration).encode())
        stack_file.wait_consumed(self.stack)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def going_back(self) -> Iterator[None]:
        """Answers to questions that are asked in here may show less than those before."""
        self._ways += 1
        yield
        self._ways += 1

    @property
    def hardly_any_dropped(self) -> bool:
        """Few beside the answers, or one for every time that a function is deployed otherwise."""
        return self.dropped <= max(5, self.answered / 20)

    def goes_on(self) -> None:
        """Wait for some more events and answers."""
        published, answered = self.published + 5, self.answered + 20
        while self.published < published or self.answered < answered:
            assert all(thread.is_alive() for thread in self._threads), self.problems
            assert self.hardly_any_dropped, (self.dropped, self.answered)
            self._stopping.wait(0.05)

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            self.problems.append(repr(error))

    def _send(self, topic: str, value: bytes) -> None:
        publish(self.stack.bootstrap_servers, [Event(topic, value, LIVE.encode())])

    def _publish(self) -> None:
        while not self._stopping.wait(0.1):
            self._send(made.SPELLCHECK, made.result(f"e{self.published:05}", batch_id=LIVE))
            self.published += 1

    def _ask(self) -> None:
        seen: set[str] = set()
        while not self._stopping.wait(0.02):
            ways = self._ways
            answer = self.stack.get(f"/internal/v1/batches/{LIVE}/status")
            if ended_by_the_emulator(answer):
                self.dropped += 1
                continue
            self.answered += 1
            if answer.status_code != 200:
                self.problems.append(f"{answer.status_code} {answer.text[:200]}")
                continue
            essays = {essay["essay_id"] for essay in answer.json()["essays"]}
            self.ever |= essays
            if ways % 2 or ways != self._ways:
                seen = set()  # only what comes after it is never less
            if lost := seen - essays:
                self.problems.append(f"{len(lost)} essays were there before")
            seen |= essays


def test_a_rebuild_is_never_noticed(
    own: Stack, state: StackDir, ras: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, rebuilt and switched, back, forth again, the old table given up: every answer is right.

    None is ever less than one before, but for a moment on the way back.
    """
    before = answers(own)
    deployment = choose(state=state)
    old = read_tables(deployment).live
    # What a bug once wrote under the right version: no replay mends that, a rebuild does.
    batch_id = next(iter(samples.expected(*FILES)))
    broken = table_layout.batch_key(batch_id)
    dynamodb = deployment.cloud.dynamodb
    key: Any = {"pk": {"S": broken.pk}, "sk": {"S": broken.sk}}
    item = dynamodb.get_item(TableName=old.name, Key=key)["Item"]
    name = table_layout.attribute_of(table_layout.ESSAY_COUNT)
    count = item[name]["S"]
    dynamodb.put_item(
        TableName=old.name, Item={**item, name: {"S": count[: registers.payload_at(count)] + "99999"}}
    )
    assert answers(own) != before
    assert "records would be handed over" in ras("--dry-run").stderr

    with Life(own) as life:
        with monkeypatch.context() as stopped:
            topics = iter(range(3))
            hand_over = Fill.hand_over

            def interrupted(*arguments: Any) -> Any:
                if next(topics, None) is None:
                    raise KeyboardInterrupt
                return hand_over(*arguments)

            stopped.setattr(Fill, "hand_over", interrupted)
            ras("--yes", code=130)
        begun = read_tables(deployment)
        told = ras("--yes").stderr
        rebuilt = answers(own)
        switched = read_tables(deployment)
        life.goes_on()
        with life.going_back():
            back = ras("--back", "--yes").stderr
        returned = read_tables(deployment)
        life.goes_on()
        again = ras("--yes").stderr
        life.goes_on()
        ras("--finish", "--yes")
    stack_file.wait_consumed(own)

    assert life.problems == []
    assert life.hardly_any_dropped, (life.dropped, life.answered)
    assert (begun.live, begun.in_step) == (old, True)
    assert "deploying: a second table" not in told
    assert "1 read otherwise" in told
    assert "items of generation 2, in generation 1: " in back
    assert "missing or older" not in back
    assert "handed over" not in again
    assert rebuilt == before
    assert (switched.live.generation, switched.second, switched.in_step) == (2, old, True)
    assert returned.live == old
    alone = read_tables(deployment)
    assert (alone.live, alone.second) == (switched.live, None)
    assert stack_file.load(state).table_name == switched.live.name
    assert dynamodb.list_tables()["TableNames"] == [switched.live.name]
    assert answers(own) == before
    essays = own.get(f"/internal/v1/batches/{LIVE}/status").json()["essays"]
    assert len(essays) == life.published
    assert life.ever <= {essay["essay_id"] for essay in essays}
    assert deployment.dead_letters.counts().total() == 0
