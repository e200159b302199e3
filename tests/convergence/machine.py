"""Histories as a state machine: Hypothesis chooses the steps, and shrinks those that break a law."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.convergence.strategies import BATCHES, deliveries, publications, replays
from tests.convergence.world import World

if TYPE_CHECKING:
    from result_aggregator.store.dynamodb_client import DynamoDB

    from tests.convergence.faults import FaultyTransport
    from tests.convergence.world import Step


class Histories(RuleBasedStateMachine):
    """One history. The class is given a table to run on (`on`)."""

    dynamodb: ClassVar[DynamoDB]
    session: ClassVar[FaultyTransport]
    tables: ClassVar[tuple[str, str]]
    names: ClassVar[count[int]]
    finished: ClassVar[list[World]]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.dynamodb, self.session, self.tables, f"h{next(self.names)}-{os.getpid()}")

    def run_step(self, step: Step) -> None:
        try:
            self.world.run(step)
        except BaseException as error:
            error.add_note(
                f"the history is in {written(self.world.steps)}; run it with `make history FILE=…`"
            )
            raise

    @initialize(steps=st.lists(publications(), min_size=10, max_size=40))
    def begin(self, steps: list[Step]) -> None:
        """Some events are there before anything is delivered."""
        for step in steps:
            self.run_step(step)

    @rule(step=publications())
    def publish(self, step: Step) -> None:
        self.run_step(step)

    @rule(data=st.data())
    def publish_again(self, data: st.DataObject) -> None:
        """A producer sends the same event twice: two records, one event."""
        published = [step for step in self.world.steps if step["do"] == "publish"]
        self.run_step(data.draw(st.sampled_from(published)))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self.run_step(data.draw(deliveries(len(self.world.records))))

    @rule(batch=st.sampled_from(BATCHES))
    def look(self, batch: str) -> None:
        self.world.look(batch[1:])

    @precondition(lambda self: len(self.world.steps) > 20)
    @rule(step=replays)
    def replay(self, step: Step) -> None:
        self.run_step(step)

    @precondition(lambda self: len(self.world.steps) > 20)
    @rule()
    def rebuild(self) -> None:
        self.run_step({"do": "rebuild"})

    @rule()
    def check(self) -> None:
        self.run_step({"do": "check"})

    def teardown(self) -> None:
        if self.world.steps:
            self.run_step({"do": "check"})
            self.run_step({"do": "replay", "seed": len(self.world.steps), "size": 17})
            self.run_step({"do": "check"})
            self.finished.append(self.world)


# One count for the process: machines share tables.
_numbers = count()


def no_outcomes() -> Counter[str]:
    """The start of a sum of outcomes."""
    return Counter()


def on(dynamodb: DynamoDB, session: FaultyTransport, tables: tuple[str, str]) -> type[Histories]:
    """The machine over a table, and another one for rebuilding."""

    class Machine(Histories):
        pass

    Machine.dynamodb, Machine.session, Machine.tables = dynamodb, session, tables
    Machine.names, Machine.finished = _numbers, []
    return Machine


def written(steps: list[Step]) -> Path:
    """A history in a file, one step a line."""
    folder = Path(tempfile.gettempdir()) / "ras-histories"
    folder.mkdir(exist_ok=True)
    file = folder / f"history-{os.getpid()}.jsonl"
    file.write_text("".join(json.dumps(step) + "\n" for step in steps))
    return file
