"""Answers of the API as the pages' scripts take them."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from result_aggregator_client import BatchPage, EssayResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from result_aggregator_client import BatchStatus

_ESSAY_FIELDS = tuple(field.name for field in fields(EssayResult))


def page(found: BatchPage) -> dict[str, Any]:
    """A page of a user's batches."""
    return asdict(found)


def status(found: BatchStatus) -> dict[str, Any]:
    """A batch with a page of its essays; `more` where it has others."""
    batch = {
        field.name: getattr(found, field.name)
        for field in fields(found)
        if field.name not in ("essays", "phases", "pagination")
    }
    return {
        "batch": batch,
        "phases": [asdict(phase) for phase in found.phases],
        "essays": essays(found.essays),
        "more": found.pagination.next_cursor is not None,
    }


def essays(found: Iterable[EssayResult]) -> dict[str, Any]:
    """Essays as a table: the names of the fields that any of them has, and a row of values for each."""
    found = tuple(found)
    columns = [
        name
        for name in _ESSAY_FIELDS
        if name == "essay_id" or any(getattr(essay, name) is not None for essay in found)
    ]
    return {"columns": columns, "rows": [[getattr(essay, name) for name in columns] for essay in found]}


def plain(value: object) -> object:
    """What JSON has no word for: times as ISO 8601, mappings as objects."""
    return value.isoformat() if isinstance(value, datetime) else dict(value)  # type: ignore[call-overload]
