"""The internal events: what any dialect of the platform's events comes down to.

Each says what happened in one batch at one version. `register_writes` turns it into the registers it sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from result_aggregator.domain.ranking import RankedEssay


class PhaseState(NamedTuple):
    """What a batch's phase register holds. New fields go to the end, with a default."""

    status: str
    completed_count: int = 0
    failed_count: int = 0
    error: str | None = None


class PipelineEnd(NamedTuple):
    """What a batch's pipeline-end register holds. `with_failures`: the event says so in its status word."""

    status: str
    completed_phases: list[str]
    completed_count: int
    failed_count: int
    with_failures: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all internal events have: the batch, and the version (see `domain.registers`)."""

    version: str
    batch_id: str
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDescribed(Event):
    """What an event tells of a batch itself. A field that is None was not told, and is left alone."""

    user_id: str | None = None
    essay_count: int | None = None
    requested_pipeline: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPhaseChanged(BatchDescribed):
    """A phase of a batch has a new state."""

    phase: str
    state: PhaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineEnded(Event):
    """The batch's pipeline ran to its end."""

    end: PipelineEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class EssayIdentified(Event):
    """An essay got its file."""

    essay_id: str
    filename: str | None
    original_text_storage_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EssayPhaseEnded(Event):
    """A phase has a result for one essay: `result` holds status, error and the phase's results by name."""

    essay_id: str
    phase: str
    result: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EssaysRanked(Event):
    """A CJ job ranked the batch's essays. Never empty."""

    job_id: str | None
    status: str
    entries: tuple[RankedEssay, ...]


AnyEvent = (
    BatchDescribed | BatchPhaseChanged | PipelineEnded | EssayIdentified | EssayPhaseEnded | EssaysRanked
)
