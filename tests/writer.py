"""An event written to a store as `ingest` writes it, without merging it with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from result_aggregator.domain import claims, table_layout

if TYPE_CHECKING:
    from result_aggregator.domain.events import AnyEvent
    from result_aggregator.domain.store_interface import WritableView


def write(store: WritableView, event: AnyEvent) -> None:
    """All that the event changes, in its order."""
    for change in table_layout.changes_of(event):
        if table_layout.is_own(change.key):
            for brought in claims.brought(change, store.write_own(change).item):
                store.write(brought)
        else:
            store.write(change)
    if event.batch_id is not None:
        key = table_layout.batch_key(event.batch_id)
        store.write(table_layout.Change(key, times=table_layout.times_of(event)))
