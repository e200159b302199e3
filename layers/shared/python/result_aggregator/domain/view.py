"""The answers of the API as pure functions of the stored registers: the view rules."""

from __future__ import annotations

import json
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from result_aggregator.domain import registers, statuses, table_layout
from result_aggregator.domain.events import PhaseState, PipelineEnd
from result_aggregator.domain.phases import CJ_ASSESSMENT, PHASE_NAMES, PHASES, known_phases
from result_aggregator.domain.ranking import RankedEssay, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from result_aggregator.domain.table_layout import Item

JsonObject = dict[str, Any]


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
    user_id = item.get(table_layout.USER_ID)
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
    end = payload(table_layout.PIPELINE_END)
    return Batch(
        user_id=str(user_id),
        essay_count=payload(table_layout.ESSAY_COUNT) or 0,
        requested_pipeline=payload(table_layout.REQUESTED_PIPELINE),
        phases=phases,
        end=end and (registers.version_of(str(item[table_layout.PIPELINE_END])), PipelineEnd(*end)),
        created_at=str(item[table_layout.CREATED_AT]),
        started_at=str(item[table_layout.STARTED_AT]) if table_layout.STARTED_AT in item else None,
        updated_at=str(item[table_layout.UPDATED_AT]),
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
    if batch.end and _has_last_word(batch.end[0], batch):
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


def _has_last_word(version: str, batch: Batch) -> bool:
    """Whether a pipeline end of this version does: unless a phase register is newer than it (a rerun)."""
    return version > max((newest for newest, _ in batch.phases.values()), default="")


def _verdict_of_the_end(version: str, end: PipelineEnd) -> Verdict:
    """What the pipeline end says, where it has the last word."""
    status = end.status
    if status == statuses.COMPLETED and (end.failed_count or end.with_failures):
        status = statuses.PARTIALLY_COMPLETED
    return Verdict(status, end.completed_count or 0, end.failed_count or 0, registers.time_of(version))


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


DECIDES_STANDING = (table_layout.REQUESTED_PIPELINE, table_layout.PIPELINE_END, *PHASE_NAMES)
"""The registers that `standing` is a function of."""

# Of the rules that a standing was made by: `verdict`'s, to be counted up with them, and the phases that there are.
_RULES = f"1.{len(PHASE_NAMES)} "

RUNS = ""
"""What a standing tells of a batch that runs."""


def standing(batch: Batch) -> str:
    """How a batch ended, for the user index: its overall status, RUNS while it runs, behind the version of the rules.

    Where no event named its pipeline, the default of whoever asks decides: then the phases that ended, as JSON
    `{phase: [status, whether essays completed, whether essays failed]}`. Essays' results change nothing here, so that
    they never cost an index write.
    """
    named = pipeline_of(batch, ())
    if named or (batch.end and _has_last_word(batch.end[0], batch)):
        judged = verdict(batch, named or PHASE_NAMES)
        return _RULES + (RUNS if judged.ended_at is None else judged.overall_status)
    ended = {
        name: [state.status, min(state.completed_count, 1), min(state.failed_count, 1)]
        for name, (_, state) in batch.phases.items()
        if state.status in statuses.ENDED
    }
    return _RULES + (json.dumps(ended, separators=(",", ":")) if ended else RUNS)


def status_of(standing: str | None, default_pipeline: Sequence[str]) -> str | None:
    """The overall status of a batch that stands so, RUNS of one that runs; None where only the batch itself tells.

    That is where no standing was written, or by other rules.
    """
    if standing is None or not standing.startswith(_RULES):
        return None
    told = standing[len(_RULES) :]
    return _status_of_phases(told, tuple(default_pipeline)) if told.startswith("{") else told


# Users' batches stand in few different ways, and a listing asks of thousands.
@lru_cache(maxsize=1024)
def _status_of_phases(ended: str, default_pipeline: tuple[str, ...]) -> str:
    phases = {name: ("", PhaseState(*state)) for name, state in json.loads(ended).items()}
    batch = Batch("", 0, None, phases, end=None, created_at="", started_at=None, updated_at="")
    status, ended_at = _status_and_end(batch, default_pipeline)
    return RUNS if ended_at is None else status


def batch_answer(batch_id: str, batch: Batch, default_pipeline: Sequence[str]) -> JsonObject:
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


def phase_summaries(
    batch: Batch, default_pipeline: Sequence[str], essays: Mapping[str, Mapping[str, int]] | None
) -> list[JsonObject]:
    """The phases of the pipeline, then others that have a register: what the batch's events say of each.

    `essays`: phase -> status -> essays whose own register says so; None where they were not counted.
    """
    pipeline = pipeline_of(batch, default_pipeline)
    names = dict.fromkeys([*pipeline, *(name for name in PHASE_NAMES if name in batch.phases)])
    return [_phase_summary(name, batch.phases.get(name), essays[name] if essays else None) for name in names]


def _phase_summary(
    name: str, register: tuple[str, PhaseState] | None, essays: Mapping[str, int] | None
) -> JsonObject:
    version, state = register or ("", None)
    time = registers.api_time(registers.time_of(version)) if state else None
    return {
        "name": name,
        "status": state and state.status,
        "completed_count": state and state.completed_count,
        "failed_count": state and state.failed_count,
        "error": state and state.error,
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


def essay_answers(essays: Iterable[Item], ranking: Item | None, after: str = "") -> Iterator[JsonObject]:
    """A batch's essays as the API shows them, by essay id: those with an item of their own and those only ranked.

    `essays` come in that order, and are read as the answers are asked for. `after`: the id that they come after.
    """
    if ranking is None:
        for item in essays:
            yield _essay_answer(table_layout.essay_id_of(str(item["sk"])), item, None, "", "")
        return
    entries = ranking[table_layout.ENTRIES]
    ranked = unpack(entries) if isinstance(entries, bytes) else {}
    at = registers.time_of(str(ranking[table_layout.JOB]))
    status = registers.payload_of(str(ranking[table_layout.JOB]))[1]
    # Code points sort as their UTF-8 bytes do, by which DynamoDB sorts.
    waiting = iter(sorted(name for name in ranked if name > after))
    only_ranked = next(waiting, None)
    for item in essays:
        essay_id = table_layout.essay_id_of(str(item["sk"]))
        while only_ranked is not None and only_ranked <= essay_id:
            if only_ranked != essay_id:
                yield _essay_answer(only_ranked, _NO_ITEM, ranked[only_ranked], at, status)
            only_ranked = next(waiting, None)
        yield _essay_answer(essay_id, item, ranked.get(essay_id), at, status)
    while only_ranked is not None:
        yield _essay_answer(only_ranked, _NO_ITEM, ranked[only_ranked], at, status)
        only_ranked = next(waiting, None)


_NO_ITEM: Item = {}
_STATUSES = itemgetter(*(f"{name}_status" for name in PHASE_NAMES))

# An essay of which nothing is known: every field of an answer, in its order.
_EMPTY: JsonObject = dict.fromkeys(
    [
        "essay_id",
        "filename",
        "original_text_storage_id",
        *(name for phase in PHASES for name, _ in phase.answer_fields),
        "last_updated",
    ]
)

# Of the phases whose results lie in the essays' own items: the register, and what an answer calls its values.
_RESULTS_OF_ITEMS = tuple(
    (phase.name, tuple((key, name) for name, key in phase.answer_fields))
    for phase in PHASES
    if phase is not CJ_ASSESSMENT
)
_CJ_STATUS = f"{CJ_ASSESSMENT.name}_status"
# What an answer calls the fields of a ranking's entry.
_RANKED_FIELDS = tuple(
    {key: name for name, key in CJ_ASSESSMENT.answer_fields}.get(field, field)
    for field in RankedEssay._fields
)


def _essay_answer(
    essay_id: str, item: Item, entry: Sequence[Any] | None, ranked_at: str, ranking_status: str
) -> JsonObject:
    answer = _EMPTY.copy()
    answer["essay_id"] = essay_id
    updated_at = ""
    if entry is not None:
        answer[_CJ_STATUS] = ranking_status
        # Fields that came later are missing from older rankings, and null here.
        answer.update(zip(_RANKED_FIELDS, entry, strict=False))
        updated_at = ranked_at
    original = None
    for register, results in _RESULTS_OF_ITEMS:
        value: Any = item.get(register)
        if value is not None:
            updated_at = max(updated_at, registers.time_of(value))
            result = registers.payload_of(value)
            for key, name in results:
                if key in result:
                    answer[name] = result[key]
            if original is None:
                original = result.get("original_text_storage_id")
    identity: Any = item.get(table_layout.IDENTITY)
    if identity is not None:
        updated_at = max(updated_at, registers.time_of(identity))
        answer["filename"], answer["original_text_storage_id"] = registers.payload_of(identity)
    if original is not None and answer["original_text_storage_id"] is None:
        answer["original_text_storage_id"] = original
    if not updated_at:
        # A summary of the batch named the essay, and nothing else has been heard of it.
        updated_at = registers.time_of(str(item[table_layout.NAMED]))
    answer["last_updated"] = registers.api_time(updated_at)
    return answer
