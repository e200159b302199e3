"""The view rules of the design's section 3, a test for each sentence: pipeline, counts, status, errors, rankings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator.domain import ranking, registers, statuses, table_layout, view
from result_aggregator.domain.phases import AI_FEEDBACK, NLP, PHASES, SPELLCHECK

from tests import fold, openapi
from tests.unit.test_view import (
    CJ_FAILED,
    RANKING,
    REGISTERED,
    SLOT,
    answer,
    end,
    line,
    outcome,
    registered,
    shown,
    spellcheck,
)

if TYPE_CHECKING:
    from tests.samples import Line

STATUS_PATTERN = next(
    parameter["schema"]["pattern"]
    for parameter in openapi.document()["paths"]["/internal/v1/batches/user/{user_id}"]["get"]["parameters"]
    if parameter.get("name") == "status"
)
PUBLISHED = "huleedu.assessment.result.published.v1"


def counts(made: dict[str, Any]) -> tuple[int, int]:
    return made["completed_essay_count"], made["failed_essay_count"]


def pipeline(*lines: Line) -> list[str]:
    """The phases that an answer waits for: those of `phases`, which is the pipeline where no other has a register."""
    return [phase["name"] for phase in answer(registered(), *lines)["phases"]]


NAMED = {
    "requested wins": (["nlp"], [outcome("nlp", "completed", 1, requested_pipeline="nlp"), end("completed", 2, completed_phases=["spellcheck"])]),
    "the end's phases": (["spellcheck", "nlp"], [end("completed", 2, completed_phases=["spellcheck", "nlp"])]),
    "the end names none": (["spellcheck", "cj_assessment"], [end("completed", 2, completed_phases=[])]),
    "the end names none of the view": (["spellcheck", "cj_assessment"], [end("completed", 2, completed_phases=["student_matching"])]),
    "nothing names any": (["spellcheck", "cj_assessment"], []),
    "failed, none newer": (
        ["spellcheck", "cj_assessment"],
        [outcome("spellcheck", "completed", 1), outcome("cj_assessment", "failed", 2, 0, 4), end("completed", 3, completed_phases=["spellcheck"])],
    ),
    "failed, before the first newer": (
        ["spellcheck", "cj_assessment", "nlp"],
        [outcome("spellcheck", "completed", 1), outcome("cj_assessment", "failed", 2, 0, 4), outcome("nlp", "completed", 3),
         end("completed", 4, completed_phases=["spellcheck", "nlp"])],
    ),
    "failed first of all": (
        ["cj_assessment", "spellcheck", "nlp"],
        [outcome("cj_assessment", "failed", 1, 0, 4), outcome("spellcheck", "completed", 2), outcome("nlp", "completed", 3),
         end("completed", 4, completed_phases=["spellcheck", "nlp"])],
    ),
    "failed and named, once": (
        ["cj_assessment", "spellcheck"],
        [outcome("cj_assessment", "failed", 2, 0, 4), end("failed", 3, completed_phases=["cj_assessment", "spellcheck"])],
    ),
    "two failed": (
        ["nlp", "cj_assessment", "spellcheck"],
        [outcome("cj_assessment", "failed", 2, 0, 4), outcome("nlp", "failed", 1, 0, 4), outcome("spellcheck", "completed", 3),
         end("completed", 4, completed_phases=["spellcheck"])],
    ),
    "failed after the end": (
        ["spellcheck", "nlp"],
        [end("completed", 1, completed_phases=["spellcheck"]), outcome("nlp", "failed", 2, 0, 4)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("names", "lines"), NAMED.values(), ids=NAMED.keys())
def test_the_pipeline(names: list[str], lines: list[Line]) -> None:
    """As requested; else as the end names it, with each phase that failed as a whole where it ran; else the default."""
    assert pipeline(*lines) == names


NLP_FAILED_IN_PART = outcome("nlp", "completed_with_failures", 3, 7, 3)
NLP_END = {"completed_phases": ["nlp"]}

# registered essays, lines, the end: status, completed, failed
ENDS = {
    "believes no guess": (10, [NLP_FAILED_IN_PART], end("completed_successfully", 4, 10, 0, **NLP_END), "PARTIALLY_COMPLETED", 7, 3),
    "all well": (10, [outcome("nlp", "completed", 3, 10, 0)], end("completed_successfully", 4, 10, 0, **NLP_END), "COMPLETED", 10, 0),
    "its own word": (10, [outcome("nlp", "completed", 3, 10, 0)], end("completed_with_failures", 4, 10, 0, **NLP_END), "PARTIALLY_COMPLETED", 10, 0),
    "partial success": (10, [outcome("nlp", "completed", 3, 10, 0)], end("completed_with_partial_success", 4, 10, 0, **NLP_END), "PARTIALLY_COMPLETED", 10, 0),
    "its own failures": (10, [outcome("nlp", "completed", 3, 10, 0)], end("completed_successfully", 4, 8, 2, **NLP_END), "PARTIALLY_COMPLETED", 8, 2),
    "missing essays": (10, [outcome("nlp", "completed", 3, 9, 0)], end("completed_successfully", 4, 10, 0, **NLP_END), "PARTIALLY_COMPLETED", 9, 1),
    "a phase outside failed essays": (10, [outcome("nlp", "completed", 3, 10, 0), outcome("spellcheck", "completed", 2, 9, 1)],
        end("completed_successfully", 4, 10, 0, **NLP_END), "PARTIALLY_COMPLETED", 10, 0),
    "a phase failed as a whole": (10, [outcome("spellcheck", "completed", 2, 10, 0), outcome("cj_assessment", "failed", 3, 0, 10)],
        end("completed_successfully", 4, 10, 0, completed_phases=["spellcheck"]), "PARTIALLY_COMPLETED", 0, 10),
    "failed": (10, [outcome("nlp", "completed", 3, 10, 0)], end("failed_critically", 4, 10, 0, **NLP_END), "FAILED", 10, 0),
    "cancelled": (10, [outcome("nlp", "completed", 3, 6, 1)], end("cancelled", 4, 10, 0, **NLP_END), "CANCELLED", 6, 4),
    "without any phase": (10, [], end("completed_successfully", 4, 9, 1), "PARTIALLY_COMPLETED", 9, 1),
    "without any phase, all well": (10, [], end("completed_successfully", 4, 10, 0), "COMPLETED", 10, 0),
    "without any phase but a skipped one": (10, [outcome("nlp", "skipped", 3, 0, 0)], end("completed_successfully", 4, 9, 1, **NLP_END), "PARTIALLY_COMPLETED", 9, 1),
    "unknown counts": (10, [], end("completed_successfully", 4, -1, -1), "COMPLETED", 0, 0),
    "an unknown count beside a phase": (10, [outcome("nlp", "completed", 3, 10, 0)], end("completed_successfully", 4, -1, -1, **NLP_END), "COMPLETED", 10, 0),
    "more completed than there are": (3, [outcome("nlp", "completed", 3, 5, 1)], end("completed_successfully", 4, 3, 0, **NLP_END), "PARTIALLY_COMPLETED", 2, 1),
    "more failed than there are": (3, [outcome("nlp", "completed", 3, 2, 5)], end("completed_successfully", 4, 3, 0, **NLP_END), "PARTIALLY_COMPLETED", 0, 5),
    "the furthest phase counts": (10, [outcome("spellcheck", "completed", 2, 8, 2), outcome("cj_assessment", "completed", 3, 8, 0)],
        end("completed_successfully", 4, 10, 0, completed_phases=["spellcheck", "cj_assessment"]), "PARTIALLY_COMPLETED", 8, 2),
    "a failure before a skipped phase": (10, [outcome("spellcheck", "completed", 2, 8, 2), outcome("cj_assessment", "skipped", 3, 0, 9)],
        end("completed_successfully", 4, 10, 0, completed_phases=["spellcheck", "cj_assessment"]), "PARTIALLY_COMPLETED", 8, 2),
}  # fmt: skip


@pytest.mark.parametrize(
    ("essays", "lines", "ended", "status", "completed", "failed"), ENDS.values(), ids=ENDS.keys()
)
def test_the_pipelines_end(
    essays: int, lines: list[Line], ended: Line, status: str, completed: int, failed: int
) -> None:
    """It decides that the batch has ended, and hides no failure."""
    made = answer(registered(0, essays), *lines, ended)

    assert (made["overall_status"], *counts(made)) == (status, completed, failed)
    assert (made["processing_completed_at"], made["current_phase"]) == (shown(4), None)


def test_an_end_decides_until_a_phase_is_newer() -> None:
    """Any phase of the batch, in the pipeline or not; then the phases decide, and the end's counts are none of theirs."""
    lines = [
        registered(),
        outcome("spellcheck", "completed", 1),
        end("completed_successfully", 3, 4, 2, completed_phases=["spellcheck"]),
    ]
    rerun = outcome("nlp", "in_progress", 4, 0, 0)

    assert counts(answer(*lines)) == (2, 2)
    assert (answer(*lines, rerun)["overall_status"], counts(answer(*lines, rerun))) == ("COMPLETED", (4, 0))


