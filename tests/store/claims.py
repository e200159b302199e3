"""Results that name no batch, slots and summaries, and tables that they are delivered to."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any
from uuid import UUID

from result_aggregator import msk_event
from result_aggregator.deadline import Deadline
from result_aggregator.domain.claims import NOTHING_WAITS
from result_aggregator.ingest import ingest
from result_aggregator.store.view_store import ViewStore

from tests import fold, samples
from tests.clock import Time
from tests.samples import Line

if TYPE_CHECKING:
    from result_aggregator.contracts import RejectedError
    from result_aggregator.msk_event import Record
    from result_aggregator.store.dynamodb_client import DynamoDB

NLP = "huleedu.essay.nlp.completed.v1"
SLOT = "huleedu.els.essay.slot.assigned.v1"
SUMMARY = "huleedu.batch.nlp.analysis.completed.v1"


class DeadLetters:
    """The bucket in memory."""

    def __init__(self) -> None:
        self.kept: list[RejectedError] = []

    def keep(self, record: Record, rejection: RejectedError) -> None:  # noqa: ARG002 - the bucket's
        self.kept.append(rejection)


def result(essay: str, at: int, score: float = 0.5) -> Line:
    """A result that names no batch."""
    data = {"essay_id": essay, "status": "COMPLETED", "cohesion_score": score}
    return line(NLP, data, at)


def slot(essay: str, batch: str, at: int) -> Line:
    return line(SLOT, {"essay_id": essay, "batch_id": batch, "original_file_name": f"{essay}.txt"}, at)


def summary(batch: str, successful: list[str], failed: list[str], at: int) -> Line:
    lists = {"successful_essay_ids": successful, "failed_essay_ids": failed}
    return line(SUMMARY, {"batch_id": batch, "processing_summary": lists}, at)


def line(topic: str, data: dict[str, Any], at: int) -> Line:
    """An event whose id its topic and its time give: what is said twice is one event."""
    event_id = UUID(int=zlib.crc32(f"{topic} {at}".encode()))
    return Line(topic, "k", samples.envelope(data, f"2026-03-02T08:00:{at:02}Z", event_id))


class Table:
    """A table that lines are delivered to."""

    def __init__(self, http_client: DynamoDB, *tables: str) -> None:
        self.views = [ViewStore(name, http_client) for name in tables]
        self.letters = DeadLetters()
        self.waiting = NOTHING_WAITS

    def deliver(self, *lines: Line) -> list[str]:
        """In one invocation; the outcomes."""
        records = [samples.record(one.topic, one.encoded(), number) for number, one in enumerate(lines)]
        received = msk_event.records_of(samples.msk_event(records))
        time = Time()
        report = ingest(received, self.views, self.letters, Deadline(5, clock=time.clock, sleep=time.sleep))
        self.waiting += report.waiting
        # An event has its records by topic.
        handled = sorted(report.handled, key=lambda one: one.record.offset)
        assert [one.record.offset for one in handled] == list(range(len(lines)))
        return [one.outcome for one in handled]


def folded(*lines: Line) -> fold.Table:
    return fold.fold(fold.read_all(lines))
