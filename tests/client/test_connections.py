"""What may go wrong on the way to the service, told apart."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.credentials import Credentials
from result_aggregator_client import (
    AsyncResultAggregatorClient,
    CertificateError,
    ConnectionPoolFullError,
    ResultAggregatorClient,
    TemporaryError,
    Timeouts,
    UnreachableError,
)

from tests.client import certificates
from tests.client.answers import status
from tests.client.conftest import REGION, SECRET
from tests.client.server import Asked, CannedResponse, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.client.conftest import Client, Time


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server with a certificate of an authority that nobody knows, and the authority's file."""
    context, bundle = certificates.make(tmp_path)
    with Server(context) as running:
        running.otherwise = lambda _: status("e")
        yield running, bundle


def test_a_certificate_that_does_not_fit_is_no_outage(
    make_client: Callable[..., Client], tls: tuple[Server, Path], time: Time
) -> None:
    """One attempt, and an error that is not worth asking again for."""
    with pytest.raises(CertificateError) as caught:
        make_client(address=tls[0].url).get_batch_status("b", correlation_id="abc-1")

    assert caught.value.code == "certificate_not_valid"
    assert caught.value.correlation_id == "abc-1"
    assert "self-signed" in str(caught.value)
    assert not isinstance(caught.value, TemporaryError)
    assert time.pauses == []


def test_a_server_without_tls_is_unreachable(
    make_client: Callable[..., Client], server: Server, time: Time
) -> None:
    """A handshake that fails in any other way may be an outage of what is on the way."""
    with pytest.raises(UnreachableError):
        make_client(address=server.url.replace("http:", "https:")).get_batch_status("b")

    assert len(time.pauses) == 3


def one_connection(server: Server) -> dict[str, Any]:
    return {
        "address": server.url,
        "credentials": Credentials("AKID", SECRET),
        "region": REGION,
        "max_connections": 1,
        # The wait for a connection is short; a machine that stands still may need more than one attempt to open one.
        "timeouts": Timeouts(connect_s=0.2, read_s=600, total_s=600),
    }


@pytest.fixture
def held(server: Server) -> Iterator[threading.Event]:
    """The server answers the first question, holds the second until this is set, and says so by `asked`."""
    release = threading.Event()

    def answer(asked: Asked) -> CannedResponse:
        if asked.target.endswith("/held/status"):
            release.wait()
        return status("e")

    server.otherwise = answer
    yield release
    release.set()


def full(caught: pytest.ExceptionInfo[ConnectionPoolFullError]) -> bool:
    error = caught.value
    return (
        error.code == "connection_pool_full"
        and "max_connections" in str(error)
        and isinstance(error, TemporaryError)
    )


def test_a_full_pool_is_told_as_that(server: Server, held: threading.Event) -> None:
    """Not as a fault of the network: more threads ask than there are connections."""
    with ResultAggregatorClient(**one_connection(server)) as client, ThreadPoolExecutor(1) as threads:
        client.get_batch_status("warm")
        holding = threads.submit(client.get_batch_status, "held")
        server.wait_until_asked("/held/")
        try:
            with pytest.raises(ConnectionPoolFullError) as caught:
                client.get_batch_status("b")
        finally:
            held.set()

        assert holding.result() is not None
    assert full(caught)
    assert not any("/b/" in asked.target for asked in server.asked)


def test_a_full_pool_of_the_async_client(server: Server, held: threading.Event) -> None:
    """The same, for tasks."""

    async def ask() -> pytest.ExceptionInfo[ConnectionPoolFullError]:
        async with AsyncResultAggregatorClient(**one_connection(server)) as client:
            await client.get_batch_status("warm")
            holding = asyncio.create_task(client.get_batch_status("held"))
            await asyncio.to_thread(server.wait_until_asked, "/held/")
            try:
                with pytest.raises(ConnectionPoolFullError) as caught:
                    await client.get_batch_status("b")
            finally:
                held.set()
            assert await holding is not None
        return caught

    assert full(asyncio.run(ask()))
    assert not any("/b/" in asked.target for asked in server.asked)
