"""The view rules, each on the smallest batch that shows it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from result_aggregator.domain import registers, statuses, table_layout, view
from result_aggregator.domain.phases import PHASE_NAMES

from tests import fold
from tests.samples import DEFAULT_PIPELINE, Line, envelope

REGISTERED = "huleedu.batch.essays.registered.v1"
OUTCOME = "huleedu.els.batch_phase.outcome.v1"
PIPELINE = "huleedu.batch.pipeline.completed.v1"
SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
SLOT = "huleedu.els.essay.slot.assigned.v1"
RANKING = "huleedu.cj_assessment.completed.v1"
CJ_FAILED = "huleedu.cj_assessment.failed.v1"


def at(minute: int) -> str:
    return f"2026-03-02T08:{minute:02}:00Z"


def shown(minute: int) -> str:
    return f"2026-03-02T08:{minute:02}:00.000000Z"


def line(topic: str, minute: int, **data: Any) -> Line:
    return Line(topic, "k", envelope({"batch_id": "b", **data}, at=at(minute)))


def registered(minute: int = 0, essays: int = 4) -> Line:
    return line(REGISTERED, minute, user_id="u", expected_essay_count=essays)


def outcome(
    phase: str, status: str, minute: int, completed: int = 4, failed: int = 0, **metadata: Any
) -> Line:
    counts = {"completed_essay_count": completed, "failed_essay_count": failed}
    return line(OUTCOME, minute, phase=phase, outcome=status, metadata={**counts, **metadata})


def end(status: str, minute: int, completed: int = 4, failed: int = 0, **data: Any) -> Line:
    counts = {"successful_essay_count": completed, "failed_essay_count": failed}
    return line(PIPELINE, minute, final_status=status, **counts, **data)


def spellcheck(essay: str, minute: int, status: str = "COMPLETED", **data: Any) -> Line:
    return line(SPELLCHECK, minute, essay_id=essay, status=status, **data)


def ranking(minute: int, *essays: str) -> Line:
    entries = [{"essay_id": name, "rank": n, "score": -n / 2} for n, name in enumerate(essays, 1)]
    return line(RANKING, minute, status="COMPLETED", rankings=entries)


def answer(*lines: Line) -> dict[str, Any]:
    made = fold.answer(fold.fold(fold.read_all(lines)), "b")
    assert made is not None
    return made


def summary(*lines: Line) -> tuple[str, int, int]:
    made = answer(*lines)
    return made["overall_status"], made["completed_essay_count"], made["failed_essay_count"]


def test_without_an_owner_there_is_no_batch() -> None:
    """Events that name no owner make a batch nobody sees; the first that does brings all of it."""
    table = fold.fold(fold.read_all([spellcheck("e", 1)]))

    assert fold.answer(table, "b") is None
    assert [essay["essay_id"] for essay in answer(spellcheck("e", 1), registered(5))["essays"]] == ["e"]


def test_registered() -> None:
    """A registration and an essay's identity are no results."""
    made = answer(registered(), line(SLOT, 1, essay_id="e", original_file_name="f.docx", text_storage_id="t"))

    assert made["overall_status"] == "REGISTERED"
    assert (made["current_phase"], made["processing_started_at"]) == (None, None)
    assert (made["created_at"], made["last_updated"]) == (shown(0), shown(1))
    assert made["essays"][0]["filename"] == "f.docx"


def test_processing() -> None:
    """An essay's result or a phase's state starts the processing; the current phase is the first that has not ended."""
    assert answer(registered(), spellcheck("e", 3))["overall_status"] == "PROCESSING"
    made = answer(registered(), outcome("spellcheck", "completed", 2))

    assert (made["overall_status"], made["current_phase"]) == ("PROCESSING", "cj_assessment")
    assert (made["processing_started_at"], made["processing_completed_at"]) == (shown(2), None)
    assert summary(registered(), outcome("spellcheck", "completed", 2, 3, 1)) == ("PROCESSING", 3, 1)


