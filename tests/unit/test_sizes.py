"""The sizes of the design's section 4: a batch item and an essay item of one write unit each, whatever is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from result_aggregator.domain import table_layout
from result_aggregator.domain.phases import PHASE_NAMES

from tests import fold
from tests.samples import Line, envelope

if TYPE_CHECKING:
    from collections.abc import Callable

KILOBYTE = 1024

TOKEN = len("rev") + 3 + len("life") + 22
EXPIRY = len("expires_at") + 6
INDEX_ENTRY = len("run") + len("running#00") + len("since") + 21
ROOM = TOKEN + EXPIRY + INDEX_ENTRY
"""For what is to come into a batch item: a token (a count and a random id), an expiry, an entry of a second index."""

NUMBER = 4.123456789012345


def size(table: fold.Table, key: table_layout.Key) -> int:
    """Bytes of an item as DynamoDB counts them: names and values, keys included."""
    held = {"pk": key.pk, "sk": key.sk, **table[key]}
    return sum(
        len(name.encode()) + len(value if isinstance(value, bytes) else str(value).encode())
        for name, value in held.items()
    )


def plain(kind: str) -> str:
    """Ids as the platform's samples have them."""
    return {
        "u": "teacher-live-alva",
        "c": "class-7b-made-up",
        "o": "org-made-up",
        "p": "prompt-cfeee6d3",
    }.get(kind, "assignment-novell")


def history(batch_id: str, new_id: Callable[[str], str], error: str | None) -> fold.Table:
    """A batch of which everything is known, and an essay of it."""

    def line(topic: str, **data: Any) -> Line:
        value = envelope({"batch_id": batch_id, **data}, at="2026-03-02T08:00:00.123456Z")
        return Line(f"huleedu.{topic}", "k", value)

    prompt = {"references": {"student_prompt_text": {"storage_id": new_id("p")}}}
    outcomes = [
        line(
            "els.batch.phase.outcome.v1",
            phase=phase,
            outcome="failed",
            metadata={
                "completed_essay_count": 28, "failed_essay_count": 2, "error_message": error,
                "requested_pipeline": ",".join(PHASE_NAMES) if phase == "nlp" else None,
            },
        )
        for phase in PHASE_NAMES
    ]  # fmt: skip
    metrics = {
        "word_count": 788, "sentence_count": 156, "avg_sentence_length": NUMBER, "language_detected": "sv",
        "mean_zipf_frequency": NUMBER, "mtld_score": NUMBER, "hdd_score": NUMBER, "first_order_coherence": NUMBER,
        "mean_dependency_distance": NUMBER, "second_order_coherence": NUMBER,
    }  # fmt: skip
    corrections = {
        "total_corrections": 212, "l2_dictionary_corrections": 160, "spellchecker_corrections": 152,
        "word_count": 748, "correction_density": NUMBER,
    }  # fmt: skip
    essay = str(uuid4())
    lines = [
        line(
            "batch.essays.registered.v1", user_id=new_id("u"), expected_essay_count=30, course_code="ENG5",
            class_id=new_id("c"), org_id=new_id("o"), student_prompt_ref=prompt,
        ),
        line(
            "cj_assessment.failed.v1", status="failed", system_metadata={"error_info": {"reason": error or "low_success_rate"}}
        ),
        *outcomes,
        line(
            "batch.pipeline.completed.v1", final_status="completed_with_failures", completed_phases=[*PHASE_NAMES],
            successful_essay_count=28, failed_essay_count=2,
        ),
        line(
            "assessment.result.published.v1", assignment_id=new_id("a"),
            essay_results=[{"essay_id": essay, "rank": 1, "bt_score": 1.0}],
        ),
        line(
            "els.essay.slot.assigned.v1", essay_id=essay, text_storage_id=str(uuid4()), file_upload_id=str(uuid4()),
            original_file_name="Åsa Påhittad, höstnovell (slutlig).docx",
        ),
        line(
            "essay.spellcheck.results.v1", essay_id=essay, status="spellchecked_success", corrections_made=212,
            correction_metrics=corrections, original_text_storage_id=str(uuid4()), corrected_text_storage_id=str(uuid4()),
        ),
        line("essay.nlp.completed.v1", essay_id=essay, nlp_metrics=metrics, grammar_analysis={"error_count": 31}),
        line(
            "essay.aifeedback.completed.v1", essay_id=essay, status="ai_feedback_success",
            feedback_content_storage_id=str(uuid4()),
        ),
    ]  # fmt: skip
    return fold.fold(fold.read_all(lines))


def test_a_batch_item_with_every_field_takes_a_write_unit() -> None:
    """With ids as the samples have them, and with room for what is to come."""
    batch_id = str(uuid4())
    table = history(batch_id, plain, None)

    assert size(table, table_layout.batch_key(batch_id)) + ROOM <= KILOBYTE


def test_a_batch_item_of_uuids_takes_a_write_unit() -> None:
    """Where every id is one."""
    batch_id = str(uuid4())
    table = history(batch_id, lambda _: str(uuid4()), None)

    assert size(table, table_layout.batch_key(batch_id)) <= KILOBYTE


@pytest.mark.parametrize("error", ["x" * 500, "å" * 500, "\N{GRINNING FACE}" * 500, "\x01" * 500, '"' * 500])
def test_errors_take_a_batch_item_no_further_than_four_kilobytes(error: str) -> None:
    """Of every phase and of a failed job, whatever their characters take."""
    batch_id = str(uuid4())
    table = history(batch_id, lambda _: str(uuid4()), error)
    made = fold.answer(table, batch_id)
    assert made is not None

    assert size(table, table_layout.batch_key(batch_id)) + ROOM <= 4 * KILOBYTE
    for phase in made["phases"]:
        assert error.startswith(phase["error"])
        assert len(phase["error"]) >= 80
    assert {phase["error"] for phase in history_errors("x" * 500)} == {"x" * 500}


def history_errors(error: str) -> list[dict[str, Any]]:
    made = fold.answer(history("b", plain, error), "b")
    assert made is not None
    phases: list[dict[str, Any]] = made["phases"]
    return phases


def test_an_essay_item_of_all_phases_takes_a_write_unit() -> None:
    """With UUIDs, all metrics, a long name of the file, and no error or summary."""
    table = history("b", plain, None)
    [key] = [key for key in table if key.sk.startswith(table_layout.ESSAY_PREFIX)]

    assert size(table, key) <= KILOBYTE