PHASES_ALONE = {
    "cancelled first": ([outcome("spellcheck", "failed", 1, 0, 4), outcome("nlp", "cancelled", 2, 0, 0)], "CANCELLED", 0, 4),
    "failed": ([outcome("spellcheck", "completed", 1), outcome("cj_assessment", "failed", 2, 1, 3)], "FAILED", 1, 3),
    "failed outside the pipeline": ([outcome("nlp", "failed", 2, 1, 3)], "FAILED", 0, 0),
    "the last failed all": ([outcome("spellcheck", "completed", 1), outcome("cj_assessment", "completed", 2, 0, 4)], "FAILED", 0, 4),
    "essays missing": ([outcome("spellcheck", "completed", 1), outcome("cj_assessment", "completed", 2, 3, 0)], "PARTIALLY_COMPLETED", 3, 1),
    "a failed essay": ([outcome("spellcheck", "completed", 1, 3, 1), outcome("cj_assessment", "completed", 2, 3, 0)], "PARTIALLY_COMPLETED", 3, 1),
    "a failed essay that came back": ([outcome("spellcheck", "completed", 1, 3, 1), outcome("cj_assessment", "completed", 2, 4, 0)], "PARTIALLY_COMPLETED", 3, 1),
    "a failed essay outside": ([outcome("spellcheck", "completed", 1), outcome("cj_assessment", "completed", 2), outcome("nlp", "in_progress", 3, 1, 1)], "PARTIALLY_COMPLETED", 4, 0),
    "all well": ([outcome("spellcheck", "completed", 1), outcome("cj_assessment", "completed", 2)], "COMPLETED", 4, 0),
    "running": ([outcome("spellcheck", "completed", 1, 3, 1)], "PROCESSING", 3, 1),
    "running, none ended": ([outcome("spellcheck", "in_progress", 1, 3, 1)], "PROCESSING", 0, 0),
    "a result": ([spellcheck("e", 1)], "PROCESSING", 0, 0),
    "nothing": ([], "REGISTERED", 0, 0),
    "all skipped": ([outcome("spellcheck", "skipped", 1, 0, 0), outcome("cj_assessment", "skipped", 2, 0, 0)], "COMPLETED", 0, 0),
}  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "status", "completed", "failed"), PHASES_ALONE.values(), ids=PHASES_ALONE.keys()
)
def test_without_an_end(lines: list[Line], status: str, completed: int, failed: int) -> None:
    """The first status that fits, and the counts of the furthest ended phase."""
    made = answer(registered(), *lines)

    assert (made["overall_status"], *counts(made)) == (status, completed, failed)


