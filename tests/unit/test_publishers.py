"""What the platform's publishers really send, a test for each sentence of the design's section 2a, and the status words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from result_aggregator.contracts import Ignored, RejectedError, read
from result_aggregator.domain.events import (
    BatchDescribed,
    BatchPhaseChanged,
    EssayIdentified,
    EssayPhaseEnded,
    EssaysNotScored,
    EssaysRanked,
    EssaysSummarized,
    PipelineEnded,
)
from result_aggregator.domain.ranking import RankedEssay

from tests.samples import envelope

OUTCOME = "huleedu.els.batch.phase.outcome.v1"
REGISTERED = "huleedu.batch.essays.registered.v1"
PIPELINE = "huleedu.batch.pipeline.completed.v1"
SLOT = "huleedu.els.essay.slot.assigned.v1"
SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
NLP = "huleedu.essay.nlp.completed.v1"
NLP_SUMMARY = "huleedu.batch.nlp.analysis.completed.v1"
FEEDBACK = "huleedu.essay.aifeedback.completed.v1"
CJ_COMPLETED = "huleedu.cj_assessment.completed.v1"
CJ_FAILED = "huleedu.cj_assessment.failed.v1"
PUBLISHED = "huleedu.assessment.result.published.v1"
PUBLISHED_EARLIER = "huleedu.assessment.results.v1"


def event(topic: str, at: str = "2026-03-02T08:00:00Z", **data: Any) -> Any:
    return read(topic, json.dumps(envelope(data, at=at)).encode(), None)


def rejection(topic: str, **data: Any) -> tuple[str, list[str]]:
    text = json.dumps(envelope(data)).replace("Infinity", "1e999").encode()
    with pytest.raises(RejectedError) as caught:
        read(topic, text, None)
    return caught.value.code, [problem.path for problem in caught.value.problems]


WORDS = {
    "COMPLETED": [
        "completed_successfully", "completed_with_failures", "completed", "all_processing_completed",
        "completed_with_partial_success", "spellchecked_success", "ai_feedback_success", "cj_assessment_success",
    ],
    "FAILED": [
        "failed_critically", "failed", "essay_critical_failure", "spellcheck_failed", "content_ingestion_failed",
        "nlp_failed",
    ],
    "CANCELLED": ["cancelled"],
    "SKIPPED": ["skipped", "skipped_by_user_config", "skipped_due_to_dependency_failure", "skipped_as_x_failed"],
    "IN_PROGRESS": [
        "processing_pipelines", "processing", "initialized", "dispatch_initiated", "in_progress",
        "spellchecking_in_progress", "cj_assessment_in_progress",
    ],
    "PENDING": [
        "awaiting_content_validation", "awaiting_student_validation", "ready_for_pipeline_execution", "pending",
        "registered", "pending_dependencies", "requested_by_user", "uploaded", "text_extracted",
        "content_ingesting",
        "content_ingester",
        "guest_class_ready", "student_validation_completed", "validation_timeout_processed",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("word", "status"), [(word, status) for status, words in WORDS.items() for word in words]
)
def test_status_words(word: str, status: str) -> None:
    """All words of the platform map, whatever their case."""
    for written in (word, word.upper()):
        found = event(OUTCOME, batch_id="b", phase_name="nlp", phase_status=written)

        assert found.state.status == status


@pytest.mark.parametrize(
    "word", ["done", "success", "failure", "skip", "cancelled_", "uploaded_twice", "critical_failure"]
)
def test_other_status_words_are_rejected(word: str) -> None:
    """A word that is not in the design's table is no status."""
    assert rejection(OUTCOME, batch_id="b", phase_name="nlp", phase_status=word) == (
        "unknown_status",
        ["data.phase_status"],
    )


