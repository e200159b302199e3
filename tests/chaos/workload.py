"""A workload of many batches, as the platform would send it, in a fixed order that a seed decides."""

from __future__ import annotations

import json
import random
from uuid import UUID

from ras.kafka.publish import Event

from tests.samples import Line

TEACHERS = 40
ESSAYS = 36
"""Essays of a batch: with registration, slots, spellchecks, ranking, outcomes and pipeline end 77 events a batch."""


def lines(batches: int, seed: int) -> list[Line]:
    """The events of so many batches, mixed as batches that run at the same time are; a tenth of them twice."""
    source = random.Random(seed)  # noqa: S311 - a workload, not a secret
    made: list[Line] = []

    def event(topic: str, key: str, second: float, **data: object) -> None:
        value = {
            "event_id": str(UUID(int=source.getrandbits(128), version=4)),
            "event_timestamp": f"2026-03-02T{8 + int(second) // 3600:02}:{int(second) // 60 % 60:02}:{second % 60:09.6f}Z",
            "data": data,
        }
        made.append(Line(topic, key, value))

    for number in range(batches):
        batch, owner, start = (
            f"chaos-{seed}-{number}",
            f"teacher-{seed}-{number % TEACHERS}",
            source.uniform(0, 3600),
        )
        event(
            "huleedu.batch.essays.registered.v1",
            batch,
            start,
            batch_id=batch,
            user_id=owner,
            expected_essay_count=ESSAYS,
        )
        essays = [f"{batch}-{n}" for n in range(ESSAYS)]
        failed = [essay for essay in essays if source.random() < 0.02]
        for n, essay in enumerate(essays):
            second = start + 1 + n
            event(
                "huleedu.els.essay.slot.assigned.v1",
                essay,
                second,
                batch_id=batch,
                essay_id=essay,
                original_file_name=f"{n}.docx",
                text_storage_id=f"t-{essay}",
            )
            result = {"status": "FAILED", "error": "empty"} if essay in failed else {"status": "COMPLETED"}
            event(
                "huleedu.essay.spellcheck.completed.v1",
                essay,
                second + 0.5,
                batch_id=batch,
                essay_id=essay,
                correction_count=source.randrange(40),
                **result,
            )
        ranked = [essay for essay in essays if essay not in failed]
        source.shuffle(ranked)
        counts = {"processed_essays": ranked, "failed_essay_ids": failed}
        for phase, second in (("spellcheck", 60), ("cj_assessment", 100)):
            event(
                "huleedu.els.batch.phase.outcome.v1",
                batch,
                start + second,
                batch_id=batch,
                phase_name=phase,
                phase_status="completed_successfully",
                **counts,
            )
        event(
            "huleedu.cj_assessment.completed.v1",
            batch,
            start + 99,
            batch_id=batch,
            status="completed",
            rankings=[
                {"essay_id": essay, "rank": rank, "score": -rank / 8} for rank, essay in enumerate(ranked, 1)
            ],
        )
    # Each batch's events stay roughly in order, dozens of batches at a time.
    order = sorted(range(len(made)), key=lambda n: (n // (75 * 24), made[n].value["event_timestamp"]))
    mixed = [made[n] for n in order]
    return mixed + source.sample(mixed, len(mixed) // 10)


def poison(number: int) -> list[Event]:
    """Records that can never be applied, on the busiest topic."""
    topic = "huleedu.essay.spellcheck.completed.v1"
    return [Event(topic, f"poison {n}".encode(), f"poison-{n}".encode()) for n in range(number)]


def published(made: list[Line]) -> list[Event]:
    """The lines as records to publish."""
    return [Event(line.topic, json.dumps(line.value).encode(), line.key.encode()) for line in made]
