"""Cursors: where a page ended, as an opaque text that only the request it came from takes back.

A cursor carries its content in the open, with a digest over the content and over what it is bound to. The digest needs no
secret, because authorisation never rests on a cursor: what is read is always that of the request, whose caller and
vouched owner are checked as on a first page. Whoever makes one up pages from where they say, in what they may read anyway.
What the digest gives is that a damaged cursor, or one of another batch, user or filter, is told from a good one without
a look at the store, so that the refusal says nothing about what exists.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIGEST_BYTES = 12

# Two ids of 255 four-byte characters in base64, and room; what is longer was not made here.
_MAX_LENGTH = 4096


class InvalidCursorError(ValueError):
    """The cursor is damaged, or of another request."""


def make(content: Sequence[Any], bound_to: Sequence[str | None]) -> str:
    """A cursor of `content` (JSON values) for the request that `bound_to` names: A-Z, a-z, 0-9, `_` and `-`."""
    text = _json(content)
    return urlsafe_b64encode(_digest(text, bound_to) + text).decode().rstrip("=")


def read(cursor: str, bound_to: Sequence[str | None]) -> list[Any]:
    """The content of a cursor. Its shape is the caller's to check: anybody can make a digest. Raises InvalidCursorError."""
    if len(cursor) > _MAX_LENGTH:
        raise InvalidCursorError
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        digest, text = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # not ASCII, not base64, not UTF-8, not JSON, too deep
        raise InvalidCursorError from error
    # Decoding passes over foreign characters and the unused bits of the last one: only the text as made is taken.
    canonical = urlsafe_b64encode(raw).decode().rstrip("=") == cursor
    if not canonical or digest != _digest(text, bound_to) or not isinstance(content, list):
        raise InvalidCursorError
    return content


def _digest(text: bytes, bound_to: Sequence[str | None]) -> bytes:
    return blake2b(text, digest_size=_DIGEST_BYTES, key=blake2b(_json(bound_to)).digest()).digest()


def _json(value: Sequence[Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
