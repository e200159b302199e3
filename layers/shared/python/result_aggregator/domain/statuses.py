"""Status words: the platform's many, the view's few."""

from __future__ import annotations

PENDING = "PENDING"
IN_PROGRESS = "IN_PROGRESS"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
SKIPPED = "SKIPPED"
CANCELLED = "CANCELLED"

OF_A_PHASE = (PENDING, IN_PROGRESS, COMPLETED, FAILED, SKIPPED, CANCELLED)

ENDED = frozenset({COMPLETED, FAILED, SKIPPED, CANCELLED})

# The batch's own statuses beyond those of a phase.
REGISTERED = "REGISTERED"
PROCESSING = "PROCESSING"
PARTIALLY_COMPLETED = "PARTIALLY_COMPLETED"

RUNNING = frozenset({REGISTERED, PROCESSING})
OVERALL = (REGISTERED, PROCESSING, COMPLETED, PARTIALLY_COMPLETED, FAILED, CANCELLED)

COMPLETED_WITH_FAILURES = "completed_with_failures"

_EXACT = {
    "completed_successfully": COMPLETED,
    COMPLETED_WITH_FAILURES: COMPLETED,
    "completed": COMPLETED,
    "failed_critically": FAILED,
    "failed": FAILED,
    "cancelled": CANCELLED,
    "skipped": SKIPPED,
    "processing_pipelines": IN_PROGRESS,
    "in_progress": IN_PROGRESS,
    "pending": PENDING,
    "registered": PENDING,
}
_ENDINGS = (("_success", COMPLETED), ("_failed", FAILED), ("_in_progress", IN_PROGRESS))
_BEGINNINGS = (("awaiting_", PENDING), ("ready_", PENDING))


def phase_status(word: str) -> str | None:
    """The view's status for a word of the platform, whatever its case; None for a word it does not know."""
    word = word.lower()
    if status := _EXACT.get(word):
        return status
    for ending, status in _ENDINGS:
        if word.endswith(ending):
            return status
    for beginning, status in _BEGINNINGS:
        if word.startswith(beginning):
            return status
    return None
