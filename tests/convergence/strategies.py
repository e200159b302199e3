"""Generated steps: events of every topic in every dialect, and what can happen to their delivery.

Everything is drawn from few values, so that histories collide: three batches, four essays, two users, seconds apart.
`@` stands for the history's own name in ids.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from result_aggregator.topics import TOPICS

from tests.convergence.faults import Fault

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

BATCHES = ("@b0", "@b1", "@b2")
batch_ids = st.sampled_from(BATCHES)
essay_ids = st.sampled_from(["@e0", "@e1", "@e2", "@e3"])
users = st.sampled_from(["@u0", "@u1"])
counts = st.integers(0, 4)
guesses = st.integers(-1, 4)


def evenly(choices: int) -> SearchStrategy[int]:
    """A number under `choices`, all as likely: Hypothesis itself prefers 0, and then nothing would ever be earlier."""
    return st.integers(0, 2**32).map(lambda number: zlib.crc32(number.to_bytes(5, "big")) % choices)


times = evenly(41).map(lambda second: f"2026-03-02T08:00:{second:02}Z")
done = st.sampled_from(
    ["COMPLETED", "completed_successfully", "completed_with_failures", "spellchecked_success"]
)
words = st.one_of(
    done, st.sampled_from(["FAILED", "x_failed", "cancelled", "skipped", "in_progress", "awaiting_x"])
)
phases = st.sampled_from(["SPELLCHECK", "cj_assessment", "nlp", "AI_Feedback"])
errors = st.sampled_from([None, "boom"])
pipelines = st.sampled_from(["spellcheck", "spellcheck,cj_assessment", "nlp,unknown", None])


def essay_of(essay: str, batch: str | None, dialect: int) -> dict[str, Any]:
    """Which essay of which batch, in one of the dialects; None where the event does not name it."""
    shapes: list[dict[str, Any]] = [
        {"essay_id": essay, "batch_id": batch},
        {"entity_ref": {"entity_id": essay, "entity_type": "essay", "parent_id": batch}},
        {"entity_id": essay, "entity_type": "essay", "parent_id": batch},
    ]
    return shapes[dialect]


def batch_of(batch: str, dialect: int) -> dict[str, Any]:
    """Which batch, in one of the dialects."""
    shapes: list[dict[str, Any]] = [
        {"batch_id": batch},
        {"entity_ref": {"entity_id": batch, "entity_type": "batch", "parent_id": None}},
        {"entity_id": batch, "entity_type": "batch", "parent_id": None},
    ]
    return shapes[dialect]


dialects = st.integers(0, 2)
essays = st.builds(essay_of, essay_ids, batch_ids, dialects)
essays_of_no_batch = st.builds(essay_of, essay_ids, st.none(), dialects)
batches = st.builds(batch_of, batch_ids, dialects)


def joined(*parts: SearchStrategy[dict[str, Any]]) -> SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda found: {key: value for part in found for key, value in part.items()})


def fields(**values: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


def listed(number: int) -> list[str]:
    return [f"x{n}" for n in range(number)]


guide_outcomes = joined(
    batches,
    st.fixed_dictionaries({"phase": phases, "outcome": words}),
    st.fixed_dictionaries(
        {
            "metadata": fields(
                user_id=users,
                total_essay_count=counts,
                requested_pipeline=pipelines,
                completed_essay_count=counts,
                failed_essay_count=counts,
                error_message=errors,
            )
        }
    ),
)
platform_outcomes = joined(
    batches,
    st.fixed_dictionaries(
        {
            "phase_name": phases,
            "phase_status": words,
            "processed_essays": counts.map(lambda n: [{"essay_id": name} for name in listed(n)]),
            "failed_essay_ids": counts.map(listed),
        }
    ),
)
results = joined(
    essays,
    st.fixed_dictionaries({"status": words}),
    fields(
        correction_count=counts,
        corrections_made=st.none() | counts,
        corrected_text_storage_id=st.sampled_from([None, "c1", "c2"]),
        original_text_storage_id=st.sampled_from(["t1", "t2"]),
        storage_metadata=st.sampled_from([None, {"references": {"corrected_text": {"storage_id": "c3"}}}]),
        error=errors,
        system_metadata=st.sampled_from([{"error_info": {}}, {"error_info": {"error_message": "deep"}}]),
        cohesion_score=st.floats(0, 1),
        summary=st.sampled_from(["good", "better"]),
    ),
)

analyses = joined(
    essays_of_no_batch,
    st.fixed_dictionaries(
        {
            "nlp_metrics": fields(word_count=counts, mtld_score=st.floats(0, 1)),
            "grammar_analysis": fields(error_count=counts),
        }
    ),
)
results_of_no_batch = joined(
    essays_of_no_batch,
    st.fixed_dictionaries({"status": words}),
    fields(cohesion_score=st.floats(0, 1), error=errors),
)
summaries = joined(
    batches,
    st.fixed_dictionaries(
        {
            "processing_summary": st.fixed_dictionaries(
                {
                    "successful_essay_ids": st.lists(essay_ids, max_size=3),
                    "failed_essay_ids": st.lists(essay_ids, max_size=2),
                }
            )
        }
    ),
)


jobs = st.sampled_from(["j0", "j1"])


def ranked(names: list[str], job: int, key: str) -> list[dict[str, Any]]:
    """A ranking in which every essay bears the job's number: a mix of two would show. Every seventh has no score."""
    return [
        {
            key: name,
            "rank": rank,
            "score": None if (job + rank) % 7 == 0 else -rank / (job + 1),
            "comparison_count": job,
        }
        for rank, name in enumerate(names, 1)
    ]


