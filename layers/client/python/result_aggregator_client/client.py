"""The two clients: the same questions, asked by a thread or by a task. They only do what `core` decides."""

from __future__ import annotations

import functools
import inspect
import os
import random
import ssl
import time
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, Self, TypeVar, cast

import anyio
import anyio.to_thread
import httpx2
from anyio.lowlevel import current_token
from botocore.credentials import Credentials

from result_aggregator_client import checks
from result_aggregator_client.address import Address
from result_aggregator_client.cache import EtagCache
from result_aggregator_client.core import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUTS,
    Attempt,
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
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Unpack

    from botocore.credentials import ReadOnlyCredentials

    from result_aggregator_client.core import CallOptions
    from result_aggregator_client.models import BatchPage, BatchStatus, BatchSummary, EssayResult, Health

_Result = TypeVar("_Result")
_Parameters = ParamSpec("_Parameters")

ESSAYS_PER_PAGE = 500
BATCHES_PER_PAGE = 100


_LATE = Broken(TimeoutError("the whole answer did not come in time"), late=True)


def _once_by_position(
    *names: str, after: int = 2
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Takes by position, with a warning, what version 0.1 took so: `names`, after so many others, `self` among them.

    A type checker sees keywords only.
    """

    def decorate(method: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        @functools.wraps(method)
        def call(*args: _Parameters.args, **keywords: _Parameters.kwargs) -> _Result:
            old = args[after:]
            if not old:
                return method(*args, **keywords)
            given: dict[str, Any] = dict(zip(names, old, strict=False))
            if len(old) > len(names) or given.keys() & keywords.keys():
                return method(*args, **keywords)  # its own TypeError says what is wrong
            warnings.warn(
                f"{method.__name__}() takes {', '.join(given)} by keyword only from version 0.3",
                DeprecationWarning,
                stacklevel=2,
            )
            return cast("Any", method)(*args[:after], **{**keywords, **given})  # type: ignore[no-any-return]

        return call

    return decorate


class Around(Protocol):
    """What is put around each request, retries included: a context manager, entered before it and left after it."""

    def __call__(self, attempt: Attempt, /) -> AbstractContextManager[object]: ...


def _nothing_around(_attempt: Attempt) -> AbstractContextManager[object]:
    return nullcontext()


def _certificates(verify: ssl.SSLContext | str | os.PathLike[str] | None) -> ssl.SSLContext:
    """Whom to trust: what is given, else what AWS_CA_BUNDLE names, else SSL_CERT_FILE, SSL_CERT_DIR or the system."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    name, bundle = "verify", verify
    if bundle is None:
        name, bundle = "AWS_CA_BUNDLE", os.environ.get("AWS_CA_BUNDLE")
    elif not isinstance(bundle, str | os.PathLike):
        raise TypeError(
            f"verify must be an SSLContext or the path of a CA bundle, not {type(bundle).__name__}"
        )
    if not bundle:
        return httpx2.create_ssl_context()
    try:
        if os.path.isdir(bundle):  # noqa: PTH112 - a Path of it would take any type
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{name} names no CA bundle that can be read: {bundle}") from error


def _proxy(url: str) -> httpx2.Proxy:
    checks.text("proxy", url)
    try:
        return httpx2.Proxy(url)
    except (ValueError, httpx2.InvalidURL):
        # The URL may have a password, so it is not repeated.
        raise ValueError("proxy is no URL of a proxy (http, https, socks5, socks5h)") from None


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
        transport: object,
        transport_kind: type,
        verify: ssl.SSLContext | str | os.PathLike[str] | None,
        proxy: str | None,
        around: Around,
        max_connections: int,
        cache_entries: int,
        cache_bytes: int,
        clock: Callable[[], float],
        jitter: Callable[[float], float],
    ) -> None:
        address = Address(address) if isinstance(address, str) else address
        checks.instance("address", address, Address, instead="an Address or a str")
        if credentials is not None:
            # A pair of keys would not be refreshed; what signs does not wait for those of an async library.
            checks.instance("credentials", credentials, Credentials, instead="botocore's Credentials")
            if inspect.iscoroutinefunction(credentials.get_frozen_credentials):
                raise TypeError("credentials must be botocore's Credentials, not an async library's")
        if region is not None:
            checks.text("region", region)
        checks.instance("timeouts", timeouts, Timeouts)
        checks.instance("retries", retries, Retries)
        checks.whole("max_connections", max_connections, 1)
        checks.whole("cache_entries", cache_entries, 0)
        checks.whole("cache_bytes", cache_bytes, 0)
        if not callable(around):
            raise TypeError(f"around must be callable, not {type(around).__name__}")
        self._around = around
        self._clock = clock
        if transport is not None:
            checks.instance("transport", transport, transport_kind)
            if verify is not None or proxy is not None:
                raise ValueError(
                    "transport has certificates and a proxy of its own: leave verify and proxy out"
                )
        # Once: reading the authorities takes longer than many a question, and an event loop may live as short as one.
        self._certificates: ssl.SSLContext | bool = transport is not None or _certificates(verify)
        # Only what is given: a private API is inside the VPC, where the environment's proxy is not on the way.
        self._proxy = None if proxy is None else _proxy(proxy)
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


