"""The events and answers of the baselines, as pydantic models: one per event, per essay, and per answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, SerializeAsAny


class Event(BaseModel):
    """What all events have."""

    event_id: UUID
    event_timestamp: datetime
    correlation_id: UUID | None = None


class SpellcheckResult(BaseModel):
    batch_id: str
    essay_id: str
    status: str
    correction_count: int | None = None
    corrected_text_storage_id: str | None = None
    error: str | None = None


class SpellcheckCompleted(Event):
    data: SpellcheckResult


class Ranked(BaseModel):
    essay_id: str
    rank: int
    score: Decimal
    comparison_count: int | None = None


class Ranking(BaseModel):
    batch_id: str
    cj_assessment_job_id: str | None = None
    status: str
    rankings: list[Ranked]


class CJAssessmentCompleted(Event):
    data: Ranking


class Registration(BaseModel):
    batch_id: str
    user_id: str
    expected_essay_count: int


class BatchRegistered(Event):
    data: Registration


class OutcomeMetadata(BaseModel):
    user_id: str | None = None
    total_essay_count: int | None = None
    requested_pipeline: str | None = None
    completed_essay_count: int = 0
    failed_essay_count: int = 0


class PhaseOutcomeData(BaseModel):
    batch_id: str
    phase: str
    outcome: str
    metadata: OutcomeMetadata


class PhaseOutcome(Event):
    data: PhaseOutcomeData


AnyEvent = SpellcheckCompleted | CJAssessmentCompleted | BatchRegistered | PhaseOutcome


class EssayStatus(BaseModel):
    """An essay of the guide's BatchStatusResponse."""

    essay_id: str
    filename: str | None = None
    spellcheck_status: str | None = None
    spellcheck_correction_count: int | None = None
    spellcheck_corrected_text_storage_id: str | None = None
    spellcheck_error: str | None = None
    cj_assessment_status: str | None = None
    cj_rank: int | None = None
    cj_score: float | None = None
    cj_assessment_error: str | None = None
    last_updated: datetime


class FullEssayStatus(EssayStatus):
    """The same with the other phases' fields, as the service's answers have them."""

    spellcheck_metrics: dict[str, float] | None = None
    cj_comparison_count: int | None = None
    cj_grade: str | None = None
    cj_confidence: float | None = None
    cj_normalized_score: float | None = None
    nlp_status: str | None = None
    nlp_lexical_diversity_score: float | None = None
    nlp_cohesion_score: float | None = None
    nlp_grammatical_error_rate: float | None = None
    nlp_metrics_storage_id: str | None = None
    nlp_error: str | None = None
    ai_feedback_status: str | None = None
    ai_feedback_storage_id: str | None = None
    ai_feedback_summary: str | None = None
    ai_feedback_error: str | None = None


class BatchStatus(BaseModel):
    """The guide's BatchStatusResponse."""

    batch_id: str
    user_id: str
    overall_status: str
    essay_count: int
    completed_essay_count: int
    failed_essay_count: int
    requested_pipeline: str | None = None
    current_phase: str | None = None
    essays: Sequence[SerializeAsAny[EssayStatus]]
    created_at: datetime
    last_updated: datetime
    processing_started_at: datetime | None = None
    processing_completed_at: datetime | None = None
