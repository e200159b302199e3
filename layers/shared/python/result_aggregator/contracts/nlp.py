"""The language analysis phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator.contracts.essays import PhaseResult
from result_aggregator.contracts.fields import Text
from result_aggregator.domain.phases import NLP

if TYPE_CHECKING:
    from result_aggregator.contracts.envelope import Envelope
    from result_aggregator.domain.events import EssayPhaseEnded


class _NlpResult(PhaseResult):
    """The future NLP contract, with the fields the guide reserves for it."""

    lexical_diversity_score: float | None = None
    cohesion_score: float | None = None
    grammatical_error_rate: float | None = None
    metrics_storage_id: Text | None = None

    def results(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in NLP.results}


def completed(envelope: Envelope) -> EssayPhaseEnded:
    """Read `huleedu.essay.nlp.completed.v1`."""
    return _NlpResult.model_validate(envelope.data).event(NLP.name, envelope)
