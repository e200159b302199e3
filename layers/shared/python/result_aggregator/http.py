"""The HTTP side of the queries: routes, callers, correlation ids, errors. One API Gateway proxy event in, one answer out.

ApiError
├── BadRequestError     400
├── ForbiddenError      403
├── NotFoundError       404
├── NotAllowedError     405
└── UnavailableApiError 503
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from result_aggregator import query
from result_aggregator.domain import ids, statuses
from result_aggregator.domain.storage import StoreError
from result_aggregator.observability import Stopwatch, count_orphan, logger, report_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from result_aggregator.domain.storage import ReadableView

CORRELATION_HEADER = "X-Correlation-ID"
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

# With every 503, also of the gateway itself. Long enough for a throttled table to have taken what it was given, and by
# then the function has tried twice already (`store.aws.ATTEMPTS`).
RETRY_AFTER_S = 2

MAX_LIMIT = 100
MAX_OFFSET = 10_000

# `arn:aws:sts::<account>:assumed-role/<role name>/<session>`: what IAM calls a caller that assumed a role.
_ASSUMED_ROLE = re.compile(
    r"arn:(?P<partition>[\w-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+"
)


class ApiError(Exception):
    """An answer other than success. `code` is stable for machines, the message is for people; neither tells internals."""

    status = 500
    code = "internal_error"

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


class UnavailableApiError(ApiError):
    """The view cannot be read now; worth trying again."""

    status, code = 503, "unavailable"


@dataclass(slots=True)
class Request:
    """A proxy event, read. `route` is the resource path of the API's definition."""

    method: str
    route: str
    path_parameters: Mapping[str, str]
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    caller_arn: str | None
    correlation_id: str = ""

    @classmethod
    def of(cls, event: dict[str, Any]) -> Request:
        """Read an API Gateway REST proxy event."""
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        identity = (event.get("requestContext") or {}).get("identity") or {}
        offered = headers.get(CORRELATION_HEADER.lower(), "")
        return cls(
            method=event.get("httpMethod", ""),
            route=event.get("resource", ""),
            path_parameters=event.get("pathParameters") or {},
            query=event.get("multiValueQueryStringParameters")
            or {name: [value] for name, value in (event.get("queryStringParameters") or {}).items()},
            headers=headers,
            caller_arn=identity.get("userArn"),
            correlation_id=offered if _CORRELATION_ID.fullmatch(offered) else str(uuid.uuid4()),
        )

    def parameter(self, name: str) -> str | None:
        """A query parameter given at most once. Raises BadRequestError."""
        values = self.query.get(name) or []
        if len(values) > 1:
            raise BadRequestError(f"{name} is given {len(values)} times", {"parameter": name})
        return values[0] if values else None

    def integer(self, name: str, default: int, lowest: int, highest: int) -> int:
        """A whole number in a query parameter. Raises BadRequestError."""
        text = self.parameter(name)
        if text is None:
            return default
        # Not int(): it takes signs, spaces, underscores and other scripts' digits.
        if re.fullmatch(r"[0-9]{1,9}", text) and lowest <= int(text) <= highest:
            return int(text)
        raise BadRequestError(
            f"{name} must be a whole number from {lowest} to {highest}",
            {"parameter": name, "minimum": lowest, "maximum": highest},
        )

    def identifier(self, name: str) -> str:
        """An id in the path, where REST APIs leave it percent-encoded. Raises BadRequestError."""
        try:
            value = unquote(self.path_parameters.get(name, ""), errors="strict")
        except UnicodeDecodeError as error:
            raise BadRequestError(f"{name} is not percent-encoded UTF-8", {"parameter": name}) from error
        return _checked_id(name, value)


def _checked_id(name: str, value: str) -> str:
    if problem := ids.problem_of(value):
        raise BadRequestError(f"{name} {problem}", {"parameter": name})
    return value


