"""Storage in the domain's words: what a store promises, and how it fails.

StoreError
├── UnavailableError    not now: trying again may help
└── UnacceptableError   never: trying again cannot help
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from result_aggregator.domain.table_layout import Change, Item


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


class OwnWritten(NamedTuple):
    """What became of a change to an essay's own item, and the item as it was after it."""

    registers: dict[str, Written]
    claims: dict[str, Written]
    """by batch id; a claim that is not here was refused, as the essay has as many as it can (`claims.MAX_CLAIMS`)"""
    item: Item


class Listed(NamedTuple):
    """A batch's place among its user's, who sees the greatest first."""

    created_at: str
    batch_id: str


class IndexEntry(NamedTuple):
    """A batch in the user index: its place, and how it ended (`view.status_of` reads it)."""

    place: Listed
    standing: str | None


class StoreCall(NamedTuple):
    """One call to the database: its operation, how it ended (success, condition_failed, error), how long it took."""

    operation: str
    status: str
    seconds: float


class WritableView(Protocol):
    """The view as ingest needs it."""

    def write(self, change: Change) -> dict[str, Written]:
        """Merge a change into its item; what became of each register. Raises StoreError."""
        ...

    def write_own(self, change: Change) -> OwnWritten:
        """Merge a change into an essay's own item; `domain.claims` says what to write next. Raises StoreError."""
        ...


class ReadableView(Protocol):
    """The view as queries need it. Methods raise StoreError."""

    def read_partition(self, batch_id: str) -> Iterator[Item]:
        """Everything of a batch, in the order of the sort keys, read as it is asked for; nothing of an unknown batch."""
        ...

    def read_head(self, batch_id: str) -> list[Item]:
        """What `read_partition` gives before the essays: the batch's own item, its ranking, the CJ jobs' lists."""
        ...

    def read_essays(self, batch_id: str, after: str, page_size: int | None) -> Iterator[Item]:
        """The batch's essays whose ids come after one, in order, read `page_size` at a time as they are asked for."""
        ...

    def batches_of(
        self, user_id: str, after: Listed | None = None, page_size: int | None = None
    ) -> Iterator[IndexEntry]:
        """The user's batches (behind `after`), greatest first, read `page_size` at a time as they are asked for."""
        ...

    def read_batches(self, batch_ids: Sequence[str]) -> dict[str, Item]:
        """The batch items that exist, by batch id."""
        ...

    def is_active(self) -> bool:
        """Whether the store takes reads and writes."""
        ...
