"""Settings that a command takes from the environment."""

from __future__ import annotations

import os

from ras.errors import SettingError


def number(name: str, default: int, *, least: int = 0) -> int:
    """An integer setting from the environment; OperatorError where it is not one, or less than `least`."""
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        wished = int(text)
    except ValueError:
        raise SettingError(
            f"{name}={text!r} is not a number", f"Unset {name} or give it a whole number."
        ) from None
    if wished < least:
        raise SettingError(f"{name}={text} is too small", f"Unset {name} or give it {least} or more.")
    return wished
