"""A good event of every topic in every dialect: what is spoilt, and what must get through beside it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from unittest.mock import patch

from pydantic import BaseModel
from result_aggregator.contracts import Ignored, read
from result_aggregator.contracts.fields import Contract
from result_aggregator.domain import events
from result_aggregator.topics import TOPICS

from tests import samples

# As the broker stamps every record that `samples.record` makes.
BROKER_TIME_MS = samples.record("", None)["timestamp"]


class Good(NamedTuple):
    """An event that the view has a use for."""

    name: str
    topic: str
    value: dict[str, Any]

    def event(self) -> events.AnyEvent:
        """What it is read as."""
        found = read(self.topic, json.dumps(self.value).encode(), BROKER_TIME_MS)
        assert not isinstance(found, Ignored), self
        return found

    def of(self, batch_id: str) -> dict[str, Any]:
        """The same event of another batch."""
        own = self.event().batch_id
        assert own is not None
        renamed: dict[str, Any] = _replaced(self.value, own, batch_id)
        return renamed

    def essay_id(self) -> str | None:
        """The essay it is about, the first one of a ranking; None where it is about a batch."""
        event = self.event()
        if isinstance(event, events.EssaysRanked):
            return event.entries[0].essay_id
        return getattr(event, "essay_id", None)

    def contract(self) -> type[BaseModel]:
        """The model that its reader holds `data` against."""
        used: list[type[BaseModel]] = []

        def validate(model: type[BaseModel], data: Any) -> BaseModel:
            used.append(model)
            return BaseModel.model_validate.__func__(model, data)  # type: ignore[attr-defined,no-any-return] # a classmethod's function

        with patch.object(Contract, "model_validate", classmethod(validate)):
            self.event()
        [model] = used
        return model


def _replaced(value: Any, old: str, new: str) -> Any:
    match value:
        case dict():
            return {name: _replaced(inner, old, new) for name, inner in value.items()}
        case list():
            return [_replaced(inner, old, new) for inner in value]
    return new if value == old else value


def _all() -> list[Good]:
    found: dict[tuple[str, str], Good] = {}
    for dialect in samples.FILES:
        for line in samples.events(dialect):
            event = read(line.topic, line.encoded(), BROKER_TIME_MS)
            # What names no batch has none that a test could look into.
            is_good = not isinstance(event, Ignored) and event.batch_id is not None
            if (dialect, line.topic) not in found and is_good:
                name = f"{line.topic.removeprefix('huleedu.')}-{dialect}"
                found[dialect, line.topic] = Good(name, line.topic, line.value)
    shown = {topic for _, topic in found}
    # Topics that no sample shows are results of phases to come.
    made = {"batch_id": "batch", "essay_id": "essay", "status": "COMPLETED"}
    later = [
        Good(f"{topic.removeprefix('huleedu.')}-made", topic, samples.envelope(made))
        for topic in TOPICS
        if topic not in shown
    ]
    return [*found.values(), *later]


GOOD = _all()

ONE_A_TOPIC = list({good.topic: good for good in GOOD}.values())
"""In its latest dialect."""

assert {good.topic for good in ONE_A_TOPIC} == TOPICS.keys()
