"""The answers of the API as frozen dataclasses, under the API's own field names.

A tolerant reader: fields that are not named here are passed over, so a newer service breaks no older client, and
what has a default here may be missing. What is there must have its type. A status is one of the words here for a type
checker; a newer service may have one more, which is passed on as it is.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar, cast

_Model = TypeVar("_Model")


OverallStatus = Literal["REGISTERED", "PROCESSING", "COMPLETED", "PARTIALLY_COMPLETED", "FAILED", "CANCELLED"]
PhaseStatus = Literal["PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "SKIPPED", "CANCELLED"]

ENDED_BATCH: frozenset[str] = frozenset({"COMPLETED", "PARTIALLY_COMPLETED", "FAILED", "CANCELLED"})
ENDED_PHASE: frozenset[str] = frozenset({"COMPLETED", "FAILED", "SKIPPED", "CANCELLED"})


class Answer:
    """What every answer can do."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The answer as the API's JSON: its field names, times as text in UTC, null for what is not known."""
        return cast("dict[str, Any]", _plain(self))

    def to_json(self) -> str:
        """`to_dict()` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))


class UnreadableError(ValueError):
    """An answer that does not have the shape of its model; the message names the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EssayResult(Answer):
    """What is known of one essay; None where no event has told."""

    essay_id: str
    filename: str | None = None
    original_text_storage_id: str | None = None
    file_upload_id: str | None = None
    spellcheck_status: PhaseStatus | None = None
    spellcheck_correction_count: int | None = None
    spellcheck_corrected_text_storage_id: str | None = None
    spellcheck_metrics: Mapping[str, Any] | None = None
    spellcheck_error: str | None = None
    spellcheck_completed_at: datetime | None = None
    cj_assessment_status: PhaseStatus | None = None
    cj_rank: int | None = None
    """1 is best; equal essays share a rank."""
    cj_score: float | None = None
    cj_comparison_count: int | None = None
    """Comparisons of the essay, or of the whole job."""
    cj_grade: str | None = None
    cj_confidence: float | None = None
    cj_normalized_score: float | None = None
    cj_confidence_label: str | None = None
    cj_assessment_error: str | None = None
    cj_assessment_completed_at: datetime | None = None
    nlp_status: PhaseStatus | None = None
    nlp_lexical_diversity_score: float | None = None
    nlp_cohesion_score: float | None = None
    nlp_grammatical_error_rate: float | None = None
    """Errors per 100 words."""
    nlp_metrics_storage_id: str | None = None
    nlp_metrics: Mapping[str, Any] | None = None
    nlp_error: str | None = None
    nlp_completed_at: datetime | None = None
    ai_feedback_status: PhaseStatus | None = None
    ai_feedback_storage_id: str | None = None
    ai_feedback_summary: str | None = None
    ai_feedback_error: str | None = None
    ai_feedback_completed_at: datetime | None = None
    last_updated: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSummary(Answer):
    """What the events on a batch say of one phase, and beside it what its essays' own results say."""

    name: str
    status: PhaseStatus | None = None
    completed_count: int | None = None
    failed_count: int | None = None
    error: str | None = None
    last_updated: datetime | None = None
    completed_at: datetime | None = None
    essay_statuses: Mapping[str, int] | None = None
    """Essays by the status of their result, over the whole batch; None on a page behind a cursor."""

    @property
    def is_ended(self) -> bool:
        """Whether no result of the phase is awaited any more, unless it is run again."""
        return self.status in ENDED_PHASE


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSummary(Answer):
    """A batch without its essays, as listings show it."""

    batch_id: str
    user_id: str
    overall_status: OverallStatus
    essay_count: int
    completed_essay_count: int
    failed_essay_count: int
    requested_pipeline: str | None = None
    """Phases as requested, comma-separated."""
    current_phase: str | None = None
    """While PROCESSING, the first phase of the pipeline that has not ended."""
    created_at: datetime
    last_updated: datetime
    processing_started_at: datetime | None = None
    processing_completed_at: datetime | None = None
    assignment_id: str | None = None
    student_prompt_storage_id: str | None = None
    course_code: str | None = None
    class_id: str | None = None
    org_id: str | None = None
    last_error: str | None = None
    error_count: int = 0
    """Failed essays and phases with an error."""

    @property
    def is_ended(self) -> bool:
        """Whether the batch has ended, well or not; one that is run again is under way again."""
        return self.overall_status in ENDED_BATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class EssayPagination(Answer):
    """`limit` is None where the answer's size decided; `next_cursor` is None where no essay is left."""

    limit: int | None = None
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus(BatchSummary):
    """A batch with its essays, by essay id: all of them, or those of one page."""

    phases: tuple[PhaseSummary, ...] = ()
    essays: tuple[EssayResult, ...]
    pagination: EssayPagination = EssayPagination()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPagination(Answer):
    """`offset` is None behind a cursor; `total` counts all that match; `next_cursor` is None where none is left."""

    limit: int
    offset: int | None = None
    total: int
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPage(Answer):
    """A page of a user's batches, newest first."""

    batches: tuple[BatchSummary, ...]
    pagination: BatchPagination


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Answer):
    """The answer of a service that is up."""

    status: str
    service: str | None = None


