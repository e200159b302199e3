"""An async client outlives event loops: `asyncio.run` once a request is the usual pattern in functions."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from botocore.credentials import Credentials
from result_aggregator_client import AsyncResultAggregatorClient, ResultAggregatorClient

from tests.client.answers import status
from tests.client.conftest import PATIENT, REGION, SECRET

if TYPE_CHECKING:
    from tests.client.server import Server


@pytest.fixture
def shared(server: Server) -> AsyncResultAggregatorClient:
    """A client made outside of any loop, as at the top of a module."""
    server.otherwise = lambda _: status("e")
    return AsyncResultAggregatorClient(
        server.url, credentials=Credentials("AKID", SECRET), region=REGION, timeouts=PATIENT
    )


async def ask(client: AsyncResultAggregatorClient, times: int = 2) -> int:
    return sum([await client.get_batch_status("b") is not None for _ in range(times)])


def test_each_run_of_a_loop_is_answered(server: Server, shared: AsyncResultAggregatorClient) -> None:
    """Over connections of its own, each kept while its loop runs."""
    answered = [asyncio.run(ask(shared)) for _ in range(4)]

    assert answered == [2] * 4
    assert len(server.asked) == 8
    connections = [asked.connection for asked in server.asked]
    assert connections[::2] == connections[1::2]


def test_a_loop_that_ends_closes_its_connections(server: Server, shared: AsyncResultAggregatorClient) -> None:
    """With `asyncio.run`, which ends what is open; nothing is left to the garbage collector's warnings."""
    asyncio.run(ask(shared))

    assert shared._by_loop == {}
    assert server.wait_until_closed(1)
    gc.collect()  # an unclosed socket would warn here, and warnings are errors


def test_a_loop_that_is_merely_closed(server: Server, shared: AsyncResultAggregatorClient) -> None:
    """Its connections are dropped at the next question, not used again."""
    for _ in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(ask(shared)) == 2
        # Nothing ends its generators, so the sockets are closed here: they would warn when they are collected.
        loop.run_until_complete(shared._by_loop[loop].transport.aclose())
        loop.close()

    assert len(shared._by_loop) == 1
    assert len(server.asked) == 6


def test_loops_of_several_threads_at_once(server: Server, shared: AsyncResultAggregatorClient) -> None:
    """Each thread's loop has its own connections."""
    with ThreadPoolExecutor(4) as threads:
        answered = list(threads.map(lambda _: asyncio.run(ask(shared, 10)), range(8)))

    assert answered == [10] * 8
    assert len(server.asked) == 80


def test_a_client_that_is_not_closed_closes_with_its_loop(server: Server) -> None:
    """One made and forgotten inside a loop."""
    server.otherwise = lambda _: status("e")

    async def forget() -> int:
        client = AsyncResultAggregatorClient(
            server.url, credentials=Credentials("AKID", SECRET), region=REGION, timeouts=PATIENT
        )
        return await ask(client)

    assert asyncio.run(forget()) == 2
    assert server.wait_until_closed(1)
    gc.collect()


def test_a_closed_client_asks_nothing(server: Server, shared: AsyncResultAggregatorClient) -> None:
    """It says so, whichever loop runs; the sync one does too."""

    async def close() -> None:
        await ask(shared)
        await shared.close()
        await shared.close()

    asyncio.run(close())
    with pytest.raises(RuntimeError, match="the client is closed"):
        asyncio.run(ask(shared))

    with ResultAggregatorClient(server.url, credentials=Credentials("AKID", SECRET), region=REGION) as client:
        client.get_batch_status("b")
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.get_batch_status("b")
    assert len(server.asked) == 3
