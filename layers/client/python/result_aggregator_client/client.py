"""The two clients: the same questions, asked by a thread or by a task. They only do what `core` decides."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
import anyio.to_thread
import httpx2

from result_aggregator_client.address import Address
from result_aggregator_client.cache import EtagCache
from result_aggregator_client.core import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUTS,
    Broken,
    Core,
    Flow,
    NeedKeys,
    Pause,
    Received,
    Retries,
    Send,
    Timeouts,
)
from result_aggregator_client.errors import BatchNotFoundError
from result_aggregator_client.signing import NoKeysError, Signer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from types import TracebackType

    from botocore.credentials import Credentials, ReadOnlyCredentials

    from result_aggregator_client.models import BatchPage, BatchStatus, BatchSummary, EssayResult, Health

_Result = TypeVar("_Result")

ESSAYS_PER_PAGE = 500
BATCHES_PER_PAGE = 100


_LATE = Broken(TimeoutError("the whole answer did not come in time"), late=True)


def _jitter(longest: float) -> float:
    return random.uniform(0, longest)  # noqa: S311 - spreads load, hides nothing


class _Client:
    """What both clients are made of."""

    def __init__(
        self,
        address: Address | str,
        *,
        credentials: Credentials | None,
        region: str | None,
        timeouts: Timeouts,
        retries: Retries,
        max_connections: int,
        cache_entries: int,
        cache_bytes: int,
        clock: Callable[[], float],
        jitter: Callable[[float], float],
    ) -> None:
        address = Address(address) if isinstance(address, str) else address
        self._clock = clock
        # Idle connections stay a minute: the gateway's own limit is longer, and a new one costs a TLS handshake.
        self._limits = httpx2.Limits(max_connections=max_connections, keepalive_expiry=60)
        self._signer = Signer(credentials, region or address.region)
        cache = EtagCache(max_entries=cache_entries, max_bytes=cache_bytes)
        self._core = Core(address, self._signer, cache, timeouts, retries, clock, jitter)

    def _keys(self) -> ReadOnlyCredentials | NoKeysError:
        try:
            return self._signer.keys()
        except NoKeysError as error:
            return error


def _request(http: httpx2.Client | httpx2.AsyncClient, effect: Send) -> httpx2.Request:
    # The pool's wait is bounded like a connection's: it is one more way of not getting through.
    timeout = httpx2.Timeout(effect.read_s, connect=effect.connect_s, pool=effect.connect_s)
    return http.build_request("GET", effect.url, headers=effect.headers, timeout=timeout)


def _received(response: httpx2.Response, body: bytearray) -> Received:
    return Received(response.status_code, response.headers, bytes(body))


class ResultAggregatorClient(_Client):
    """Asks the Result Aggregator. One per process is enough: it is thread-safe and keeps its connections.

    `address`: an Address, or a URL with the stage. `credentials`: botocore's, for example those of a boto3 session;
    without them whatever botocore finds. `region`: for an address that does not tell it; without it, botocore's.
    The cache keeps answers in memory, to be confirmed by a 304. `clock`, `pause` and `jitter` are for tests.

    Every question raises ResultAggregatorError, whose kinds are in `errors`, and ValueError for an empty id.
    `correlation_id` is the id of the request that the question serves, 1 to 128 of `A-Za-z0-9._:-`; any other is
    replaced by a new one.
    """

    def __init__(
        self,
        address: Address | str,
        *,
        credentials: Credentials | None = None,
        region: str | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        retries: Retries = DEFAULT_RETRIES,
        max_connections: int = 50,
        cache_entries: int = 1_000,
        cache_bytes: int = 32 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        jitter: Callable[[float], float] = _jitter,
    ) -> None:
        super().__init__(
            address,
            credentials=credentials,
            region=region,
            timeouts=timeouts,
            retries=retries,
            max_connections=max_connections,
            cache_entries=cache_entries,
            cache_bytes=cache_bytes,
            clock=clock,
            jitter=jitter,
        )
        self._pause = pause
        # A transport of our own: certificates as the environment says, but no proxy of it. A private API is inside
        # the VPC, where no proxy is on the way.
        self._http = httpx2.Client(transport=httpx2.HTTPTransport(limits=self._limits))

    def get_batch_status(
        self, batch_id: str, user_id: str | None = None, correlation_id: str | None = None
    ) -> BatchStatus | None:
        """A batch with all of its essays; None where there is no such batch.

        With `user_id` the caller vouches for the owner, and another's batch is None too. Give it whenever a user asks.
        Reads as many pages as it takes, all of one ranking: it begins again when that is replaced meanwhile, and
        raises CursorOutdatedError when it is replaced over and over.
        """
        return self._run(self._core.batch_status(batch_id, user_id, correlation_id))

    def get_batch_status_page(
        self,
        batch_id: str,
        user_id: str | None = None,
        correlation_id: str | None = None,
        *,
        limit: int | None = ESSAYS_PER_PAGE,
        cursor: str | None = None,
    ) -> BatchStatus | None:
        """A batch with one page of its essays; `pagination.next_cursor` continues it.

        `limit`: 1 to 5,000, or None for as many as an answer holds. Raises CursorOutdatedError when the ranking has
        been replaced since the first page.
        """
        try:
            return self._run(self._core.batch_status_page(batch_id, user_id, limit, cursor, correlation_id))
        except BatchNotFoundError:
            return None

    def iter_essays(
        self,
        batch_id: str,
        user_id: str | None = None,
        correlation_id: str | None = None,
        *,
        page_size: int = ESSAYS_PER_PAGE,
    ) -> Iterator[EssayResult]:
        """The essays of a batch by id, page by page.

        Raises BatchNotFoundError, and CursorOutdatedError when the ranking is replaced on the way: the essays so far
        are of the old one, so drop them and begin again.
        """
        cursor = None
        while True:
            page = self._run(
                self._core.batch_status_page(batch_id, user_id, page_size, cursor, correlation_id)
            )
            yield from page.essays
            cursor = page.pagination.next_cursor
            if cursor is None:
                return

    def get_user_batches(
        self,
        user_id: str,
        correlation_id: str | None = None,
        *,
        limit: int | None = None,
        offset: int | None = None,
        status: str | None = None,
        cursor: str | None = None,
    ) -> BatchPage:
        """A page of a user's batches, newest first, without essays; empty for a user without any.

        `limit`: 1 to 100, by default 20. `offset`: 0 to 10,000, not together with `cursor`. `status`: only batches of
        this overall status, in the view's words or in the platform's.
        """
        return self._run(self._core.batches_page(user_id, limit, offset, status, cursor, correlation_id))

    def iter_user_batches(
        self,
        user_id: str,
        correlation_id: str | None = None,
        *,
        status: str | None = None,
        page_size: int = BATCHES_PER_PAGE,
    ) -> Iterator[BatchSummary]:
        """All batches of a user, newest first, page by page."""
        cursor = None
        while True:
            page = self._run(
                self._core.batches_page(user_id, page_size, None, status, cursor, correlation_id)
            )
            yield from page.batches
            cursor = page.pagination.next_cursor
            if cursor is None:
                return

    def health(self, correlation_id: str | None = None) -> Health:
        """The service's own word that it can answer; needs no credentials. Raises UnavailableError when it cannot."""
        return self._run(self._core.health(correlation_id))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, flow: Flow[_Result]) -> _Result:
        outcome: Any = None
        while True:
            try:
                effect = flow.send(outcome)
            except StopIteration as end:
                result: _Result = end.value
                return result
            match effect:
                case NeedKeys():
                    outcome = self._keys()
                case Pause(seconds):
                    self._pause(seconds)
                    outcome = None
                case Send():
                    outcome = self._send(effect)

    def _send(self, effect: Send) -> Received | Broken:
        body = bytearray()
        try:
            response = self._http.send(_request(self._http, effect), stream=True)
            try:
                for piece in response.iter_bytes():
                    body += piece
                    # Each piece may take `read_s`, so many small ones could take forever.
                    if self._clock() >= effect.deadline:
                        return _LATE
            finally:
                response.close()
        except httpx2.RequestError as error:
            return Broken(error)
        return _received(response, body)


