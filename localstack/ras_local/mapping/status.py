"""What is reported of each mapping, and the file that holds it."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from .delivery import Tally
    from .settings import MappingSettings


@dataclass
class Counters:
    """What one mapping did since it started, in records unless the name says otherwise."""

    read: int = 0
    delivered: int = 0
    discarded: int = 0
    invocations: int = 0
    failures: int = 0
    not_reached: int = 0
    filtered_out: int = 0
    destination_failures: int = 0
    skipped: int = 0
    lost: int = 0
    """Offsets, so at least as many as records."""

    def add(self, tally: Tally) -> None:
        self.delivered += tally.delivered
        self.discarded += tally.discarded
        self.invocations += tally.invocations
        self.failures += tally.failures
        self.not_reached += tally.not_reached


def status_entry(
    settings: MappingSettings,
    state: str,
    *,
    partitions: Collection[int] = (),
    problem: str = "",
    counters: Counters | None = None,
) -> dict[str, Any]:
    """One mapping's entry: `state` is starting, polling, disabled or refused; `partitions` are those it reads."""
    return {
        "uuid": settings.uuid,
        "topic": settings.topic,
        "function": settings.function_name,
        "consumer_group_id": settings.consumer_group_id,
        "mode": settings.mode,
        "state": state,
        "partitions": sorted(partitions),
        "problem": problem,
        **vars(counters or Counters()),
    }


class StatusFile:
    """A JSON file with the entries of all mappings, for other programs to read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, entries: Sequence[dict[str, Any]]) -> None:
        """Replace the file in one step, readable by its owner alone: readers never see half of it."""
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # its folder may be gone while everything around is being removed
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps(entries, indent=1))
            temporary.replace(self._path)