def test_a_known_size_of_zero_and_an_unknown_one() -> None:
    """An event that says zero makes the size known: no essay can have been completed then."""
    done = [outcome("spellcheck", "completed", 1, 2, 0), outcome("cj_assessment", "completed", 2, 2, 0)]

    assert counts(answer(line(REGISTERED, 0, user_id="u"), *done)) == (2, 0)
    assert counts(answer(registered(0, 0), *done)) == (0, 0)


@pytest.mark.parametrize("first", [0, 1])
def test_no_completed_batch_without_failures_beside_a_phase_that_lists_some(first: int) -> None:
    """Whatever ended it."""
    phases = [
        outcome("spellcheck", "completed", 1, 4, first),
        outcome("cj_assessment", "completed", 2, 4, 1 - first),
    ]
    for ended in (
        [],
        [end("completed_successfully", 3, 4, 0, completed_phases=["spellcheck", "cj_assessment"])],
    ):
        made = answer(registered(), *phases, *ended)

        assert (made["overall_status"], made["failed_essay_count"]) == ("PARTIALLY_COMPLETED", 1)


def test_the_last_error_and_their_number() -> None:
    """Of the newest phase register that has one; failed essays, and registers with an error, are counted."""
    lines = [
        registered(),
        outcome("spellcheck", "completed", 1, 3, 1, error_message="first"),
        outcome("cj_assessment", "failed", 3, 1, 3, error_message="second"),
        outcome("nlp", "completed", 4, 4, 0),
    ]
    made = answer(*lines)

    assert (made["last_error"], made["error_count"]) == ("second", 3 + 2)
    assert (answer(registered())["last_error"], answer(registered())["error_count"]) == (None, 0)
    assert answer(*lines, outcome("spellcheck", "completed", 5, 4, 0))["error_count"] == 3 + 1


