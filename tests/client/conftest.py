"""Both clients behind one face, a server to ask, and time that tests turn themselves."""

from __future__ import annotations

import inspect
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.from_thread
import pytest
from botocore.credentials import Credentials
from result_aggregator_client import AsyncResultAggregatorClient, ResultAggregatorClient, Timeouts

from tests.client.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REGION = "eu-north-1"
SECRET = "a secret"


# Only the test's own clock may end anything: a machine that stands still for seconds is no failure.
PATIENT = Timeouts(connect_s=600, read_s=600)


class Time:
    """A clock that only a pause, or the test, moves on; and jitter that always draws the longest."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 6))
        self.now += seconds

    async def async_pause(self, seconds: float) -> None:
        self.pause(seconds)


class Client:
    """Either client, asked like the sync one; iterators come as lists."""

    def __init__(
        self, kind: str, portal: anyio.from_thread.BlockingPortal, *args: Any, **options: Any
    ) -> None:
        self._portal = portal
        self._client: Any
        if kind == "sync":
            self._client = ResultAggregatorClient(*args, **options)
        else:
            self._client = portal.call(partial(AsyncResultAggregatorClient, *args, **options))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, getattr(self._client, name))

    def _call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        plain = inspect.unwrap(method)
        if inspect.isgeneratorfunction(plain):
            return list(method(*args, **options))
        if isinstance(self._client, ResultAggregatorClient):
            return method(*args, **options)

        async def call() -> Any:
            if inspect.isasyncgenfunction(plain):
                return [one async for one in method(*args, **options)]
            return await method(*args, **options)

        return self._portal.call(call)


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials anywhere that botocore looks, nor a way to ask for any."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=["sync", "async"])
def make_client(
    request: pytest.FixtureRequest, server: Server, time: Time
) -> Iterator[Callable[..., Client]]:
    """Makes clients of one kind for the server, with the test's time unless told otherwise."""
    with anyio.from_thread.start_blocking_portal() as portal:
        made: list[Client] = []

        def make(*, real_time: bool = False, **options: Any) -> Client:
            turned = {
                "clock": time.clock,
                "pause": time.pause if request.param == "sync" else time.async_pause,
                "jitter": lambda longest: longest,
            }
            options = {
                "address": server.url,
                "credentials": Credentials("AKID", SECRET, "a token"),
                "region": REGION,
                "timeouts": PATIENT,
                **({} if real_time else turned),
                **options,
            }
            made.append(Client(request.param, portal, **options))
            return made[-1]

        yield make
        for client in made:
            client.close()


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()