def test_completed_and_partially_completed() -> None:
    """All phases of the pipeline done is COMPLETED, PARTIALLY_COMPLETED where an essay failed or is missing."""
    checked, cj = outcome("spellcheck", "completed", 2), outcome("cj_assessment", "completed", 3, 3)
    assert summary(registered(0, 3), checked, cj) == ("COMPLETED", 3, 0)
    assert summary(registered(), checked, cj) == ("PARTIALLY_COMPLETED", 3, 1)
    made = answer(registered(), outcome("spellcheck", "completed", 2, 3, 1), cj)

    assert (made["overall_status"], made["failed_essay_count"]) == ("PARTIALLY_COMPLETED", 1)
    assert made["processing_completed_at"] == shown(3)


def test_a_phase_outside_the_pipeline_does_not_end_it() -> None:
    """A phase that was not asked for neither completes a batch nor dates its end, and fails none of its essays."""
    cj = outcome("cj_assessment", "completed", 3)
    nlp = outcome("nlp", "completed", 9, 0, 0)
    made = answer(registered(), outcome("spellcheck", "completed", 2), cj, nlp)

    assert (made["overall_status"], made["processing_completed_at"]) == ("COMPLETED", shown(3))
    assert summary(registered(), nlp)[0] == "PROCESSING"


def test_the_requested_pipeline_decides() -> None:
    """A pipeline that any event requested replaces the default; names the view does not know are not waited for."""
    asked = outcome("spellcheck", "completed", 2, requested_pipeline="spellcheck, student_matching")
    made = answer(registered(), asked)

    assert (made["overall_status"], made["requested_pipeline"]) == (
        "COMPLETED",
        "spellcheck, student_matching",
    )


def test_failed_phases_fail_the_batch() -> None:
    """One FAILED phase register is enough; the counts are of the furthest phase that ended."""
    failed = outcome("cj_assessment", "failed", 3, 0, 4)
    made = answer(registered(), outcome("spellcheck", "completed", 2), failed)

    assert (made["overall_status"], made["processing_completed_at"]) == ("FAILED", shown(3))
    assert summary(registered(), outcome("spellcheck", "completed", 2), failed) == ("FAILED", 0, 4)


def test_a_cj_failure_fails_the_phase() -> None:
    """CJAssessmentFailedV1 sets the phase register, and the batch's missing essays count as failed."""
    failure = line(CJ_FAILED, 4, status="failed_critically", error="no provider")
    table = fold.fold(fold.read_all([registered(), failure]))
    batch = view.decode_batch(table[table_layout.batch_key("b")])

    assert batch is not None
    assert batch.phases["cj_assessment"][1].error == "no provider"
    assert summary(registered(), failure) == ("FAILED", 0, 4)


def test_a_last_phase_without_any_success_fails_the_batch() -> None:
    """Done, but every essay failed: FAILED, also where a later phase was skipped."""
    first = outcome("spellcheck", "completed", 2, 0, 4)
    assert summary(registered(), first, outcome("cj_assessment", "skipped", 3, 0, 0)) == ("FAILED", 0, 4)
    assert summary(registered(), first, outcome("cj_assessment", "completed", 3, 0, 4)) == ("FAILED", 0, 4)


def test_a_phase_tells_why_it_failed() -> None:
    """Its outcome's error is the phase's; a phase without one has none."""
    made = answer(
        registered(),
        outcome("spellcheck", "completed", 1),
        outcome("cj_assessment", "failed", 2, 0, 4, error_message="no comparisons"),
    )

    assert {phase["name"]: phase["error"] for phase in made["phases"]} == {
        "spellcheck": None,
        "cj_assessment": "no comparisons",
    }


def test_cancelled_comes_before_failed() -> None:
    """A cancelled phase cancels the batch, whatever else failed."""
    lines = (
        registered(),
        outcome("spellcheck", "failed", 2, 0, 4),
        outcome("cj_assessment", "cancelled", 3, 0, 0),
    )

    assert summary(*lines)[0] == "CANCELLED"


def test_skipped_phases_give_no_counts() -> None:
    """A skipped phase is done, and the counts are of the phase before it."""
    lines = (
        registered(),
        outcome("spellcheck", "completed", 2),
        outcome("cj_assessment", "skipped", 3, 0, 0),
    )

    assert summary(*lines) == ("COMPLETED", 4, 0)


