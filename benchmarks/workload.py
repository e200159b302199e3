"""The events that benchmarks bring in: always the same for a name, so that a replay is a replay.

Two mixes. *Essay-heavy* is a batch's life as it usually is: a registration, 30 spellcheck results, an outcome and a
ranking of 30 essays, 33 events. *Ranking-heavy* is a class that is ranked again and again: a registration, 2 spellcheck
results, and 7 rankings of 30 essays, each newer than the one before.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from tests import samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ESSAYS = 30

REGISTERED = "huleedu.batch.essays.registered.v1"
SPELLCHECKED = "huleedu.essay.spellcheck.completed.v1"
OUTCOME = "huleedu.els.batch_phase.outcome.v1"
RANKED = "huleedu.cj_assessment.completed.v1"
ANALYSED = "huleedu.essay.nlp.completed.v1"
SLOT = "huleedu.els.essay.slot.assigned.v1"
SUMMARY = "huleedu.batch.nlp.analysis.completed.v1"

MIXES = ("essay-heavy", "ranking-heavy")
EVENTS_OF_BATCH = {"essay-heavy": 33, "ranking-heavy": 10}

Invocation = dict[str, Any]


def life(mix: str, batch_id: str, essays: int = ESSAYS) -> Iterator[samples.Line]:
    """All events of one batch, in order."""
    essay_ids = [f"{batch_id}-essay-{number:04d}" for number in range(essays)]
    user_id = f"teacher-{batch_id}"
    registered = {"batch_id": batch_id, "user_id": user_id, "expected_essay_count": essays}
    yield _event(REGISTERED, batch_id, 0, registered)
    checked = essay_ids if mix == "essay-heavy" else essay_ids[:2]
    for essay_id in checked:
        yield _event(
            SPELLCHECKED,
            essay_id,
            1,
            {
                "batch_id": batch_id,
                "essay_id": essay_id,
                "status": "COMPLETED",
                "correction_count": 17,
                "corrected_text_storage_id": f"corrected-{essay_id}",
            },
        )
    if mix == "essay-heavy":
        metadata = {
            "user_id": user_id,
            "total_essay_count": essays,
            "requested_pipeline": "spellcheck,cj_assessment",
            "completed_essay_count": essays,
            "failed_essay_count": 0,
        }
        data = {"batch_id": batch_id, "phase": "SPELLCHECK", "outcome": "COMPLETED", "metadata": metadata}
        yield _event(OUTCOME, batch_id, 2, data)
    for job in range(1 if mix == "essay-heavy" else 7):
        yield ranking(batch_id, essay_ids, job)


def ranking(batch_id: str, essay_ids: list[str], job: int) -> samples.Line:
    """The ranking of one CJ job; a later job's is newer."""
    rankings = [
        {"essay_id": essay_id, "rank": rank, "score": 3 - rank / 100, "comparison_count": 12}
        for rank, essay_id in enumerate(essay_ids[job:] + essay_ids[:job], start=1)
    ]
    data = {"batch_id": batch_id, "status": "COMPLETED", "rankings": rankings}
    return _event(RANKED, batch_id, 3 + job, data | {"cj_assessment_job_id": f"job-{job}"})


def analysed(essay: str, second: int) -> samples.Line:
    """A result that names no batch, with all that the platform sends in it."""
    metrics = {
        "word_count": 501,
        "sentence_count": 35,
        "avg_sentence_length": 14.0,
        "language_detected": "en",
        "mean_zipf_frequency": 4.432007,
        "mtld_score": 118.455301,
        "hdd_score": 0.812345,
        "mean_dependency_distance": 2.345678,
        "first_order_coherence": 0.654321,
        "second_order_coherence": 0.543210,
    }
    data = {
        "entity_id": essay,
        "parent_id": None,
        "essay_id": essay,
        "nlp_metrics": metrics,
        "grammar_analysis": {"error_count": 12, "language": "en"},
    }
    return _at(ANALYSED, essay, second, data)


def slot(essay: str, batch: str, second: int) -> samples.Line:
    """The batch claims the essay."""
    data = {
        "batch_id": batch,
        "essay_id": essay,
        "original_file_name": "Essay of somebody with a name.docx",
        "text_storage_id": "txt-0123456789abcdef0123456789abcdef",
        "file_upload_id": "0123abcd-0000-4000-8000-0123456789ab",
    }
    return _at(SLOT, f"{batch} {essay}", second, data)


def summary(batch: str, successful: list[str], failed: list[str], second: int) -> samples.Line:
    """The batch claims all of them."""
    lists = {"successful_essay_ids": successful, "failed_essay_ids": failed}
    data = {"batch_id": batch, "processing_summary": lists}
    return _at(SUMMARY, batch, second, data)


def ids(number: int) -> list[str]:
    """So many ids as the platform makes them."""
    return [str(uuid5(NAMESPACE_URL, f"ras-benchmark/{one}")) for one in range(number)]


def _at(topic: str, key: str, second: int, data: dict[str, Any]) -> samples.Line:
    event_id = uuid5(NAMESPACE_URL, f"{topic} {key} {second}")
    value = samples.envelope(data, f"2026-03-02T08:00:{second:02}Z", event_id)
    return samples.Line(topic, key, value)


def _event(topic: str, key: str, minute: int, data: dict[str, Any]) -> samples.Line:
    event_id = uuid5(NAMESPACE_URL, f"{topic} {key} {minute}")
    return samples.Line(topic, key, samples.envelope(data, f"2026-03-02T08:{minute:02d}:00Z", event_id))


def topic_of(mix: str, name: str, events: int) -> list[list[samples.Line]]:
    """The batches of so many events and a little more: each a list of its events."""
    batches = -(-events // EVENTS_OF_BATCH[mix])
    return [list(life(mix, f"{name}-{number}")) for number in range(batches)]


def invocations(batches: Sequence[Sequence[samples.Line]], size: int) -> list[Invocation]:
    """What mappings make of these batches: a topic at a time, up to `size` records each, batches in their order."""
    by_topic: dict[str, list[dict[str, Any]]] = {}
    for line in (line for batch in batches for line in batch):
        records = by_topic.setdefault(line.topic, [])
        records.append(samples.record(line.topic, json.dumps(line.value).encode(), len(records)))
    return [samples.msk_event(list(some)) for records in by_topic.values() for some in chunks(records, size)]


def records_in(invocation: Invocation) -> int:
    """How many records an invocation brings."""
    return sum(len(records) for records in invocation["records"].values())


def chunks(records: Sequence[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Slices of up to `size`."""
    waiting = iter(records)
    while some := tuple(islice(waiting, size)):
        yield some
