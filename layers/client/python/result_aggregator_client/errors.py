"""What can go wrong. Every error says what to do about it in `advice`.

ResultAggregatorError
├── RefusedError                    4xx: the same request will be refused again
│   ├── BadRequestError             400
│   │   └── CursorOutdatedError     400, cursor_outdated: begin again at the first page
│   ├── ForbiddenError              403
│   └── NotFoundError               404
│       └── BatchNotFoundError      404, batch_not_found: no such batch, or not this user's
├── TemporaryError                  worth asking again later; attempts within the call are used up
│   ├── TooManyRequestsError        429
│   ├── UnavailableError            502, 503, 504
│   ├── UnreachableError            no whole answer came: connection refused, reset, timed out
│   ├── ConnectionPoolFullError     all of the client's connections were busy: nothing was sent
│   └── DeadlineExceededError       the call's time is over
├── ServiceError                    500 and other 5xx: a bug of the service
├── UnreadableAnswerError           an answer that is not of this API
├── CertificateError                who answers has no certificate that is trusted here
└── CredentialsError                no credentials, or they cannot be refreshed
"""

from __future__ import annotations

import copyreg
import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class ResultAggregatorError(Exception):
    """A question that got no answer.

    `status`: the HTTP status, None where none came. `code`: stable, for programs; the service's own, or the client's
    for what never reached it. `details`: what the service says of the cause, by name. `correlation_id`: the one
    that every attempt was sent with; it is in the service's log. `retry_after_s`: seconds to wait before asking
    again, where the service said so.
    """

    advice: ClassVar[str] = "Read the message and the details."

    def __init__(
        self,
        message: str,
        *,
        code: str,
        correlation_id: str,
        status: int | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.details: Mapping[str, Any] = details or {}
        self.correlation_id = correlation_id
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is built again from its message alone, which __init__ does not take: so not by __init__.
        return copyreg.__newobj__, (type(self), *self.args), vars(self).copy()  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.message!r}, status={self.status}, code={self.code!r}, "
            f"correlation_id={self.correlation_id!r})"
        )

    def __str__(self) -> str:
        facts = [str(self.status)] if self.status is not None else []
        facts += [self.code, f"correlation id {self.correlation_id}"]
        return f"{self.message} [{', '.join(facts)}] {self.advice}"


class RefusedError(ResultAggregatorError):
    """The service, or the gateway before it, refused the request."""

    advice = "Do not repeat it: the same request will be refused again."


class BadRequestError(RefusedError):
    """A parameter is wrong; `details` name it and what it takes."""

    advice = "Correct the parameter that the details name."


class CursorOutdatedError(BadRequestError):
    """What the cursor continued has changed (a new ranking): the pages so far and the next would not fit together."""

    advice = "Drop the pages read so far and begin again without a cursor."


class ForbiddenError(RefusedError):
    """The caller is not allowed, or its signature does not verify."""

    advice = (
        "Check that the role is one of the API's callers, that credentials, region and clock are right, "
        "and that the request goes through the API's VPC endpoint."
    )


class NotFoundError(RefusedError):
    """There is no such thing at this address."""

    advice = "Check the address: its API id, stage and path."


class BatchNotFoundError(NotFoundError):
    """There is no such batch, or it is not the user's: the two look the same."""

    advice = "Answer your own caller with 404."


class TemporaryError(ResultAggregatorError):
    """It may well work later."""

    advice = "Ask again later, after retry_after_s where it is set; answer your own caller with 503."


class TooManyRequestsError(TemporaryError):
    """The caller, or all callers together, ask more than the API takes."""


class UnavailableError(TemporaryError):
    """The service cannot answer now."""


class UnreachableError(TemporaryError):
    """No whole answer came; `__cause__` says what broke."""

    advice = "Check the address and the way to the VPC endpoint if it lasts; answer your own caller with 503."


class ConnectionPoolFullError(TemporaryError):
    """All of the client's connections were busy, for as long as one may take to open."""

    advice = "Raise max_connections, or ask less at once; answer your own caller with 503."


class DeadlineExceededError(TemporaryError):
    """The time allowed for the whole call is over; `__cause__` is the last attempt's error, if it had one."""


class ServiceError(ResultAggregatorError):
    """The service failed to answer."""

    advice = "Report it with the correlation id; answer your own caller with 502."


class UnreadableAnswerError(ResultAggregatorError):
    """What came is not an answer of this API."""

    advice = "Check that the address is the API's; a client older than the service may be the cause too."


class CertificateError(ResultAggregatorError):
    """Who answers at the address has no certificate that is trusted here; `__cause__` is the transport's error."""

    advice = "Check the address, and the certificate authorities that this process trusts."


class CredentialsError(ResultAggregatorError):
    """There is nothing to sign with; `__cause__` is botocore's own error."""

    advice = "Give this process AWS credentials: a role, a profile, or the environment's variables."


_BY_STATUS: dict[int, type[ResultAggregatorError]] = {
    400: BadRequestError,
    403: ForbiddenError,
    404: NotFoundError,
    429: TooManyRequestsError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}
_BY_CODE: dict[tuple[int, str], type[ResultAggregatorError]] = {
    (400, "cursor_outdated"): CursorOutdatedError,
    (404, "batch_not_found"): BatchNotFoundError,
}


def of_answer(
    status: int, headers: Mapping[str, str], body: bytes, correlation_id: str
) -> ResultAggregatorError:
    """The error that an answer other than success is. `headers` by lower-case name."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    code = said.get("code")
    if not isinstance(code, str):
        # Something between here and the service answered; its body may be anything, so none of it is repeated.
        said, code = {}, "not_of_the_service"
    details = said.get("details")
    kind = _BY_CODE.get((status, code)) or _BY_STATUS.get(status)
    if kind is None:
        kind = (
            RefusedError if 400 <= status < 500 else ServiceError if status >= 500 else UnreadableAnswerError
        )
    return kind(
        str(said.get("error") or f"answered with {status}"),
        code=code,
        correlation_id=correlation_id,
        status=status,
        details=details if isinstance(details, dict) else None,
        retry_after_s=_retry_after_s(headers),
    )


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """RFC 9110, 10.2.3: seconds or a date. A date is read against the answer's own, whatever this machine's clock says."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, wait.total_seconds())
