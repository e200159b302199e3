"""The sample events and what they must answer, and makers of events and records for tests."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid4

from result_aggregator.topics import TOPICS

if TYPE_CHECKING:
    from ras.kafka.publish import Event

TESTS = Path(__file__).parent
FILES = ("guide", "platform_2025_06", "platform_2026_02", "platform_live")
DEFAULT_PIPELINE = ("spellcheck", "cj_assessment")


class Line(NamedTuple):
    """One line of a sample file."""

    topic: str
    key: str
    value: dict[str, Any]

    def encoded(self) -> bytes:
        return json.dumps(self.value).encode()


def events(*names: str) -> list[Line]:
    """The lines of sample files that are of topics which are read; of all files without names."""
    return [line for line in every_line(*names) if line.topic in TOPICS]


def every_line(*names: str) -> list[Line]:
    """The lines of sample files, of all files without names."""
    found = []
    for name in names or FILES:
        for text in (TESTS / "events" / f"{name}.jsonl").read_text().splitlines():
            line = json.loads(text)
            found.append(Line(line["topic"], line["key"], line["value"]))
    return found


def publishable(name: str) -> list[Event]:
    """The events of a sample file that are of topics which are read: a broker of ours has no others."""
    from ras.kafka.publish import read_events  # on use: a Kafka client, which few tests need

    return [event for event in read_events(TESTS / "events" / f"{name}.jsonl") if event.topic in TOPICS]


def expected(*names: str) -> dict[str, dict[str, Any]]:
    """The expected status answer by batch id."""
    found: dict[str, dict[str, Any]] = {}
    for name in names or FILES:
        found.update(json.loads((TESTS / "expectations" / f"{name}.json").read_text()))
    return found


def expected_listing() -> dict[str, list[str]]:
    """The batches of each user, newest first."""
    listing: dict[str, list[str]] = json.loads((TESTS / "expectations" / "listing.json").read_text())
    return listing


def differences(answer: dict[str, Any], expectation: dict[str, Any]) -> list[str]:
    """Where an answer is not as expected; fields that the expectation does not name are free."""
    found = [
        f"{name}: {answer.get(name)!r}, expected {value!r}"
        for name, value in expectation.items()
        if name != "essays" and answer.get(name) != value
    ]
    shown = [essay["essay_id"] for essay in answer["essays"]]
    wanted = [essay["essay_id"] for essay in expectation["essays"]]
    if shown != wanted:
        return [*found, f"essays: {shown}, expected {wanted}"]
    for essay, want in zip(answer["essays"], expectation["essays"], strict=True):
        found += [
            f"{want['essay_id']}.{name}: {essay.get(name)!r}, expected {value!r}"
            for name, value in want.items()
            if essay.get(name) != value
        ]
    return found


def envelope(
    data: dict[str, Any], at: str = "2026-03-02T08:00:00Z", event_id: UUID | None = None
) -> dict[str, Any]:
    """An event around `data`."""
    return {
        "event_id": str(event_id or uuid4()),
        "event_type": "any",
        "event_timestamp": at,
        "source_service": "test",
        "schema_version": 1,
        "correlation_id": None,
        "data": data,
    }


def record(
    topic: str, value: bytes | dict[str, Any] | None, offset: int = 0, partition: int = 0
) -> dict[str, Any]:
    """A record as an event source mapping puts it into an event; without a value it is a tombstone."""
    made: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": 1_772_438_400_000,
        "timestampType": "CREATE_TIME",
        "headers": [],
    }
    if value is not None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        made["value"] = b64encode(content).decode()
    return made


def msk_event(records: list[dict[str, Any]]) -> dict[str, Any]:
    """An invocation's event."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for one in records:
        grouped.setdefault(f"{one['topic']}-{one['partition']}", []).append(one)
    return {
        "eventSource": "aws:kafka",
        "eventSourceArn": "arn:aws:kafka:eu-north-1:000000000000:cluster/test/00000000-0000-0000-0000-000000000000-1",
        "bootstrapServers": "b-1:9098,b-2:9098",
        "records": grouped,
    }
