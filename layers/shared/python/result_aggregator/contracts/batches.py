"""Events on a whole batch: its registration, its phases' outcomes, the end of its pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from result_aggregator.contracts.fields import (
    Contract,
    Count,
    EntityRef,
    ErrorText,
    Id,
    Status,
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
from result_aggregator.domain.phases import PHASE_NAMES

if TYPE_CHECKING:
    from result_aggregator.contracts.envelope import Envelope


class BatchData(Contract):
    """Which batch, in any dialect."""

    batch_id: Id | None = None
    entity_id: Id | None = None
    entity_ref: EntityRef | None = None

    def batch(self) -> str:
        """The batch's id. Raises RejectedError."""
        found = first(self.batch_id, self.entity_ref and self.entity_ref.entity_id, self.entity_id)
        return required_batch(found, also="entity_ref.entity_id, entity_id")


class _EssaysRegistered(BatchData):
    """BatchEssaysRegisteredV1. Its essay ids are promises, not essays: those appear with their first event."""

    user_id: Id | None = None
    expected_essay_count: Count | None = None


def essays_registered(envelope: Envelope) -> BatchDescribed | Ignored:
    """Read `huleedu.batch.essays.registered.v1`."""
    data = _EssaysRegistered.model_validate(envelope.data)
    batch_id = data.batch()
    if data.user_id is None and data.expected_essay_count is None:
        return Ignored("registration_without_owner_and_count")
    return BatchDescribed(
        version=envelope.version,
        correlation_id=envelope.correlation_id,
        batch_id=batch_id,
        user_id=data.user_id,
        essay_count=data.expected_essay_count,
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


def phase_outcome(envelope: Envelope) -> BatchPhaseChanged:
    """Read `huleedu.els.batch_phase.outcome.v1` and `huleedu.els.batch.phase.outcome.v1`."""
    data = _PhaseOutcome.model_validate(envelope.data)
    phase = required(first(data.phase, data.phase_name), "phase", also="phase_name").lower()
    if phase not in PHASE_NAMES:
        # Kept, not ignored: it is either a mistake to be seen or a phase to be added, and then replayed.
        raise RejectedError("unknown_phase", [Problem("data.phase", "not a phase of the view")])
    metadata = data.metadata or _OutcomeMetadata()
    state = PhaseState(
        status=required(first(data.outcome, data.phase_status), "outcome", also="phase_status"),
        completed_count=_count(metadata.completed_essay_count, data.processed_essays),
        failed_count=_count(metadata.failed_essay_count, data.failed_essay_ids),
        error=metadata.error_message,
    )
    return BatchPhaseChanged(
        version=envelope.version,
        correlation_id=envelope.correlation_id,
        batch_id=data.batch(),
        phase=phase,
        state=state,
        user_id=metadata.user_id,
        essay_count=metadata.total_essay_count,
        requested_pipeline=metadata.requested_pipeline or None,
    )


def _count(number: int | None, listed: list[Any] | None) -> int:
    return number if number is not None else len(listed or ())


# The batch item holds them, and it has to stay small.
PhaseName = Annotated[str, StringConstraints(max_length=64)]


class _PipelineCompleted(BatchData):
    """BatchPipelineCompletedV1."""

    final_status: Text
    completed_phases: Annotated[list[PhaseName], Field(max_length=32)] = []
    successful_essay_count: Count
    failed_essay_count: Count


_FINAL = (statuses.COMPLETED, statuses.FAILED, statuses.CANCELLED)


def pipeline_completed(envelope: Envelope) -> PipelineEnded:
    """Read `huleedu.batch.pipeline.completed.v1`."""
    data = _PipelineCompleted.model_validate(envelope.data)
    status = statuses.phase_status(data.final_status)
    if status not in _FINAL:
        raise RejectedError("unknown_status", [Problem("data.final_status", "not a final status")])
    end = PipelineEnd(
        status=status,
        completed_phases=[name.lower() for name in data.completed_phases],
        completed_count=data.successful_essay_count,
        failed_count=data.failed_essay_count,
        with_failures=data.final_status.lower() == statuses.COMPLETED_WITH_FAILURES,
    )
    return PipelineEnded(
        version=envelope.version, correlation_id=envelope.correlation_id, batch_id=data.batch(), end=end
    )
