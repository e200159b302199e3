"""The answers of the API as pure functions of the stored registers: the view rules."""

from __future__ import annotations

import json
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from result_aggregator.domain import registers, statuses, table_layout
from result_aggregator.domain.events import PhaseState, PipelineEnd
from result_aggregator.domain.phases import (
    BY_NAME,
    CJ_ASSESSMENT,
    METRICS,
    PHASE_NAMES,
    PHASES,
    Phase,
    known_phases,
)
from result_aggregator.domain.ranking import MAX_LISTS, NOT_SCORED, RankedEssay, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from result_aggregator.domain.table_layout import Item

JsonObject = dict[str, Any]


class Batch(NamedTuple):
    """A batch item, decoded. `phases` and `end` carry the version they were written with."""

    user_id: str
    essay_count: int | None
    requested_pipeline: str | None
    phases: dict[str, tuple[str, PhaseState]]
    end: tuple[str, PipelineEnd] | None
    created_at: str
    started_at: str | None
    updated_at: str
    reasons: dict[str, str] = {}
    """phase -> why it failed, as an event said that was sent for that"""
    assignment_id: str | None = None
    described: dict[str, str] = {}
    """registration fields by name (`table_layout.described`)"""


class Verdict(NamedTuple):
    """How a batch stands. `ended_at` is the event time of what ended it, None while it runs."""

    overall_status: str
    completed_count: int
    failed_count: int
    ended_at: str | None


def decode_batch(item: Item) -> Batch | None:
    """The batch an item holds; None while no event has named its owner."""
    user_id = item.get(table_layout.USER_ID)
    if user_id is None:
        return None

    def register(name: str) -> tuple[str, Any] | None:
        value = table_layout.batch_register(item, name)
        return None if value is None else (registers.version_of(value), registers.payload_of(value))

    def payload(name: str) -> Any:
        found = register(name)
        return found and found[1]

    phases = {name: (found[0], PhaseState(*found[1])) for name in PHASE_NAMES if (found := register(name))}
    reasons = {name: payload(table_layout.REASON_PREFIX + BY_NAME[name].short) for name in phases}
    end = register(table_layout.PIPELINE_END)
    return Batch(
        user_id=str(user_id),
        essay_count=payload(table_layout.ESSAY_COUNT),
        requested_pipeline=payload(table_layout.REQUESTED_PIPELINE),
        phases=phases,
        end=end and (end[0], PipelineEnd(*end[1])),
        created_at=str(item[table_layout.CREATED_AT]),
        started_at=str(item[table_layout.STARTED_AT]) if table_layout.STARTED_AT in item else None,
        updated_at=str(item[table_layout.UPDATED_AT]),
        reasons={name: reason for name, reason in reasons.items() if reason},
        assignment_id=payload(table_layout.ASSIGNMENT),
        described=table_layout.described(item),
    )


def pipeline_of(batch: Batch, default: Sequence[str]) -> Sequence[str]:
    """The phases the batch goes through: as requested, else as its pipeline ended, else the default.

    A pipeline's end does not name a phase that failed as a whole: it is put back where it ran.
    """
    if batch.requested_pipeline and (requested := known_phases(phase_names(batch.requested_pipeline))):
        return requested
    if batch.end and (ended := known_phases(batch.end[1].completed_phases)):
        failed = sorted(
            (version, name)
            for name, (version, state) in batch.phases.items()
            if state.status == statuses.FAILED and name not in ended
        )
        for version, name in failed:
            newer = (n for n, other in enumerate(ended) if batch.phases.get(other, ("",))[0] > version)
            ended.insert(next(newer, len(ended)), name)
        return ended
    return default


def phase_names(text: str) -> list[str]:
    """The names in a comma-separated list of phases."""
    return [name.strip().lower() for name in text.split(",") if name.strip()]


class _Outline(NamedTuple):
    """What of a phase register decides a batch's status."""

    status: str
    has_completed: bool
    has_failed: bool
    is_short: bool
    """Fewer essays completed than the batch is known to have."""


def _outlines(batch: Batch) -> dict[str, _Outline]:
    return {
        name: _Outline(
            state.status,
            has_completed=state.completed_count > 0,
            has_failed=state.failed_count > 0,
            is_short=batch.essay_count is not None and state.completed_count < batch.essay_count,
        )
        for name, (_, state) in batch.phases.items()
    }


