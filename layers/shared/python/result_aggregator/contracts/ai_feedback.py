"""The feedback phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator.contracts.essays import PhaseResult
from result_aggregator.contracts.fields import Summary, Text, first
from result_aggregator.domain.phases import AI_FEEDBACK

if TYPE_CHECKING:
    from result_aggregator.contracts.envelope import Envelope
    from result_aggregator.domain.events import EssayPhaseEnded


class _FeedbackResult(PhaseResult):
    """AIFeedbackResultDataV1, and the form that the guide reserves."""

    storage_id: Text | None = None
    feedback_content_storage_id: Text | None = None
    summary: Summary | None = None

    def results(self) -> dict[str, Any]:
        return {
            "storage_id": first(self.storage_id, self.feedback_content_storage_id),
            "summary": self.summary,
        }


def completed(envelope: Envelope) -> EssayPhaseEnded:
    """Read `huleedu.essay.aifeedback.completed.v1`."""
    return _FeedbackResult.model_validate(envelope.data).event(AI_FEEDBACK.name, envelope)
