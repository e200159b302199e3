"""The key of a dead letter's object, and the digest in it that tells a record from any other at the same place.

    <prefix><topic>/<partition>/<offset>-<digest>.json

A topic that was deleted and created again uses its offsets again, and a producer can copy the headers of a replayed
record (`replay_headers`). With the digest in the key a record replaces only its own dead letter. Dead letters from
before it have the key without `-<digest>`.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGEST_LENGTH = 32
"""Hexadecimal digits: 128 bits of a SHA-256. Nobody finds a second record for a given one."""

_LONGEST_TIMESTAMP = 10**18


def object_key(prefix: str, topic: str, partition: int, offset: int, digest: str) -> str:
    """The key of a record's dead letter under one of the prefixes of `names`."""
    return f"{place_prefix(prefix, topic, partition, offset)}-{digest}.json"


def place_prefix(prefix: str, topic: str, partition: int, offset: int) -> str:
    """What the keys of all dead letters at a place begin with, those without a digest included, and no other key."""
    return f"{prefix}{quote(topic, safe='')}/{partition}/{offset:020d}"


def record_digest(received: Mapping[str, Any]) -> str:
    """The digest of a record as an event holds it: key, value, headers and timestamp, not its place.

    Forms that mean the same give the same digest: null and absent, signed and unsigned bytes, no headers and an empty
    list. What cannot be decoded counts as it is.
    """
    content = [
        _canonical(received.get("key")),
        _canonical(received.get("value")),
        [_header(header) for header in given]
        if isinstance(given := received.get("headers"), list)
        else given or [],
        timestamp_of(received),
    ]
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:DIGEST_LENGTH]


def timestamp_of(received: Mapping[str, Any]) -> int | None:
    """The timestamp in milliseconds, None where there is none that a header could carry (`replay_headers`)."""
    found = received.get("timestamp")
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < _LONGEST_TIMESTAMP:
        return found
    return None


def _canonical(encoded: Any) -> Any:
    try:
        return b64encode(b64decode(encoded, validate=True)).decode()
    except (binascii.Error, TypeError, ValueError):
        return encoded


def _header(header: Any) -> Any:
    try:
        [(name, value)] = header.items()
        return [name, None if value is None else [byte & 0xFF for byte in value]]
    except (AttributeError, TypeError, ValueError):
        return header
