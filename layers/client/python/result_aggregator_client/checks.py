"""What callers give, checked where they give it. Each raises TypeError or ValueError that names the parameter."""

from __future__ import annotations

# What the clocks and sockets of every platform take.
_LONGEST_S = 365 * 24 * 3600


def seconds(name: str, value: object, *, zero: bool) -> None:
    """A duration of up to a year. `zero`: whether it may be none at all."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    # Written so that NaN fails too.
    if not (value >= 0 and value <= _LONGEST_S) or (value == 0 and not zero):
        least = "0" if zero else "more than 0"
        raise ValueError(f"{name} must be {least} to {_LONGEST_S} seconds, not {value}")


def whole(name: str, value: object, lowest: int) -> None:
    """A whole number that is not too small."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < lowest:
        raise ValueError(f"{name} must be at least {lowest}, not {value}")


def instance(name: str, value: object, kind: type, *, instead: str | None = None) -> None:
    """A value of a class. It is not repeated: it may be a secret. `instead`: what to say instead of the class's name."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {instead or kind.__name__}, not {type(value).__name__}")


def text(name: str, value: object) -> None:
    """Text that UTF-8 can hold, if it is empty or not."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if any("\ud800" <= ch <= "\udfff" for ch in value):
        raise ValueError(f"{name} is no Unicode text")