def test_a_rerun_takes_the_word_back() -> None:
    """A phase register newer than the pipeline end decides again, until the next end."""
    lines = [registered(), outcome("spellcheck", "completed", 2), end("failed", 5, 0, 4)]
    rerun = [*lines, outcome("cj_assessment", "in_progress", 6, 0, 0)]

    assert summary(*lines)[0] == "FAILED"
    assert summary(*rerun)[0] == "PROCESSING"
    assert summary(*rerun, end("completed", 7))[0] == "COMPLETED"


def test_the_end_names_the_pipeline_where_nobody_requested_one() -> None:
    """After a rerun the phases that the pipeline really had are the ones to wait for."""
    lines = (
        registered(),
        end("completed", 2, completed_phases=["spellcheck", "nlp"]),
        outcome("spellcheck", "completed", 3),
    )

    assert answer(*lines)["current_phase"] == "nlp"


def test_a_phase_register_is_replaced_whole() -> None:
    """A failure clears the corrected text, a success clears the error."""
    good = spellcheck("e", 1, correction_count=3, corrected_text_storage_id="c")
    bad = spellcheck("e", 2, "FAILED", error="boom")
    again = spellcheck("e", 3, correction_count=1, corrected_text_storage_id="d")

    def essay(*lines: Line) -> tuple[Any, ...]:
        one = answer(registered(), *lines)["essays"][0]
        return tuple(one[f"spellcheck_{name}"] for name in ("status", "corrected_text_storage_id", "error"))

    assert essay(good, bad) == ("FAILED", None, "boom")
    assert essay(good, bad, again) == ("COMPLETED", "d", None)


def test_a_replaced_result_still_dates_the_beginning() -> None:
    """The earliest result is the beginning, even where a newer one has replaced it."""
    made = answer(registered(5), spellcheck("e", 9), spellcheck("e", 3))

    assert (made["created_at"], made["processing_started_at"], made["last_updated"]) == (
        shown(3),
        shown(3),
        shown(9),
    )


def test_rankings_switch_whole() -> None:
    """The newer ranking replaces the older one: an essay that it leaves out has no rank any more."""
    made = answer(registered(), ranking(2, "a", "b", "c"), ranking(3, "c", "a"), spellcheck("b", 1))
    ranks = {essay["essay_id"]: essay["cj_rank"] for essay in made["essays"]}

    assert ranks == {"a": 2, "b": None, "c": 1}
    assert [essay["cj_assessment_status"] for essay in made["essays"]] == ["COMPLETED", None, "COMPLETED"]


def test_the_spellcheck_stands_in_for_the_identity() -> None:
    """The original text is the identity's, and the spellcheck's where no identity tells one."""
    slot = line(SLOT, 1, essay_id="e", original_file_name="f", text_storage_id="t1")
    check = spellcheck("e", 2, original_text_storage_id="t2")

    assert answer(registered(), check)["essays"][0]["original_text_storage_id"] == "t2"
    assert answer(registered(), check, slot)["essays"][0]["original_text_storage_id"] == "t1"


def test_an_essay_shows_what_its_spellcheck_measured() -> None:
    """The metrics that the event has, and no others."""
    metrics = {"total_corrections": 5, "word_count": 300, "correction_density": 1.5}
    given = {**metrics, "spellchecker_corrections": None, "of_tomorrow": 1}

    assert (
        answer(registered(), spellcheck("e", 1, correction_metrics=given))["essays"][0]["spellcheck_metrics"]
        == metrics
    )


def test_essays_of_another_batch_are_others() -> None:
    """The same essay id in two batches is two essays."""
    other = Line(
        SPELLCHECK, "k", envelope({"batch_id": "other", "essay_id": "e", "status": "FAILED"}, at=at(9))
    )

    assert answer(registered(), spellcheck("e", 1), other)["essays"][0]["spellcheck_status"] == "COMPLETED"


def test_every_phase_shows_in_every_essay() -> None:
    """An essay's answer has the guide's fields and those of every phase of the registry, null where nothing is known."""
    essay = answer(registered(), line(SLOT, 1, essay_id="e"))["essays"][0]

    assert list(essay) == [
        "essay_id", "filename", "original_text_storage_id", "file_upload_id",
        "spellcheck_status", "spellcheck_correction_count", "spellcheck_corrected_text_storage_id",
        "spellcheck_metrics", "spellcheck_error", "spellcheck_completed_at",
        "cj_assessment_status", "cj_rank", "cj_score", "cj_comparison_count", "cj_grade", "cj_confidence",
        "cj_normalized_score", "cj_confidence_label", "cj_assessment_error", "cj_assessment_completed_at",
        "nlp_status", "nlp_lexical_diversity_score", "nlp_cohesion_score", "nlp_grammatical_error_rate",
        "nlp_metrics_storage_id", "nlp_metrics", "nlp_error", "nlp_completed_at",
        "ai_feedback_status", "ai_feedback_storage_id", "ai_feedback_summary", "ai_feedback_error",
        "ai_feedback_completed_at",
        "last_updated",
    ]  # fmt: skip
    assert {value for name, value in essay.items() if name not in ("essay_id", "last_updated")} == {None}