class Api:
    """The routes over a store."""

    def __init__(
        self, store: ReadableView, allowed_callers: Mapping[str, str], default_pipeline: Sequence[str]
    ) -> None:
        """`allowed_callers`: IAM role ARN -> service name."""
        self._store = store
        self._default_pipeline = default_pipeline
        # An assumed-role ARN has the role's name without its path, so that is what callers are known by.
        self._services = {
            (arn.split(":")[4], arn.rsplit("/", 1)[-1]): service for arn, service in allowed_callers.items()
        }
        self._routes: dict[str, tuple[str, Callable[[Request], dict[str, Any]]]] = {
            "/internal/v1/batches/{batch_id}/status": ("get_batch_status", self._batch_status),
            "/internal/v1/batches/user/{user_id}": ("get_user_batches", self._user_batches),
            "/healthz": ("healthz", self._health),
        }

    def answer(self, event: dict[str, Any]) -> dict[str, Any]:
        """The proxy answer to an API Gateway proxy event. Raises nothing: what fails is answered as such."""
        watch = Stopwatch()
        request = Request.of(event)
        logger.append_keys(correlation_id=request.correlation_id)
        endpoint, work = self._routes.get(request.route, ("unknown", _no_such_route))
        failure: ApiError | None = None
        service: str | None = None
        try:
            # Who asks comes first, then whether there is such a route, then how it may be asked.
            if endpoint != "healthz":
                service = self._service_of(request)
            if request.method != "GET" and endpoint != "unknown":
                raise NotAllowedError("only GET is allowed", {"allowed": ["GET"]})
            status, body = 200, work(request)
        except ApiError as error:
            failure = error
        except StoreError as error:
            logger.warning("view not readable", reason=str(error))
            failure = UnavailableApiError("the view cannot be read now, try again")
        except Exception:  # noqa: BLE001 - the one place where a bug ends: its trace is logged, the caller gets none of it
            logger.exception("request failed")
            failure = ApiError("internal error")
        if failure is not None:
            status, body = failure.status, failure.body(request.correlation_id)
        code = failure.code if failure else None
        logger.info("answered", endpoint=endpoint, caller=service, status=status, code=code)
        report_request(endpoint, request.method, status, code, watch.seconds())
        return _response(status, body, request.correlation_id)

    def _service_of(self, request: Request) -> str:
        """The calling service. API Gateway has checked the signature; this checks that a policy let in no one else."""
        match = _ASSUMED_ROLE.fullmatch(request.caller_arn or "")
        service = self._services.get((match["account"], match["role"])) if match else None
        if service is None:
            logger.warning("caller refused", caller_arn=request.caller_arn)
            raise ForbiddenError("the caller is not allowed to ask")
        return service

    def _batch_status(self, request: Request) -> dict[str, Any]:
        batch_id = request.identifier("batch_id")
        user_id = request.parameter("user_id")
        if user_id is not None:
            _checked_id("user_id", user_id)
        logger.append_keys(batch_id=batch_id)
        try:
            return query.batch_status(self._store, batch_id, self._default_pipeline, user_id)
        except query.UnknownBatchError as error:
            if error.orphan:
                count_orphan()
            raise NotFoundError("no such batch", code="batch_not_found") from error
        finally:
            logger.remove_keys(["batch_id"])

    def _user_batches(self, request: Request) -> dict[str, Any]:
        status = request.parameter("status")
        if status is not None and status.upper() not in statuses.OVERALL:
            raise BadRequestError(
                "status is none of a batch's", {"parameter": "status", "allowed": list(statuses.OVERALL)}
            )
        return query.user_batches(
            self._store,
            request.identifier("user_id"),
            self._default_pipeline,
            limit=request.integer("limit", 20, 1, MAX_LIMIT),
            offset=request.integer("offset", 0, 0, MAX_OFFSET),
            status=status and status.upper(),
        )

    def _health(self, _request: Request) -> dict[str, Any]:
        if not self._store.is_active():
            raise UnavailableApiError("the table is not active")
        return {"status": "healthy", "service": "result_aggregator_service"}


def _no_such_route(_request: Request) -> dict[str, Any]:
    raise NotFoundError("no such route", code="unknown_route")


def _response(status: int, body: dict[str, Any], correlation_id: str) -> dict[str, Any]:
    headers = {
        "Content-Type": "application/json",
        CORRELATION_HEADER: correlation_id,
        "Cache-Control": "no-store",
    }
    if status == NotAllowedError.status:
        headers["Allow"] = "GET"
    if status == UnavailableApiError.status:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return {"statusCode": status, "headers": headers, "body": text}
