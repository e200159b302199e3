"""The HTTP side of the queries: routes, callers, revalidation, errors. One API Gateway proxy event in, one answer out.

ApiError
├── BadRequestError     400
├── ForbiddenError      403
├── NotFoundError       404
├── NotAllowedError     405
├── PathTooLongError    414
├── HeadersTooLargeError 431
└── UnavailableApiError 503
"""

from __future__ import annotations

import json
import re
import uuid
import zlib
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from result_aggregator import cursors, prometheus, query
from result_aggregator.domain import ids, statuses
from result_aggregator.domain.store_interface import StoreError
from result_aggregator.names import RETRY_AFTER_S
from result_aggregator.observability import Stopwatch, count_orphan, logger, report_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from result_aggregator.domain.store_interface import ReadableView
    from result_aggregator.prometheus import Exposition

CORRELATION_HEADER = "X-Correlation-ID"
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

MAX_ESSAYS = 5000
MAX_BATCHES = 100
MAX_OFFSET = 10_000

# API Gateway's own limits (quotas of REST APIs), which an emulator does not know: callers get the same answer everywhere.
MAX_PATH_BYTES = 1600
MAX_HEADER_BYTES = 10_240

# What is smaller hardly gains: the answer fits a network packet or two either way.
_COMPRESS_FROM = 1024
# The fastest: a third larger than the best, at a tenth of its time.
_GZIP_LEVEL = 1

# `arn:aws:sts::<account>:assumed-role/<role name>/<session>`: what IAM calls a caller that assumed a role.
_ASSUMED_ROLE = re.compile(
    r"arn:(?P<partition>[\w-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+"
)
_ETAG = re.compile(r'(?:W/)?("[^"]*")')