def _request(effect: Send) -> httpx2.Request:
    # Looked at again: what was put around the attempt may have added some.
    beside = checks.headers("headers", effect.attempt.headers)
    # The pool's wait is bounded like a connection's: it is one more way of not getting through.
    timeout = httpx2.Timeout(effect.read_s, connect=effect.connect_s, pool=effect.connect_s)
    return httpx2.Request(
        "GET",
        effect.url,
        headers=[*effect.headers, *beside.items()],
        extensions={"timeout": timeout.as_dict()},
    )


def _broken(error: httpx2.RequestError) -> Broken:
    if isinstance(error, httpx2.PoolTimeout):
        return Broken(error, why="pool")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Broken(error, why="certificate")
        cause = cause.__cause__ or cause.__context__
    return Broken(error)


def _note(attempt: Attempt, outcome: Received | Broken) -> None:
    if isinstance(outcome, Broken):
        attempt.error = outcome.error
    else:
        attempt.status = outcome.status


def _received(response: httpx2.Response, body: bytearray) -> Received:
    return Received(response.status_code, response.headers, bytes(body))


_CLOSED = "the client is closed"


class _OfLoop(NamedTuple):
    """What an async client has in one event loop."""

    transport: httpx2.AsyncHTTPTransport
    until_the_loop_ends: AsyncGenerator[None]


async def _close_with_the_loop(
    transport: httpx2.AsyncHTTPTransport, by_loop: dict[object, _OfLoop], loop: object
) -> AsyncGenerator[None]:
    """Begun once, never continued: a loop that ends closes its generators, and so these connections, while it still can."""
    try:
        yield
    finally:
        by_loop.pop(loop, None)
        await transport.aclose()


