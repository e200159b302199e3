"""Failures that a person can act on; everything else is a bug and keeps its traceback.

OperatorError               exit code 1
├── SettingError            an option, an argument, a file or an environment variable says what cannot be
├── NotFoundError           what is named is not there: a stack, topic, mapping, dead letter, caller
├── NotInstalledError       a program that is needed is missing here, or too old
├── UnreachableError        nothing answers there, or not in time
├── RefusedError            AWS or Kafka answers, and does not permit it
├── ConflictError           it cannot be done as things stand: something else runs, reads or is deployed
├── FailedError             it was tried, and failed
└── DeclinedError           nobody agreed to it
"""

from __future__ import annotations

from typing import ClassVar


class OperatorError(Exception):
    """Something expected went wrong; `advice` says what to do about it.

    The command line prints both lines and exits with `exit_code`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class SettingError(OperatorError):
    """An option, an argument, a file or an environment variable says what cannot be."""


class NotFoundError(OperatorError):
    """What is named is not there."""


class NotInstalledError(OperatorError):
    """A program that is needed is missing here, or too old."""


class UnreachableError(OperatorError):
    """Nothing answers there, or not in time."""


class RefusedError(OperatorError):
    """AWS or Kafka answers, and does not permit it."""


class ConflictError(OperatorError):
    """It cannot be done as things stand: something else runs, reads or is deployed."""


class FailedError(OperatorError):
    """It was tried, and failed."""


class DeclinedError(OperatorError):
    """Nobody agreed to it."""