def test_counts_of_an_unknown_size() -> None:
    """A batch whose size no event has said is shown with size 0; its phases' counts stand."""
    owner = line(REGISTERED, 0, user_id="u")
    made = answer(
        owner, outcome("spellcheck", "completed", 1, 3, 1), outcome("cj_assessment", "completed", 2, 3)
    )

    assert (made["essay_count"], made["completed_essay_count"], made["failed_essay_count"]) == (0, 3, 1)
    assert made["overall_status"] == "PARTIALLY_COMPLETED"
    assert DEFAULT_PIPELINE == ("spellcheck", "cj_assessment")


VERSIONS = st.integers(1, 6).map(lambda n: f"20260302T08000{n}000000 {0:032x}")
COUNTS = st.integers(0, 2)
PHASE_STATES = st.tuples(st.sampled_from(statuses.OF_A_PHASE), COUNTS, COUNTS, st.sampled_from([None, "why"]))
PIPELINES = st.lists(st.sampled_from(PHASE_NAMES), max_size=3, unique=True)
ENDS = st.tuples(
    st.sampled_from([statuses.COMPLETED, statuses.FAILED, statuses.CANCELLED]),
    PIPELINES,
    st.none() | COUNTS,
    st.none() | COUNTS,
    st.booleans(),
)


@given(
    st.dictionaries(st.sampled_from(PHASE_NAMES), st.tuples(VERSIONS, PHASE_STATES)),
    st.none() | st.tuples(VERSIONS, ENDS),
    st.none() | PIPELINES.map(",".join) | st.just("unheard_of"),
    st.booleans(),
    PIPELINES.filter(bool),
    st.none() | COUNTS,
)
def test_a_standing_tells_how_a_batch_ended(
    phases: dict[str, tuple[str, Any]],
    end_: tuple[str, Any] | None,
    requested: str | None,
    is_started: bool,  # noqa: FBT001 - drawn
    default_pipeline: list[str],
    essay_count: int | None,
) -> None:
    """For every batch and every default pipeline the same as its answer; of one that runs, that it does."""
    item: table_layout.Item = {"user_id": "u", "created_at": "1", "updated_at": "1"}
    item |= {name: registers.encode(version, state) for name, (version, state) in phases.items()}
    if end_ is not None:
        item[table_layout.PIPELINE_END] = registers.encode(*end_)
    if requested is not None:
        item[table_layout.REQUESTED_PIPELINE] = registers.encode(f"20260302T080000000000 {0:032x}", requested)
    if essay_count is not None:
        item[table_layout.ESSAY_COUNT] = registers.encode(f"20260302T080000000000 {0:032x}", essay_count)
    if phases or is_started:
        item[table_layout.STARTED_AT] = "1"
    batch = view.decode_batch(item)
    assert batch is not None
    status = view.batch_answer("b", batch, default_pipeline)["overall_status"]

    told = view.status_of(view.standing(batch), default_pipeline)
    assert told == (view.RUNS if status in statuses.RUNNING else status)
    deciding = {
        name: item[name] for name in (*table_layout.DECIDES_STANDING, table_layout.USER_ID) if name in item
    }
    alone = view.decode_batch(deciding | {"created_at": "", "updated_at": ""})
    assert alone is not None
    assert view.standing(alone) == view.standing(batch)


def test_a_standing_by_other_rules_tells_nothing() -> None:
    """A change of the rules, or a phase more, must not have a listing believe what was written before."""
    for standing in (None, "", "COMPLETED", "0.4 COMPLETED", '{"spellcheck":["COMPLETED",1,0]}'):
        assert view.status_of(standing, DEFAULT_PIPELINE) is None
