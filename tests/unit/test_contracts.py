"""The tolerant reader: what is rejected and why, what is ignored, what is taken from which dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from result_aggregator.contracts import Ignored, RejectedError, read
from result_aggregator.domain.events import BatchDescribed, BatchPhaseChanged, EssayPhaseEnded, EssaysRanked
from result_aggregator.domain.phases import PHASES

from tests.samples import envelope

OUTCOME = "huleedu.els.batch_phase.outcome.v1"
SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
RANKING = "huleedu.cj_assessment.completed.v1"
PUBLISHED = "huleedu.assessment.result.published.v1"
SLOT = "huleedu.els.essay.slot.assigned.v1"
PIPELINE = "huleedu.batch.pipeline.completed.v1"
REGISTERED = "huleedu.batch.essays.registered.v1"

BROKER_TIME = 1_772_438_400_000  # 2026-03-02T08:00:00Z


def spellcheck(**data: Any) -> dict[str, Any]:
    return {"essay_id": "e1", "batch_id": "b1", "status": "COMPLETED", **data}


def ranking(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"batch_id": "b1", "status": "COMPLETED", "rankings": list(entries)}


def read_value(topic: str, value: Any) -> Any:
    return read(topic, json.dumps(value).encode(), BROKER_TIME)


def rejection(topic: str, value: bytes) -> RejectedError:
    with pytest.raises(RejectedError) as caught:
        read(topic, value, BROKER_TIME)
    return caught.value


NOT_JSON = {
    "not UTF-8": b"\xff\xfe{}",
    "not JSON": b"hello",
    "empty": b"",
    "truncated": json.dumps(envelope(spellcheck())).encode()[:-20],
    "NaN": json.dumps(envelope(spellcheck(correction_count=float("nan")))).encode(),
    "Infinity": json.dumps(envelope(spellcheck(correction_count=float("inf")))).encode(),
    "10,000 deep": b"[" * 10_000 + b"]" * 10_000,
    "10,000 objects deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "lone surrogate": json.dumps(envelope(spellcheck(essay_id="x"))).replace('"x"', '"\\ud800"').encode(),
}


@pytest.mark.parametrize("value", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_not_json_is_rejected(value: bytes) -> None:
    """Bytes that are no JSON document are rejected as such."""
    assert rejection(SPELLCHECK, value).code == "not_json"


@pytest.mark.parametrize(
    "value", [b"[]", b"1", b"null", b'"text"', b'"' + b"x" * 1_000_000 + b'"'], ids=lambda v: str(v[:9])
)
def test_what_is_not_an_object_is_rejected(value: bytes) -> None:
    """A JSON document other than an object is rejected, a string of a megabyte among them."""
    assert rejection(SPELLCHECK, value).code == "not_an_object"


def without(name: str) -> dict[str, Any]:
    event = envelope(spellcheck())
    del event[name]
    return event


INVALID: dict[str, tuple[str, dict[str, Any], str]] = {
    "no event_id": (SPELLCHECK, without("event_id"), "event_id"),
    "event_id not a UUID": (SPELLCHECK, {**envelope(spellcheck()), "event_id": "abc"}, "event_id"),
    "no event_timestamp": (SPELLCHECK, without("event_timestamp"), "event_timestamp"),
    "event_timestamp a number": (SPELLCHECK, {**envelope(spellcheck()), "event_timestamp": 1}, "event_timestamp"),
    "event_timestamp all digits": (SPELLCHECK, envelope(spellcheck(), at="1772438400"), "event_timestamp"),
    "event_timestamp a year": (SPELLCHECK, envelope(spellcheck(), at="2026"), "event_timestamp"),
    "event_timestamp a basic date": (SPELLCHECK, envelope(spellcheck(), at="20260302"), "event_timestamp"),
    "event_timestamp no time": (SPELLCHECK, envelope(spellcheck(), at="yesterday"), "event_timestamp"),
    "before year 1 in UTC": (SPELLCHECK, envelope(spellcheck(), at="0001-01-01T00:00:00+05:00"), "event_timestamp"),
    "no data": (SPELLCHECK, without("data"), "data"),
    "data a list": (SPELLCHECK, {**envelope({}), "data": []}, "data"),
    "no essay": (SPELLCHECK, envelope({"batch_id": "b1", "status": "COMPLETED"}), "data.essay_id"),
    "no batch": (SLOT, envelope({"essay_id": "e1"}), "data.batch_id"),
    "no status": (SPELLCHECK, envelope({"essay_id": "e1", "batch_id": "b1"}), "data.status"),
    "status a number": (SPELLCHECK, envelope(spellcheck(status=1)), "data.status"),
    "negative count": (SPELLCHECK, envelope(spellcheck(correction_count=-1)), "data.correction_count"),
    "count as text": (SPELLCHECK, envelope(spellcheck(correction_count="5")), "data.correction_count"),
    "count as a truth": (SPELLCHECK, envelope(spellcheck(correction_count=True)), "data.correction_count"),
    "count beyond a double": (SPELLCHECK, envelope(spellcheck(correction_count=10**30)), "data.correction_count"),
    "empty id": (SPELLCHECK, envelope(spellcheck(essay_id="")), "data.essay_id"),
    "id of 256": (SPELLCHECK, envelope(spellcheck(essay_id="x" * 256)), "data.essay_id"),
    "id with a newline": (SPELLCHECK, envelope(spellcheck(essay_id="a\nb")), "data.essay_id"),
    "id with C1": (SPELLCHECK, envelope(spellcheck(batch_id="a\x85b")), "data.batch_id"),
    "text of a megabyte": (SPELLCHECK, envelope(spellcheck(corrected_text_storage_id="x" * 10**6)), "data.corrected_text_storage_id"),
    "error of a megabyte": (SPELLCHECK, envelope(spellcheck(error="x" * 10**6)), "data.error"),
    "nested error wrong": (SPELLCHECK, envelope(spellcheck(system_metadata={"error_info": 1})), "data.system_metadata.error_info"),
    "rank zero": (RANKING, envelope(ranking({"essay_id": "e1", "rank": 0, "score": 1.0})), "data.rankings.0.rank"),
    "no rank": (RANKING, envelope(ranking({"essay_id": "e1", "score": 1.0})), "data.rankings.0.rank"),
    "no score": (RANKING, envelope(ranking({"essay_id": "e1", "rank": 1})), "data.rankings.0.score"),
    "score not finite": (
        RANKING,
        json.loads(json.dumps(envelope(ranking({"essay_id": "e1", "rank": 1, "score": 0}))).replace('"score": 0', '"score": 1e999')),
        "data.rankings.0.score",
    ),
    "ranked nobody": (RANKING, envelope(ranking({"rank": 1, "score": 1.0})), "data.rankings.0.essay_id"),
    "rankings an object": (RANKING, envelope({"batch_id": "b1", "status": "COMPLETED", "rankings": {}}), "data.rankings"),
    "no final status": (PIPELINE, envelope({"batch_id": "b1", "successful_essay_count": 1, "failed_essay_count": 0}), "data.final_status"),
    "33 phases": (
        PIPELINE,
        envelope({"batch_id": "b1", "final_status": "completed", "successful_essay_count": 1, "failed_essay_count": 0, "completed_phases": ["x"] * 33}),
        "data.completed_phases",
    ),
    "no phase": (OUTCOME, envelope({"batch_id": "b1", "outcome": "COMPLETED"}), "data.phase"),
    "no outcome": (OUTCOME, envelope({"batch_id": "b1", "phase": "SPELLCHECK"}), "data.outcome"),
    "owner a number": (REGISTERED, envelope({"batch_id": "b1", "user_id": 5}), "data.user_id"),
}  # fmt: skip


@pytest.mark.parametrize(("topic", "value", "path"), INVALID.values(), ids=INVALID.keys())
def test_invalid_fields_are_rejected_with_their_path(topic: str, value: dict[str, Any], path: str) -> None:
    """A missing or wrong field rejects the record and says where."""
    text = json.dumps(value).replace("Infinity", "1e999").encode()
    found = rejection(topic, text)

    assert found.code == "invalid_field"
    assert path in [problem.path for problem in found.problems]


@pytest.mark.parametrize(
    ("topic", "data", "also"),
    [
        (SPELLCHECK, {"batch_id": "b1", "status": "COMPLETED"}, "entity_ref.entity_id, entity_id"),
        (SLOT, {"essay_id": "e1"}, "entity_ref.parent_id, parent_id"),
        (REGISTERED, {"user_id": "u"}, "entity_ref.entity_id, entity_id"),
        (RANKING, ranking({"rank": 1, "score": 1.0}), "els_essay_id"),
        (OUTCOME, {"batch_id": "b1", "outcome": "COMPLETED"}, "phase_name"),
        (OUTCOME, {"batch_id": "b1", "phase": "SPELLCHECK"}, "phase_status"),
    ],
)
def test_a_missing_field_is_told_by_all_its_names(topic: str, data: dict[str, Any], also: str) -> None:
    """A producer of either dialect finds the name that it knows."""
    [problem] = rejection(topic, json.dumps(envelope(data)).encode()).problems

    assert problem.message == f"Field required (or {also})"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"essay_id": ""}, "must have 1 to 255 characters"),
        ({"essay_id": "x" * 256}, "must have 1 to 255 characters"),
        ({"essay_id": "a\nb"}, "must have no control characters"),
        ({"status": "PERHAPS"}, "unknown status word"),
    ],
)
def test_what_is_wrong_with_a_value_is_told(data: dict[str, Any], message: str) -> None:
    [problem] = rejection(SPELLCHECK, json.dumps(envelope(spellcheck(**data))).encode()).problems

    assert problem.message == message


def test_rejection_tells_no_content() -> None:
    """What is wrong with a value is said without repeating the value, which may be personal."""
    found = rejection(SPELLCHECK, json.dumps(envelope(spellcheck(status={"secret": "text"}))).encode())

    assert "secret" not in str(found)


WORDS = {
    "COMPLETED": "COMPLETED",
    "completed_successfully": "COMPLETED",
    "Completed_With_Failures": "COMPLETED",
    "spellchecked_success": "COMPLETED",
    "spellcheck_failed": "FAILED",
    "failed_critically": "FAILED",
    "cancelled": "CANCELLED",
    "SKIPPED": "SKIPPED",
    "processing_pipelines": "IN_PROGRESS",
    "spellcheck_in_progress": "IN_PROGRESS",
    "awaiting_cj": "PENDING",
    "ready_for_pipeline_execution": "PENDING",
    "pending": "PENDING",
    "registered": "PENDING",
}


@pytest.mark.parametrize(("word", "status"), WORDS.items())
def test_status_words(word: str, status: str) -> None:
    """The platform's words map case-insensitively."""
    event = read_value(SPELLCHECK, envelope(spellcheck(status=word)))

    assert event.result["status"] == status


