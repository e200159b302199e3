"""Storage in the domain's words: what a store promises, and how it fails.

StoreError
├── UnavailableError    not now: trying again may help
└── UnacceptableError   never: trying again cannot help
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from result_aggregator.domain.items import Change, Item


class StoreError(Exception):
    """Base of what a store raises."""


class UnavailableError(StoreError):
    """The store could not do it now.

    `soon`: it may within seconds (throttled, timed out, unreachable); otherwise somebody has to act first (no such
    table, not permitted).
    """

    def __init__(self, message: str, *, soon: bool = True) -> None:
        super().__init__(message)
        self.soon = soon


class UnacceptableError(StoreError):
    """The store will never take this."""


class Written(StrEnum):
    """What became of one register of a change."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"


class WritableView(Protocol):
    """The view as ingest needs it."""

    def write(self, change: Change) -> dict[str, Written]:
        """Merge a change into its item; what became of each register. Raises StoreError."""
        ...


class ReadableView(Protocol):
    """The view as queries need it. Methods raise StoreError."""

    def read_partition(self, batch_id: str) -> Iterator[Item]:
        """Everything of a batch, in the order of the sort keys, read as it is asked for; nothing of an unknown batch."""
        ...

    def batch_ids_of(self, user_id: str) -> list[str]:
        """The user's batches, newest first."""
        ...

    def read_batches(self, batch_ids: Sequence[str]) -> dict[str, Item]:
        """The batch items that exist, by batch id."""
        ...

    def is_active(self) -> bool:
        """Whether the store takes reads and writes."""
        ...
