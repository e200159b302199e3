"""The service, and deliveries in which every bad record has good neighbours."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator import settings
from result_aggregator.dead_letter_key import object_key, record_digest
from result_aggregator.names import ENV_TABLE_NAME, REJECTED_PREFIX
from result_aggregator.store.view_store import ViewStore
from result_aggregator.topics import TOPICS

from tests.handlers.conftest import Logs, Service, dynamodb_url, logs, service
from tests.samples import msk_event, record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.bad_input.good import Good
    from tests.bad_input.spoilt import Spoilt

__all__ = ["dynamodb_url", "logs", "service"]


class Deliveries:
    """Invocations of a topic's function."""

    def __init__(self, service: Service, logs: Logs) -> None:
        self.service = service
        self._logs = logs

    def invoke(self, topic: str, records: list[dict[str, Any]]) -> dict[str, int]:
        """Invoke the topic's function with records; what became of how many, as its closing line says.

        Nothing is handed back, and the counts add up.
        """
        self._logs.take()
        answer = self.service.invoke(TOPICS[topic].function, msk_event(records))
        assert answer == {"batchItemFailures": []}
        return self.counts(len(records))

    def counts(self, received: int) -> dict[str, int]:
        """The counts above zero of the closing line since it was last asked for; they add up to `received`."""
        lines, _ = self._logs.take()
        [closing] = [line for line in lines if line["message"] == "ingested"]
        outcomes = ("applied", "duplicate", "stale", "ignored", "rejected", "handed_back")
        assert closing["received"] == received
        assert sum(closing[outcome] for outcome in outcomes) == received
        return {outcome: closing[outcome] for outcome in outcomes if closing[outcome]}

    def stored(self, batch_id: str) -> list[dict[str, Any]]:
        """The batch's items, without the key that names it."""
        view = ViewStore(settings.text(ENV_TABLE_NAME))
        return [
            {name: value for name, value in item.items() if name != "pk"}
            for item in view.read_partition(batch_id)
        ]

    def reject(self, good: Good, bad: Iterable[Spoilt]) -> None:
        """Deliver bad values in one invocation, good events among them, and hold what becomes of all.

        Every bad one lies in the dead-letter store under its place, with its code, its path and its bytes; nothing of
        it is in the view; every neighbour is.
        """
        spoilt = list(bad)
        assert len({one.name for one in spoilt}) == len(spoilt) > 0
        neighbours = ["good-before", "good-amid", "good-after"]
        values: list[Any] = [one.value for one in spoilt]
        for name, at in zip(neighbours, (0, len(values) // 2 + 1, len(values) + 2), strict=True):
            values.insert(at, good.of(name))
        records = [record(good.topic, value, offset) for offset, value in enumerate(values)]
        counts = self.invoke(good.topic, records)
        letters = self.service.dead_letters()
        offsets = [offset for offset, value in enumerate(values) if isinstance(value, bytes)]
        places = [
            object_key(REJECTED_PREFIX, good.topic, 0, offset, record_digest(records[offset]))
            for offset in offsets
        ]
        found = {
            one.name: (letters[place]["reason"]["code"], _paths(letters[place]))
            for one, place in zip(spoilt, places, strict=True)
            if place in letters
        }
        # The path that is wanted, or all that were found: so a failure shows them.
        shown = {
            one.name: (found[one.name][0], one.path if one.path in found[one.name][1] else found[one.name][1])
            for one in spoilt
            if one.name in found
        }

        assert shown == {one.name: (one.code, one.path) for one in spoilt}
        assert sorted(letters) == sorted(places)
        for one, place in zip(spoilt, places, strict=True):
            assert b64decode(letters[place]["value"]) == one.value, one.name
        assert counts == {"applied": len(neighbours), "rejected": len(spoilt)}
        assert [name for name in neighbours if not self.stored(name)] == []
        assert self.stored("bad") == []


def _paths(letter: dict[str, Any]) -> list[str]:
    return [problem["path"] for problem in letter["reason"]["problems"]]


@pytest.fixture
def deliveries(service: Service, logs: Logs) -> Deliveries:
    return Deliveries(service, logs)
