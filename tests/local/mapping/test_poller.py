"""Which mappings run, and what is reported of them."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ras.kafka.publish import publish
from ras_local.mapping import Gate, MappingSettings, MappingsUnknownError, Poller, RunningMapping, Succeeded

from tests.local.mapping.bench import PARTITIONS, events, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

DESCRIBED = {
    "UUID": "uuid",
    "Topics": ["t"],
    "FunctionArn": "arn:aws:lambda:eu-north-1:000000000000:function:f",
}


def unused(_: MappingSettings) -> RunningMapping:
    raise AssertionError("it was started")


def first_word_on(described: dict[str, Any]) -> dict[str, Any]:
    """What a poller reports of the only mapping that there is, after it has looked once."""
    told: list[list[dict[str, Any]]] = []
    stopping = threading.Event()

    def report(status: list[dict[str, Any]]) -> None:
        told.append(status)
        stopping.set()

    Poller(lambda: [MappingSettings.from_api(described)], unused, report=report).run(stopping)
    [status] = told[0]
    return status


def test_a_mapping_that_lambda_would_refuse_is_not_polled_and_says_why() -> None:
    """Filtering, Kafka destination: Lambda refuses these when a mapping is made; an emulator takes anything."""
    refused = {**DESCRIBED, "FilterCriteria": {"Filters": [{"Pattern": "{"}]}}
    status = first_word_on(refused)

    assert (status["state"], status["mode"], status["read"]) == ("refused", "on-demand", 0)
    assert "not JSON" in status["problem"]


def test_a_disabled_mapping_is_shown() -> None:
    """Otherwise it looks as if there were no such topic, and nobody learns why its records wait."""
    disabled = {
        **DESCRIBED,
        "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"},
        "State": "Disabled",
    }
    status = first_word_on(disabled)

    assert (status["topic"], status["state"], status["problem"]) == (
        "t",
        "disabled",
        "group g does not read",
    )


@dataclass
class Room:
    """A poller in a thread, of mappings that a test may change at any time."""

    bootstrap_servers: str
    mappings: list[MappingSettings] = field(default_factory=list)
    away: bool = False
    started: list[MappingSettings] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    def listed(self) -> list[MappingSettings]:
        if self.away:
            raise MappingsUnknownError("not now")
        return list(self.mappings)

    def build(self, settings: MappingSettings) -> RunningMapping:
        self.started.append(settings)
        return RunningMapping(
            settings,
            self.bootstrap_servers,
            invoke=lambda _: Succeeded(),
            destination=lambda _: None,
            gate=Gate(1),
        )

    def report(self, entries: list[dict[str, Any]]) -> None:
        self.told = entries

    @property
    def states(self) -> dict[str, str]:
        return {entry["uuid"]: entry["state"] for entry in self.told}

    @contextmanager
    def open(self) -> Iterator[Room]:
        stopping = threading.Event()
        poller = Poller(self.listed, self.build, report=self.report, refresh_s=0.1)
        thread = threading.Thread(target=poller.run, args=[stopping])
        thread.start()
        try:
            yield self
        finally:
            stopping.set()
            thread.join(30)
        assert not thread.is_alive()


def test_mappings_are_started_replaced_and_stopped_as_they_are_listed(
    bootstrap_servers: str, topic: str
) -> None:
    """One whose settings have changed starts anew, from its group's commits; one that is gone stops."""
    first = MappingSettings("one", topic, "f", consumer_group_id=f"group-{topic}", window_s=0)
    publish(bootstrap_servers, events(topic, 9))
    with Room(bootstrap_servers, [first]).open() as room:
        until(lambda: any(entry["delivered"] == 9 for entry in room.told), "the first records")
        [entry] = room.told
        assert (entry["state"], entry["partitions"]) == ("polling", list(range(PARTITIONS)))

        room.mappings = [replace(first, batch_size=2)]
        until(lambda: len(room.started) == 2, "it is replaced")
        publish(bootstrap_servers, events(topic, 5))
        until(lambda: any(entry["delivered"] == 5 for entry in room.told), "the others, by another mapping")
        assert [settings.batch_size for settings in room.started] == [100, 2]

        room.mappings = [replace(first, enabled=False)]
        until(lambda: room.states == {"one": "disabled"}, "disabled")
        room.mappings = []
        until(lambda: room.states == {}, "gone")


def test_mappings_that_cannot_be_listed_go_on(
    bootstrap_servers: str, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Lambda's API may be away for a moment; it is logged once, and so is its return."""
    caplog.set_level("INFO")
    settings = MappingSettings("one", topic, "f", consumer_group_id=f"group-{topic}", window_s=0)
    with Room(bootstrap_servers, [settings]).open() as room:
        until(lambda: room.states == {"one": "polling"}, "it reads")
        room.away = True
        publish(bootstrap_servers, events(topic, 3))
        until(lambda: any(entry["delivered"] == 3 for entry in room.told), "what came meanwhile")
        until(lambda: "cannot be read" in caplog.text, "it is logged")
        room.away = False
        until(lambda: "can be read again" in caplog.text, "and that it is over")

    assert caplog.text.count("the mappings cannot be read, those known go on: not now") == 1
    assert room.started == [settings]


def test_a_refused_mapping_is_polled_once_it_is_mended(bootstrap_servers: str, topic: str) -> None:
    right = MappingSettings("one", topic, "f", consumer_group_id=f"group-{topic}")
    with Room(bootstrap_servers, [replace(right, filters=("{",))]).open() as room:
        until(lambda: room.states == {"one": "refused"}, "refused")
        room.mappings = [right]
        until(lambda: room.states == {"one": "polling"}, "polled")

    assert room.started == [right]