def cj_failed(minute: int, reason: str | None) -> Line:
    return line(CJ_FAILED, minute, status="failed", system_metadata={"error_info": {"reason": reason}})


def test_the_reason_of_a_failed_job_outlives_the_outcome() -> None:
    """Where the phase is FAILED without an error of its own, the answer shows the reason, and counts it."""

    def error(*lines: Line) -> tuple[str | None, str | None]:
        made = answer(registered(), *lines)
        return next(one["error"] for one in made["phases"] if one["name"] == "cj_assessment"), made[
            "last_error"
        ]

    failed = outcome("cj_assessment", "failed", 3, 0, 4)
    assert error(cj_failed(2, "low_success_rate")) == ("low_success_rate", "low_success_rate")
    assert error(cj_failed(2, "low_success_rate"), failed) == ("low_success_rate", "low_success_rate")
    assert error(cj_failed(4, "low_success_rate"), failed) == ("low_success_rate", "low_success_rate")
    assert error(cj_failed(2, "r"), outcome("cj_assessment", "failed", 3, 0, 4, error_message="own")) == (
        "own",
        "own",
    )
    assert error(cj_failed(2, "r"), outcome("cj_assessment", "completed", 3)) == (None, None)
    assert error(cj_failed(1, "older"), cj_failed(2, "newer"), failed) == ("newer", "newer")
    assert error(cj_failed(1, "older"), cj_failed(2, None), failed) == ("older", "older")
    assert error(failed) == (None, None)


DESCRIBED = ("course_code", "class_id", "org_id", "student_prompt_storage_id", "assignment_id")


def described(*lines: Line) -> list[Any]:
    made = answer(registered(), *lines)
    return [made[name] for name in DESCRIBED]


def test_registration_fields_are_registers_of_their_own() -> None:
    """An event that does not have one leaves it alone; of those that have one the newest stands, in any order."""
    prompt = {"references": {"student_prompt_text": {"storage_id": "p"}}}
    first = line(REGISTERED, 2, course_code="SV1", class_id="c1", student_prompt_ref=prompt)
    second = line(REGISTERED, 4, course_code="SV2", org_id="o")
    late = line(REGISTERED, 1, class_id="c0", course_code="SV0", org_id="o0")

    for lines in ([first, second, late], [late, second, first], [second, first, late]):
        assert described(*lines) == ["SV2", "c1", "o", "p", None]


