"""The anti-corruption layer: records of the platform's topics, in any dialect, read into internal events.

Three dialects of `data` are on the wire: `essay_id`/`batch_id` (the guide), `entity_ref` objects (June 2025) and flat
`entity_id`/`parent_id` (February 2026). A reader is tolerant of what it does not know and strict with what it uses.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from pydantic import ValidationError

from result_aggregator.contracts.envelope import Envelope, open_envelope
from result_aggregator.contracts.rejection import Ignored, RejectedError, rejection_of
from result_aggregator.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from result_aggregator.domain.events import AnyEvent

    Reader = Callable[[Envelope], AnyEvent | Ignored]

__all__ = ["Ignored", "RejectedError", "read", "reader_of"]


@cache
def reader_of(topic: str) -> Reader | None:
    """The reader of a topic, imported on first use so that a function loads only its own; None if not consumed."""
    route = TOPICS.get(topic)
    if route is None:
        return None
    module, _, name = route.contract.rpartition(".")
    reader: Reader = getattr(import_module(f"{__name__}.{module}"), name)
    return reader


def read(topic: str, value: bytes | None, broker_time_ms: int | None) -> AnyEvent | Ignored:
    """Read one record's value.

    `value` is None for a tombstone; `broker_time_ms` is the record's timestamp, milliseconds since the epoch.
    Raises RejectedError for a record that can never be applied.
    """
    reader = reader_of(topic)
    if reader is None:
        return Ignored("unknown_topic")
    if value is None:
        return Ignored("tombstone")
    envelope = open_envelope(value, broker_time_ms)
    try:
        return reader(envelope)
    except ValidationError as error:
        raise rejection_of(error, "data") from error