def read(model: type[_Model], value: object, place: str = "answer") -> _Model:
    """A model from parsed JSON. Raises UnreadableError."""
    if not isinstance(value, dict):
        raise UnreadableError(f"{place} is no object")
    arguments = {}
    for field in _plan(cast("Any", model)):
        if field.name not in value:
            if field.required:
                raise UnreadableError(f"{place}.{field.name} is missing")
            continue
        found = value[field.name]
        # Exact types: JSON has no others, and a bool must not pass for a count.
        if type(found) not in field.types:
            raise UnreadableError(f"{place}.{field.name} has the wrong type")
        if field.convert and found is not None:
            found = field.convert(found, f"{place}.{field.name}")
        arguments[field.name] = found
    return model(**arguments)


class _Field(NamedTuple):
    name: str
    required: bool
    types: frozenset[type]
    convert: Callable[[Any, str], object] | None


@cache
def _plan(model: type[Any]) -> tuple[_Field, ...]:
    """How to read each field, from its annotation. Made once: a large answer has a hundred thousand fields."""
    hints = typing.get_type_hints(model)
    fields = []
    for field in dataclasses.fields(model):
        hint = hints[field.name]
        # An alias of Literal makes the older kind of union.
        optional = typing.get_origin(hint) in (types.UnionType, typing.Union)
        if optional:
            (hint,) = (one for one in typing.get_args(hint) if one is not types.NoneType)
        allowed, convert = _reader(hint)
        if optional:
            allowed = allowed | {types.NoneType}
        fields.append(_Field(field.name, field.default is dataclasses.MISSING, allowed, convert))
    return tuple(fields)


def _reader(hint: Any) -> tuple[frozenset[type], Callable[[Any, str], object] | None]:
    origin = typing.get_origin(hint)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        return frozenset({list}), lambda found, place: tuple(
            read(item, one, f"{place}[{number}]") for number, one in enumerate(found)
        )
    if origin is Mapping:
        return frozenset({dict}), None
    if origin is Literal:
        return frozenset({str}), None
    if hint is datetime:
        return frozenset({str}), _time
    if hint is float:
        return frozenset({float, int}), lambda found, _place: float(found)
    if dataclasses.is_dataclass(hint):
        model: Any = hint
        return frozenset({dict}), lambda found, place: read(model, found, place)
    return frozenset({hint}), None


def _plain(value: Any) -> Any:
    """JSON of a model's field."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value


def _time(text: str, place: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UnreadableError(f"{place} is no time") from error
    if time.tzinfo is None:
        raise UnreadableError(f"{place} has no time zone")
    return time
