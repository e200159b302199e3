"""Last-writer-wins registers as strings that sort by version.

A register's stored value is `<version> <payload>`. The version is `<event time> <event id>`, both of fixed width:
the time is ISO 8601 basic in UTC with microseconds (21 characters), the id is 32 hexadecimal digits. So one string
comparison decides which of two events is newer: in a DynamoDB condition (`store.view_store`) and, among the events of
one invocation, in Python (`table_layout.Change.set`). A person on call can still read the value. The payload is
compact JSON.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

# Not json.loads: it looks for whitespace and encodings first, which takes as long as a small payload does.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined] # documented by its use in raw_decode alone

TIME_LENGTH = len("20260302T080001276000")
VERSION_LENGTH = TIME_LENGTH + 1 + 32


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


def payload_of(value: str) -> Any:
    """What a register holds."""
    return _scan(value, VERSION_LENGTH + 1)[0]


def version_of(value: str) -> str:
    """The version a register was written with."""
    return value[:VERSION_LENGTH]


def time_of(value: str) -> str:
    """The event time of a register or of a version, as stored."""
    return value[:TIME_LENGTH]
