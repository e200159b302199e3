"""The answers of the API as pure functions of the stored registers: the view rules."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from result_aggregator.domain import items, registers, statuses
from result_aggregator.domain.events import PhaseState, PipelineEnd
from result_aggregator.domain.phases import CJ_ASSESSMENT, PHASE_NAMES, PHASES, known_phases
from result_aggregator.domain.ranking import RankedEssay, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from result_aggregator.domain.items import Item

Answer = dict[str, Any]


class Batch(NamedTuple):
    """A batch item, decoded. `phases` and `end` carry the version they were written with."""

    user_id: str
    essay_count: int
    requested_pipeline: str | None
    phases: dict[str, tuple[str, PhaseState]]
    end: tuple[str, PipelineEnd] | None
    created_at: str
    started_at: str | None
    updated_at: str


class Verdict(NamedTuple):
    """How a batch stands. `ended_at` is the event time of what ended it, None while it runs."""

    overall_status: str
    completed_count: int
    failed_count: int
    ended_at: str | None


def decode_batch(item: Item) -> Batch | None:
    """The batch an item holds; None while no event has named its owner."""
    user_id = item.get(items.USER_ID)
    if user_id is None:
        return None

    def payload(name: str) -> Any:
        value = item.get(name)
        return None if value is None else registers.payload_of(str(value))

    phases = {
        name: (registers.version_of(str(item[name])), PhaseState(*registers.payload_of(str(item[name]))))
        for name in PHASE_NAMES
        if name in item
    }
    end = payload(items.PIPELINE_END)
    return Batch(
        user_id=str(user_id),
        essay_count=payload(items.ESSAY_COUNT) or 0,
        requested_pipeline=payload(items.REQUESTED_PIPELINE),
        phases=phases,
        end=end and (registers.version_of(str(item[items.PIPELINE_END])), PipelineEnd(*end)),
        created_at=str(item[items.CREATED_AT]),
        started_at=str(item[items.STARTED_AT]) if items.STARTED_AT in item else None,
        updated_at=str(item[items.UPDATED_AT]),
    )


def pipeline_of(batch: Batch, default: Sequence[str]) -> Sequence[str]:
    """The phases the batch goes through: as requested, else as its pipeline ended, else the default."""
    if batch.requested_pipeline and (requested := known_phases(phase_names(batch.requested_pipeline))):
        return requested
    if batch.end and (ended := known_phases(batch.end[1].completed_phases)):
        return ended
    return default


def phase_names(text: str) -> list[str]:
    """The names in a comma-separated list of phases."""
    return [name.strip().lower() for name in text.split(",") if name.strip()]


def verdict(batch: Batch, pipeline: Sequence[str]) -> Verdict:
    """The batch's overall status and counts."""
    newest_phase = max((version for version, _ in batch.phases.values()), default="")
    if batch.end and batch.end[0] > newest_phase:
        return _verdict_of_the_end(*batch.end)

    status, ended_at = _status_and_end(batch, pipeline)
    completed, failed = 0, 0
    for name in reversed(pipeline):
        state = _state(batch, name)
        if state and state.status in statuses.ENDED and state.status != statuses.SKIPPED:
            completed, failed = state.completed_count, state.failed_count
            break
    if ended_at is not None:
        failed = max(failed, batch.essay_count - completed)
    return Verdict(status, completed, failed, ended_at)


def _verdict_of_the_end(version: str, end: PipelineEnd) -> Verdict:
    """The pipeline end has the last word, unless a phase register is newer than it (a rerun)."""
    status = end.status
    if status == statuses.COMPLETED and (end.failed_count or end.with_failures):
        status = statuses.PARTIALLY_COMPLETED
    return Verdict(status, end.completed_count, end.failed_count, registers.time_of(version))