@pytest.mark.parametrize("word", ["", "done", "success", "complete", "failedly", "cancelled_"])
def test_unknown_status_words_are_rejected(word: str) -> None:
    """A word that the view does not know is rejected as that."""
    found = rejection(SPELLCHECK, json.dumps(envelope(spellcheck(status=word))).encode())

    assert (found.code, found.problems[0].path) == ("unknown_status", "data.status")


@pytest.mark.parametrize("word", ["in_progress", "pending", "skipped", "whatever"])
def test_a_pipeline_end_has_a_final_status(word: str) -> None:
    """A pipeline cannot end in progress."""
    data = {"batch_id": "b1", "final_status": word, "successful_essay_count": 1, "failed_essay_count": 0}

    assert rejection(PIPELINE, json.dumps(envelope(data)).encode()).code == "unknown_status"


def test_unknown_phase_is_rejected() -> None:
    """An outcome of a phase that the view does not have is kept, not dropped."""
    data = {"batch_id": "b1", "phase": "PLAGIARISM", "outcome": "COMPLETED"}

    assert rejection(OUTCOME, json.dumps(envelope(data)).encode()).code == "unknown_phase"


@pytest.mark.parametrize(
    ("topic", "data"),
    [
        (SPELLCHECK, spellcheck()),
        (OUTCOME, {"batch_id": "b1", "phase": "spellcheck", "outcome": "completed"}),
        (
            PIPELINE,
            {
                "batch_id": "b1",
                "final_status": "completed",
                "successful_essay_count": 1,
                "failed_essay_count": 0,
            },
        ),
        (REGISTERED, {"batch_id": "b1", "user_id": "u"}),
        (RANKING, ranking({"essay_id": "e1", "rank": 1, "score": 1.0})),
        ("huleedu.cj_assessment.failed.v1", {"batch_id": "b1", "status": "FAILED"}),
        ("huleedu.els.essay.slot.assigned.v1", {"batch_id": "b1", "essay_id": "e1"}),
    ],
)
def test_an_event_keeps_the_correlation_id_of_its_envelope(topic: str, data: dict[str, Any]) -> None:
    """Of any kind: by it an operator finds what belongs together."""
    event = read_value(topic, envelope(data) | {"correlation_id": "c-1"})

    assert event.correlation_id == "c-1"


