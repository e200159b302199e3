"""Field types and base models that the contracts share."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from result_aggregator.contracts.rejection import Problem, RejectedError
from result_aggregator.domain import ids, statuses

MAX_ERROR = 500
"""Characters kept of an error (the guide's column width); more are cut."""

# Far above any text the platform sends, far below what an item takes: what is longer is not a text of ours.
_LONGEST = 65_536


def _is_id(text: str) -> str:
    if problem := ids.problem_of(text):
        raise PydanticCustomError("id", "{problem}", {"problem": problem})
    return text


def _known_status(word: str) -> str:
    status = statuses.phase_status(word)
    if status is None:
        raise PydanticCustomError("unknown_status", "unknown status word")
    return status


def _cut(length: int) -> AfterValidator:
    return AfterValidator(lambda text: text[:length])


Id = Annotated[str, AfterValidator(_is_id)]
"""An id of the platform (`domain.ids`)."""

MAX_TEXT = 1024
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
"""A name or a storage id."""

ShortText = Annotated[str, StringConstraints(max_length=ids.MAX_LENGTH)]
"""A code or a label."""

ErrorText = Annotated[str, StringConstraints(max_length=_LONGEST), _cut(MAX_ERROR)]
Summary = Annotated[str, StringConstraints(max_length=_LONGEST), _cut(1000)]

Count = Annotated[int, Field(ge=0, le=2**53)]
Status = Annotated[str, AfterValidator(_known_status)]


class Contract(BaseModel):
    """Base of everything read from `data`: strict types, unknown fields ignored, finite numbers only."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


class EntityRef(Contract):
    """Who an event is about, in the 2025 dialect."""

    entity_id: Id | None = None
    parent_id: Id | None = None


class StorageReference(Contract):
    """Where a text is stored: an object with the storage id under one name or another."""

    model_config = ConfigDict(extra="allow")

    storage_id: Text | None = None
    default: Text | None = None

    def found(self) -> str | None:
        """The storage id: under `storage_id`, else under `default`, else the only text that there is."""
        if self.storage_id is not None or self.default is not None:
            return self.storage_id if self.storage_id is not None else self.default
        texts = [value for value in (self.model_extra or {}).values() if value and isinstance(value, str)]
        return texts[0] if len(texts) == 1 and len(texts[0]) <= MAX_TEXT else None


class ErrorInfo(Contract):
    """The platform's error, inside `system_metadata`."""

    error_message: ErrorText | None = None
    reason: ErrorText | None = None


class SystemMetadata(Contract):
    """What the platform's services tell of themselves; only the error is of use here."""

    error_info: ErrorInfo | None = None


class WithErrors(Contract):
    """An event that may carry an error, under any of its names."""

    error: ErrorText | None = None
    error_message: ErrorText | None = None
    system_metadata: SystemMetadata | None = None

    def error_text(self) -> str | None:
        """The error, None without one."""
        if self.error is not None or self.error_message is not None:
            return self.error if self.error is not None else self.error_message
        if self.system_metadata and self.system_metadata.error_info:
            info = self.system_metadata.error_info
            return info.error_message if info.error_message is not None else info.reason
        return None


T = TypeVar("T")


def required(value: T | None, path: str, *, also: str) -> T:
    """A value that some dialect must have given, `also` naming the other dialects' fields. Raises RejectedError."""
    if value is None:
        raise RejectedError("invalid_field", [Problem(f"data.{path}", f"Field required (or {also})")])
    return value


def required_batch(value: str | None, *, also: str) -> str:
    """The id of a batch that some dialect must have given, and that can be asked for. Raises RejectedError."""
    batch_id = required(value, "batch_id", also=also)
    if problem := ids.problem_of_batch(batch_id):
        raise RejectedError("invalid_field", [Problem("data.batch_id", problem)])
    return batch_id


def first(*candidates: T | None) -> T | None:
    """The first candidate that is not None."""
    return next((candidate for candidate in candidates if candidate is not None), None)