def _status_and_end(batch: Batch, pipeline: Sequence[str]) -> tuple[str, str | None]:
    """The first status that fits, and when the batch ended."""
    for status in (statuses.CANCELLED, statuses.FAILED):
        said = [version for version, state in batch.phases.values() if state.status == status]
        if said:
            return status, registers.time_of(min(said))
    done = [batch.phases[name] for name in pipeline if _is_done(batch, name)]
    if len(done) == len(pipeline):
        ended_at = registers.time_of(max(version for version, _ in done))
        ran = [state for _, state in done if state.status != statuses.SKIPPED]
        if ran and ran[-1].failed_count and not ran[-1].completed_count:
            return statuses.FAILED, ended_at
        if any(state.failed_count for _, state in done):
            return statuses.PARTIALLY_COMPLETED, ended_at
        return statuses.COMPLETED, ended_at
    if batch.started_at is not None:
        return statuses.PROCESSING, None
    return statuses.REGISTERED, None


def _state(batch: Batch, phase: str) -> PhaseState | None:
    register = batch.phases.get(phase)
    return register[1] if register else None


def _is_done(batch: Batch, phase: str) -> bool:
    state = _state(batch, phase)
    return state is not None and state.status in (statuses.COMPLETED, statuses.SKIPPED)


def _has_ended(batch: Batch, phase: str) -> bool:
    state = _state(batch, phase)
    return state is not None and state.status in statuses.ENDED


def batch_answer(batch_id: str, batch: Batch, default_pipeline: Sequence[str]) -> Answer:
    """A batch as the API shows it, without its essays."""
    pipeline = pipeline_of(batch, default_pipeline)
    judged = verdict(batch, pipeline)
    current = None
    if judged.overall_status == statuses.PROCESSING:
        current = next((name for name in pipeline if not _has_ended(batch, name)), None)
    return {
        "batch_id": batch_id,
        "user_id": batch.user_id,
        "overall_status": judged.overall_status,
        "essay_count": batch.essay_count,
        "completed_essay_count": judged.completed_count,
        "failed_essay_count": judged.failed_count,
        "requested_pipeline": batch.requested_pipeline,
        "current_phase": current,
        "created_at": registers.api_time(batch.created_at),
        "last_updated": registers.api_time(batch.updated_at),
        "processing_started_at": batch.started_at and registers.api_time(batch.started_at),
        "processing_completed_at": judged.ended_at and registers.api_time(judged.ended_at),
    }


def essay_answers(essays: Iterable[Item], ranking: Item | None) -> list[Answer]:
    """A batch's essays as the API shows them, by essay id: those with an item of their own and those only ranked."""
    ranked: dict[str, RankedEssay] = {}
    ranked_at, ranking_status = "", ""
    if ranking is not None:
        entries = ranking[items.ENTRIES]
        ranked = unpack(entries) if isinstance(entries, bytes) else {}
        ranked_at = registers.time_of(str(ranking[items.JOB]))
        ranking_status = registers.payload_of(str(ranking[items.JOB]))[1]
    answers = []
    for item in essays:
        essay_id = items.essay_id_of(str(item["sk"]))
        answers.append(_essay_answer(essay_id, item, ranked.pop(essay_id, None), ranked_at, ranking_status))
    if ranked:
        answers += [
            _essay_answer(name, {}, entry, ranked_at, ranking_status) for name, entry in ranked.items()
        ]
        answers.sort(key=itemgetter("essay_id"))
    return answers


_UNRANKED: dict[str, Any] = {}


def _essay_answer(
    essay_id: str, item: Item, entry: RankedEssay | None, ranked_at: str, ranking_status: str
) -> Answer:
    filename = original = None
    updated_at = ""
    if identity := item.get(items.IDENTITY):
        filename, original = registers.payload_of(str(identity))
        updated_at = registers.time_of(str(identity))
    answer: Answer = {"essay_id": essay_id, "filename": filename, "original_text_storage_id": original}
    for phase in PHASES:
        result = _UNRANKED
        if phase is CJ_ASSESSMENT:
            if entry is not None:
                result = {"status": ranking_status, **entry._asdict()}
                updated_at = max(updated_at, ranked_at)
        elif value := item.get(phase.name):
            result = registers.payload_of(str(value))
            updated_at = max(updated_at, registers.time_of(str(value)))
        for name, key in phase.answer_fields:
            answer[name] = result.get(key)
        if original is None and "original_text_storage_id" in result:
            answer["original_text_storage_id"] = original = result["original_text_storage_id"]
    answer["last_updated"] = registers.api_time(updated_at)
    return answer