class AsyncResultAggregatorClient(_Client):
    """ResultAggregatorClient for asyncio (or trio): the same, awaited. One per event loop.

    Credentials are looked for and refreshed in a thread, for that may ask AWS.
    """

    def __init__(
        self,
        address: Address | str,
        *,
        credentials: Credentials | None = None,
        region: str | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        retries: Retries = DEFAULT_RETRIES,
        max_connections: int = 50,
        cache_entries: int = 1_000,
        cache_bytes: int = 32 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[float], float] = _jitter,
    ) -> None:
        super().__init__(
            address,
            credentials=credentials,
            region=region,
            timeouts=timeouts,
            retries=retries,
            max_connections=max_connections,
            cache_entries=cache_entries,
            cache_bytes=cache_bytes,
            clock=clock,
            jitter=jitter,
        )
        self._pause = pause
        self._http = httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(limits=self._limits))

    async def get_batch_status(
        self, batch_id: str, user_id: str | None = None, correlation_id: str | None = None
    ) -> BatchStatus | None:
        """As ResultAggregatorClient.get_batch_status."""
        return await self._run(self._core.batch_status(batch_id, user_id, correlation_id))

    async def get_batch_status_page(
        self,
        batch_id: str,
        user_id: str | None = None,
        correlation_id: str | None = None,
        *,
        limit: int | None = ESSAYS_PER_PAGE,
        cursor: str | None = None,
    ) -> BatchStatus | None:
        """As ResultAggregatorClient.get_batch_status_page."""
        try:
            return await self._run(
                self._core.batch_status_page(batch_id, user_id, limit, cursor, correlation_id)
            )
        except BatchNotFoundError:
            return None

    async def iter_essays(
        self,
        batch_id: str,
        user_id: str | None = None,
        correlation_id: str | None = None,
        *,
        page_size: int = ESSAYS_PER_PAGE,
    ) -> AsyncIterator[EssayResult]:
        """As ResultAggregatorClient.iter_essays."""
        cursor = None
        while True:
            page = await self._run(
                self._core.batch_status_page(batch_id, user_id, page_size, cursor, correlation_id)
            )
            for essay in page.essays:
                yield essay
            cursor = page.pagination.next_cursor
            if cursor is None:
                return

    async def get_user_batches(
        self,
        user_id: str,
        correlation_id: str | None = None,
        *,
        limit: int | None = None,
        offset: int | None = None,
        status: str | None = None,
        cursor: str | None = None,
    ) -> BatchPage:
        """As ResultAggregatorClient.get_user_batches."""
        return await self._run(
            self._core.batches_page(user_id, limit, offset, status, cursor, correlation_id)
        )

    async def iter_user_batches(
        self,
        user_id: str,
        correlation_id: str | None = None,
        *,
        status: str | None = None,
        page_size: int = BATCHES_PER_PAGE,
    ) -> AsyncIterator[BatchSummary]:
        """As ResultAggregatorClient.iter_user_batches."""
        cursor = None
        while True:
            page = await self._run(
                self._core.batches_page(user_id, page_size, None, status, cursor, correlation_id)
            )
            for batch in page.batches:
                yield batch
            cursor = page.pagination.next_cursor
            if cursor is None:
                return

    async def health(self, correlation_id: str | None = None) -> Health:
        """As ResultAggregatorClient.health."""
        return await self._run(self._core.health(correlation_id))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, flow: Flow[_Result]) -> _Result:
        outcome: Any = None
        while True:
            try:
                effect = flow.send(outcome)
            except StopIteration as end:
                result: _Result = end.value
                return result
            match effect:
                case NeedKeys():
                    outcome = await anyio.to_thread.run_sync(self._keys)
                case Pause(seconds):
                    await self._pause(seconds)
                    outcome = None
                case Send():
                    outcome = await self._send(effect)

    async def _send(self, effect: Send) -> Received | Broken:
        body = bytearray()
        try:
            with anyio.fail_after(effect.deadline - self._clock()):
                response = await self._http.send(_request(self._http, effect), stream=True)
                try:
                    async for piece in response.aiter_bytes():
                        body += piece
                        if self._clock() >= effect.deadline:
                            return _LATE
                finally:
                    await response.aclose()
        except TimeoutError:
            return _LATE
        except httpx2.RequestError as error:
            return Broken(error)
        return _received(response, body)