@pytest.mark.parametrize(
    ("at", "time"),
    [
        ("2026-03-02T08:00:00+02", "20260302T060000000000"),
        ("2026-03-02T08:00:00.25-03", "20260302T110000250000"),
        ("2026-03-02 08:00:00+02", "20260302T060000000000"),
        ("2026-03-02 08:00:00", "20260302T080000000000"),
        ("2026-03-02T08:00+0130", "20260302T063000000000"),
        ("20260302T080000Z", "20260302T080000000000"),
        ("20260302T080000.5+02", "20260302T060000500000"),
        ("2026-W10-1T08:00:00Z", "20260302T080000000000"),
        ("2026-03-02T08", "20260302T080000000000"),
        ("2026-03-02T08:00:00,5Z", "20260302T080000500000"),
    ],
)  # fmt: skip
def test_any_iso_8601_time_is_read(at: str, time: str) -> None:
    """Hour-only offsets, a space in place of `T`, the basic form, a comma before the fraction."""
    assert event(SLOT, at, essay_id="e", batch_id="b").version.startswith(time)


@pytest.mark.parametrize(
    "at", ["20260302", "1772438400", "-1", "2026", "2026-03-02T08:00:00+2", "2026-03-02T25:00:00Z", "T08:00"]
)
def test_other_times_are_rejected(at: str) -> None:
    """Digits alone are no time, and a wrong time is none either."""
    with pytest.raises(RejectedError) as caught:
        event(SLOT, at, essay_id="e", batch_id="b")

    assert [problem.path for problem in caught.value.problems] == ["event_timestamp"]