rankings = st.one_of(
    joined(
        batches,
        st.fixed_dictionaries(
            {
                "status": st.just("completed_successfully"),
                "rankings": st.builds(
                    ranked,
                    st.lists(essay_ids, unique=True),
                    st.integers(0, 1000),
                    st.sampled_from(["essay_id", "els_essay_id"]),
                ),
            }
        ),
        fields(cj_assessment_job_id=jobs),
    ),
    joined(batches, st.just({"status": "COMPLETED", "processing_summary": {}})),
    joined(
        batches,
        st.fixed_dictionaries(
            {
                "status": st.just("completed_successfully"),
                "cj_assessment_job_id": jobs,
                "processing_summary": st.fixed_dictionaries(
                    {"failed_essay_ids": st.lists(essay_ids, max_size=3)}
                ),
            }
        ),
    ),
)


def assessed(names: list[str], anchors: int) -> list[dict[str, Any]]:
    return [
        {
            "essay_id": name,
            "rank": rank,
            "bt_score": None if rank == 4 else 1.5 - rank,
            "normalized_score": 0.5,
            "letter_grade": "C",
            "is_anchor": rank <= anchors,
        }
        for rank, name in enumerate(names, 1)
    ]


assessments = joined(
    batches,
    st.builds(assessed, st.lists(essay_ids, unique=True), st.integers(0, 2)).map(
        lambda found: {"essay_results": found}
    ),
    fields(cj_assessment_job_id=jobs, assignment_id=st.sampled_from([None, "a0", "a1"])),
)

BODIES: dict[str, SearchStrategy[dict[str, Any]]] = {
    "huleedu.els.batch_phase.outcome.v1": guide_outcomes | platform_outcomes,
    "huleedu.els.batch.phase.outcome.v1": guide_outcomes | platform_outcomes,
    "huleedu.batch.essays.registered.v1": joined(
        batches,
        fields(
            user_id=users,
            expected_essay_count=counts,
            course_code=st.sampled_from([None, "SV1", "SV2"]),
            class_id=st.sampled_from([None, "c0", "c1"]),
            org_id=st.sampled_from([None, "o0"]),
        ),
    ),
    "huleedu.batch.pipeline.completed.v1": joined(
        batches,
        st.fixed_dictionaries(
            {
                "final_status": st.one_of(done, st.sampled_from(["failed_critically", "cancelled"])),
                "completed_phases": st.lists(phases, unique=True),
                "successful_essay_count": guesses,
                "failed_essay_count": guesses,
            }
        ),
    ),
    "huleedu.cj_assessment.failed.v1": joined(
        batches, fields(error=errors, system_metadata=st.just({"error_info": {"reason": "few"}}))
    ),
    "huleedu.els.essay.slot.assigned.v1": joined(
        essays, fields(original_file_name=st.sampled_from(["f1", "f2"]), text_storage_id=st.just("t9"))
    ),
    "huleedu.essay.spellcheck.completed.v1": results,
    "huleedu.essay.spellcheck.results.v1": results,
    "huleedu.essay.nlp.completed.v1": results | analyses | results_of_no_batch,
    "huleedu.batch.nlp.analysis.completed.v1": summaries,
    "huleedu.essay.aifeedback.completed.v1": results | results_of_no_batch,
    "huleedu.cj_assessment.completed.v1": rankings,
    "huleedu.assessment.result.published.v1": assessments,
    "huleedu.assessment.results.v1": assessments,
}  # fmt: skip
assert BODIES.keys() == TOPICS.keys(), "a topic without generated events"


@st.composite
def publications(draw: st.DrawFn) -> dict[str, Any]:
    """A step that publishes an event, rarely something that is none."""
    topic = draw(st.sampled_from(sorted(BODIES)))
    if draw(st.integers(0, 19)) == 0:
        other = draw(st.sampled_from([None, "not json", '{"event_id": 1}', "[]"]))
        return {
            "do": "publish",
            "topic": draw(st.sampled_from([topic, "huleedu.unknown.v1"])),
            "value": other,
        }
    # Rarely a producer says two things under one id and time: whichever is taken, it must be the same one always.
    ids = st.uuids(version=4) if draw(evenly(8)) else st.just("00000000-0000-4000-8000-000000000000")
    value = {
        "event_id": str(draw(ids)),
        "event_timestamp": draw(times) if draw(evenly(8)) else "2026-03-02T08:00:20Z",
        "data": draw(BODIES[topic]),
    }
    return {"do": "publish", "topic": topic, "value": value}


# A third of the requests meet a fault; one invocation in ten meets nothing else, and must hand back.
_one_fault = evenly(3 * len(Fault)).map(lambda n: str(list(Fault)[n]) if n < len(Fault) else None)
_scattered = st.lists(_one_fault, min_size=6, max_size=12)
_outages = st.sampled_from([Fault.THROTTLE, Fault.ERROR_500, Fault.NO_CONNECTION, Fault.LOST_ANSWER]).map(
    lambda fault: [str(fault)] * 400
)
_ways = (st.just([]), st.just([]), *[_scattered] * 6, _outages)
faults = evenly(len(_ways)).flatmap(lambda n: _ways[n])


@st.composite
def deliveries(draw: st.DrawFn, records: int) -> dict[str, Any]:
    """A step of one to three invocations at once, of any of so many records in any order, under faults."""
    numbers = st.lists(evenly(records), min_size=1, max_size=10)
    invocation = st.fixed_dictionaries({"records": numbers, "faults": faults, "partial": st.booleans()})
    return {"do": "deliver", "invocations": draw(st.lists(invocation, min_size=1, max_size=3))}


replays = st.fixed_dictionaries(
    {"do": st.just("replay"), "seed": st.integers(0, 2**16), "size": st.integers(1, 60)}
)
