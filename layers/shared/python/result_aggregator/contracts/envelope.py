"""The envelope around every event."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError, from_json

from result_aggregator.contracts.rejection import Problem, RejectedError, rejection_of
from result_aggregator.domain import registers

# How far an event may be ahead of the broker's clock (the design's bad-input table). Further is a broken clock,
# and would win every register until real time catches up.
MAX_AHEAD = timedelta(hours=24)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 10**14  # the year 5138; a timedelta takes no more than a thousand times that
# The forms of ISO 8601 that nearly every event has, which the model reads itself.
_USUAL = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt_ ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d:?\d\d)?)?")


def _other_forms(text: str) -> datetime | str:
    """A time in the other forms (an offset of hours alone, the basic form, weeks), as the standard library reads them.

    Not digits alone: the model would take them for seconds since 1970, and the library some of them for a date.
    """
    if _USUAL.fullmatch(text):
        return text
    if re.fullmatch(r"[\d.+-]*", text):
        raise PydanticCustomError("iso_8601", "not an ISO 8601 time")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise PydanticCustomError("iso_8601", "not an ISO 8601 time") from error


class _Raw(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    event_id: UUID
    event_timestamp: Annotated[datetime, BeforeValidator(_other_forms)]
    data: dict[str, Any]
    correlation_id: Any = None


class Envelope:
    """An opened envelope: `version` (see `domain.registers`), `correlation_id`, and `data` still in its dialect."""

    __slots__ = ("correlation_id", "data", "version")

    def __init__(self, version: str, correlation_id: str | None, data: dict[str, Any]) -> None:
        self.version = version
        self.correlation_id = correlation_id
        self.data = data


def open_envelope(value: bytes, broker_time_ms: int | None) -> Envelope:
    """Decode a record's value and check its envelope. Raises RejectedError."""
    try:
        document = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        # Not UTF-8, not JSON, NaN, or nested deeper than the parser goes (about 200 levels).
        raise RejectedError("not_json", [Problem("", str(error))]) from error
    if not isinstance(document, dict):
        raise RejectedError(
            "not_an_object", [Problem("", f"a JSON {type(document).__name__}, not an object")]
        )
    for name in ("event_id", "event_timestamp"):
        if not isinstance(document.get(name), str):
            raise RejectedError("invalid_field", [Problem(name, "a string is required")])
    try:
        raw = _Raw.model_validate(document)
        moment = _utc(raw.event_timestamp)
    except ValidationError as error:
        raise rejection_of(error, "") from error
    except OverflowError as error:
        raise RejectedError("invalid_field", [Problem("event_timestamp", "out of range in UTC")]) from error
    if _is_far_ahead(moment, broker_time_ms):
        raise RejectedError(
            "from_the_future", [Problem("event_timestamp", "over 24 h ahead of the broker's timestamp")]
        )
    correlation_id = raw.correlation_id if isinstance(raw.correlation_id, str) else None
    return Envelope(registers.version(registers.time_text(moment), raw.event_id), correlation_id, raw.data)


def _utc(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _is_far_ahead(moment: datetime, broker_time_ms: int | None) -> bool:
    """Whether an event is over MAX_AHEAD later than its record. Kafka says -1 where a record has no timestamp."""
    if broker_time_ms is None or broker_time_ms <= 0:
        return False
    return moment - _EPOCH > timedelta(milliseconds=min(broker_time_ms, _LATEST_MS)) + MAX_AHEAD
