"""The language analysis phase: essay by essay, and a summary of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator.contracts.batches import BatchData
from result_aggregator.contracts.essays import EssayResult, PhaseResult
from result_aggregator.contracts.fields import Contract, Count, Id, Text, first
from result_aggregator.domain import statuses
from result_aggregator.domain.events import EssaysSummarized
from result_aggregator.domain.phases import NLP

if TYPE_CHECKING:
    from result_aggregator.contracts.envelope import Envelope
    from result_aggregator.domain.events import EssayPhaseEnded


class _FlatResult(PhaseResult):
    """The form that the guide reserves."""

    lexical_diversity_score: float | None = None
    cohesion_score: float | None = None
    grammatical_error_rate: float | None = None
    metrics_storage_id: Text | None = None

    def results(self) -> dict[str, Any]:
        return {name: getattr(self, name, None) for name in NLP.results}


class _Metrics(Contract):
    word_count: Count | None = None
    sentence_count: Count | None = None
    avg_sentence_length: float | None = None
    mean_zipf_frequency: float | None = None
    mtld_score: float | None = None
    hdd_score: float | None = None
    mean_dependency_distance: float | None = None
    first_order_coherence: float | None = None
    second_order_coherence: float | None = None
    language_detected: Text | None = None


class _Grammar(Contract):
    error_count: Count | None = None
    language: Text | None = None


class _Analysed(EssayResult):
    """EssayNlpCompletedV1. It says no status, as it is sent only of an essay that could be analysed, and no batch."""

    nlp_metrics: _Metrics
    grammar_analysis: _Grammar

    def outcome(self) -> str:
        return statuses.COMPLETED

    def results(self) -> dict[str, Any]:
        measured, errors = self.nlp_metrics, self.grammar_analysis.error_count
        metrics = {
            "word_count": measured.word_count,
            "sentence_count": measured.sentence_count,
            "avg_sentence_length": measured.avg_sentence_length,
            "mean_zipf_frequency": measured.mean_zipf_frequency,
            "hdd_score": measured.hdd_score,
            "mean_dependency_distance": measured.mean_dependency_distance,
            "second_order_coherence": measured.second_order_coherence,
            "grammar_error_count": errors,
            "language": first(measured.language_detected, self.grammar_analysis.language),
        }
        return {
            "lexical_diversity_score": measured.mtld_score,
            "cohesion_score": measured.first_order_coherence,
            # Errors per 100 words.
            "grammatical_error_rate": 100 * errors / measured.word_count
            if errors is not None and measured.word_count
            else None,
            "metrics": {name: value for name, value in metrics.items() if value is not None} or None,
        }


# By which the two forms are told apart.
_ONLY_SENT = _Analysed.model_fields.keys() - EssayResult.model_fields.keys()
_ONLY_FLAT = _FlatResult.model_fields.keys() - EssayResult.model_fields.keys()


def completed(envelope: Envelope) -> EssayPhaseEnded:
    """Read `huleedu.essay.nlp.completed.v1`."""
    data = envelope.data
    is_flat = not _ONLY_SENT.intersection(data) and _ONLY_FLAT.intersection(data)
    contract = _FlatResult if is_flat else _Analysed
    return contract.model_validate(data).event(NLP.name, envelope)


class _EssayLists(Contract):
    successful_essay_ids: list[Id]
    failed_essay_ids: list[Id]


class _Summary(BatchData):
    """BatchNlpAnalysisCompletedV1. Its counts and its status are those of its lists."""

    processing_summary: _EssayLists


def summarized(envelope: Envelope) -> EssaysSummarized:
    """Read `huleedu.batch.nlp.analysis.completed.v1`."""
    data = _Summary.model_validate(envelope.data)
    failed = dict.fromkeys(data.processing_summary.failed_essay_ids)
    successful = dict.fromkeys(data.processing_summary.successful_essay_ids)
    return EssaysSummarized(
        version=envelope.version,
        correlation_id=envelope.correlation_id,
        batch_id=data.batch(),
        phase=NLP.name,
        essay_ids=tuple(essay_id for essay_id in successful if essay_id not in failed),
        failed_ids=tuple(failed),
        failure={"status": statuses.FAILED},
    )
