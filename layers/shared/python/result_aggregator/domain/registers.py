"""Last-writer-wins registers as strings that sort by version.

A register's stored value is `<version> <payload>`. The version is `<event time> <event id>`, both of fixed width:
the time is ISO 8601 basic in UTC with microseconds (21 characters), the id is 32 hexadecimal digits. So one string
comparison decides which of two events is newer: in a DynamoDB condition (`store.view_store`) and, among the events of
one invocation, in Python (`table_layout.Change.set`). A person on call can still read the value. The payload is
compact JSON.

A batch item holds a dozen registers within a kilobyte, so there the version is short: 32 characters of base 64, in an
alphabet that sorts as its values do, and no space behind them. Both forms are read everywhere, and an attribute only ever
has one of them, as strings of different forms do not compare.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

# Not json.loads: it looks for whitespace and encodings first, which takes as long as a small payload does.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined] # documented by its use in raw_decode alone

TIME_LENGTH = len("20260302T080001276000")
VERSION_LENGTH = TIME_LENGTH + 1 + 32

# Ascending in ASCII.
_DIGITS = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_BEGINNING = datetime(1, 1, 1)  # noqa: DTZ001 - UTC, as all times here
# 60 bits of microseconds, the highest of them set: a short version begins with a letter, a long one with a digit.
_SHORT_TIME, _SHORT_ID = 10, 22
_SHORT_MARK = 1 << 59
_LETTERS = "A"
SHORT_LENGTH = _SHORT_TIME + _SHORT_ID


def time_text(moment: datetime) -> str:
    """An aware UTC datetime as `YYYYMMDDTHHMMSSffffff`."""
    # isoformat pads the year to four digits; strftime's %Y does not, and would break the order.
    iso = moment.isoformat(timespec="microseconds")
    return iso[:26].replace("-", "").replace(":", "").replace(".", "")


# Essays ranked together share their time.
@lru_cache(maxsize=256)
def api_time(text: str) -> str:
    """A stored time as the API writes it: ISO 8601 extended, microseconds, `Z`."""
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:11]}:{text[11:13]}:{text[13:15]}.{text[15:21]}Z"


def version(event_time: str, event_id: UUID) -> str:
    """The version of an event: its time (see `time_text`) and its id, compared in that order."""
    return f"{event_time} {event_id.hex}"


def encode(version: str, payload: Any) -> str:
    """A register's value."""
    return f"{version} {json.dumps(payload, separators=(',', ':'), ensure_ascii=False)}"


def encode_short(version: str, payload: Any) -> str:
    """A register's value with a short version."""
    return _short(version) + json.dumps(payload, separators=(",", ":"), ensure_ascii=False)


def shortened(value: str) -> str:
    """A register's value, in either form, with a short version."""
    return _short(version_of(value)) + value[payload_at(value) :]


def payload_at(value: str) -> int:
    """Where a register's payload begins."""
    return SHORT_LENGTH if value >= _LETTERS else VERSION_LENGTH + 1


def payload_of(value: str) -> Any:
    """What a register holds."""
    return _scan(value, SHORT_LENGTH if value >= _LETTERS else VERSION_LENGTH + 1)[0]


def version_of(value: str) -> str:
    """The version a register was written with."""
    return _long(value[:SHORT_LENGTH]) if value >= _LETTERS else value[:VERSION_LENGTH]


def time_of(value: str) -> str:
    """The event time of a register or of a version, as stored."""
    return (_long(value[:SHORT_LENGTH]) if value >= _LETTERS else value)[:TIME_LENGTH]


@lru_cache(maxsize=256)
def _short(version: str) -> str:
    time = datetime.strptime(version[:TIME_LENGTH], "%Y%m%dT%H%M%S%f")  # noqa: DTZ007 - UTC, as all times here
    microseconds = (time - _BEGINNING) // timedelta(microseconds=1)
    return _digits(microseconds | _SHORT_MARK, _SHORT_TIME) + _digits(
        int(version[TIME_LENGTH + 1 :], 16), _SHORT_ID
    )


@lru_cache(maxsize=256)
def _long(short: str) -> str:
    microseconds = _number(short[:_SHORT_TIME]) ^ _SHORT_MARK
    time = _BEGINNING + timedelta(microseconds=microseconds)
    return f"{time_text(time)} {_number(short[_SHORT_TIME:]):032x}"


def _digits(number: int, length: int) -> str:
    return "".join(_DIGITS[number >> 6 * place & 63] for place in reversed(range(length)))


def _number(digits: str) -> int:
    number = 0
    for digit in digits:
        number = number << 6 | _VALUES[digit]
    return number
