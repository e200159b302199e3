"""What can become of a record. Every record of every invocation ends as exactly one of these."""

from __future__ import annotations

APPLIED = "applied"
"""It changed the view."""
DUPLICATE = "duplicate"
"""The view has this very event already."""
STALE = "stale"
"""The view has a newer one."""
IGNORED = "ignored"
"""The view has no use for its kind."""
REJECTED = "rejected"
"""It can never be applied: kept in the dead-letter store with its reason."""
HANDED_BACK = "handed_back"
"""It failed for a passing reason: delivered again by the event source mapping."""

OUTCOMES = (APPLIED, DUPLICATE, STALE, IGNORED, REJECTED, HANDED_BACK)