def ranked(
    minute: int, *names: str, job: str | None = "j", unscored: tuple[str, ...] = (), **data: Any
) -> Line:
    entries = [
        {"essay_id": name, "rank": n, "bt_score": None if name in unscored else 1.5 - n, "letter_grade": "C",
         "confidence_score": 0.5, "confidence_label": "MID", "normalized_score": 0.25}
        for n, name in enumerate(names, 1)
    ]  # fmt: skip
    return line(PUBLISHED, minute, cj_assessment_job_id=job, essay_results=entries, **data)


def not_scored(minute: int, *names: str, job: str | None = "j") -> Line:
    lists = {"failed_essay_ids": list(names)}
    return line(RANKING, minute, status="completed", cj_assessment_job_id=job, processing_summary=lists)


def test_the_assignment_is_the_batchs() -> None:
    """A ranking that names none leaves it alone, even where it replaces the one that did."""
    assert described(ranked(1, "a", assignment_id="x"))[-1] == "x"
    assert described(ranked(1, "a", assignment_id="x"), ranked(2, "a"))[-1] == "x"
    assert described(ranked(3, "a", assignment_id="x"), ranked(2, "a", assignment_id="y"))[-1] == "x"


CJ_FIELDS = (
    "cj_rank", "cj_score", "cj_comparison_count", "cj_grade", "cj_confidence", "cj_normalized_score",
    "cj_confidence_label",
)  # fmt: skip


def cj(*lines: Line) -> dict[str, tuple[str | None, str | None]]:
    """Status and error of each essay's CJ; of one that failed, nothing else is there."""
    essays = answer(registered(), *lines)["essays"]
    for essay in essays:
        is_scored = essay["cj_assessment_status"] == "COMPLETED"
        assert (essay["cj_rank"] is not None) is is_scored
        assert is_scored or {essay[name] for name in CJ_FIELDS} == {None}
    return {one["essay_id"]: (one["cj_assessment_status"], one["cj_assessment_error"]) for one in essays}


SCORED, UNSCORED = ("COMPLETED", None), ("FAILED", "not scored")


def test_an_essay_without_a_score_failed() -> None:
    """Its neighbours are ranked as they are."""
    assert cj(ranked(1, "a", "b", unscored=("b",))) == {"a": SCORED, "b": UNSCORED}


@pytest.mark.parametrize("minute", [1, 3])
def test_the_jobs_list_joins_the_jobs_ranking(minute: int) -> None:
    """In either order: an essay that its job could not score failed, whatever its place says."""
    assert cj(ranked(2, "a", "b"), not_scored(minute, "b")) == {"a": SCORED, "b": UNSCORED}


def test_a_list_is_of_one_job() -> None:
    """It counts for its own job's ranking alone; it names no essays of its own; an empty one is a list."""
    assert cj(ranked(2, "a", job="k"), not_scored(1, "a")) == {"a": SCORED}
    assert cj(ranked(2, "a"), not_scored(1, "unheard-of")) == {"a": SCORED}
    assert cj(ranked(2, "a", job=None), not_scored(1, "a")) == {"a": SCORED}
    assert cj(ranked(2, "a"), not_scored(1, "a"), not_scored(3)) == {"a": SCORED}
    assert cj(ranked(2, "a"), not_scored(3, "a"), not_scored(1)) == {"a": UNSCORED}
    assert cj(not_scored(1, "a")) == {}


def test_each_jobs_list_is_kept() -> None:
    """A rerun's ranking has its own list, and an older ranking shown again has the older one."""
    lists = [not_scored(1, "a"), not_scored(4, "b", job="k")]

    assert cj(*lists, ranked(2, "a", "b")) == {"a": UNSCORED, "b": SCORED}
    assert cj(*lists, ranked(2, "a", "b"), ranked(3, "a", "b", job="k")) == {"a": SCORED, "b": UNSCORED}


