"""A stack on an emulator and a broker that run already: used as they are, and left running."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from ras import stack_file
from ras.errors import OperatorError
from ras.kafka.client import wait_for_topics
from ras.kafka.publish import Event, publish
from ras_local import capabilities, stack
from ras_local.servers import apache_kafka, broker, emulator
from ras_local.settings import StackDir

from tests import samples
from tests.real_servers import KAFKA, folder_of_servers, require
from tests.samples import envelope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGISTERED = "huleedu.batch.essays.registered.v1"


@pytest.fixture
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackDir]:
    """Where somebody else's servers run."""
    with folder_of_servers(tmp_path_factory.mktemp("others")) as state:
        yield state


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_servers_that_run_already_are_used_and_left_alone(
    others: StackDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(KAFKA)
    endpoint_url, wait = emulator.start(others)
    wait()
    bootstrap_servers = apache_kafka.start(others, [], 1)()
    monkeypatch.setenv("RAS_EMULATOR", f"{endpoint_url}/")
    monkeypatch.setenv("RAS_BROKER", bootstrap_servers)
    monkeypatch.setenv("RAS_PARTITIONS", "2")
    state = StackDir(tmp_path / "state")
    for visit in range(2):
        # The second time everything is there from the first.
        running = stack.up(state)
        try:
            event = envelope({"batch_id": f"b-{visit}", "user_id": "u", "expected_essay_count": 1})
            publish(running.bootstrap_servers, [Event(REGISTERED, json.dumps(event).encode(), b"k")])
            stack_file.wait_consumed(running)
            answers = [
                running.get(f"/internal/v1/batches/b-{n}/status").status_code for n in range(visit + 1)
            ]

            assert (running.endpoint_url, running.bootstrap_servers) == (endpoint_url, bootstrap_servers)
            assert set(stack.expected(state)) == {stack.POLLER, stack.METRICS, stack.DASHBOARD}
            assert stack.is_up(state)
            assert answers == [200] * (visit + 1)
            assert stack.up(state) == running
            with monkeypatch.context() as another:
                another.setenv("RAS_BROKER", "127.0.0.1:1")
                with pytest.raises(
                    OperatorError, match=f"up already, with {bootstrap_servers}, not RAS_BROKER="
                ):
                    stack.up(state)
            assert stack.is_up(state)
        finally:
            stack.down(state)

    assert emulator.healthy(endpoint_url)
    assert not emulator.is_localstack(endpoint_url), "it runs functions in this interpreter"
    wait_for_topics(bootstrap_servers, [REGISTERED])


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_what_an_emulator_lacks_is_made_up_for(
    others: StackDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every setting for it at once, where this emulator lacks nothing: functions answer, topics are read."""
    endpoint_url, wait = emulator.start(others)
    wait()
    monkeypatch.setenv("RAS_EMULATOR", endpoint_url)
    monkeypatch.setattr(capabilities, "found", lambda _: iter(capabilities.Lack))
    said: list[str] = []
    state = StackDir(tmp_path / "state")
    try:
        running = stack.up(state, say=said.append)
        for name in samples.FILES:
            publish(running.bootstrap_servers, samples.publishable(name))
        stack_file.wait_consumed(running)
        batch_id, expectation = next(iter(samples.expected().items()))
        path = f"/internal/v1/batches/{batch_id}/status"
        answer = running.get(path, headers={"Accept-Encoding": "gzip"})
        functions = running.cloud.functions

        assert samples.differences(answer.json(), expectation) == []
        assert "Content-Encoding" not in answer.headers
        assert running.lacks == [lack.value for lack in capabilities.Lack]
        assert all(any(capabilities.SAID[lack] in line for line in said) for lack in capabilities.Lack)
        assert functions.list_event_source_mappings()["EventSourceMappings"] == []
        assert functions.list_layers()["Layers"] == []
        # Whoever tells no identity is let in; whoever tells one is still asked for it.
        assert running.get(path, caller="not-allowed").status_code == 403
    finally:
        stack.down(state)


@pytest.mark.parametrize("address", ["localhost", "ftp://127.0.0.1"])
def test_what_is_no_address_of_an_emulator_is_told(
    address: str, others: StackDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAS_EMULATOR", address)

    with pytest.raises(OperatorError, match="is no address"):
        emulator.start(others)


def test_an_emulator_elsewhere_cannot_be_given_another_dynamodb(
    others: StackDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAS_EMULATOR", "http://127.0.0.1:1")

    with pytest.raises(OperatorError, match="cannot be given AWS_ENDPOINT_URL_DYNAMODB"):
        emulator.start(others, {"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:2"})


def test_a_broker_that_is_neither_a_kind_nor_an_address_is_told(
    others: StackDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAS_BROKER", "rabbit")

    with pytest.raises(OperatorError, match="'rabbit' is unknown"):
        broker.start(others, [])
