"""What callers give, checked where they give it. Each raises TypeError or ValueError that names the parameter."""

from __future__ import annotations

import re
from collections.abc import Mapping

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


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")

# What the client says itself, or signs.
_TAKEN_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "host",
        "if-none-match",
        "te",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-apigw-api-id",
        "x-correlation-id",
    }
)


def headers(name: str, value: object) -> dict[str, str]:
    """Headers of a caller's own, to be sent beside the client's; they are not signed."""
    instance(name, value, Mapping, instead="a mapping of names to values")
    assert isinstance(value, Mapping)  # noqa: S101 - for the type checker
    for one, content in value.items():
        if not (isinstance(one, str) and isinstance(content, str)):
            raise TypeError(f"{name} must have names and values that are str")
        if not _HEADER_NAME.fullmatch(one) or not _HEADER_VALUE.fullmatch(content):
            raise ValueError(f"{name}: {one!r} is no header that can be sent")
        if one.lower() in _TAKEN_HEADERS or one.lower().startswith("x-amz-"):
            raise ValueError(f"{name}: {one} is sent by the client itself")
    return dict(value)