def verdict(batch: Batch, pipeline: Sequence[str]) -> Verdict:
    """The batch's overall status and counts."""
    outlines = _outlines(batch)
    if batch.end and _decides(*batch.end, batch):
        version, end = batch.end
        status = _status_of_end(end) or _completed(outlines, pipeline)
        return Verdict(status, *_final_counts(batch, pipeline, end), registers.time_of(version))
    status = _status_of_phases(outlines, pipeline)
    if status != RUNS:
        return Verdict(status, *_final_counts(batch, pipeline, None), _ended_at(batch, pipeline, status))
    ran = _ended_phases(batch, pipeline)
    return Verdict(
        statuses.REGISTERED if batch.started_at is None else statuses.PROCESSING,
        ran[-1].completed_count if ran else 0,
        ran[-1].failed_count if ran else 0,
        None,
    )


def _decides(version: str, _end: PipelineEnd, batch: Batch) -> bool:
    """Whether a pipeline end of this version does: unless a phase register is newer than it (a rerun)."""
    return version > max((newest for newest, _ in batch.phases.values()), default="")


def _status_of_end(end: PipelineEnd) -> str | None:
    """The overall status by the pipeline's end alone; None where the phases have a say: it says that all is well."""
    if end.status != statuses.COMPLETED:
        return end.status
    return statuses.PARTIALLY_COMPLETED if end.with_failures or end.failed_count else None


def _status_of_phases(outlines: Mapping[str, _Outline], pipeline: Sequence[str]) -> str:
    """The overall status by the phases alone, RUNS where they have not ended: the first that fits."""
    said = {outline.status for outline in outlines.values()}
    for status in (statuses.CANCELLED, statuses.FAILED):
        if status in said:
            return status
    if not all(name in outlines and outlines[name].status in _DONE for name in pipeline):
        return RUNS
    last = _furthest(outlines, pipeline)
    if last and last.has_failed and not last.has_completed:
        return statuses.FAILED
    return _completed(outlines, pipeline)


def _completed(outlines: Mapping[str, _Outline], pipeline: Sequence[str]) -> str:
    """The status of a batch that came through: whether all of it did."""
    last = _furthest(outlines, pipeline)
    is_partial = (last is not None and last.is_short) or any(
        outline.has_failed or outline.status == statuses.FAILED for outline in outlines.values()
    )
    return statuses.PARTIALLY_COMPLETED if is_partial else statuses.COMPLETED


_DONE = (statuses.COMPLETED, statuses.SKIPPED)
# Of a phase that has run, to whatever end.
_RAN = statuses.ENDED - {statuses.SKIPPED}


def _furthest(outlines: Mapping[str, _Outline], pipeline: Sequence[str]) -> _Outline | None:
    """The furthest phase of the pipeline that has ended and was not skipped."""
    ran = (outlines[name] for name in reversed(pipeline) if name in outlines)
    return next((outline for outline in ran if outline.status in _RAN), None)


def _ended_phases(batch: Batch, pipeline: Sequence[str]) -> list[PhaseState]:
    """The phases of the pipeline that have ended and were not skipped."""
    states = (batch.phases[name][1] for name in pipeline if name in batch.phases)
    return [state for state in states if state.status in _RAN]


def _final_counts(batch: Batch, pipeline: Sequence[str], end: PipelineEnd | None) -> tuple[int, int]:
    """The completed and the failed essays of a batch that has ended; `end`: where the pipeline's end decides.

    The end's counts are guesses: they hide no failure that a phase reports, and count alone only where none does.
    """
    guessed = (end and end.completed_count) or 0, (end and end.failed_count) or 0
    ran = _ended_phases(batch, pipeline)
    if not ran:
        return guessed
    completed = ran[-1].completed_count
    failed = max(guessed[1], *(state.failed_count for state in ran))
    if batch.essay_count is not None:
        failed = max(failed, batch.essay_count - completed)
        completed = max(min(completed, batch.essay_count - failed), 0)
    return completed, failed


def _ended_at(batch: Batch, pipeline: Sequence[str], status: str) -> str:
    """When the phases ended a batch: the first that was cancelled or failed as a whole, else the last of the pipeline."""
    said = [version for version, state in batch.phases.values() if state.status == status]
    if status in (statuses.CANCELLED, statuses.FAILED) and said:
        return registers.time_of(min(said))
    return registers.time_of(max(batch.phases[name][0] for name in pipeline))


