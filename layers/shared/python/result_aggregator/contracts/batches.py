"""Events on a whole batch: its registration, its phases' outcomes, the end of its pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints

from result_aggregator.contracts.fields import (
    Contract,
    Count,
    EntityRef,
    ErrorText,
    Id,
    ShortText,
    Status,
    StorageReference,
    Text,
    first,
    required,
    required_batch,
)
from result_aggregator.contracts.rejection import Ignored, Problem, RejectedError
from result_aggregator.domain import statuses
from result_aggregator.domain.events import (
    BatchDescribed,
    BatchPhaseChanged,
    PhaseState,
    PipelineEnd,
    PipelineEnded,
)
from result_aggregator.domain.phases import PHASE_NAMES, known_phases

if TYPE_CHECKING:
    from result_aggregator.contracts.envelope import Envelope


class BatchData(Contract):
    """Which batch, in any dialect."""

    batch_id: Id | None = None
    entity_id: Id | None = None
    entity_ref: EntityRef | None = None

    def batch(self) -> str:
        """The batch's id. Raises RejectedError."""
        entity_ref = self.entity_ref or EntityRef()
        found = first(self.batch_id, entity_ref.entity_id, self.entity_id)
        return required_batch(found, also="entity_ref.entity_id, entity_id")


class _PromptReferences(Contract):
    model_config = ConfigDict(extra="allow")

    student_prompt_text: StorageReference | None = None

    def found(self) -> str | None:
        """The storage id of the prompt's text, by its own name or else of the first reference that has one."""
        others = [
            StorageReference.model_validate(value)
            for value in (self.model_extra or {}).values()
            if isinstance(value, dict)
        ]
        return first(*(one.found() for one in (self.student_prompt_text, *others) if one is not None))


class _PromptReference(Contract):
    references: _PromptReferences | None = None


class _EssaysRegistered(BatchData):
    """BatchEssaysRegisteredV1. Its essay ids are promises, not essays: those appear with their first event."""

    user_id: Id | None = None
    expected_essay_count: Count | None = None
    course_code: ShortText | None = None
    class_id: Id | None = None
    org_id: Id | None = None
    student_prompt_ref: _PromptReference | None = None

    def student_prompt(self) -> str | None:
        """The storage id of the student prompt."""
        references = self.student_prompt_ref.references if self.student_prompt_ref else None
        return references.found() if references else None


def essays_registered(envelope: Envelope) -> BatchDescribed | Ignored:
    """Read `huleedu.batch.essays.registered.v1`."""
    data = _EssaysRegistered.model_validate(envelope.data)
    batch_id = data.batch()
    described: dict[str, Any] = {
        "user_id": data.user_id,
        "essay_count": data.expected_essay_count,
        "course_code": data.course_code,
        "class_id": data.class_id,
        "org_id": data.org_id,
        "student_prompt_storage_id": data.student_prompt(),
    }
    if all(value is None for value in described.values()):
        return Ignored("registration_of_nothing")
    return BatchDescribed(
        version=envelope.version, correlation_id=envelope.correlation_id, batch_id=batch_id, **described
    )


def _comma_separated(value: Any) -> Any:
    """A pipeline given as a list of names means the same as one given as text."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return ",".join(value)
    return value


class _OutcomeMetadata(Contract):
    user_id: Id | None = None
    total_essay_count: Count | None = None
    requested_pipeline: Annotated[Text | None, BeforeValidator(_comma_separated)] = None
    completed_essay_count: Count | None = None
    failed_essay_count: Count | None = None
    error_message: ErrorText | None = None


class _PhaseOutcome(BatchData):
    """ELSBatchPhaseOutcomeV1: the guide counts in `metadata`, the platform lists the essays."""

    phase: Text | None = None
    phase_name: Text | None = None
    outcome: Status | None = None
    phase_status: Status | None = None
    processed_essays: list[Any] | None = None
    failed_essay_ids: list[Any] | None = None
    metadata: _OutcomeMetadata | None = None


# Phases of the platform that are none of the view's: they process no essay.
_NOT_VIEWED = ("student_matching",)


def phase_outcome(envelope: Envelope) -> BatchDescribed | Ignored:
    """Read `huleedu.els.batch_phase.outcome.v1` and `huleedu.els.batch.phase.outcome.v1`."""
    data = _PhaseOutcome.model_validate(envelope.data)
    phase = required(first(data.phase, data.phase_name), "phase", also="phase_name").lower()
    if phase not in PHASE_NAMES and phase not in _NOT_VIEWED:
        # Rejected, not ignored: it is either a mistake to be seen or a phase to be added, and then replayed.
        raise RejectedError("unknown_phase", [Problem("data.phase", "not a phase of the platform")])
    status = required(first(data.outcome, data.phase_status), "outcome", also="phase_status")
    metadata = data.metadata or _OutcomeMetadata()
    described: dict[str, Any] = {
        "version": envelope.version,
        "correlation_id": envelope.correlation_id,
        "batch_id": data.batch(),
        "user_id": metadata.user_id,
        "essay_count": metadata.total_essay_count,
        "requested_pipeline": metadata.requested_pipeline or None,
    }
    if phase in _NOT_VIEWED:
        is_empty = all(described[name] is None for name in ("user_id", "essay_count", "requested_pipeline"))
        return Ignored("phase_not_viewed") if is_empty else BatchDescribed(**described)
    state = PhaseState(
        status=status,
        completed_count=_count(metadata.completed_essay_count, data.processed_essays),
        failed_count=_count(metadata.failed_essay_count, data.failed_essay_ids),
        error=metadata.error_message,
    )
    return BatchPhaseChanged(phase=phase, state=state, **described)


def _count(number: int | None, listed: list[Any] | None) -> int:
    return number if number is not None else len(listed or ())


# The batch item holds them, and it has to stay small.
PhaseName = Annotated[str, StringConstraints(max_length=64)]
Number = Annotated[int, Field(ge=-(2**53), le=2**53)]


class _PipelineCompleted(BatchData):
    """BatchPipelineCompletedV1."""

    final_status: Text
    completed_phases: Annotated[list[PhaseName], Field(max_length=32)] = []
    # The orchestrator subtracts guesses.
    successful_essay_count: Number
    failed_essay_count: Number


def _unless_negative(count: int) -> int | None:
    return count if count >= 0 else None


_FINAL = (statuses.COMPLETED, statuses.FAILED, statuses.CANCELLED)


def pipeline_completed(envelope: Envelope) -> PipelineEnded:
    """Read `huleedu.batch.pipeline.completed.v1`."""
    data = _PipelineCompleted.model_validate(envelope.data)
    status = statuses.phase_status(data.final_status)
    if status not in _FINAL:
        raise RejectedError("unknown_status", [Problem("data.final_status", "not a final status")])
    end = PipelineEnd(
        status=status,
        completed_phases=known_phases([name.lower() for name in data.completed_phases]),
        completed_count=_unless_negative(data.successful_essay_count),
        failed_count=_unless_negative(data.failed_essay_count),
        with_failures=data.final_status.lower() in statuses.WITH_FAILURES,
    )
    return PipelineEnded(
        version=envelope.version, correlation_id=envelope.correlation_id, batch_id=data.batch(), end=end
    )
