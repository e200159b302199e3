"""Answers kept with their ETags, bounded in number and in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple


class Key(NamedTuple):
    """Whose answer to which question it is.

    Credentials are part of it, so that no caller is given what another was; they change with every refresh of a
    role's credentials, which costs one full answer per question. A vouched user is part of the URL.
    """

    access_key: str
    url: str


class Kept(NamedTuple):
    """An answer's body and the ETag it came with."""

    etag: str
    body: bytes


class EtagCache:
    """The answers used last, within both bounds. Bodies are kept as bytes, so that the bound is what memory they take.

    Thread-safe. What is here is never handed out unasked: the service confirms it with a 304 each time.
    """

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> Kept | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Key, kept: Kept) -> None:
        """Keep an answer, and drop those used longest ago until it fits; one that is too large alone is not kept."""
        with self._lock:
            self._drop(key)
            if _size(key, kept) > self._max_bytes:
                return
            self._kept[key] = kept
            self._bytes += _size(key, kept)
            while len(self._kept) > self._max_entries or self._bytes > self._max_bytes:
                self._drop(next(iter(self._kept)))

    def drop(self, key: Key) -> None:
        """Forget an answer, if it is here."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._bytes -= _size(key, gone)

    def __len__(self) -> int:
        return len(self._kept)


def _size(key: Key, kept: Kept) -> int:
    return len(key.access_key) + len(key.url) + len(kept.etag) + len(kept.body)