def test_unknown_fields_are_ignored() -> None:
    """Fields that the view does not know change nothing, at any level."""
    plain = envelope(spellcheck())
    more = {**plain, "data": {**plain["data"], "new": {"x": [1]}, "system_metadata": {"y": 2}}, "metadata": 5}

    assert read_value(SPELLCHECK, more) == read_value(SPELLCHECK, plain)


def test_a_null_in_one_dialect_leaves_the_other() -> None:
    """A null field is as good as absent: the next dialect's field is taken."""
    data = {"essay_id": None, "entity_id": "e1", "batch_id": None, "parent_id": "b1", "status": "completed"}
    event = read_value(SPELLCHECK, envelope(data))

    assert (event.batch_id, event.essay_id) == ("b1", "e1")


@pytest.mark.parametrize(
    ("at", "time"),
    [
        ("2026-03-02T08:00:00", "20260302T080000000000"),
        ("2026-03-02T10:30:00.5+02:30", "20260302T080000500000"),
        ("2026-03-02 08:00:00Z", "20260302T080000000000"),
    ],
)
def test_times_are_utc(at: str, time: str) -> None:
    """A time without a zone is UTC; one with a zone is converted."""
    assert read_value(SPELLCHECK, envelope(spellcheck(), at=at)).version.startswith(time)


