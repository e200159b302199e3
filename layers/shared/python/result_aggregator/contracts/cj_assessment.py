"""The comparative judgment phase: its essay results come as rankings of the whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from result_aggregator.contracts.batches import BatchData
from result_aggregator.contracts.fields import (
    Contract,
    Count,
    Id,
    ShortText,
    Status,
    Text,
    WithErrors,
    first,
    required,
)
from result_aggregator.contracts.rejection import Ignored, Problem, RejectedError
from result_aggregator.domain import statuses
from result_aggregator.domain.events import BatchPhaseChanged, EssaysNotScored, EssaysRanked, PhaseState
from result_aggregator.domain.phases import CJ_ASSESSMENT
from result_aggregator.domain.ranking import RankedEssay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from result_aggregator.contracts.envelope import Envelope

Rank = Annotated[int, Field(ge=1, le=2**53)]

# What the platform calls its anchors, whose ids no teacher's essay has.
_ANCHOR = "ANCHOR_"


class _Entry(Contract):
    """What the entries of all forms share. A score of null says that the essay could not be scored."""

    rank: Rank | None = None
    bt_score: float | None = None
    bradley_terry_score: float | None = None
    is_anchor: bool | None = None

    def is_essay(self, essay_id: str) -> bool:
        """Anchors calibrate the grades; they are not essays of the batch."""
        return not (essay_id.startswith(_ANCHOR) if self.is_anchor is None else self.is_anchor)

    def scored(self, path: str, name: str, *names: str) -> float | None:
        """The score under the first of its names that has one. Raises RejectedError where the entry has none of the fields."""
        names = (name, *names)
        if not self.model_fields_set.intersection(names):
            required(None, f"{path}.{name}", also=", ".join(names[1:]))
        scores: list[float | None] = [getattr(self, one) for one in names]
        return first(*scores)

    def ranked(self, path: str) -> int:
        """The rank of a scored essay. Raises RejectedError."""
        return required(self.rank, f"{path}.rank", also="a score of null")


class _Ranked(_Entry):
    essay_id: Id | None = None
    els_essay_id: Id | None = None
    score: float | None = None
    comparison_count: Count | None = None


class _Metadata(Contract):
    """Of the job as a whole."""

    comparison_count: Count | None = None
    assignment_id: Id | None = None


class _Lists(Contract):
    failed_essay_ids: list[Id] | None = None


class _Completed(BatchData, WithErrors):
    """CJAssessmentCompletedV1. The 2026 form has a summary in place of rankings."""

    status: Status
    cj_assessment_job_id: Id | None = None
    rankings: list[_Ranked] | None = None
    assessment_metadata: _Metadata | None = None
    processing_summary: _Lists | None = None


def completed(envelope: Envelope) -> EssaysRanked | EssaysNotScored | Ignored:
    """Read `huleedu.cj_assessment.completed.v1`."""
    data = _Completed.model_validate(envelope.data)
    if data.rankings is None:
        return _not_scored(data, envelope)
    metadata = data.assessment_metadata or _Metadata()
    entries = tuple(_entries(data.rankings, metadata.comparison_count))
    return _ranking(data, data.cj_assessment_job_id, data.status, entries, "rankings", envelope)


def _entries(rankings: Sequence[_Ranked], total: int | None) -> Iterator[RankedEssay]:
    for n, ranked in enumerate(rankings):
        path = f"rankings.{n}"
        essay_id = required(
            first(ranked.essay_id, ranked.els_essay_id), f"{path}.essay_id", also="els_essay_id"
        )
        if not ranked.is_essay(essay_id):
            continue
        score = ranked.scored(path, "score", "bt_score", "bradley_terry_score")
        if score is None:
            yield RankedEssay(essay_id)
            continue
        yield RankedEssay(
            essay_id=essay_id,
            rank=ranked.ranked(path),
            score=score,
            comparison_count=first(ranked.comparison_count, total),
        )


def _not_scored(data: _Completed, envelope: Envelope) -> EssaysNotScored | Ignored:
    """The essays that the job could not score, which its ranking has with a score like the others."""
    batch_id = data.batch()
    failed = data.processing_summary.failed_essay_ids if data.processing_summary else None
    if failed is None:
        return Ignored("summary_without_rankings")
    if data.cj_assessment_job_id is None:
        return Ignored("summary_without_job")
    return EssaysNotScored(
        version=envelope.version,
        correlation_id=envelope.correlation_id,
        batch_id=batch_id,
        job_id=data.cj_assessment_job_id,
        essay_ids=tuple(dict.fromkeys(failed)),
    )


class _Assessed(_Entry):
    essay_id: Id
    normalized_score: float | None = None
    letter_grade: Text | None = None
    confidence_score: float | None = None
    confidence_label: ShortText | None = None


class _Published(BatchData):
    """AssessmentResultV1."""

    cj_assessment_job_id: Id | None = None
    essay_results: list[_Assessed]
    assignment_id: Id | None = None
    assessment_metadata: _Metadata | None = None


def published(envelope: Envelope) -> EssaysRanked | Ignored:
    """Read `huleedu.assessment.result.published.v1` and `huleedu.assessment.results.v1`."""
    data = _Published.model_validate(envelope.data)
    metadata = data.assessment_metadata or _Metadata()
    entries = tuple(_assessed(data.essay_results, metadata.comparison_count))
    assignment_id = first(data.assignment_id, metadata.assignment_id)
    return _ranking(
        data,
        data.cj_assessment_job_id,
        statuses.COMPLETED,
        entries,
        "essay_results",
        envelope,
        assignment_id,
    )


def _assessed(results: Sequence[_Assessed], total: int | None) -> Iterator[RankedEssay]:
    for n, assessed in enumerate(results):
        if not assessed.is_essay(assessed.essay_id):
            continue
        path = f"essay_results.{n}"
        score = assessed.scored(path, "bt_score", "bradley_terry_score")
        if score is None:
            yield RankedEssay(assessed.essay_id)
            continue
        yield RankedEssay(
            essay_id=assessed.essay_id,
            rank=assessed.ranked(path),
            score=score,
            comparison_count=total,
            grade=assessed.letter_grade,
            confidence=assessed.confidence_score,
            normalized_score=assessed.normalized_score,
            confidence_label=assessed.confidence_label,
        )


def _ranking(
    data: BatchData,
    job_id: str | None,
    status: str,
    entries: Sequence[RankedEssay],
    path: str,
    envelope: Envelope,
    assignment_id: str | None = None,
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
        assignment_id=assignment_id,
    )


class _Failed(BatchData, WithErrors):
    """CJAssessmentFailedV1."""


def failed(envelope: Envelope) -> BatchPhaseChanged:
    """Read `huleedu.cj_assessment.failed.v1`: the topic says that it failed, whatever its status word."""
    data = _Failed.model_validate(envelope.data)
    reason = data.error_text()
    return BatchPhaseChanged(
        version=envelope.version,
        correlation_id=envelope.correlation_id,
        batch_id=data.batch(),
        phase=CJ_ASSESSMENT.name,
        state=PhaseState(status=statuses.FAILED, error=reason),
        reason=reason,
    )