class ResultAggregatorClient(_Client):
    """Asks the Result Aggregator. One per process is enough: it is thread-safe and keeps its connections.

    `address`: an Address, or a URL with the stage. `credentials`: botocore's, for example those of a boto3 session;
    without them whatever botocore finds. `region`: for an address that does not tell it; without it, botocore's.
    `verify`: an SSLContext, or the path of a CA bundle; without it AWS_CA_BUNDLE, else what the system trusts.
    `proxy`: its URL; the environment's is never used. `around`: a context manager for each request, to measure or trace
    it. `transport`: of one's own, in place of `verify`, `proxy` and `max_connections`; whoever made it closes it.
    The cache keeps answers in memory, to be confirmed by a 304. `clock`, `pause` and `jitter` are for tests.

    Every question raises ResultAggregatorError, whose kinds are in `errors`, and ValueError or TypeError for an id that
    cannot be sent: an empty one, or no text. What it takes by keyword besides its own is in `CallOptions`.
    """

    def __init__(
        self,
        address: Address | str,
        *,
        credentials: Credentials | None = None,
        region: str | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        retries: Retries = DEFAULT_RETRIES,
        transport: httpx2.BaseTransport | None = None,
        verify: ssl.SSLContext | str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        around: Around = _nothing_around,
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
            transport=transport,
            transport_kind=httpx2.BaseTransport,
            verify=verify,
            proxy=proxy,
            around=around,
            max_connections=max_connections,
            cache_entries=cache_entries,
            cache_bytes=cache_bytes,
            clock=clock,
            jitter=jitter,
        )
        self._pause = pause
        # The transport alone, without httpx2's client, which logs every URL at INFO, and so the ids of teachers.
        self._transport = transport or httpx2.HTTPTransport(
            verify=self._certificates, proxy=self._proxy, limits=self._limits
        )
        self._own_transport = transport is None
        self._closed = False

    @_once_by_position("user_id", "correlation_id")
    def get_batch_status(
        self, batch_id: str, *, user_id: str | None = None, **options: Unpack[CallOptions]
    ) -> BatchStatus | None:
        """A batch with all of its essays; None where there is no such batch.

        With `user_id` the caller vouches for the owner, and another's batch is None too. Give it whenever a user asks.
        Reads as many pages as it takes, all of one ranking: it begins again when that is replaced meanwhile, and
        raises CursorOutdatedError when it is replaced over and over.
        """
        return self._run(self._core.batch_status(batch_id, user_id, options))

    @_once_by_position("user_id", "correlation_id")
    def get_batch_status_page(
        self,
        batch_id: str,
        *,
        user_id: str | None = None,
        limit: int | None = ESSAYS_PER_PAGE,
        cursor: str | None = None,
        **options: Unpack[CallOptions],
    ) -> BatchStatus | None:
        """A batch with one page of its essays; `pagination.next_cursor` continues it.

        `limit`: 1 to 5,000, or None for as many as an answer holds. Raises CursorOutdatedError when the ranking has
        been replaced since the first page.
        """
        try:
            return self._run(self._core.batch_status_page(batch_id, user_id, limit, cursor, options))
        except BatchNotFoundError:
            return None

    @_once_by_position("user_id", "correlation_id")
    def iter_essays(
        self,
        batch_id: str,
        *,
        user_id: str | None = None,
        page_size: int = ESSAYS_PER_PAGE,
        **options: Unpack[CallOptions],
    ) -> Iterator[EssayResult]:
        """The essays of a batch by id, page by page; raises as `iter_batch_status_pages`."""
        for page in self.iter_batch_status_pages(batch_id, user_id=user_id, page_size=page_size, **options):
            yield from page.essays

    def iter_batch_status_pages(
        self,
        batch_id: str,
        *,
        user_id: str | None = None,
        page_size: int = ESSAYS_PER_PAGE,
        **options: Unpack[CallOptions],
    ) -> Iterator[BatchStatus]:
        """A batch, each time with the next page of its essays.

        Raises BatchNotFoundError, and CursorOutdatedError when the ranking is replaced on the way: the pages so far
        are of the old one, so drop them and begin again. The options hold for each page: so does the time.
        """
        cursor = None
        while True:
            page = self._run(self._core.batch_status_page(batch_id, user_id, page_size, cursor, options))
            yield page
            cursor = page.pagination.next_cursor
            if cursor is None:
                return

    @_once_by_position("correlation_id")
    def get_user_batches(
        self,
        user_id: str,
        *,
        limit: int | None = None,
        offset: int | None = None,
        status: str | None = None,
        cursor: str | None = None,
        **options: Unpack[CallOptions],
    ) -> BatchPage:
        """A page of a user's batches, newest first, without essays; empty for a user without any.

        `limit`: 1 to 100, by default 20. `offset`: 0 to 10,000, not together with `cursor`. `status`: only batches of
        this overall status, in the view's words or in the platform's.
        """
        return self._run(self._core.batches_page(user_id, limit, offset, status, cursor, options))

    @_once_by_position("correlation_id")
    def iter_user_batches(
        self,
        user_id: str,
        *,
        status: str | None = None,
        page_size: int = BATCHES_PER_PAGE,
        **options: Unpack[CallOptions],
    ) -> Iterator[BatchSummary]:
        """All batches of a user, newest first, page by page."""
        for page in self.iter_user_batch_pages(user_id, status=status, page_size=page_size, **options):
            yield from page.batches

    def iter_user_batch_pages(
        self,
        user_id: str,
        *,
        status: str | None = None,
        page_size: int = BATCHES_PER_PAGE,
        **options: Unpack[CallOptions],
    ) -> Iterator[BatchPage]:
        """The pages of a user's batches, newest first. The options hold for each page: so does the time."""
        cursor = None
        while True:
            page = self._run(self._core.batches_page(user_id, page_size, None, status, cursor, options))
            yield page
            cursor = page.pagination.next_cursor
            if cursor is None:
                return

    @_once_by_position("correlation_id", after=1)
    def health(self, **options: Unpack[CallOptions]) -> Health:
        """The service's own word that it can answer; needs no credentials. Raises UnavailableError when it cannot."""
        return self._run(self._core.health(options))

    def close(self) -> None:
        """Close the connections. The client asks nothing any more."""
        self._closed = True
        if self._own_transport:
            self._transport.close()

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
                    with self._around(effect.attempt):
                        outcome = self._send(effect)
                        _note(effect.attempt, outcome)

    def _send(self, effect: Send) -> Received | Broken:
        if self._closed:
            raise RuntimeError(_CLOSED)
        body = bytearray()
        try:
            response = self._transport.handle_request(_request(effect))
            try:
                for piece in response.iter_bytes():
                    body += piece
                    # Each piece may take `read_s`, so many small ones could take forever.
                    if self._clock() >= effect.deadline:
                        return _LATE
            finally:
                response.close()
        except httpx2.RequestError as error:
            return _broken(error)
        return _received(response, body)


