"""The ranking of one CJ job: all ranked essays of a batch as one value, so that readers never see two jobs mixed.

A ranking is kept whole in one item: a register with the version and the job, and beside it the entries, compressed.
That makes the switch from one job to the next a single conditional write, at about a thirtieth of the write units
that an item per essay would take.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# DynamoDB's item limit is 400 KB with names and keys (Service quotas); the rest of this item stays under 8 KB.
MAX_ENTRIES_BYTES = 392 * 1024


NOT_SCORED = "not scored"
"""The error of an essay that a job could not score."""

MAX_LISTS = 20
"""CJ jobs of a batch whose lists of essays that were not scored count: the newest."""


class RankedEssay(NamedTuple):
    """One essay's place in a ranking; of one that the job could not score, its id alone.

    New fields go to the end, with a default: stored rankings are shorter.
    """

    essay_id: str
    rank: int | None = None
    score: float | None = None
    comparison_count: int | None = None
    grade: str | None = None
    confidence: float | None = None
    normalized_score: float | None = None
    confidence_label: str | None = None


class RankingTooLargeError(ValueError):
    """The compressed entries do not fit a DynamoDB item."""


def pack(entries: tuple[RankedEssay, ...]) -> bytes:
    """The entries as stored. Raises RankingTooLargeError."""
    # Level 6 halves random ids and shrinks the rest to a tenth; higher levels cost time and gain under 1 %.
    packed = zlib.compress(json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode(), 6)
    if len(packed) > MAX_ENTRIES_BYTES:
        raise RankingTooLargeError(f"{len(entries)} entries take {len(packed)} bytes of {MAX_ENTRIES_BYTES}")
    return packed


def unpack(packed: bytes) -> dict[str, Sequence[Any]]:
    """The stored entries by essay id: the fields of `RankedEssay`, as many as it had when the ranking was written."""
    return {row[0]: row for row in json.loads(zlib.decompress(packed))}
