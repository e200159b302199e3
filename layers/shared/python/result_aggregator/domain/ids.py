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


def problem_of_batch(text: str) -> str | None:
    """What is wrong with the id of a batch; None for a good one."""
    # /internal/v1/batches/user/… are the listings: no path is left for the status of a batch by this name.
    return "must not be `user`: the API has no path for it" if text == "user" else problem_of(text)
