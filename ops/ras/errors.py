"""Failures that a person can act on; everything else is a bug and keeps its traceback."""

from __future__ import annotations


class StackError(Exception):
    """Something expected went wrong; `advice` says what to do about it.

    The command line prints both lines and exits with 1.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