def _has_ended(batch: Batch, phase: str) -> bool:
    return phase in batch.phases and batch.phases[phase][1].status in statuses.ENDED


# Of the rules that a standing was made by: `verdict`'s, to be counted up with them, and the phases that there are.
_RULES = f"2.{len(PHASE_NAMES)} "

RUNS = ""
"""What a standing tells of a batch that runs."""


def standing(batch: Batch) -> str:
    """How a batch ended, for the user index: its overall status, RUNS while it runs, behind the version of the rules.

    Where no event named its pipeline, the default of whoever asks decides: then what the status of any default follows
    from, as JSON `[whether the pipeline's end decides, {phase: [status, whether essays completed, whether essays
    failed, whether fewer completed than there are]}]`. Essays' results change nothing here, so that they never cost an
    index write.
    """
    if named := pipeline_of(batch, ()):
        judged = verdict(batch, named)
        return _RULES + (RUNS if judged.ended_at is None else judged.overall_status)
    decides = batch.end is not None and _decides(*batch.end, batch)
    if batch.end and decides and (status := _status_of_end(batch.end[1])):
        return _RULES + status
    outlines = _outlines(batch)
    if not decides and not any(outline.status in statuses.ENDED for outline in outlines.values()):
        return _RULES + RUNS
    telling = {
        name: [outline.status, *map(int, outline[1:])]
        for name, outline in outlines.items()
        if outline.status in statuses.ENDED or outline.has_failed
    }
    return _RULES + json.dumps([int(decides), telling], separators=(",", ":"))


def status_of(standing: str | None, default_pipeline: Sequence[str]) -> str | None:
    """The overall status of a batch that stands so, RUNS of one that runs; None where only the batch itself tells.

    That is where no standing was written, or by other rules.
    """
    if standing is None or not standing.startswith(_RULES):
        return None
    told = standing[len(_RULES) :]
    return _status_by_outlines(told, tuple(default_pipeline)) if told.startswith("[") else told


# Users' batches stand in few different ways, and a listing asks of thousands.
@lru_cache(maxsize=1024)
def _status_by_outlines(told: str, default_pipeline: tuple[str, ...]) -> str:
    decides, phases = json.loads(told)
    outlines = {name: _Outline(*values) for name, values in phases.items()}
    return (_completed if decides else _status_of_phases)(outlines, default_pipeline)


def batch_answer(batch_id: str, batch: Batch, default_pipeline: Sequence[str]) -> JsonObject:
    """A batch as the API shows it, without its essays."""
    pipeline = pipeline_of(batch, default_pipeline)
    judged = verdict(batch, pipeline)
    current = None
    if judged.overall_status == statuses.PROCESSING:
        current = next((name for name in pipeline if not _has_ended(batch, name)), None)
    errors = sorted(
        (version, error) for name, (version, _) in batch.phases.items() if (error := _error_of(batch, name))
    )
    return {
        "batch_id": batch_id,
        "user_id": batch.user_id,
        "overall_status": judged.overall_status,
        "essay_count": batch.essay_count or 0,
        "completed_essay_count": judged.completed_count,
        "failed_essay_count": judged.failed_count,
        "requested_pipeline": batch.requested_pipeline,
        "current_phase": current,
        "created_at": registers.api_time(batch.created_at),
        "last_updated": registers.api_time(batch.updated_at),
        "processing_started_at": batch.started_at and registers.api_time(batch.started_at),
        "processing_completed_at": judged.ended_at and registers.api_time(judged.ended_at),
        "assignment_id": batch.assignment_id,
        "student_prompt_storage_id": batch.described.get("student_prompt_storage_id"),
        "course_code": batch.described.get("course_code"),
        "class_id": batch.described.get("class_id"),
        "org_id": batch.described.get("org_id"),
        "last_error": errors[-1][1] if errors else None,
        "error_count": judged.failed_count + len(errors),
    }


def _error_of(batch: Batch, phase: str) -> str | None:
    """A phase's error: its register's own, else the reason that outlived it, where the phase failed."""
    state = batch.phases[phase][1]
    return state.error or (batch.reasons.get(phase) if state.status == statuses.FAILED else None)


