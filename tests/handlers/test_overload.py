"""A table that throttles, fails or hangs: the query function gives up soon, says when to ask again, and is right after."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from ras_local.servers import dynoxide, processes
from result_aggregator.names import RETRY_AFTER_S
from result_aggregator.store import dynamodb_client
from result_aggregator.store.aws import ATTEMPTS

from tests import samples
from tests.convergence.backend import faulty
from tests.convergence.faults import Fault
from tests.dynamodb import Watched
from tests.real_servers import DYNOXIDE, server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras_local.settings import StackDir

    from tests.convergence.faults import FaultyTransport
    from tests.handlers.conftest import Service

BATCH, OWNER = "d5d61df1-a408-46cc-b7c1-a3e2bd2f53d7", "teacher-anna"
ASKED: list[dict[str, Any]] = [
    {"route": "/internal/v1/batches/{batch_id}/status", "batch_id": BATCH},
    {"route": "/internal/v1/batches/user/{user_id}", "user_id": OWNER},
]
PASSING = (Fault.THROTTLE, Fault.ERROR_500, Fault.NO_CONNECTION, Fault.LOST_ANSWER, Fault.RESET)


@pytest.fixture(params=[server(DYNOXIDE)])
def dynamodb_url(request: pytest.FixtureRequest) -> str:
    """A server only: what emulates DynamoDB in this process has no connections to break."""
    assert request.param == DYNOXIDE
    url: str = request.getfixturevalue("dynoxide_url")
    return url


@pytest.fixture
def filled(service: Service) -> Service:
    """The service after the platform's samples."""
    service.deliver(samples.events("platform_2025_06", "platform_2026_02"))
    return service


@pytest.fixture
def transport(filled: Service) -> FaultyTransport:
    """What stands between the function and its table."""
    assert filled
    return faulty(dynamodb_client.client())


@pytest.mark.parametrize("asked", ASKED, ids=["status", "listing"])
@pytest.mark.parametrize("fault", PASSING)
def test_a_table_in_trouble_is_a_503_that_says_when_to_ask_again(
    filled: Service, transport: FaultyTransport, fault: Fault, asked: dict[str, Any]
) -> None:
    """After two attempts at one call, never more; once the trouble is over the answer is what it was before."""
    before = filled.get(**asked)["body"]
    transport.plan("", [fault] * 100)

    answer = filled.get(**asked)

    assert (answer["statusCode"], answer["body"]["code"]) == (503, "unavailable")
    assert answer["headers"]["Retry-After"] == str(RETRY_AFTER_S)
    assert transport.injected == {fault: ATTEMPTS}
    transport.plan("", [])
    assert filled.get(**asked)["body"] == before


@pytest.mark.parametrize("asked", ASKED, ids=["status", "listing"])
@pytest.mark.parametrize("fault", PASSING)
def test_one_fault_is_not_seen(
    filled: Service, transport: FaultyTransport, fault: Fault, asked: dict[str, Any]
) -> None:
    """The second attempt hides what passes at once."""
    before = filled.get(**asked)["body"]
    transport.plan("", [fault])

    assert filled.get(**asked)["body"] == before
    assert transport.injected == {fault: 1}


@contextmanager
def frozen(servers: StackDir) -> Iterator[None]:
    """dynoxide takes connections and answers none, as a table that hangs; it wakes up in any case."""
    process = processes.running(servers, dynoxide.PROCESS)
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    # The signal is sent, not obeyed yet: a thread that runs may answer one more request.
    while process.status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_table_that_hangs_pins_no_function(filled: Service, servers_folder: StackDir) -> None:
    """Each of two attempts ends by its timeouts; when the table wakes up, the same function answers as before."""
    before = [filled.get(**asked)["body"] for asked in ASKED]
    sent: list[str] = []
    client = dynamodb_client.client()
    client.transport = Watched(client.transport, sent.append)
    with frozen(servers_folder):
        answer = filled.get(**ASKED[0])

    assert (answer["statusCode"], answer["headers"].get("Retry-After")) == (503, str(RETRY_AFTER_S))
    assert sent == ["Query"] * ATTEMPTS
    assert [filled.get(**asked)["body"] for asked in ASKED] == before
