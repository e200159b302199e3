"""Status words: the platform's many, the view's few."""

from __future__ import annotations

import re

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

OVERALL_BY_WORD = {
    "completed_successfully": COMPLETED,
    "completed_with_failures": PARTIALLY_COMPLETED,
    "failed_critically": FAILED,
    "content_ingestion_failed": FAILED,
    "processing_pipelines": PROCESSING,
    "ready_for_pipeline_execution": REGISTERED,
    "student_validation_completed": REGISTERED,
    "validation_timeout_processed": REGISTERED,
    "guest_class_ready": REGISTERED,
}
"""The platform's words for where a batch stands, beside the view's own (docs/platform.md)."""

_WAITING = re.compile(r"awaiting_[a-z_]+")
WAITING_WORDS = "awaiting_*"
"""More of them: whatever a batch waits for, it is REGISTERED."""


def overall_status(word: str) -> str | None:
    """The overall status that a word of the view or of the platform means, whatever its case; None for another word."""
    if word.upper() in OVERALL:
        return word.upper()
    word = word.lower()
    return REGISTERED if _WAITING.fullmatch(word) else OVERALL_BY_WORD.get(word)


WITH_FAILURES = frozenset({"completed_with_failures", "completed_with_partial_success"})
"""The words that say COMPLETED and that something failed."""

_EXACT = {
    "completed_successfully": COMPLETED,
    "completed_with_failures": COMPLETED,
    "completed_with_partial_success": COMPLETED,
    "completed": COMPLETED,
    "all_processing_completed": COMPLETED,
    "failed_critically": FAILED,
    "failed": FAILED,
    "essay_critical_failure": FAILED,
    "cancelled": CANCELLED,
    "skipped": SKIPPED,
    "processing_pipelines": IN_PROGRESS,
    "processing": IN_PROGRESS,
    "initialized": IN_PROGRESS,
    "dispatch_initiated": IN_PROGRESS,
    "in_progress": IN_PROGRESS,
    "pending": PENDING,
    "registered": PENDING,
    "requested_by_user": PENDING,
    "uploaded": PENDING,
    "text_extracted": PENDING,
    "content_ingesting": PENDING,
    "content_ingester": PENDING,  # what the platform's enum has for CONTENT_INGESTING
    "guest_class_ready": PENDING,
    "student_validation_completed": PENDING,
    "validation_timeout_processed": PENDING,
}
# Beginnings come first: what was skipped because another failed was skipped.
_BEGINNINGS = (("skipped_", SKIPPED), ("awaiting_", PENDING), ("ready_", PENDING), ("pending_", PENDING))
_ENDINGS = (("_success", COMPLETED), ("_failed", FAILED), ("_in_progress", IN_PROGRESS))


def phase_status(word: str) -> str | None:
    """The view's status for a word of the platform, whatever its case; None for a word it does not know."""
    word = word.lower()
    if status := _EXACT.get(word):
        return status
    for beginning, status in _BEGINNINGS:
        if word.startswith(beginning):
            return status
    for ending, status in _ENDINGS:
        if word.endswith(ending):
            return status
    return None
