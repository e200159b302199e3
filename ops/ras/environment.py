"""Settings that a command takes from the environment."""

from __future__ import annotations

import os

from ras.errors import StackError


def number(name: str, default: int, *, least: int = 0) -> int:
    """An integer setting from the environment; StackError where it is not one, or less than `least`."""
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        wished = int(text)
    except ValueError:
        raise StackError(
            f"{name}={text!r} is not a number", f"Unset {name} or give it a whole number."
        ) from None
    if wished < least:
        raise StackError(f"{name}={text} is too small", f"Unset {name} or give it {least} or more.")
    return wished