class ApiError(Exception):
    """An answer other than success. `code` is stable for machines, the message is for people; neither tells internals."""

    status = 500
    code = "internal_error"
    headers: Mapping[str, str] = {}

    def __init__(self, message: str, details: dict[str, Any] | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.details = details or {}
        self.code = code or self.code

    def body(self, correlation_id: str) -> dict[str, Any]:
        """The error body of the API."""
        return {
            "error": str(self),
            "code": self.code,
            "details": self.details,
            "correlation_id": correlation_id,
        }


class BadRequestError(ApiError):
    """The request is wrong: `details` name the parameter and what it takes."""

    status, code = 400, "bad_request"


class ForbiddenError(ApiError):
    """The caller is none of the services that may ask."""

    status, code = 403, "forbidden"


class NotFoundError(ApiError):
    """There is no such thing for this caller."""

    status, code = 404, "not_found"


class NotAllowedError(ApiError):
    """The route exists for another method."""

    status, code = 405, "method_not_allowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        """`allowed`: the methods that the route has."""
        super().__init__(
            f"only {' and '.join(allowed)} {'is' if len(allowed) == 1 else 'are'} allowed",
            {"allowed": list(allowed)},
        )
        self.headers = {"Allow": ", ".join(allowed)}


class PathTooLongError(ApiError):
    """The path takes more than API Gateway would let through."""

    status, code = 414, "path_too_long"


class HeadersTooLargeError(ApiError):
    """The headers take more than API Gateway would let through."""

    status, code = 431, "headers_too_large"


class UnavailableApiError(ApiError):
    """The view cannot be read now; worth trying again."""

    status, code = 503, "unavailable"
    headers = {"Retry-After": str(RETRY_AFTER_S)}


@dataclass(slots=True)
class Request:
    """A proxy event, read. `route` is the resource path of the API's definition; header names are in lower case."""

    method: str
    route: str
    path_bytes: int
    """what the path takes as it was sent"""
    path_parameters: Mapping[str, str]
    """percent-decoded; bytes that are no UTF-8 are surrogates, which no id has"""
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    caller_arn: str | None
    correlation_id: str = field(init=False)

    def __post_init__(self) -> None:
        offered = self.headers.get(CORRELATION_HEADER.lower(), "")
        self.correlation_id = offered if _CORRELATION_ID.fullmatch(offered) else str(uuid.uuid4())

    @classmethod
    def of(cls, event: dict[str, Any]) -> Request:
        """Read an API Gateway REST proxy event."""
        identity = (event.get("requestContext") or {}).get("identity") or {}
        path, parameters = event.get("path") or "", event.get("pathParameters") or {}
        # A REST API passes the path on as it was sent; what decodes it first says that its event is of "version" 1.0, which
        # a REST API's does not say: HTTP APIs, and the emulator. Decoding it again would make another id of "%2541".
        is_decoded = "version" in event
        headers = event.get("multiValueHeaders") or {
            name: [value] for name, value in (event.get("headers") or {}).items()
        }
        return cls(
            method=event.get("httpMethod", ""),
            route=event.get("resource", ""),
            path_bytes=len(quote(path, safe=_LITERAL_IN_PATHS) if is_decoded else path),
            path_parameters=parameters
            if is_decoded
            else {name: unquote(value, errors="surrogateescape") for name, value in parameters.items()},
            query=event.get("multiValueQueryStringParameters")
            or {name: [value] for name, value in (event.get("queryStringParameters") or {}).items()},
            headers={name.lower(): ", ".join(values) for name, values in headers.items()},
            caller_arn=identity.get("userArn"),
        )

    def parameter(self, name: str) -> str | None:
        """A query parameter given at most once. Raises BadRequestError."""
        values = self.query.get(name) or []
        if len(values) > 1:
            raise BadRequestError(f"{name} is given {len(values)} times", {"parameter": name})
        return values[0] if values else None

    def integer(self, name: str, lowest: int, highest: int) -> int | None:
        """A whole number in a query parameter, None where it is not given. Raises BadRequestError."""
        text = self.parameter(name)
        # Not int(): it takes signs, spaces, underscores and other scripts' digits.
        if text is None or (re.fullmatch(r"[0-9]{1,9}", text) and lowest <= int(text) <= highest):
            return None if text is None else int(text)
        raise BadRequestError(
            f"{name} must be a whole number from {lowest} to {highest}",
            {"parameter": name, "minimum": lowest, "maximum": highest},
        )

    def identifier(self, name: str) -> str:
        """An id in the path. Raises BadRequestError."""
        return _checked_id(name, self.path_parameters.get(name, ""))

    def check_sizes(self) -> None:
        """Raises PathTooLongError and HeadersTooLargeError."""
        if self.path_bytes > MAX_PATH_BYTES:
            raise PathTooLongError(
                f"the path takes more than {MAX_PATH_BYTES} bytes", {"maximum": MAX_PATH_BYTES}
            )
        taken = sum(len(name) + len(value.encode(errors="replace")) for name, value in self.headers.items())
        if taken > MAX_HEADER_BYTES:
            raise HeadersTooLargeError(
                f"the headers take more than {MAX_HEADER_BYTES} bytes", {"maximum": MAX_HEADER_BYTES}
            )

    def check_parameters(self, allowed: Sequence[str]) -> None:
        """No parameter but those that a route takes: a mistyped `user_id` must not ask for more. Raises BadRequestError."""
        for name in self.query:
            if name not in allowed:
                raise BadRequestError(
                    "there is no such parameter here", {"parameter": name[:64], "allowed": sorted(allowed)}
                )

    def has(self, etag: str) -> bool:
        """Whether `If-None-Match` names the ETag, weakly compared (RFC 9110, 13.1.2)."""
        asked = self.headers.get("if-none-match", "")
        return asked.strip() == "*" or etag.removeprefix("W/") in _ETAG.findall(asked)

    def takes_gzip(self) -> bool:
        """Whether the answer may be compressed.

        Not without an `Accept`: API Gateway turns base64 into bytes only for what that header names.
        """
        if not self.headers.get("accept"):
            return False
        wanted: dict[str, bool] = {}
        for part in self.headers.get("accept-encoding", "").split(","):
            coding, _, weight = part.lower().partition(";")
            # Whatever is not a weight above zero is a no: an uncompressed answer is always right.
            wanted[coding.strip()] = re.fullmatch(r"\s*(q=(1(\.0*)?|0\.0*[1-9]\d*))?\s*", weight) is not None
        return wanted.get("gzip", wanted.get("*", False))


# RFC 3986 lets a path have these as they are, and callers may send them so.
_LITERAL_IN_PATHS = "/-._~!$&'()*+,;=:@"


def _checked_id(name: str, value: str) -> str:
    if problem := ids.problem_of(value):
        raise BadRequestError(f"{name} {problem}", {"parameter": name})
    return value


class Route(NamedTuple):
    """One of the API's: its name in metrics and in the OpenAPI document, the query parameters and methods that it takes."""

    endpoint: str
    parameters: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("GET",)


ROUTES = {
    "/internal/v1/batches/{batch_id}/status": Route("get_batch_status", ("user_id", "limit", "cursor")),
    "/internal/v1/batches/user/{user_id}": Route("get_user_batches", ("limit", "offset", "status", "cursor")),
    "/healthz": Route("healthz", methods=("GET", "HEAD")),
    "/metrics": Route("metrics"),
}


class RouteAnswer(NamedTuple):
    """What a route answers: the body, and what callers may keep of it.

    `is_cacheable`: as long as it is revalidated. Otherwise for `max_age` seconds, None of them for not at all.
    """

    body: bytes
    is_cacheable: bool
    content_type: str = "application/json"
    max_age: int | None = None


class Api:
    """The routes over a store."""

    def __init__(
        self,
        store: ReadableView,
        allowed_callers: Mapping[str, str],
        default_pipeline: Sequence[str],
        metrics: Callable[[], Exposition],
        *,
        compress: bool = True,
    ) -> None:
        """`allowed_callers`: IAM role ARN -> service name; "" stands for callers of whom no identity is told.

        `metrics`: made when it is first asked for. `compress`: false where the gateway lets no bytes through.
        """
        self._store = store
        self._metrics = metrics
        self._compress = compress
        self._default_pipeline = default_pipeline
        # An assumed-role ARN has the role's name without its path, so that is what callers are known by.
        self._services = {
            (arn.split(":")[4], arn.rsplit("/", 1)[-1]): service
            for arn, service in allowed_callers.items()
            if arn
        }
        # Only emulators tell nobody's identity, and only the local stage says so (the setting `serve_unidentified`).
        self._unidentified = allowed_callers.get("")
        self._work: dict[str, Callable[[Request], RouteAnswer]] = {
            "get_batch_status": self._batch_status,
            "get_user_batches": self._user_batches,
            "healthz": self._health,
            "metrics": self._scrape,
        }

    def answer(self, event: dict[str, Any]) -> dict[str, Any]:
        """The proxy answer to an API Gateway proxy event. Raises nothing: what fails is answered as such."""
        watch = Stopwatch()
        request = Request.of(event)
        logger.append_keys(correlation_id=request.correlation_id)
        route = ROUTES.get(request.route, Route("unknown"))
        failure: ApiError | None = None
        service: str | None = None
        try:
            # Who asks comes first, then whether there is such a route, then how it may be asked.
            if route.endpoint != "healthz":
                service = self._service_of(request)
            request.check_sizes()
            if request.method not in route.methods and route.endpoint != "unknown":
                raise NotAllowedError(route.methods)
            made = _response(request, self._answer(route, request), compress=self._compress)
        except ApiError as error:
            failure = error
        except StoreError as error:
            logger.warning("view not readable", reason=str(error))
            failure = UnavailableApiError("the view cannot be read now, try again")
        except Exception:  # noqa: BLE001 - the one place where a bug ends: its trace is logged, the caller gets none of it
            logger.exception("request failed")
            failure = ApiError("internal error")
        if failure is not None:
            made = _refusal(request, failure)
        if request.method == "HEAD":
            made = {**made, "body": ""}
        status, code = made["statusCode"], failure.code if failure else None
        logger.info("answered", endpoint=route.endpoint, caller=service, status=status, code=code)
        # Only what has an ETag can be revalidated.
        revalidates = "ETag" in made["headers"] and "if-none-match" in request.headers
        report_request(route.endpoint, request.method, status, code, watch.seconds(), revalidates=revalidates)
        return made

    def _answer(self, route: Route, request: Request) -> RouteAnswer:
        work = self._work.get(route.endpoint)
        if work is None:
            raise NotFoundError("no such route", code="unknown_route")
        request.check_parameters(route.parameters)
        try:
            return work(request)
        except cursors.InvalidCursorError as error:
            raise BadRequestError(
                "the cursor is damaged or of another request", {"parameter": "cursor"}, "invalid_cursor"
            ) from error
        except query.OutdatedCursorError as error:
            raise BadRequestError(
                "the ranking has been replaced since the first page, start again",
                {"parameter": "cursor"},
                "cursor_outdated",
            ) from error

    def _service_of(self, request: Request) -> str:
        """The calling service. API Gateway has checked the signature; this checks that a policy let in no one else."""
        match = _ASSUMED_ROLE.fullmatch(request.caller_arn or "")
        service = self._services.get((match["account"], match["role"])) if match else None
        if request.caller_arn is None:
            service = self._unidentified
        if service is None:
            logger.warning("caller refused", caller_arn=request.caller_arn)
            raise ForbiddenError("the caller is not allowed to ask")
        return service

    def _batch_status(self, request: Request) -> RouteAnswer:
        batch_id = request.identifier("batch_id")
        user_id = request.parameter("user_id")
        if user_id is not None:
            _checked_id("user_id", user_id)
        logger.append_keys(batch_id=batch_id)
        try:
            found = query.batch_status(
                self._store,
                batch_id,
                self._default_pipeline,
                user_id,
                limit=request.integer("limit", 1, MAX_ESSAYS),
                cursor=request.parameter("cursor"),
            )
        except query.UnknownBatchError as error:
            if error.orphan:
                count_orphan()
            raise NotFoundError("no such batch", code="batch_not_found") from error
        finally:
            logger.remove_keys(["batch_id"])
        return RouteAnswer(found.json(), is_cacheable=True)

    def _user_batches(self, request: Request) -> RouteAnswer:
        word = request.parameter("status")
        status = None if word is None else statuses.overall_status(word)
        if word is not None and status is None:
            allowed = [*statuses.OVERALL, *statuses.OVERALL_BY_WORD, statuses.WAITING_WORDS]
            raise BadRequestError("status is none of a batch's", {"parameter": "status", "allowed": allowed})
        limit = request.integer("limit", 1, MAX_BATCHES)
        offset = request.integer("offset", 0, MAX_OFFSET)
        cursor = request.parameter("cursor")
        if cursor is not None and offset is not None:
            raise BadRequestError("a cursor says where the page begins", {"parameter": "offset"})
        found = query.user_batches(
            self._store,
            request.identifier("user_id"),
            self._default_pipeline,
            limit=20 if limit is None else limit,
            offset=offset or 0,
            cursor=cursor,
            status=status,
        )
        return RouteAnswer(query.encode(found), is_cacheable=True)

    def _health(self, _request: Request) -> RouteAnswer:
        if not self._store.is_active():
            raise UnavailableApiError("the table is not active")
        healthy = {"status": "healthy", "service": "result_aggregator_service"}
        return RouteAnswer(query.encode(healthy), is_cacheable=False)

    def _scrape(self, _request: Request) -> RouteAnswer:
        try:
            scrape = self._metrics().scrape()
        except StoreError as error:
            logger.warning("metrics not readable", reason=str(error))
            raise UnavailableApiError("the metrics cannot be read now, try again") from error
        return RouteAnswer(
            scrape.text.encode(),
            is_cacheable=False,
            content_type=prometheus.CONTENT_TYPE,
            max_age=scrape.max_age,
        )


def _response(request: Request, answer: RouteAnswer, *, compress: bool) -> dict[str, Any]:
    """The proxy answer of a success, or of one that the caller has already."""
    body = answer.body
    headers = {CORRELATION_HEADER: request.correlation_id, "Cache-Control": "no-store"}
    if answer.is_cacheable:
        etag = f'W/"{urlsafe_b64encode(sha256(body).digest()[:15]).decode()}"'
        headers |= {"Cache-Control": "private, no-cache", "ETag": etag, "Vary": "Accept-Encoding"}
        if request.has(etag):
            return {"statusCode": 304, "headers": headers, "body": ""}
    elif answer.max_age is not None:
        headers |= {"Cache-Control": f"private, max-age={answer.max_age}", "Vary": "Accept-Encoding"}
    headers["Content-Type"] = answer.content_type
    if compress and len(body) >= _COMPRESS_FROM and request.takes_gzip():
        headers["Content-Encoding"] = "gzip"
        packed = zlib.compress(body, _GZIP_LEVEL, wbits=31)
        return {
            "statusCode": 200,
            "headers": headers,
            "body": b64encode(packed).decode(),
            "isBase64Encoded": True,
        }
    return {"statusCode": 200, "headers": headers, "body": body.decode()}


def _refusal(request: Request, error: ApiError) -> dict[str, Any]:
    headers = {
        "Content-Type": "application/json",
        CORRELATION_HEADER: request.correlation_id,
        "Cache-Control": "no-store",
        **error.headers,
    }
    return {
        "statusCode": error.status,
        "headers": headers,
        # Escaped, because a caller's own text is in it, which need not be any that UTF-8 can hold.
        "body": json.dumps(error.body(request.correlation_id)),
    }