def phase_summaries(
    batch: Batch, default_pipeline: Sequence[str], essays: Mapping[str, Mapping[str, int]] | None
) -> list[JsonObject]:
    """The phases of the pipeline, then others that have a register: what the batch's events say of each.

    `essays`: phase -> status -> essays whose own register says so; None where they were not counted.
    """
    pipeline = pipeline_of(batch, default_pipeline)
    names = dict.fromkeys([*pipeline, *(name for name in PHASE_NAMES if name in batch.phases)])
    return [_phase_summary(name, batch, essays[name] if essays else None) for name in names]


def _phase_summary(name: str, batch: Batch, essays: Mapping[str, int] | None) -> JsonObject:
    version, state = batch.phases.get(name) or ("", None)
    time = registers.api_time(registers.time_of(version)) if state else None
    return {
        "name": name,
        "status": state and state.status,
        "completed_count": state and state.completed_count,
        "failed_count": state and state.failed_count,
        "error": state and _error_of(batch, name),
        "last_updated": time,
        "completed_at": time if state and state.status in statuses.ENDED else None,
        "essay_statuses": essays,
    }


class StatusCounts:
    """Essays counted by the status of each phase, over answers as `essay_answers` gives them."""

    def __init__(self) -> None:
        # By the statuses of all phases together: most essays of a batch look alike, so that is one count an essay.
        self._tally: dict[tuple[str | None, ...], int] = {}

    def add(self, answer: JsonObject) -> None:
        """Count an essay."""
        found = _STATUSES(answer)
        self._tally[found] = self._tally.get(found, 0) + 1

    def by_phase(self) -> dict[str, dict[str, int]]:
        """phase -> status -> essays, every status of a phase named."""
        counts = {name: dict.fromkeys(statuses.OF_A_PHASE, 0) for name in PHASE_NAMES}
        for found, number in self._tally.items():
            for name, status in zip(PHASE_NAMES, found, strict=True):
                if status is not None:
                    counts[name][status] += number
        return counts


class Ranking(NamedTuple):
    """The ranking that readers see, joined with what its job could not score."""

    version: str
    status: str
    entries: dict[str, Sequence[Any]]
    not_scored: frozenset[str]


def decode_ranking(items: Sequence[Item]) -> Ranking | None:
    """The ranking of a batch, by its items that come before the essays; None where no job has ranked it.

    Of the jobs' lists the newest count, and of those the one of the ranking's own job.
    """
    ranked = next((item for item in items if item["sk"] == table_layout.RANKING), None)
    if ranked is None:
        return None
    entries = ranked[table_layout.ENTRIES]
    register = str(ranked[table_layout.JOB])
    job_id, status = registers.payload_of(register)[:2]
    lists = {
        table_layout.job_id_of(str(item["sk"])): str(item[table_layout.LISTED])
        for item in items
        if str(item["sk"]).startswith(table_layout.LIST_PREFIX)
    }
    newest = sorted(lists, key=lambda job: (registers.version_of(lists[job]), job), reverse=True)[:MAX_LISTS]
    return Ranking(
        version=registers.version_of(register),
        status=status,
        entries=unpack(entries) if isinstance(entries, bytes) else {},
        not_scored=frozenset(registers.payload_of(lists[job_id]) if job_id in newest else ()),
    )


def essay_answers(essays: Iterable[Item], ranking: Ranking | None, after: str = "") -> Iterator[JsonObject]:
    """A batch's essays as the API shows them, by essay id: those with an item of their own and those only ranked.

    `essays` come in that order, and are read as the answers are asked for. `after`: the id that they come after.
    """
    if ranking is None:
        for item in essays:
            yield _essay_answer(table_layout.essay_id_of(str(item["sk"])), item, None)
        return
    places = _places(ranking)
    # Code points sort as their UTF-8 bytes do, by which DynamoDB sorts.
    waiting = iter(sorted(name for name in places if name > after))
    only_ranked = next(waiting, None)
    for item in essays:
        essay_id = table_layout.essay_id_of(str(item["sk"]))
        while only_ranked is not None and only_ranked <= essay_id:
            if only_ranked != essay_id:
                yield _essay_answer(only_ranked, _NO_ITEM, places[only_ranked])
            only_ranked = next(waiting, None)
        yield _essay_answer(essay_id, item, places.get(essay_id))
    while only_ranked is not None:
        yield _essay_answer(only_ranked, _NO_ITEM, places[only_ranked])
        only_ranked = next(waiting, None)


