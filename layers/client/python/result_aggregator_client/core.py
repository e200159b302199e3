"""All that the two clients decide, without doing any of it: no socket, no sleep, no thread.

A *flow* is a generator that yields what it needs done (an effect) and is sent what came of it; its return value is
the answer. `client` has the two drivers that do it.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypedDict, TypeVar, cast
from urllib.parse import quote, urlencode

from result_aggregator_client import checks, errors, models
from result_aggregator_client._version import __version__
from result_aggregator_client.cache import EtagCache, Kept, Key
from result_aggregator_client.errors import BatchNotFoundError, CursorOutdatedError
from result_aggregator_client.models import BatchPage, BatchStatus, Health
from result_aggregator_client.signing import NoKeysError

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

    from result_aggregator_client.address import Address
    from result_aggregator_client.signing import Signer

logger = logging.getLogger("result_aggregator_client")

# What the service takes; it makes an id of its own in place of any other, and then the two logs do not meet.
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

# What the path of a batch by this name would ask for is the listing of a user called "status".
_NO_BATCH = "user"

RETRIED_STATUSES = frozenset({429, 502, 503, 504})

# A batch whose ranking is replaced again while it is read, this often in a row, is not read now.
READINGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. `connect_s` and `read_s` (the longest silence) are of an attempt; `total_s` is of a call, with all its
    attempts, pauses and pages. The async client ends a call then; the sync one begins nothing any more, and an attempt that
    is under way ends by its own times.

    The gateway gives the service 29 s; nobody waits that long for a page.
    """

    connect_s: float = 2.0
    read_s: float = 10.0
    total_s: float = 20.0

    def __post_init__(self) -> None:
        for name in ("connect_s", "read_s", "total_s"):
            checks.seconds(name, getattr(self, name), zero=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """`attempts` in all, where 1 and 0 both mean no retries; before the n-th repetition a pause of 0 to `base_s` * 2^(n-1) seconds, at most `longest_s`.

    The pause is drawn from all of that range ("full jitter"), which spreads callers that failed together. Where the
    service says Retry-After, that comes on top.
    """

    attempts: int = 4
    base_s: float = 0.1
    longest_s: float = 2.0

    def __post_init__(self) -> None:
        checks.whole("attempts", self.attempts, 0)
        for name in ("base_s", "longest_s"):
            checks.seconds(name, getattr(self, name), zero=True)


DEFAULT_TIMEOUTS = Timeouts()
DEFAULT_RETRIES = Retries()


class CallOptions(TypedDict, total=False):
    """What every question takes by keyword; what is left out, or None, is as the client was made.

    `correlation_id` is the id of the request that the question serves, 1 to 128 of `A-Za-z0-9._:-`; any other is
    replaced by a new one. `headers` are sent beside the client's own and are not signed, so that what is on the way may
    change them: `traceparent`, `X-Amzn-Trace-Id`.
    """

    correlation_id: str | None
    timeouts: Timeouts | None
    retries: Retries | None
    headers: Mapping[str, str] | None


class Call(NamedTuple):
    """A question's options, all of them known."""

    correlation_id: str
    timeouts: Timeouts
    retries: Retries
    headers: dict[str, str]
    deadline: float


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request, as what is put `around` it sees it: `status` or `error` is known once it has ended.

    `operation`: its name in the OpenAPI document. `number`: 1 for the first. `headers`: may be added to, before it begins.
    """

    operation: str
    url: str
    number: int
    correlation_id: str
    headers: dict[str, str]
    status: int | None = None
    error: Exception | None = None


class NeedKeys(NamedTuple):
    """Effect: the credentials of this moment. Answered with ReadOnlyCredentials, or NoKeysError."""


class Send(NamedTuple):
    """Effect: a GET of exactly this URL with these headers. Answered with Received or Broken."""

    url: str
    headers: list[tuple[str, str]]
    connect_s: float
    read_s: float
    deadline: float
    """The moment by the clock at which to give up, whatever has come by then."""
    attempt: Attempt
    """What is put around it; its headers are sent too."""


class Pause(NamedTuple):
    """Effect: so many seconds of nothing."""

    seconds: float


class Received(NamedTuple):
    """A whole answer. `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Broken(NamedTuple):
    """No whole answer. `late`: the deadline ended it."""

    error: Exception
    late: bool = False
    why: Literal["network", "pool", "certificate"] = "network"


Effect: TypeAlias = NeedKeys | Send | Pause
_Result = TypeVar("_Result")
Flow: TypeAlias = Generator[Effect, Any, _Result]
_Model = TypeVar("_Model")


class Asked(NamedTuple):
    """One question: the same URL and options, however many attempts it takes."""

    operation: str
    url: str
    call: Call
    signed: bool = True
    attempts: int = 1


class Core:
    """The questions, as flows. `clock` tells seconds that only go up; `jitter(x)` draws from 0 to x."""

    def __init__(
        self,
        address: Address,
        signer: Signer,
        cache: EtagCache,
        timeouts: Timeouts,
        retries: Retries,
        clock: Callable[[], float],
        jitter: Callable[[float], float],
    ) -> None:
        self._address = address
        self._signer = signer
        self._cache = cache
        self._timeouts = timeouts
        self._retries = retries
        self._clock = clock
        self._jitter = jitter

    # Questions

    def batch_status(
        self, batch_id: str, user_id: str | None, options: CallOptions
    ) -> Flow[BatchStatus | None]:
        """The whole batch, however many pages it takes; None where there is none for this user."""
        call = self._begin(options)
        for reading in range(1, READINGS + 1):
            try:
                return (yield from self._whole(batch_id, user_id, call))
            except BatchNotFoundError:
                return None
            except CursorOutdatedError:
                if reading == READINGS:
                    raise
                logger.info(
                    "the ranking of a batch was replaced while it was read; correlation id %s",
                    call.correlation_id,
                )
        raise AssertionError("the last reading returns or raises")

    def _whole(self, batch_id: str, user_id: str | None, call: Call) -> Flow[BatchStatus]:
        # The first page's own account of the batch stays: only it has counted the whole batch.
        first = page = yield from self._page(batch_id, user_id, None, None, call)
        essays = list(first.essays)
        while page.pagination.next_cursor is not None:
            page = yield from self._page(batch_id, user_id, None, page.pagination.next_cursor, call)
            essays += page.essays
        if page is first:
            return first
        return replace(first, essays=tuple(essays), pagination=page.pagination)

    def batch_status_page(
        self,
        batch_id: str,
        user_id: str | None,
        limit: int | None,
        cursor: str | None,
        options: CallOptions,
    ) -> Flow[BatchStatus]:
        """A batch with a page of its essays. BatchNotFoundError where there is none for this user."""
        return (yield from self._page(batch_id, user_id, limit, cursor, self._begin(options)))

    def _page(
        self, batch_id: str, user_id: str | None, limit: int | None, cursor: str | None, call: Call
    ) -> Flow[BatchStatus]:
        if user_id is not None:
            checks.text("user_id", user_id)
        if batch_id == _NO_BATCH:
            raise BatchNotFoundError(
                "no such batch", code="batch_not_found", correlation_id=call.correlation_id
            )
        url = self._url(
            f"/internal/v1/batches/{segment('batch_id', batch_id)}/status",
            user_id=user_id,
            limit=limit,
            cursor=cursor,
        )
        asked = Asked("get_batch_status", url, call, attempts=call.retries.attempts)
        return (yield from self._ask(asked, BatchStatus))

    def batches_page(
        self,
        user_id: str,
        limit: int | None,
        offset: int | None,
        status: str | None,
        cursor: str | None,
        options: CallOptions,
    ) -> Flow[BatchPage]:
        """A page of a user's batches."""
        call = self._begin(options)
        url = self._url(
            f"/internal/v1/batches/user/{segment('user_id', user_id)}",
            limit=limit,
            offset=offset,
            status=status,
            cursor=cursor,
        )
        asked = Asked("get_user_batches", url, call, attempts=call.retries.attempts)
        return (yield from self._ask(asked, BatchPage))

    def health(self, options: CallOptions) -> Flow[Health]:
        """The state of this moment: no signature, which the route needs as little as credentials.

        One attempt, unless the call itself asks for more.
        """
        call = self._begin(options)
        attempts = call.retries.attempts if options.get("retries") else 1
        asked = Asked("healthz", self._url("/healthz"), call, signed=False, attempts=attempts)
        return (yield from self._ask(asked, Health))

    # How a question is asked

    def _begin(self, options: CallOptions) -> Call:
        for name in options.keys() - CallOptions.__optional_keys__:
            raise TypeError(f"unexpected keyword argument {name!r}")
        timeouts = self._timeouts if (given := options.get("timeouts")) is None else given
        checks.instance("timeouts", timeouts, Timeouts)
        retries = self._retries if (chosen := options.get("retries")) is None else chosen
        checks.instance("retries", retries, Retries)
        offered = options.get("correlation_id")
        return Call(
            offered if offered and _CORRELATION_ID.fullmatch(offered) else str(uuid.uuid4()),
            timeouts,
            retries,
            checks.headers("headers", options.get("headers") or {}),
            self._clock() + timeouts.total_s,
        )

    def _url(self, path: str, **parameters: str | int | None) -> str:
        # quote(), not quote_plus(): the signature is over "%20", and a "+" would not match it.
        given = {name: value for name, value in parameters.items() if value is not None}
        query = urlencode(given, quote_via=quote, safe="")
        return f"{self._address.url}{path}{'?' if query else ''}{query}"

    def _ask(self, asked: Asked, model: type[_Model]) -> Flow[_Model]:
        body = yield from self._exchange(asked)
        try:
            return models.read(model, json.loads(body))
        except ValueError as error:
            raise errors.UnreadableAnswerError(
                f"the answer cannot be read: {error}",
                code="unreadable_answer",
                correlation_id=asked.call.correlation_id,
                status=200,
            ) from error

    def _exchange(self, asked: Asked) -> Flow[bytes]:
        """The body of the answer, after as many attempts as it takes and may take."""
        failure: errors.ResultAggregatorError | None = None
        for attempt in range(1, max(1, asked.attempts) + 1):
            if failure is not None:
                pause = self._jitter(
                    min(asked.call.retries.longest_s, asked.call.retries.base_s * 2 ** (attempt - 2))
                ) + (failure.retry_after_s or 0.0)
                if self._clock() + pause >= asked.call.deadline:
                    # Waiting would only make the caller wait for the same error.
                    raise failure
                logger.info("attempt %d after %.3f s: %s", attempt, pause, failure)
                yield Pause(pause)
            # Anew for each attempt: credentials are refreshed meanwhile, and a signature holds for five minutes.
            key, kept, headers = yield from self._prepared(asked)
            left = asked.call.deadline - self._clock()
            if left <= 0:
                raise deadline_exceeded(asked.call.correlation_id) from failure
            outcome: Received | Broken = yield Send(
                asked.url,
                headers,
                min(asked.call.timeouts.connect_s, left),
                min(asked.call.timeouts.read_s, left),
                asked.call.deadline,
                Attempt(
                    operation=asked.operation,
                    url=asked.url,
                    number=attempt,
                    correlation_id=asked.call.correlation_id,
                    headers=dict(asked.call.headers),
                ),
            )
            if isinstance(outcome, Broken):
                if outcome.late or self._clock() >= asked.call.deadline:
                    raise deadline_exceeded(asked.call.correlation_id) from outcome.error
                failure = _failure(outcome, asked.call.correlation_id)
                if not isinstance(failure, errors.TemporaryError):
                    raise failure
                continue
            if outcome.status == 200:
                self._remember(key, outcome)
                return outcome.body
            if outcome.status == 304 and kept is not None:
                return kept.body
            failure = errors.of_answer(
                outcome.status, outcome.headers, outcome.body, asked.call.correlation_id
            )
            if outcome.status not in RETRIED_STATUSES:
                if key is not None:
                    self._cache.drop(key)
                raise failure
        assert failure is not None  # noqa: S101 - there is at least one attempt
        raise failure

    def _prepared(self, asked: Asked) -> Flow[tuple[Key | None, Kept | None, list[tuple[str, str]]]]:
        headers = {
            "Accept": "application/json",
            "X-Correlation-ID": asked.call.correlation_id,
            **self._address.headers,
        }
        if not asked.signed:
            return None, None, [*headers.items(), *_UNSIGNED]
        keys: ReadOnlyCredentials | NoKeysError = yield NeedKeys()
        if isinstance(keys, NoKeysError):
            raise errors.CredentialsError(
                str(keys), code="no_credentials", correlation_id=asked.call.correlation_id
            ) from keys.__cause__
        key = Key(cast("str", keys.access_key), asked.url)
        kept = self._cache.get(key)
        if kept is not None:
            headers["If-None-Match"] = kept.etag
        return key, kept, [*self._signer.signed(asked.url, headers, keys), *_UNSIGNED]

    def _remember(self, key: Key | None, answer: Received) -> None:
        etag = answer.headers.get("etag")
        if key is None or etag is None or "no-store" in answer.headers.get("cache-control", ""):
            return
        self._cache.put(key, Kept(etag, answer.body))


# What something on the way may change.
_UNSIGNED = (("Accept-Encoding", "gzip"), ("User-Agent", f"result-aggregator-client/{__version__}"))


def _failure(broken: Broken, correlation_id: str) -> errors.ResultAggregatorError:
    failure: errors.ResultAggregatorError
    match broken.why:
        case "network":
            failure = errors.UnreachableError(
                f"no whole answer: {type(broken.error).__name__}",
                code="unreachable",
                correlation_id=correlation_id,
            )
        case "pool":
            failure = errors.ConnectionPoolFullError(
                "all connections of the client are busy",
                code="connection_pool_full",
                correlation_id=correlation_id,
            )
        case "certificate":
            failure = errors.CertificateError(
                f"the certificate is not trusted: {broken.error}",
                code="certificate_not_valid",
                correlation_id=correlation_id,
            )
    failure.__cause__ = broken.error
    return failure


def deadline_exceeded(correlation_id: str) -> errors.DeadlineExceededError:
    return errors.DeadlineExceededError(
        "the time for the call is over", code="deadline_exceeded", correlation_id=correlation_id
    )


def segment(name: str, value: str) -> str:
    """An id as one segment of a path. Raises ValueError for an empty one, which no route has, and as `checks.text`.

    Everything but RFC 3986's unreserved characters is percent-encoded, so no library on the way finds anything to
    normalise; that includes the dots of an id of one or two of them, which would be a step in the path.
    """
    checks.text(name, value)
    if not value:
        raise ValueError(f"{name} is empty")
    if value in (".", ".."):
        return value.replace(".", "%2E")
    return quote(value, safe="")