REFERENCES = [
    ({"storage_id": "a", "default": "b"}, "a"),
    ({"default": "b", "other": "c"}, "b"),
    ({"primary": "c"}, "c"),
    ({"primary": "c", "path": ""}, "c"),
    ({"storage_id": None, "default": "b"}, "b"),
    ({"primary": "c", "size": 5}, "c"),
    ({"primary": "c", "other": "d"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("reference", "storage_id"), REFERENCES)
def test_a_stored_text_is_found_under_any_name(reference: dict[str, Any], storage_id: str | None) -> None:
    """`storage_id`, else `default`, else the only string; of the corrected text and of the student prompt alike."""
    checked = event(
        SPELLCHECK,
        essay_id="e",
        batch_id="b",
        status="completed",
        storage_metadata={"references": {"corrected_text": reference}},
    )
    described = event(
        REGISTERED,
        batch_id="b",
        user_id="u",
        student_prompt_ref={"references": {"student_prompt_text": reference}},
    )

    assert checked.result.get("corrected_text_storage_id") == storage_id
    assert described.student_prompt_storage_id == storage_id


def test_the_student_prompt_may_have_another_name() -> None:
    """Whatever the reference is called; the platform's own name comes first."""
    other = {"prompt": {"default": "p1"}}
    named = {**other, "student_prompt_text": {"default": "p2"}}

    def prompt(references: dict[str, Any]) -> str | None:
        found = event(REGISTERED, batch_id="b", user_id="u", student_prompt_ref={"references": references})
        return str(found.student_prompt_storage_id)

    assert (prompt(other), prompt(named)) == ("p1", "p2")


def test_a_registration_describes_the_batch() -> None:
    """Owner, count, course, class and organization; each null is as good as absent."""
    told: dict[str, Any] = {
        "user_id": "u",
        "expected_essay_count": 3,
        "course_code": "SV1",
        "class_id": "c",
        "org_id": "o",
    }
    found = event(REGISTERED, entity_id="b", **told)

    assert isinstance(found, BatchDescribed)
    assert (found.user_id, found.essay_count) == ("u", 3)
    assert (found.course_code, found.class_id, found.org_id) == ("SV1", "c", "o")
    assert event(REGISTERED, entity_id="b", class_id="c", user_id=None).class_id == "c"


def test_a_slot_names_the_upload() -> None:
    """And the batch that the essay is of, without which it is nobody's."""
    found = event(SLOT, essay_id="e", batch_id="b", file_upload_id="unknown")

    assert isinstance(found, EssayIdentified)
    assert found.file_upload_id == "unknown"
    assert rejection(SLOT, essay_id="e")[1] == ["data.batch_id"]


def test_an_outcome_of_another_phase_of_the_platform_is_ignored() -> None:
    """`student_matching` is no phase of the view, and no mistake; what it says of the batch is taken."""
    outcome: dict[str, Any] = {
        "batch_id": "b",
        "phase_name": "Student_Matching",
        "phase_status": "completed_successfully",
    }
    described = event(
        OUTCOME, **outcome, metadata={"user_id": "u", "total_essay_count": 2, "requested_pipeline": "nlp"}
    )

    assert event(OUTCOME, **outcome) == Ignored("phase_not_viewed")
    assert type(described) is BatchDescribed
    assert (described.user_id, described.essay_count, described.requested_pipeline) == ("u", 2, "nlp")
    assert rejection(OUTCOME, **{**outcome, "phase_name": "plagiarism"})[0] == "unknown_phase"
    assert rejection(OUTCOME, **{**outcome, "phase_status": "done"})[0] == "unknown_status"


def entry(n: int, **more: Any) -> dict[str, Any]:
    return {"els_essay_id": f"e{n}", "rank": n, "score": 1.5 - n, **more}


def assessed(n: int, **more: Any) -> dict[str, Any]:
    return {
        "essay_id": f"e{n}", "rank": n, "bt_score": 1.5 - n, "normalized_score": 0.5, "letter_grade": "C",
        "confidence_score": 0.7, "confidence_label": "MID", "is_anchor": False, **more,
    }  # fmt: skip


def ranked(*entries: dict[str, Any], **data: Any) -> Any:
    return event(CJ_COMPLETED, batch_id="b", status="completed", rankings=list(entries), **data)


def published(*entries: dict[str, Any], topic: str = PUBLISHED, **data: Any) -> Any:
    return event(topic, batch_id="b", essay_results=list(entries), **data)


@pytest.mark.parametrize("rank", [2, None])
def test_an_essay_without_a_score_is_not_scored(rank: int | None) -> None:
    """It keeps its place in the event as an entry of nothing but its id; its neighbours are ranked as they are."""
    older = ranked(entry(1), entry(2, score=None, rank=rank, comparison_count=5))
    newer = published(assessed(1), assessed(2, bt_score=None, rank=rank))

    for found in (older, newer):
        assert isinstance(found, EssaysRanked)
        assert found.entries[0][:3] == ("e1", 1, 0.5)
        assert found.entries[1] == RankedEssay("e2")


def test_a_ranking_of_essays_without_scores_is_kept() -> None:
    """Every score null is no mistake of the event's form."""
    assert ranked(entry(1, score=None), entry(2, score=None)).entries == (
        RankedEssay("e1"),
        RankedEssay("e2"),
    )


def test_an_essay_scored_and_not_scored_contradicts_itself() -> None:
    """The same essay twice in one event is rejected, whatever the entries say."""
    twice = [entry(1), {**entry(2, score=None), "els_essay_id": "e1"}]

    assert (
        rejection(CJ_COMPLETED, batch_id="b", status="completed", rankings=twice)[0] == "essay_ranked_twice"
    )


@pytest.mark.parametrize("name", ["bradley_terry_score", "bt_score", "score"])
def test_a_score_by_any_of_its_names(name: str) -> None:
    """August 2025 calls it `bradley_terry_score`."""
    plain = {"els_essay_id": "e1", "rank": 1}
    found = ranked({**plain, name: -0.5})

    assert found.entries == (RankedEssay("e1", 1, -0.5),)
    assert ranked({**plain, name: None}).entries == (RankedEssay("e1"),)
    if name != "score":
        assert published({**plain, "essay_id": "e1", name: -0.5}).entries == (RankedEssay("e1", 1, -0.5),)


def test_an_entry_without_any_score_field_is_rejected() -> None:
    """Null says that there is no score; a field that is missing says nothing."""
    bare = {"els_essay_id": "e1", "rank": 1}
    scored = {"els_essay_id": "e1", "score": 1.0}
    event_: dict[str, Any] = {"batch_id": "b", "status": "completed"}

    assert rejection(CJ_COMPLETED, **event_, rankings=[bare]) == ("invalid_field", ["data.rankings.0.score"])
    assert rejection(CJ_COMPLETED, **event_, rankings=[scored]) == ("invalid_field", ["data.rankings.0.rank"])
    assert rejection(PUBLISHED, batch_id="b", essay_results=[{"essay_id": "e1", "rank": 1}]) == (
        "invalid_field",
        ["data.essay_results.0.bt_score"],
    )


def test_anchors_are_known_by_their_id_where_nothing_says_what_they_are() -> None:
    """They are left out, the others keep their ranks; where `is_anchor` says otherwise it is believed."""
    anchor = {"els_essay_id": "ANCHOR_1", "rank": 1, "score": 2.0}
    entries = published(
        assessed(1, essay_id="ANCHOR_1", is_anchor=None),
        assessed(2, essay_id="ANCHOR_2", is_anchor=False),
        assessed(3, is_anchor=True),
        assessed(4),
    ).entries

    assert [(one.essay_id, one.rank) for one in ranked(anchor, entry(2)).entries] == [("e2", 2)]
    assert [(one.essay_id, one.rank) for one in entries] == [("ANCHOR_2", 2), ("e4", 4)]


@pytest.mark.parametrize("topic", [PUBLISHED, PUBLISHED_EARLIER])
def test_the_published_ranking(topic: str) -> None:
    """Both topics: grade, confidence and its label, the batch's assignment, the job's comparisons at each essay."""
    metadata = {"comparison_count": 6, "assignment_id": "other"}
    found = published(
        assessed(1), assessed(2, bt_score=None), topic=topic, assignment_id="a", assessment_metadata=metadata
    )

    assert found.assignment_id == "a"
    assert found.entries == (RankedEssay("e1", 1, 0.5, 6, "C", 0.7, 0.5, "MID"), RankedEssay("e2"))
    assert published(assessed(1), assessment_metadata=metadata).assignment_id == "other"


def test_an_essays_own_comparison_count_comes_first() -> None:
    """The job's total stands in only where the essay has none."""
    found = ranked(entry(1, comparison_count=2), entry(2), assessment_metadata={"comparison_count": 9})

    assert [one.comparison_count for one in found.entries] == [2, 9]


def test_rankings_without_an_essay_set_nothing() -> None:
    """Neither the assignment."""
    anchor = assessed(1, is_anchor=True)

    assert published(anchor, assignment_id="a") == Ignored("empty_ranking")
    assert published(assignment_id="a") == Ignored("empty_ranking")
    assert ranked() == Ignored("empty_ranking")


def summary(**data: Any) -> Any:
    return event(CJ_COMPLETED, entity_id="b", status="completed", **data)


def test_the_thin_event_lists_what_its_job_could_not_score() -> None:
    """An empty list is a list; without a list or a job there is nothing to join."""
    failed: dict[str, Any] = {"processing_summary": {"failed_essay_ids": ["e1", "e2", "e1"]}}
    found = summary(cj_assessment_job_id="j", **failed)

    assert isinstance(found, EssaysNotScored)
    assert (found.batch_id, found.job_id, found.essay_ids) == ("b", "j", ("e1", "e2"))
    assert summary(cj_assessment_job_id="j", processing_summary={"failed_essay_ids": []}).essay_ids == ()
    assert summary(**failed) == Ignored("summary_without_job")
    assert summary(cj_assessment_job_id="j", processing_summary={}) == Ignored("summary_without_rankings")
    assert summary(cj_assessment_job_id="j") == Ignored("summary_without_rankings")


@pytest.mark.parametrize("ids", [["e1", 5], "e1", [""], [None]])
def test_a_list_of_anything_else_is_rejected(ids: Any) -> None:
    """With the path of what is wrong."""
    code, paths = rejection(
        CJ_COMPLETED, batch_id="b", status="completed", processing_summary={"failed_essay_ids": ids}
    )

    assert code == "invalid_field"
    assert paths[0].startswith("data.processing_summary.failed_essay_ids")


@pytest.mark.parametrize(
    ("info", "error"),
    [
        ({"error_message": "m", "reason": "r"}, "m"),
        ({"reason": "r", "details": {"callbacks_received": 7}}, "r"),
        ({"error_message": None, "reason": "r"}, "r"),
        ({}, None),
    ],
)
def test_why_cj_failed(info: dict[str, Any], error: str | None) -> None:
    """The error's message, else its reason; it is the phase's error and outlives it."""
    found = event(CJ_FAILED, entity_id="b", status="failed_critically", system_metadata={"error_info": info})

    assert isinstance(found, BatchPhaseChanged)
    assert (found.phase, found.state.status) == ("cj_assessment", "FAILED")
    assert found.state.error == found.reason == error


def nlp(metrics: Any = None, grammar: Any = None, **data: Any) -> Any:
    return event(NLP, **nlp_data(metrics, grammar, **data))


def nlp_data(metrics: Any = None, grammar: Any = None, **data: Any) -> dict[str, Any]:
    return {
        "entity_id": "e", "entity_type": "essay", "parent_id": None, "essay_id": "e", "text_storage_id": "t",
        "nlp_metrics": {
            "word_count": 400, "sentence_count": 35, "avg_sentence_length": 14.0, "language_detected": "sv",
            "processing_time_ms": 598, "mean_zipf_frequency": 4.5, "percent_tokens_zipf_below_3": 15.5,
            "mtld_score": 118.5, "hdd_score": 0.75, "mean_dependency_distance": 2.25, "phrasal_indices": {},
            "first_order_coherence": 0.25, "second_order_coherence": 0.375, **(metrics or {}),
        },
        "grammar_analysis": {"error_count": 31, "errors": [{"message": "m"}], "language": "sv", **(grammar or {})},
        **data,
    }  # fmt: skip


def test_nlp_as_it_is_sent() -> None:
    """Without a batch and without a status: COMPLETED, waiting for its batch; the list of errors is not kept."""
    found = nlp()

    assert isinstance(found, EssayPhaseEnded)
    assert (found.batch_id, found.essay_id, found.phase) == (None, "e", "nlp")
    assert found.result == {
        "status": "COMPLETED",
        "lexical_diversity_score": 118.5,
        "cohesion_score": 0.25,
        "grammatical_error_rate": 7.75,
        "metrics": {
            "word_count": 400, "sentence_count": 35, "avg_sentence_length": 14.0, "mean_zipf_frequency": 4.5,
            "hdd_score": 0.75, "mean_dependency_distance": 2.25, "second_order_coherence": 0.375,
            "grammar_error_count": 31, "language": "sv",
        },
    }  # fmt: skip


def test_without_words_there_is_no_error_rate() -> None:
    """And numbers that the event does not have are left out."""
    assert "grammatical_error_rate" not in nlp({"word_count": 0}).result
    bare = event(NLP, essay_id="e", nlp_metrics={}, grammar_analysis={"error_count": 2})

    assert bare.result == {"status": "COMPLETED", "metrics": {"grammar_error_count": 2}}


def test_nlp_in_the_guides_form() -> None:
    """The reserved flat form stays readable, with and without a batch."""
    flat: dict[str, Any] = {
        "status": "FAILED",
        "error": "boom",
        "lexical_diversity_score": 0.5,
        "metrics_storage_id": "m",
    }
    found = event(NLP, essay_id="e", batch_id="b", **flat)

    assert (found.batch_id, found.result) == ("b", flat)
    assert event(NLP, essay_id="e", **flat).batch_id is None


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (nlp_data({"word_count": -1}), "data.nlp_metrics.word_count"),
        (nlp_data({"mtld_score": float("inf")}), "data.nlp_metrics.mtld_score"),
        (nlp_data({"hdd_score": "0.5"}), "data.nlp_metrics.hdd_score"),
        (nlp_data(grammar={"error_count": -2}), "data.grammar_analysis.error_count"),
        (nlp_data(nlp_metrics=None), "data.nlp_metrics"),
        (nlp_data(grammar_analysis=None), "data.grammar_analysis"),
        (nlp_data(nlp_metrics=[]), "data.nlp_metrics"),
        ({"essay_id": "e"}, "data.nlp_metrics"),
        (nlp_data(essay_id=None, entity_id=None), "data.essay_id"),
        (nlp_data(batch_id=""), "data.batch_id"),
    ],
)
def test_bad_nlp_results(data: dict[str, Any], path: str) -> None:
    """Not finite, negative, missing parts: rejected with the field's path."""
    code, paths = rejection(NLP, **data)

    assert code == "invalid_field"
    assert path in paths