def test_the_far_future_is_rejected() -> None:
    """Over 24 hours ahead of the broker's timestamp is a broken clock; exactly 24 hours is not."""
    assert read_value(SPELLCHECK, envelope(spellcheck(), at="2026-03-03T08:00:00Z"))
    late = json.dumps(envelope(spellcheck(), at="2026-03-03T08:00:00.000001Z")).encode()

    assert rejection(SPELLCHECK, late).code == "from_the_future"


@pytest.mark.parametrize("broker_time", [None, -1, 0, 253_402_300_799_000, 2**63 - 1])
def test_a_strange_broker_timestamp_breaks_nothing(broker_time: int | None) -> None:
    """Where the record tells no usable time (Kafka says -1) there is nothing to be ahead of."""
    value = json.dumps(envelope(spellcheck())).encode()

    assert isinstance(read(SPELLCHECK, value, broker_time), EssayPhaseEnded)


def test_tombstones_and_unknown_topics_are_ignored() -> None:
    """A null value and a topic that is not consumed are no errors."""
    assert read(SPELLCHECK, None, None) == Ignored("tombstone")
    assert read("huleedu.other.v1", b"anything", None) == Ignored("unknown_topic")


def test_errors_are_cut() -> None:
    """An error is kept up to 500 characters, a summary up to 1000."""
    event = read_value(SPELLCHECK, envelope(spellcheck(status="FAILED", error="å" * 700)))
    feedback = read_value("huleedu.essay.aifeedback.completed.v1", envelope(spellcheck(summary="s" * 1700)))

    assert event.result["error"] == "å" * 500
    assert feedback.result["summary"] == "s" * 1000


