"""Queries: the two questions that the platform asks of the view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator.domain import items, view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from result_aggregator.domain.items import Item
    from result_aggregator.domain.storage import ReadableView
    from result_aggregator.domain.view import Answer


class UnknownBatchError(LookupError):
    """There is no such batch for this caller. `orphan`: it has events, but none that names its owner."""

    def __init__(self, batch_id: str, *, orphan: bool = False) -> None:
        super().__init__(batch_id)
        self.orphan = orphan


def batch_status(
    store: ReadableView, batch_id: str, default_pipeline: Sequence[str], user_id: str | None = None
) -> Answer:
    """The status of a batch with its essays, the guide's BatchStatusResponse.

    With `user_id` the caller vouches for the owner, and another's batch is unknown. One Query.
    Raises UnknownBatchError and StoreError.
    """
    found = store.read_partition(batch_id)
    # The batch item comes first. Who may not know of the batch is answered from it alone, so that the time of the
    # answer does not tell how many essays there are.
    first = next(found, None)
    batch = view.decode_batch(first) if first and first["sk"] == items.BATCH else None
    if batch is None:
        raise UnknownBatchError(batch_id, orphan=first is not None)
    if user_id is not None and user_id != batch.user_id:
        raise UnknownBatchError(batch_id)
    ranking: Item | None = None
    essays: list[Item] = []
    for item in found:
        if item["sk"] == items.RANKING:
            ranking = item
        else:
            essays.append(item)
    answer = view.batch_answer(batch_id, batch, default_pipeline)
    answer["essays"] = view.essay_answers(essays, ranking)
    return answer


def user_batches(
    store: ReadableView,
    user_id: str,
    default_pipeline: Sequence[str],
    *,
    limit: int,
    offset: int,
    status: str | None = None,
) -> dict[str, Any]:
    """A user's batches without their essays, newest first: `{batches, pagination: {limit, offset, total}}`.

    Two calls up to a hundred batches, or at any number without a status; with one, a call more per hundred batches.
    Raises StoreError.
    """
    batch_ids = store.batch_ids_of(user_id)
    if status is None:
        page = _answers(store, user_id, batch_ids[offset : offset + limit], default_pipeline)
        total = len(batch_ids)
    else:
        matching = [
            answer
            for answer in _answers(store, user_id, batch_ids, default_pipeline)
            if answer["overall_status"] == status
        ]
        page, total = matching[offset : offset + limit], len(matching)
    return {"batches": page, "pagination": {"limit": limit, "offset": offset, "total": total}}


def _answers(
    store: ReadableView, user_id: str, batch_ids: Sequence[str], default_pipeline: Sequence[str]
) -> list[Answer]:
    found = store.read_batches(batch_ids)
    answers = []
    for batch_id in batch_ids:
        batch = view.decode_batch(found[batch_id]) if batch_id in found else None
        # The index lags behind the table by milliseconds: a batch may have another owner by now.
        if batch is not None and batch.user_id == user_id:
            answers.append(view.batch_answer(batch_id, batch, default_pipeline))
    return answers