def test_the_newest_twenty_lists_are_kept() -> None:
    """By version: the twenty-first job's is as if it had not come."""
    others = [not_scored(10 + n, job=f"other-{n}") for n in range(19)]

    assert cj(ranked(2, "a"), not_scored(1, "a"), *others) == {"a": UNSCORED}
    assert cj(ranked(2, "a"), not_scored(1, "a"), *others, not_scored(40, job="one-more")) == {"a": SCORED}
    assert cj(
        ranked(2, "a"), not_scored(1, "a"), not_scored(41, "a"), *others, not_scored(40, job="one-more")
    ) == {"a": UNSCORED}


def test_a_list_sets_nothing_else() -> None:
    """It is an event of the batch and no result: the batch is not processed yet."""
    made = answer(registered(), not_scored(5, "a"))

    assert (made["overall_status"], made["processing_started_at"]) == ("REGISTERED", None)
    assert (made["last_updated"], made["essays"]) == (shown(5), [])


def test_a_ranking_shows_what_it_knows() -> None:
    """Grade, confidence and its label, the job's comparisons."""
    [essay] = answer(registered(), ranked(1, "a", assessment_metadata={"comparison_count": 6}))["essays"]

    assert [essay[name] for name in CJ_FIELDS] == [1, 0.5, 6, "C", 0.5, 0.25, "MID"]


def test_every_phase_says_when_it_ended() -> None:
    """By the event's time; null while it runs."""
    lines = [
        registered(),
        spellcheck("a", 1),
        ranked(2, "a", "b", unscored=("b",)),
        spellcheck("b", 3, "in_progress"),
    ]
    essays = {one["essay_id"]: one for one in answer(*lines)["essays"]}

    assert (essays["a"]["spellcheck_completed_at"], essays["a"]["cj_assessment_completed_at"]) == (
        shown(1),
        shown(2),
    )
    assert (essays["b"]["spellcheck_completed_at"], essays["b"]["cj_assessment_completed_at"]) == (
        None,
        shown(2),
    )
    assert (essays["a"]["nlp_completed_at"], essays["a"]["ai_feedback_completed_at"]) == (None, None)


def test_a_slots_upload_is_shown() -> None:
    [essay] = answer(registered(), line(SLOT, 1, essay_id="e", file_upload_id="f"))["essays"]

    assert (essay["file_upload_id"], essay["filename"]) == ("f", None)


V = f"20260302T080000000000 {0:032x}"


def test_forms_stored_earlier_stay_readable() -> None:
    """Results as objects, identities of two values, ends without the last field, rankings of fewer fields."""
    pk = table_layout.partition("b")
    result = {
        "status": "FAILED",
        "error": "boom",
        "metrics": {"word_count": 3},
        "original_text_storage_id": "t",
    }
    table: fold.Table = {
        table_layout.Key(pk, "batch"): {
            "user_id": "u", "owner": registers.encode(V, "u"), "created_at": V[:21], "updated_at": V[:21],
            "end": registers.encode(V, ["COMPLETED", ["spellcheck"], 1, 1]),
            "spellcheck": registers.encode(V.replace("T08", "T07"), ["COMPLETED", 1]),
        },
        table_layout.Key(pk, "cj"): {
            "job": registers.encode(V, ["j", "COMPLETED", 5]),
            "entries": ranking.pack((("e", 1, 0.5),)),  # type: ignore[arg-type] # as it was
        },
        table_layout.Key(pk, "e#e"): {
            "identity": registers.encode(V, ["f", None]),
            "spellcheck": registers.encode(V, result),
        },
    }  # fmt: skip
    made = fold.answer(table, "b")
    assert made is not None
    [essay] = made["essays"]

    assert (essay["filename"], essay["original_text_storage_id"], essay["file_upload_id"]) == ("f", "t", None)
    assert (essay["spellcheck_status"], essay["spellcheck_error"]) == ("FAILED", "boom")
    assert (essay["spellcheck_metrics"], essay["spellcheck_correction_count"]) == ({"word_count": 3}, None)
    assert (essay["cj_rank"], essay["cj_score"], essay["cj_confidence_label"]) == (1, 0.5, None)
    assert essay["spellcheck_completed_at"] is not None


