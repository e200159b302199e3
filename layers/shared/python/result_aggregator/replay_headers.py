"""What a replayed record carries: headers that say which record it was at first, and how often it has been replayed.

A record that is published to Kafka again gets another partition and offset. With these headers a second rejection
goes back to the dead letter it came from, and no tool replays the same record for ever. The topic is not among them:
a replay stays on its topic.

Any producer can send such headers. They count only where they carry the digest of the very record that they come with
(`dead_letter_key`), so a header never gives one record the place of another. A producer that computes the digest
chooses the place and the count of its own record's dead letter, and of no other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from result_aggregator.dead_letter_key import DIGEST_LENGTH, record_digest, timestamp_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTEMPT = "ras-replay-attempt"
"""The number of this replay, from 1, in decimal digits."""

ORIGIN = "ras-replay-of"
"""`<partition>/<offset>/<timestamp>/<digest>` of the record as it first came; the timestamp may be empty."""

EVENT_SOURCE = "result-aggregator:replay"
"""The `eventSource` of an event that no mapping made. It is answered with the outcome of every record."""

_ATTEMPT = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_ORIGIN = re.compile(
    rf"([0-9]{{1,9}})/([0-9]{{1,18}})/((?:-?[0-9]{{1,18}})?)/([0-9a-f]{{{DIGEST_LENGTH}}})", re.ASCII
)


def headers(first: Mapping[str, Any], *, attempt: int) -> dict[str, bytes]:
    """The headers to add to a record for this replay; `first` is the record as its event had it when it first came."""
    timestamp = timestamp_of(first)
    time = "" if timestamp is None else timestamp
    origin = f"{first['partition']}/{first['offset']}/{time}/{record_digest(first)}"
    return {ATTEMPT: str(attempt).encode(), ORIGIN: origin.encode()}


def first_received(received: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """A record of an event as it first came, and the number of this replay.

    One that was never replayed is itself, and 0. So is one whose headers are not as `headers` makes them for this
    record: another producer's, and no reason to refuse the record.
    """
    own: dict[str, str] = {}
    others = []
    given = received.get("headers")
    # The last of each name is the one that a replay has appended.
    for header in reversed(given) if isinstance(given, list) else ():
        [name] = header if isinstance(header, dict) and len(header) == 1 else [None]
        if name in (ATTEMPT, ORIGIN) and name not in own:
            own[name] = _text(header[name])
        else:
            others.append(header)
    attempt = _ATTEMPT.fullmatch(own.get(ATTEMPT, ""))
    origin = _ORIGIN.fullmatch(own.get(ORIGIN, ""))
    if not attempt or not origin:
        return dict(received), 0
    partition, offset, timestamp, digest = origin.groups()
    first = {**received, "partition": int(partition), "offset": int(offset), "headers": others[::-1]}
    if timestamp:
        first["timestamp"] = int(timestamp)
    else:
        first.pop("timestamp", None)
    if record_digest(first) != digest:
        return dict(received), 0
    return first, int(attempt[0])


def _text(value: Any) -> str:
    """A header's bytes as text; empty where they are none. Bytes may be signed, as Java's are."""
    try:
        return bytes(byte & 0xFF for byte in value).decode("ascii")
    except (TypeError, ValueError):
        return ""