def test_an_nlp_summary() -> None:
    """It says which essays are of the batch, and which of them failed: those are FAILED, each once."""
    lists: dict[str, Any] = {
        "successful_essay_ids": ["e1", "e2", "e3", "e1"],
        "failed_essay_ids": ["e3", "e4", "e4"],
    }
    found = event(NLP_SUMMARY, entity_id="b", status="completed_with_failures", processing_summary=lists)

    assert isinstance(found, EssaysSummarized)
    assert (found.batch_id, found.phase, found.failure) == ("b", "nlp", {"status": "FAILED"})
    assert (found.essay_ids, found.failed_ids) == (("e1", "e2"), ("e3", "e4"))


def test_an_nlp_summary_of_a_large_batch() -> None:
    """5,000 essays in one event."""
    ids = [f"e{n}" for n in range(5000)]
    lists: dict[str, Any] = {"successful_essay_ids": ids[1:], "failed_essay_ids": ids[:1]}

    found = event(NLP_SUMMARY, batch_id="b", status="completed", processing_summary=lists)
    assert (len(found.essay_ids), len(found.failed_ids)) == (4999, 1)


@pytest.mark.parametrize("missing", ["successful_essay_ids", "failed_essay_ids"])
def test_a_summary_without_its_lists_is_rejected(missing: str) -> None:
    """It has no other use."""
    lists: dict[str, Any] = {"successful_essay_ids": ["e1"], "failed_essay_ids": ["e2"]}
    del lists[missing]

    assert rejection(NLP_SUMMARY, batch_id="b", processing_summary=lists)[1] == [
        f"data.processing_summary.{missing}"
    ]
    assert rejection(NLP_SUMMARY, batch_id="b")[1] == ["data.processing_summary"]


