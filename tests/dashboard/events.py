"""Events that make batches to look at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ras import stack_file
from ras.kafka.publish import Event

from tests import samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ras.stack_file import Stack

REGISTERED = "huleedu.batch.essays.registered.v1"
OUTCOME = "huleedu.els.batch_phase.outcome.v1"
SLOT = "huleedu.els.essay.slot.assigned.v1"
SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
RANKING = "huleedu.cj_assessment.completed.v1"
NLP = "huleedu.essay.nlp.completed.v1"
FEEDBACK = "huleedu.essay.aifeedback.completed.v1"


def event(
    topic: str, key: str, at: str = "2026-03-02T08:00:00Z", *, correlation_id: str | None = None, **data: Any
) -> Event:
    """An event with these fields as its data."""
    value = samples.envelope(data, at) | {"correlation_id": correlation_id}
    return Event(topic, json.dumps(value).encode(), key.encode())


def registered(batch: str, user: str, count: int, at: str = "2026-03-02T08:00:00Z") -> Event:
    return event(REGISTERED, batch, at, batch_id=batch, user_id=user, expected_essay_count=count)


def spellchecked(batch: str, essay: str, at: str = "2026-03-02T08:01:00Z", **data: Any) -> Event:
    fields = {"batch_id": batch, "essay_id": essay, "status": "COMPLETED", "correction_count": 3, **data}
    return event(SPELLCHECK, essay, at, **fields)


def ranked(batch: str, places: Iterable[tuple[str, int, float]], at: str = "2026-03-02T08:10:00Z") -> Event:
    """A ranking of (essay, rank, score)."""
    rankings = [
        {"essay_id": essay, "rank": rank, "score": score, "comparison_count": 12}
        for essay, rank, score in places
    ]
    return event(
        RANKING, batch, at, batch_id=batch, status="COMPLETED", cj_assessment_job_id="job", rankings=rankings
    )


def large(batch: str, user: str, count: int) -> Iterator[Event]:
    """A batch of so many essays, spellchecked and ranked; every tenth place is shared by two."""
    essays = [f"essay-{number:05d}" for number in range(count)]
    yield registered(batch, user, count)
    for number, essay in enumerate(essays):
        yield spellchecked(batch, essay, correction_count=number % 17)
    places = [
        (essay, number if number % 10 == 1 else number + 1, 5.0 - (number // 2) / 500)
        for number, essay in enumerate(essays)
    ]
    yield ranked(batch, places)


NAMES = (
    "Astrid", "Birger", "Cecilia", "David", "Elin", "Filip", "Greta", "Hugo", "Ida", "Johan", "Karin", "Lars",
    "Maja", "Nils", "Olivia", "Per", "Ronja", "Sven",
)  # fmt: skip


def classroom(batch: str, user: str) -> Iterator[Event]:
    """A batch as support sees them: most of it done, two essays failed, two share a rank, feedback under way."""
    essays = [f"essay-{name.lower()}" for name in NAMES]
    yield registered(batch, user, len(essays))
    for number, (essay, name) in enumerate(zip(essays, NAMES, strict=True)):
        at = f"2026-03-02T08:00:{number:02d}Z"
        yield event(
            SLOT, essay, at, batch_id=batch, essay_id=essay, original_file_name=f"{name} - The sea.docx"
        )
        if number in (5, 13):
            error = "LanguageTool gave no answer within 30 s; 3 attempts"
            yield spellchecked(
                batch, essay, f"2026-03-02T08:01:{number:02d}Z", status="FAILED", error_message=error
            )
        else:
            yield spellchecked(
                batch, essay, f"2026-03-02T08:01:{number:02d}Z", correction_count=(number * 7) % 23
            )
    metadata = {
        "user_id": user,
        "total_essay_count": len(essays),
        "requested_pipeline": "spellcheck,cj_assessment,ai_feedback",
        "completed_essay_count": 16,
        "failed_essay_count": 2,
    }
    yield event(
        OUTCOME, batch, "2026-03-02T08:02:00Z",
        batch_id=batch, phase="SPELLCHECK", outcome="COMPLETED_WITH_FAILURES", metadata=metadata,
    )  # fmt: skip
    well = [essay for number, essay in enumerate(essays) if number not in (5, 13)]
    scores = [
        2.41,
        1.98,
        1.98,
        1.52,
        1.31,
        0.97,
        0.66,
        0.41,
        0.2,
        -0.05,
        -0.05,
        -0.38,
        -0.71,
        -1.12,
        -1.66,
        -2.3,
    ]
    places = [(essay, 1 + scores.index(score), score) for essay, score in zip(well, scores, strict=True)]
    yield ranked(batch, places, "2026-03-02T08:10:00Z")
    yield event(
        OUTCOME, batch, "2026-03-02T08:10:01Z",
        batch_id=batch, phase="CJ_ASSESSMENT", outcome="COMPLETED",
        metadata={"completed_essay_count": 16, "failed_essay_count": 0},
    )  # fmt: skip
    for number, essay in enumerate(well[:9]):
        yield event(
            FEEDBACK, essay, f"2026-03-02T08:11:{number:02d}Z",
            batch_id=batch, essay_id=essay, status="COMPLETED",
            summary="Vivid scenes; the ending comes too soon.", storage_id=f"feedback-{number}",
        )  # fmt: skip


def stack_consumed(running: Stack, events: Iterable[Event]) -> None:
    """Publish, and wait until all of it is in the view."""
    from ras.kafka.publish import publish

    publish(running.bootstrap_servers, events)
    stack_file.wait_consumed(running, timeout_s=240)