def test_results_are_packed_and_unpacked() -> None:
    """By the registry's order, without the names; what is not there is not stored."""
    metrics = dict.fromkeys(NLP.metrics, 1)
    result = {"status": "COMPLETED", "cohesion_score": 0.5, "metrics": metrics}

    assert SPELLCHECK.pack({"status": "COMPLETED"}) == ["COMPLETED"]
    assert NLP.pack(result) == ["COMPLETED", None, None, 0.5, None, None, [1] * len(NLP.metrics)]
    for phase in PHASES:
        whole = dict.fromkeys(phase.stored, 1) | (
            {"metrics": dict.fromkeys(phase.metrics, 2)} if phase.metrics else {}
        )
        assert phase.unpack(phase.pack(whole)) == whole
        assert phase.unpack(whole) == whole
    assert AI_FEEDBACK.unpack(["FAILED", "boom"]) == {"status": "FAILED", "error": "boom"}


def test_a_standing_is_of_the_rules_of_today() -> None:
    """What the rules before this wrote is not believed."""
    for old in ("1.4 COMPLETED", '1.4 {"spellcheck":["COMPLETED",1,0]}'):
        assert view.status_of(old, ("spellcheck",)) is None


LISTED = {
    "REGISTERED": [
        "registered", "awaiting_content_validation", "AWAITING_student_validation", "awaiting_pipeline_configuration",
        "ready_for_pipeline_execution", "student_validation_completed", "validation_timeout_processed",
        "guest_class_ready",
    ],
    "PROCESSING": ["processing", "processing_pipelines"],
    "COMPLETED": ["Completed", "completed_successfully"],
    "PARTIALLY_COMPLETED": ["partially_completed", "completed_with_failures", "COMPLETED_WITH_FAILURES"],
    "FAILED": ["failed", "failed_critically", "content_ingestion_failed"],
    "CANCELLED": ["cancelled"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("word", "status"), [(word, status) for status, words in LISTED.items() for word in words]
)
def test_words_for_an_overall_status(word: str, status: str) -> None:
    """The view's own and the platform's, in any case; the OpenAPI document takes the same."""
    assert statuses.overall_status(word) == status
    assert re.search(STATUS_PATTERN, word)


@pytest.mark.parametrize(
    "word",
    [
        "",
        "done",
        "ready",
        "pending_content",
        "awaiting_",
        "awaiting_\n",
        "spellcheck_failed",
        "skipped",
        "COMPLETED ",
    ],
)
def test_other_words_are_no_overall_status(word: str) -> None:
    """Neither those of the platform's client."""
    assert statuses.overall_status(word) is None
    assert not re.search(STATUS_PATTERN, word)


def test_a_batch_items_register_is_read_in_both_forms() -> None:
    """Under its own name as it was stored until December 2026, and under a short one since: the newer of them."""
    early, late = V, V.replace("T08", "T09")
    for old, new in ((early, late), (late, early)):
        item: table_layout.Item = {
            "essay_count": registers.encode(old, 1 if old == early else 2),
            table_layout.attribute_of("essay_count"): registers.encode_short(new, 1 if new == early else 2),
        }
        found = table_layout.batch_register(item, "essay_count")
        assert found is not None

        assert (registers.version_of(found), registers.payload_of(found)) == (late, 2)
        copied = table_layout.change_to({"pk": "batch#b", "sk": "batch", **item})
        assert copied.registers == {"n": registers.encode_short(late, 2)}