@pytest.mark.parametrize("topic", [SPELLCHECK, NLP, FEEDBACK])
def test_no_result_is_rejected_for_having_no_batch(topic: str) -> None:
    """Of any phase: it waits at its essay."""
    found = event(topic, entity_id="e", parent_id=None, status="completed")

    assert (found.batch_id, found.essay_id) == (None, "e")


def test_feedback_as_modelled() -> None:
    """`feedback_content_storage_id` is its storage id; details and metrics are not kept."""
    more: dict[str, Any] = {"feedback_details": {"model_version": "m"}, "additional_metrics": {"tone": 0.5}}
    found = event(
        FEEDBACK,
        entity_id="e",
        parent_id="b",
        status="ai_feedback_success",
        feedback_content_storage_id="f",
        **more,
    )

    assert found.result == {"status": "COMPLETED", "storage_id": "f"}


def end(**data: Any) -> Any:
    told: dict[str, Any] = {
        "final_status": "completed_successfully",
        "successful_essay_count": 3,
        "failed_essay_count": 0,
    }
    return event(PIPELINE, batch_id="b", **{**told, **data})


def test_a_pipelines_guessed_counts() -> None:
    """A negative count is read as unknown."""
    found = end(successful_essay_count=-1, failed_essay_count=-7)

    assert isinstance(found, PipelineEnded)
    assert (found.end.completed_count, found.end.failed_count) == (None, None)


@pytest.mark.parametrize(
    ("word", "with_failures"),
    [
        ("completed_with_failures", True),
        ("Completed_With_Partial_Success", True),
        ("completed_successfully", False),
        ("all_processing_completed", False),
    ],
)
def test_a_pipelines_word(word: str, with_failures: bool) -> None:  # noqa: FBT001 - a table's column
    """Two words say that there were failures."""
    found = end(final_status=word).end

    assert (found.status, found.with_failures) == ("COMPLETED", with_failures)


@pytest.mark.parametrize("word", ["awaiting_x", "processing_pipelines", "uploaded", "skipped_by_user_config"])
def test_a_pipeline_does_not_end_with_every_word(word: str) -> None:
    """What is not final is rejected."""
    told: dict[str, Any] = {"final_status": word, "successful_essay_count": 1, "failed_essay_count": 0}

    assert rejection(PIPELINE, batch_id="b", **told) == ("unknown_status", ["data.final_status"])
