"""The internal events: what any dialect of the platform's events comes down to.

Each says what happened at one version, in one batch or to an essay that waits for its batch. `table_layout` turns it
into the registers that it sets.
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
    """What a batch's pipeline-end register holds. `with_failures`: the event says so in its status word.

    A count is None where the event gives none that could be one.
    """

    status: str
    completed_phases: list[str]
    completed_count: int | None
    failed_count: int | None
    with_failures: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all internal events have: the version (see `domain.registers`)."""

    version: str
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEvent(Event):
    """An event that names its batch."""

    batch_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDescribed(BatchEvent):
    """What an event says of a batch itself. A field that is None is not in the event, and is left alone."""

    user_id: str | None = None
    essay_count: int | None = None
    requested_pipeline: str | None = None
    course_code: str | None = None
    class_id: str | None = None
    org_id: str | None = None
    student_prompt_storage_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPhaseChanged(BatchDescribed):
    """A phase of a batch has a new state.

    `reason`: why the phase failed, where the event was sent to say so. It outlives the state: an outcome that follows
    replaces the state, often without an error.
    """

    phase: str
    state: PhaseState
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineEnded(BatchEvent):
    """The batch's pipeline ran to its end."""

    end: PipelineEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class EssayIdentified(BatchEvent):
    """An essay got its file. The event claims the essay for the batch: its results that name no batch are shown there."""

    essay_id: str
    filename: str | None
    original_text_storage_id: str | None
    file_upload_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EssayPhaseEnded(Event):
    """A phase has a result for one essay: `result` holds status, error and the phase's results by name.

    `batch_id` is None where the event names no batch: the result waits at its essay for the batches that claim it.
    """

    batch_id: str | None
    essay_id: str
    phase: str
    result: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EssaysRanked(BatchEvent):
    """A CJ job ranked the batch's essays. Never empty.

    An entry without a score is an essay that the job could not score. `assignment_id` is the batch's, None where the
    event does not name it.
    """

    job_id: str | None
    status: str
    entries: tuple[RankedEssay, ...]
    assignment_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EssaysNotScored(BatchEvent):
    """A CJ job could not score these essays, none of them perhaps. Counts for the essays of the job's own ranking."""

    job_id: str
    essay_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EssaysSummarized(BatchEvent):
    """A phase is through with a batch: which essays it took, and which of them failed.

    The event claims all of them for the batch, each once and in the order of the event. For an essay of `failed_ids`
    it is a result as well: `failure`, to be written like the `result` of an `EssayPhaseEnded` of this batch and version.
    An essay listed as both is in `failed_ids` alone. Both may be empty.
    """

    phase: str
    essay_ids: tuple[str, ...]
    failed_ids: tuple[str, ...]
    failure: dict[str, Any]


AnyEvent = (
    BatchDescribed
    | BatchPhaseChanged
    | PipelineEnded
    | EssayIdentified
    | EssayPhaseEnded
    | EssaysRanked
    | EssaysNotScored
    | EssaysSummarized
)
