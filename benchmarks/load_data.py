"""The batches that the load is about. Their ids and events are always the same, so publishing them again is harmless."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ras.kafka.publish import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMESPACE = uuid.UUID("1f0c6f5e-8a7b-4d4e-9a55-6a0d3f0c9b21")
_AT = "2026-03-02T08:{:02d}:00Z"


@dataclass(frozen=True)
class Batch:
    """A batch of the load; `ended` ones are COMPLETED, the others PROCESSING."""

    batch_id: str
    user_id: str
    essays: int
    ended: bool


def batches(ordinary: int, large: int, large_essays: int) -> list[Batch]:
    """Five batches a teacher, of a class's 30 essays each; then the large ones, which end too."""
    made = [
        Batch(f"load-{number}", f"load-teacher-{number // 5}", 30, ended=number % 2 == 0)
        for number in range(ordinary)
    ]
    return made + [
        Batch(f"load-large-{number}-{large_essays}", "load-teacher-0", large_essays, ended=True)
        for number in range(large)
    ]


def events(of: list[Batch]) -> Iterator[Event]:
    """All that happened to the batches."""
    for batch in of:
        registered = {
            "batch_id": batch.batch_id,
            "user_id": batch.user_id,
            "expected_essay_count": batch.essays,
        }
        yield _event("huleedu.batch.essays.registered.v1", batch.batch_id, 0, registered)
        essay_ids = [f"{batch.batch_id}-essay-{number:04d}" for number in range(batch.essays)]
        for essay_id in essay_ids:
            spellcheck = {
                "batch_id": batch.batch_id,
                "essay_id": essay_id,
                "status": "COMPLETED",
                "correction_count": 17,
                "corrected_text_storage_id": f"corrected-{essay_id}",
            }
            yield _event("huleedu.essay.spellcheck.completed.v1", essay_id, 1, spellcheck)
        yield _outcome(batch, "SPELLCHECK", 2)
        if batch.ended:
            rankings = [
                {"essay_id": essay_id, "rank": rank, "score": 3 - rank / 100, "comparison_count": 12}
                for rank, essay_id in enumerate(essay_ids, start=1)
            ]
            ranked = {"batch_id": batch.batch_id, "status": "COMPLETED", "rankings": rankings}
            job = {"cj_assessment_job_id": f"cj-{batch.batch_id}"}
            yield _event("huleedu.cj_assessment.completed.v1", batch.batch_id, 3, ranked | job)
            yield _outcome(batch, "CJ_ASSESSMENT", 4)


def _outcome(batch: Batch, phase: str, minute: int) -> Event:
    metadata = {
        "user_id": batch.user_id,
        "total_essay_count": batch.essays,
        "requested_pipeline": "spellcheck,cj_assessment",
        "completed_essay_count": batch.essays,
        "failed_essay_count": 0,
    }
    data = {"batch_id": batch.batch_id, "phase": phase, "outcome": "COMPLETED", "metadata": metadata}
    return _event("huleedu.els.batch_phase.outcome.v1", batch.batch_id, minute, data)


def _event(topic: str, key: str, minute: int, data: dict[str, Any]) -> Event:
    value = {
        "event_id": str(uuid.uuid5(_NAMESPACE, f"{topic} {key} {minute}")),
        "event_type": topic,
        "event_timestamp": _AT.format(minute),
        "source_service": "load",
        "schema_version": 1,
        "correlation_id": None,
        "data": data,
    }
    return Event(topic, json.dumps(value).encode(), key.encode())
