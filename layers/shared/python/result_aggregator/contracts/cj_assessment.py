"""The comparative judgment phase: its essay results come as rankings of the whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from result_aggregator.contracts.batches import BatchData
from result_aggregator.contracts.fields import Contract, Count, Id, Status, Text, WithErrors, first, required
from result_aggregator.contracts.rejection import Ignored, Problem, RejectedError
from result_aggregator.domain import statuses
from result_aggregator.domain.events import BatchPhaseChanged, EssaysRanked, PhaseState
from result_aggregator.domain.phases import CJ_ASSESSMENT
from result_aggregator.domain.ranking import RankedEssay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from result_aggregator.contracts.envelope import Envelope

Rank = Annotated[int, Field(ge=1, le=2**53)]


class _Ranked(Contract):
    essay_id: Id | None = None
    els_essay_id: Id | None = None
    rank: Rank
    score: float
    comparison_count: Count | None = None


class _Completed(BatchData, WithErrors):
    """CJAssessmentCompletedV1. The 2026 form has a summary in place of rankings."""

    status: Status
    cj_assessment_job_id: Text | None = None
    rankings: list[_Ranked] | None = None


def completed(envelope: Envelope) -> EssaysRanked | Ignored:
    """Read `huleedu.cj_assessment.completed.v1`."""
    data = _Completed.model_validate(envelope.data)
    if data.rankings is None:
        return Ignored("summary_without_rankings")
    entries = tuple(
        RankedEssay(
            essay_id=required(
                first(ranked.essay_id, ranked.els_essay_id), f"rankings.{n}.essay_id", also="els_essay_id"
            ),
            rank=ranked.rank,
            score=ranked.score,
            comparison_count=ranked.comparison_count,
        )
        for n, ranked in enumerate(data.rankings)
    )
    return _ranking(data, data.cj_assessment_job_id, data.status, entries, "rankings", envelope)


class _Assessed(Contract):
    essay_id: Id
    rank: Rank
    bt_score: float
    normalized_score: float | None = None
    letter_grade: Text | None = None
    confidence_score: float | None = None
    is_anchor: bool | None = None


class _Published(BatchData):
    """AssessmentResultV1. Anchors calibrate the grades; they are not essays of the batch."""

    cj_assessment_job_id: Text | None = None
    essay_results: list[_Assessed]


def published(envelope: Envelope) -> EssaysRanked | Ignored:
    """Read `huleedu.assessment.result.published.v1`."""
    data = _Published.model_validate(envelope.data)
    entries = tuple(
        RankedEssay(
            essay_id=assessed.essay_id,
            rank=assessed.rank,
            score=assessed.bt_score,
            grade=assessed.letter_grade,
            confidence=assessed.confidence_score,
            normalized_score=assessed.normalized_score,
        )
        for assessed in data.essay_results
        if not assessed.is_anchor
    )
    return _ranking(data, data.cj_assessment_job_id, statuses.COMPLETED, entries, "essay_results", envelope)


def _ranking(
    data: BatchData,
    job_id: str | None,
    status: str,
    entries: Sequence[RankedEssay],
    path: str,
    envelope: Envelope,
) -> EssaysRanked | Ignored:
    batch_id = data.batch()
    if not entries:
        # It names no essay, so there is no register that it could set.
        return Ignored("empty_ranking")
    seen: set[str] = set()
    for entry in entries:
        if entry.essay_id in seen:
            raise RejectedError("essay_ranked_twice", [Problem(f"data.{path}", "names the same essay twice")])
        seen.add(entry.essay_id)
    return EssaysRanked(
        version=envelope.version,
        correlation_id=envelope.correlation_id,
        batch_id=batch_id,
        job_id=job_id,
        status=status,
        entries=tuple(entries),
    )


class _Failed(BatchData, WithErrors):
    """CJAssessmentFailedV1."""


def failed(envelope: Envelope) -> BatchPhaseChanged:
    """Read `huleedu.cj_assessment.failed.v1`: the topic says that it failed, whatever its status word."""
    data = _Failed.model_validate(envelope.data)
    return BatchPhaseChanged(
        version=envelope.version,
        correlation_id=envelope.correlation_id,
        batch_id=data.batch(),
        phase=CJ_ASSESSMENT.name,
        state=PhaseState(status=statuses.FAILED, error=data.error_text()),
    )
