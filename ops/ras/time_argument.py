"""Moments as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

_AGO = re.compile(r"(\d{1,6})(s|m|h|d)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse(text: str, now: datetime) -> datetime:
    """`2026-11-23T08:00:00Z`, `2026-11-23` (no zone is UTC), `90m` before now, `beginning`, or `now`.

    Raises ValueError with what may be written.
    """
    if text == "beginning":
        return EARLIEST
    if text == "now":
        return now
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no moment; write 2026-11-23T08:00:00Z, 2026-11-23, 90m (s, m, h, d ago), beginning or now"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    """Since the epoch, as Kafka counts; a fraction of a millisecond is left off."""
    return int((moment - EARLIEST) / timedelta(milliseconds=1))
