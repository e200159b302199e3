"""Reading events to publish: what a line may say, and how a mistake is told."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from ras.errors import OperatorError
from ras.kafka.errors import Door
from ras.kafka.publish import Event, parse_event, publish, read_events
from ras.state_folder import REPOSITORY
from ras_local.servers import broker

from tests.real_servers import folder_of_servers

if TYPE_CHECKING:
    from pathlib import Path


def line(**fields: Any) -> str:
    return json.dumps({"topic": "t", "key": "k", "value": {"a": 1}, **fields})


def test_an_object_is_published_as_json() -> None:
    event = parse_event(line(value={"namn": "Åsa", "n": [1, None]}))

    assert (event.topic, event.key) == ("t", b"k")
    assert json.loads(event.value or b"") == {"namn": "Åsa", "n": [1, None]}


def test_text_is_published_as_it_stands() -> None:
    assert parse_event(line(value="{not json")).value == b"{not json"


def test_null_is_a_tombstone() -> None:
    assert parse_event(line(value=None)).value is None


def test_a_key_may_be_null_or_absent() -> None:
    assert parse_event(line(key=None)).key is None
    assert parse_event('{"topic": "t", "value": 1}') == Event("t", b"1")


def test_headers_are_an_object_or_pairs() -> None:
    assert parse_event(line(headers={"a": "1", "b": None})).headers == (("a", b"1"), ("b", None))
    assert parse_event(line(headers=[["a", "1"], ["a", "2"]])).headers == (("a", b"1"), ("a", b"2"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"value": 1}', "topic"),
        ('{"topic": "", "value": 1}', "topic"),
        ('{"topic": "t"}', "value is missing"),
        ('{"topic": "t", "value": 1, "key": 5}', "key is not text"),
        ('{"topic": "t", "value": 1, "headers": {"a": 5}}', "headers"),
        ('{"topic": "t", "value": 1, "headers": 7}', "headers"),
        ('{"topic": "t", "valeu": 1}', "unknown field valeu"),
    ],
)
def test_a_mistake_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_event(text)


def test_a_mistake_is_told_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(line() + "\n\n{broken\n", encoding="utf-8")

    with pytest.raises(OperatorError, match=r"events\.jsonl:3: not JSON"):
        list(read_events(file))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot be read"):
        list(read_events(tmp_path / "none.jsonl"))


def test_every_sample_event_can_be_published() -> None:
    files = sorted((REPOSITORY / "tests/events").glob("*.jsonl"))

    assert sum(1 for file in files for _ in read_events(file)) == 576


def test_a_missing_broker_is_told_at_once() -> None:
    with pytest.raises(OperatorError, match=r"no broker answers at 127\.0\.0\.1:1"):
        publish("127.0.0.1:1", [], timeout_s=1)


def test_a_record_that_the_client_itself_refuses_stops_no_other(tmp_path: Path) -> None:
    """It is told as one that the broker refuses, and the rest is published."""
    confirmed: list[int] = []
    with folder_of_servers(tmp_path) as state:
        servers = broker.KINDS["embedded"](state, ["t"], 1)()

        with pytest.raises(
            OperatorError, match=r"1 of 3 records were not delivered: t: .*MSG_SIZE_TOO_LARGE"
        ):
            publish(
                servers,
                [Event("t", b"1"), Event("t", bytes(9 * 1024 * 1024)), Event("t", b"3")],
                on_delivery=confirmed.append,
            )

    assert confirmed == [1, 2]


def test_an_interruption_that_the_client_forgets_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen once of dozens of times: "flush returned NULL without setting an exception"."""

    class Forgetful(Producer):
        def flush(self, *_: Any) -> int:
            raise SystemError("returned NULL without setting an exception")

    monkeypatch.setattr("ras.kafka.publish.Producer", Forgetful)
    with folder_of_servers(tmp_path) as state:
        bootstrap_servers = broker.start_embedded(state, ["t"], 1)()

        with pytest.raises(KeyboardInterrupt):
            publish(bootstrap_servers, [Event("t", b"x")])


@pytest.mark.slow
def test_a_broker_that_went_is_not_waited_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first record that was not confirmed in time is the last one that is tried, with those in the queue."""
    monkeypatch.setattr(Door, "metadata", lambda *_, **__: SimpleNamespace(topics={}))
    left = iter(range(40))
    events = (Event("t", b"") for _ in left)

    with pytest.raises(OperatorError, match=r"were not delivered: t: .*; the rest was not tried"):
        publish("127.0.0.1:1", events, timeout_s=1, settings={"queue.buffering.max.messages": 5})
    assert next(left, None) is not None
