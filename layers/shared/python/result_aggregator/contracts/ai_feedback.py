"""The feedback phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator.contracts.essays import PhaseResult
from result_aggregator.contracts.fields import Summary, Text
from result_aggregator.domain.phases import AI_FEEDBACK

if TYPE_CHECKING:
    from result_aggregator.contracts.envelope import Envelope
    from result_aggregator.domain.events import EssayPhaseEnded


class _FeedbackResult(PhaseResult):
    """The future feedback contract, with the fields the guide reserves for it."""

    storage_id: Text | None = None
    summary: Summary | None = None

    def results(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in AI_FEEDBACK.results}


def completed(envelope: Envelope) -> EssayPhaseEnded:
    """Read `huleedu.essay.aifeedback.completed.v1`."""
    return _FeedbackResult.model_validate(envelope.data).event(AI_FEEDBACK.name, envelope)
