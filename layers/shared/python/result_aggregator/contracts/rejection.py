"""What reading a record can come to besides an event."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

MAX_PROBLEMS = 10


@dataclass(frozen=True, slots=True)
class Ignored:
    """A record the view has no use for. `reason` is a short code for counting."""

    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a record: the path of the field ('' for the record as a whole) and what is wrong."""

    path: str
    message: str


@dataclass(slots=True)
class RejectedError(Exception):
    """A record that can never be applied. `code` is short and stable, for counting; `problems` say where and what."""

    code: str
    problems: list[Problem] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.code}: " + "; ".join(
            f"{p.path}: {p.message}" if p.path else p.message for p in self.problems
        )


def rejection_of(error: ValidationError, root: str) -> RejectedError:
    """A validation error as a rejection, its paths under `root`. Values are left out: they are in the kept record."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    problems = [
        Problem(".".join((root, *(str(step) for step in detail["loc"]))).strip("."), detail["msg"])
        for detail in details[:MAX_PROBLEMS]
    ]
    kinds = {detail["type"] for detail in details}
    code = "unknown_status" if kinds == {"unknown_status"} else "invalid_field"
    return RejectedError(code, problems)