class _Place(NamedTuple):
    """An essay's place in a ranking."""

    time: str
    entry: Sequence[Any]
    """Nothing of an essay that was not scored."""
    shared: JsonObject
    """What the answer says of all essays alike, the scored and the others."""


def _places(ranking: Ranking) -> dict[str, _Place]:
    time = registers.time_of(ranking.version)
    done = {CJ_ASSESSMENT.completed_at: registers.api_time(time)}
    unscored = {_CJ_STATUS: statuses.FAILED, _CJ_ERROR: NOT_SCORED, **done}
    scored = {_CJ_STATUS: ranking.status, **(done if ranking.status in statuses.ENDED else {})}
    return {
        essay_id: _Place(time, (), unscored)
        if entry[_SCORE] is None or essay_id in ranking.not_scored
        else _Place(time, entry, scored)
        for essay_id, entry in ranking.entries.items()
    }


_NO_ITEM: Item = {}
_STATUSES = itemgetter(*(f"{name}_status" for name in PHASE_NAMES))
_IDENTITY_FIELDS = ("filename", "original_text_storage_id", "file_upload_id")

# An essay of which nothing is known: every field of an answer, in its order.
_EMPTY: JsonObject = dict.fromkeys(
    [
        "essay_id",
        *_IDENTITY_FIELDS,
        *(
            name
            for phase in PHASES
            for name in (*(field for field, _ in phase.answer_fields), phase.completed_at)
        ),
        "last_updated",
    ]
)


class _Shown(NamedTuple):
    """How a phase's register, stored in the essay's own item, comes into an answer."""

    phase: Phase
    names: tuple[str, ...]
    """What an answer calls the register's values, in their order; those that it does not show come after."""
    metrics: str | None
    original: int | None
    """Where the register has a text that stands in for the essay's own."""


def _shown(phase: Phase) -> _Shown:
    names = {key: name for name, key in phase.answer_fields}
    original = "original_text_storage_id"
    return _Shown(
        phase,
        tuple(names[key] for key in phase.stored if key in names),
        names.get(METRICS),
        phase.stored.index(original) if original in phase.stored else None,
    )


_RESULTS_OF_ITEMS = tuple(_shown(phase) for phase in PHASES if phase is not CJ_ASSESSMENT)
_CJ_STATUS, _CJ_ERROR = f"{CJ_ASSESSMENT.name}_status", f"{CJ_ASSESSMENT.name}_error"
# What an answer calls the fields of a ranking's entry.
_RANKED_FIELDS = tuple(
    {key: name for name, key in CJ_ASSESSMENT.answer_fields}.get(field, field)
    for field in RankedEssay._fields
)
_SCORE = RankedEssay._fields.index("score")


def _essay_answer(essay_id: str, item: Item, place: _Place | None) -> JsonObject:
    answer = _EMPTY.copy()
    answer["essay_id"] = essay_id
    updated_at = ""
    if place is not None:
        updated_at, entry, shared = place
        # Fields that came later are missing from older rankings, and null here.
        answer.update(zip(_RANKED_FIELDS, entry, strict=False))
        answer.update(shared)
    original = None
    for phase, names, metrics, original_at in _RESULTS_OF_ITEMS:
        value: Any = item.get(phase.name)
        if value is None:
            continue
        time = registers.time_of(value)
        updated_at = max(updated_at, time)
        result = registers.payload_of(value)
        if isinstance(result, dict):
            # As it was stored until November 2026.
            result = [result.get(name) for name in phase.stored]
        answer.update(zip(names, result, strict=False))
        if metrics is not None and answer[metrics] is not None:
            answer[metrics] = phase.measured(answer[metrics])
        if result[0] in statuses.ENDED:
            answer[phase.completed_at] = registers.api_time(time)
        if original is None and original_at is not None and original_at < len(result):
            original = result[original_at]
    identity: Any = item.get(table_layout.IDENTITY)
    if identity is not None:
        updated_at = max(updated_at, registers.time_of(identity))
        answer.update(zip(_IDENTITY_FIELDS, registers.payload_of(identity), strict=False))
    if original is not None and answer["original_text_storage_id"] is None:
        answer["original_text_storage_id"] = original
    if not updated_at:
        # A summary of the batch named the essay, and nothing else has been heard of it.
        updated_at = registers.time_of(str(item[table_layout.NAMED]))
    answer["last_updated"] = registers.api_time(updated_at)
    return answer
