"""Events on one essay: its slot, and the base of every phase's result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator.contracts.fields import (
    EntityRef,
    Id,
    Status,
    Text,
    WithErrors,
    first,
    required,
    required_batch,
)
from result_aggregator.domain.events import EssayIdentified, EssayPhaseEnded

if TYPE_CHECKING:
    from result_aggregator.contracts.envelope import Envelope


class EssayData(WithErrors):
    """Which essay of which batch, in any dialect."""

    essay_id: Id | None = None
    batch_id: Id | None = None
    entity_id: Id | None = None
    parent_id: Id | None = None
    entity_ref: EntityRef | None = None

    def essay(self) -> str:
        """The essay's id. Raises RejectedError."""
        entity_ref = self.entity_ref or EntityRef()
        found = first(self.essay_id, entity_ref.entity_id, self.entity_id)
        return required(found, "essay_id", also="entity_ref.entity_id, entity_id")

    def batch(self) -> str | None:
        """The batch's id; None where the event names no batch. Raises RejectedError."""
        entity_ref = self.entity_ref or EntityRef()
        found = first(self.batch_id, entity_ref.parent_id, self.parent_id)
        return None if found is None else required_batch(found, also="entity_ref.parent_id, parent_id")


class EssayResult(EssayData):
    """Base of a phase's result for one essay. A phase adds its fields and says which are stored in `results`."""

    def outcome(self) -> str:
        """The phase's status for the essay."""
        raise NotImplementedError

    def results(self) -> dict[str, Any]:
        """The phase's own results by the names of the registry."""
        raise NotImplementedError

    def event(self, phase: str, envelope: Envelope) -> EssayPhaseEnded:
        """The internal event. Absent results are left out: a register is replaced whole, so absent means cleared."""
        result = {"status": self.outcome(), **self.results(), "error": self.error_text()}
        return EssayPhaseEnded(
            version=envelope.version,
            correlation_id=envelope.correlation_id,
            batch_id=self.batch(),
            essay_id=self.essay(),
            phase=phase,
            result={name: value for name, value in result.items() if value is not None},
        )


class PhaseResult(EssayResult):
    """A result that says its status."""

    status: Status

    def outcome(self) -> str:
        return self.status


class _SlotAssigned(EssayData):
    """EssaySlotAssignedV1."""

    original_file_name: Text | None = None
    text_storage_id: Text | None = None
    file_upload_id: Text | None = None


def slot_assigned(envelope: Envelope) -> EssayIdentified:
    """Read `huleedu.els.essay.slot.assigned.v1`."""
    data = _SlotAssigned.model_validate(envelope.data)
    return EssayIdentified(
        version=envelope.version,
        correlation_id=envelope.correlation_id,
        batch_id=required(data.batch(), "batch_id", also="entity_ref.parent_id, parent_id"),
        essay_id=data.essay(),
        filename=data.original_file_name,
        original_text_storage_id=data.text_storage_id,
        file_upload_id=data.file_upload_id,
    )