def test_essays_ranked_twice_are_rejected_and_ties_kept() -> None:
    """The same essay twice contradicts itself; the same rank twice is a tie."""
    a, b = {"essay_id": "a", "rank": 1, "score": 1.0}, {"essay_id": "b", "rank": 1, "score": 1.0}
    tied = read_value(RANKING, envelope(ranking(a, b)))

    assert [entry.rank for entry in tied.entries] == [1, 1]
    assert rejection(RANKING, json.dumps(envelope(ranking(a, b, a))).encode()).code == "essay_ranked_twice"


@pytest.mark.parametrize(
    ("topic", "data"),
    [
        (RANKING, ranking({"essay_id": "e1", "rank": 1, "score": 1.0})),
        (PUBLISHED, {"batch_id": "b1", "essay_results": [{"essay_id": "e1", "rank": 1, "bt_score": 1.0}]}),
    ],
)
def test_a_ranking_names_its_job(topic: str, data: dict[str, Any]) -> None:
    """Where the event does; it is stored with the ranking, though no answer shows it."""
    named = read_value(topic, envelope({**data, "cj_assessment_job_id": "job-1"}))

    assert named.job_id == "job-1"
    assert read_value(topic, envelope(data)).job_id is None


def test_anchors_are_not_essays() -> None:
    """Anchors are left out, even where one is named twice, and the others keep their ranks."""
    anchor = {"essay_id": "A", "rank": 1, "bt_score": 2.0, "is_anchor": True}
    essay = {"essay_id": "e1", "rank": 2, "bt_score": 1.5, "is_anchor": False, "normalized_score": 0.5}
    event = read_value(PUBLISHED, envelope({"batch_id": "b1", "essay_results": [anchor, anchor, essay]}))

    assert isinstance(event, EssaysRanked)
    assert [(e.essay_id, e.rank, e.score, e.normalized_score) for e in event.entries] == [("e1", 2, 1.5, 0.5)]


def test_rankings_without_essays_set_nothing() -> None:
    """The 2026 summary form, an empty ranking and one of anchors alone are ignored."""
    anchor = {"essay_id": "A", "rank": 1, "bt_score": 2.0, "is_anchor": True}

    assert read_value(RANKING, envelope({"batch_id": "b1", "status": "completed"})) == Ignored(
        "summary_without_rankings"
    )
    assert read_value(RANKING, envelope(ranking())) == Ignored("empty_ranking")
    assert read_value(PUBLISHED, envelope({"batch_id": "b1", "essay_results": [anchor]})) == Ignored(
        "empty_ranking"
    )


def test_a_registration_that_tells_nothing_is_ignored() -> None:
    """Without owner and count there is no register to set; with one of them that one is set."""
    assert isinstance(read_value(REGISTERED, envelope({"batch_id": "b1"})), Ignored)
    described = read_value(REGISTERED, envelope({"batch_id": "b1", "expected_essay_count": 3}))

    assert isinstance(described, BatchDescribed)
    assert (described.user_id, described.essay_count) == (None, 3)


@pytest.mark.parametrize("pipeline", ["spellcheck,cj_assessment", ["spellcheck", "cj_assessment"]])
def test_a_requested_pipeline_is_text_or_a_list(pipeline: Any) -> None:
    """Both forms of the requested pipeline mean the same."""
    data = {
        "batch_id": "b1",
        "phase": "NLP",
        "outcome": "skipped",
        "metadata": {"requested_pipeline": pipeline},
    }
    event = read_value(OUTCOME, envelope(data))

    assert isinstance(event, BatchPhaseChanged)
    assert event.requested_pipeline == "spellcheck,cj_assessment"


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase.topics], ids=lambda phase: phase.name)
def test_every_phase_of_the_registry_is_read(phase: Any) -> None:
    """Each of a phase's topics is read by its module into a result of that phase, success and failure."""
    for topic in phase.topics:
        for word in ("completed", "failed"):
            event = read_value(topic, envelope(spellcheck(status=word)))

            assert isinstance(event, EssayPhaseEnded)
            assert (event.phase, event.result) == (phase.name, {"status": word.upper()})