class AsyncResultAggregatorClient(_Client):
    """ResultAggregatorClient for asyncio (or trio): the same, awaited.

    One per process serves any number of event loops, one after the other or each in its thread. Connections are kept
    as long as their loop runs, so a function that calls `asyncio.run` for each request opens a new one each time.
    A `transport` of one's own belongs to the loop that it was made in.
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
        transport: httpx2.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        around: Around = _nothing_around,
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
            transport=transport,
            transport_kind=httpx2.AsyncBaseTransport,
            verify=verify,
            proxy=proxy,
            around=around,
            max_connections=max_connections,
            cache_entries=cache_entries,
            cache_bytes=cache_bytes,
            clock=clock,
            jitter=jitter,
        )
        self._pause = pause
        self._given_transport = transport
        self._by_loop: dict[object, _OfLoop] = {}
        self._closed = False

    @_once_by_position("user_id", "correlation_id")
    async def get_batch_status(
        self, batch_id: str, *, user_id: str | None = None, **options: Unpack[CallOptions]
    ) -> BatchStatus | None:
        """As ResultAggregatorClient.get_batch_status."""
        return await self._run(self._core.batch_status(batch_id, user_id, options))

    @_once_by_position("user_id", "correlation_id")
    async def get_batch_status_page(
        self,
        batch_id: str,
        *,
        user_id: str | None = None,
        limit: int | None = ESSAYS_PER_PAGE,
        cursor: str | None = None,
        **options: Unpack[CallOptions],
    ) -> BatchStatus | None:
        """As ResultAggregatorClient.get_batch_status_page."""
        try:
            return await self._run(self._core.batch_status_page(batch_id, user_id, limit, cursor, options))
        except BatchNotFoundError:
            return None

    @_once_by_position("user_id", "correlation_id")
    async def iter_essays(
        self,
        batch_id: str,
        *,
        user_id: str | None = None,
        page_size: int = ESSAYS_PER_PAGE,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[EssayResult]:
        """As ResultAggregatorClient.iter_essays."""
        pages = self.iter_batch_status_pages(batch_id, user_id=user_id, page_size=page_size, **options)
        async for page in pages:
            for essay in page.essays:
                yield essay

    async def iter_batch_status_pages(
        self,
        batch_id: str,
        *,
        user_id: str | None = None,
        page_size: int = ESSAYS_PER_PAGE,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[BatchStatus]:
        """As ResultAggregatorClient.iter_batch_status_pages."""
        cursor = None
        while True:
            page = await self._run(
                self._core.batch_status_page(batch_id, user_id, page_size, cursor, options)
            )
            yield page
            cursor = page.pagination.next_cursor
            if cursor is None:
                return

    @_once_by_position("correlation_id")
    async def get_user_batches(
        self,
        user_id: str,
        *,
        limit: int | None = None,
        offset: int | None = None,
        status: str | None = None,
        cursor: str | None = None,
        **options: Unpack[CallOptions],
    ) -> BatchPage:
        """As ResultAggregatorClient.get_user_batches."""
        return await self._run(self._core.batches_page(user_id, limit, offset, status, cursor, options))

    @_once_by_position("correlation_id")
    async def iter_user_batches(
        self,
        user_id: str,
        *,
        status: str | None = None,
        page_size: int = BATCHES_PER_PAGE,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[BatchSummary]:
        """As ResultAggregatorClient.iter_user_batches."""
        pages = self.iter_user_batch_pages(user_id, status=status, page_size=page_size, **options)
        async for page in pages:
            for batch in page.batches:
                yield batch

    async def iter_user_batch_pages(
        self,
        user_id: str,
        *,
        status: str | None = None,
        page_size: int = BATCHES_PER_PAGE,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[BatchPage]:
        """As ResultAggregatorClient.iter_user_batch_pages."""
        cursor = None
        while True:
            page = await self._run(self._core.batches_page(user_id, page_size, None, status, cursor, options))
            yield page
            cursor = page.pagination.next_cursor
            if cursor is None:
                return

    @_once_by_position("correlation_id", after=1)
    async def health(self, **options: Unpack[CallOptions]) -> Health:
        """As ResultAggregatorClient.health."""
        return await self._run(self._core.health(options))

    async def close(self) -> None:
        """Close the running loop's connections; those of another are closed when it ends."""
        self._closed = True
        here = self._by_loop.get(current_token().native_token)
        if here is not None:
            await here.until_the_loop_ends.aclose()

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
                    with self._around(effect.attempt):
                        outcome = await self._send(effect)
                        _note(effect.attempt, outcome)

    async def _transport_here(self) -> httpx2.AsyncBaseTransport:
        """The transport of the running loop: connections work in no other. Raises RuntimeError once closed."""
        if self._closed:
            raise RuntimeError(_CLOSED)
        if self._given_transport is not None:
            return self._given_transport
        loop = current_token().native_token
        here = self._by_loop.get(loop)
        if here is None:
            for other in list(self._by_loop):
                # One of asyncio that was closed without ending its generators, which `asyncio.run` does. Not by
                # isinstance: importing asyncio would cost every sync client its time.
                if getattr(other, "is_closed", bool)():
                    self._by_loop.pop(other, None)
            transport = httpx2.AsyncHTTPTransport(
                verify=self._certificates, proxy=self._proxy, limits=self._limits
            )
            here = _OfLoop(transport, _close_with_the_loop(transport, self._by_loop, loop))
            self._by_loop[loop] = here
            await anext(here.until_the_loop_ends)
        return here.transport

    async def _send(self, effect: Send) -> Received | Broken:
        transport = await self._transport_here()
        body = bytearray()
        try:
            with anyio.fail_after(effect.deadline - self._clock()):
                response = await transport.handle_async_request(_request(effect))
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
            return _broken(error)
        return _received(response, body)
