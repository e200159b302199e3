"""Two tables of the view that are kept in step: the one that is asked, and one beside it that is being rebuilt, or was left.

Always in the same order, whichever of them is asked: what is in the second is in the first, so that moving readers
from the second to the first never shows them less than they saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from result_aggregator.domain.store_interface import Written
    from result_aggregator.domain.table_layout import Change
    from result_aggregator.store.view_store import ViewStore


class ViewPair:
    """Writes to both tables. Raises StoreError where either fails: the record then comes again, and changes neither twice."""

    def __init__(self, first: ViewStore, second: ViewStore) -> None:
        self._first = first
        self._second = second

    def write(self, change: Change) -> dict[str, Written]:
        """Merge a change into both; what became of each register in the first."""
        written = self._first.write(change)
        self._second.write(change)
        return written
