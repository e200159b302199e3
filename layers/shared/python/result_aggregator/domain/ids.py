"""What an id of the platform may be: the one rule, for events that bring ids and for requests that ask by them."""

from __future__ import annotations

MAX_LENGTH = 255
"""Characters, the guide's column width."""


def problem_of(text: str) -> str | None:
    """What is wrong with an id; None for a good one."""
    if not 1 <= len(text) <= MAX_LENGTH:
        return f"must have 1 to {MAX_LENGTH} characters"
    # C0, DEL and C1: they break logs, terminals and header values.
    if any(ch < " " or "\x7f" <= ch <= "\x9f" for ch in text):
        return "must have no control characters"
    # What no UTF-8 has: JSON can escape half of a surrogate pair.
    if any("\ud800" <= ch <= "\udfff" for ch in text):
        return "must be Unicode text"
    return None
