"""A world to run histories in: topics that remember everything, functions that are hit by faults, a real table.

Deliveries are freer than Kafka's: any records, in any order, any number of times, several invocations at once. What
converges here converges there. A step is a plain JSON object, so that a failing history can be written to a file.

    {"do": "publish", "topic", "value"}           value: an event, text (poison) or null (a tombstone)
    {"do": "deliver", "invocations": [{"records": [n, ...], "faults": [fault or null, ...], "partial": bool}, ...]}
    {"do": "replay", "seed": n, "size": n}        every record again, shuffled, `size` an invocation
    {"do": "rebuild"}                             from here on a second table is written before the first, from the first record
    {"do": "check"}                               deliver what is left without faults, then compare with the fold
"""

from __future__ import annotations

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from result_aggregator import msk_event
from result_aggregator.api import Api
from result_aggregator.contracts import Ignored, RejectedError, read
from result_aggregator.deadline import Deadline
from result_aggregator.domain import statuses, table_layout, view
from result_aggregator.ingest import ingest
from result_aggregator.names import GATEWAY_CALLER
from result_aggregator.store.view_store import ViewStore

from tests import fold, samples
from tests.convergence.faults import Fault, FaultyTransport, Killed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from result_aggregator.domain.events import AnyEvent
    from result_aggregator.domain.store_interface import OwnWritten, Written
    from result_aggregator.domain.table_layout import Change
    from result_aggregator.msk_event import Record
    from result_aggregator.prometheus import Exposition
    from result_aggregator.store.dynamodb_client import DynamoDB

Step = dict[str, Any]

ROLE = "arn:aws:iam::123456789012:role/api-gateway-service"
CALLER = "arn:aws:sts::123456789012:assumed-role/api-gateway-service/session"

# How often a function tries a request before it gives up, here: pauses are counted, not slept.
TRIES_S = 0.4


class DivergenceError(AssertionError):
    """The view is not the fold, or a law is broken on the way."""


@dataclass
class DeadLetters:
    """The bucket in memory: idempotent by place, as the real one is."""

    kept: dict[tuple[str, int, int], RejectedError] = field(default_factory=dict)

    def keep(self, record: Record, rejection: RejectedError) -> None:
        self.kept[record.topic, record.partition, record.offset] = rejection


class _View:
    """The store as one invocation sees it."""

    def __init__(self, store: ViewStore, session: FaultyTransport, invocation: str) -> None:
        self._store, self._session, self._invocation = store, session, invocation

    def write(self, change: Change) -> dict[str, Written]:
        with self._entered():
            return self._store.write(change)

    def write_own(self, change: Change) -> OwnWritten:
        with self._entered():
            return self._store.write_own(change)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        self._session.enter(self._invocation)
        try:
            yield
        finally:
            self._session.enter("")


def _no_metrics() -> Exposition:
    raise AssertionError("no history asks for metrics")


class World:
    """One history. Batches and users get a name of their own in it, so that a table serves many histories."""

    def __init__(
        self, dynamodb: DynamoDB, session: FaultyTransport, tables: tuple[str, str], name: str
    ) -> None:
        self._session = session
        first, self._other = (ViewStore(table, dynamodb) for table in tables)
        self._stores = [first]
        self._name = name
        self.records: list[dict[str, Any]] = []
        self.pending: set[int] = set()
        self.dead_letters = DeadLetters()
        self.steps: list[Step] = []
        self.outcomes: Counter[str] = Counter()
        self._invocations = 0

    def run(self, step: Step) -> None:
        """Run a step and remember it. Raises DivergenceError."""
        self.steps.append(step)
        match step["do"]:
            case "publish":
                self._publish(step["topic"], step["value"])
            case "deliver":
                self._deliver(step["invocations"])
            case "replay":
                self._replay(step["seed"], step["size"])
            case "rebuild":
                self._stores = [self._other, self._stores[-1]]
                self.pending = set(range(len(self.records)))
            case "check":
                self._drain()
                self._check()

    def batch(self, name: str) -> str:
        """A batch's or a user's name in this history."""
        return f"{self._name}-{name}"

    def _publish(self, topic: str, value: Any) -> None:
        if isinstance(value, dict):
            value = json.loads(json.dumps(value).replace("@", f"{self._name}-"))
        content = value.encode() if isinstance(value, str) else value
        self.pending.add(len(self.records))
        self.records.append(samples.record(topic, content, offset=len(self.records)))

    def _deliver(self, invocations: list[dict[str, Any]]) -> None:
        if len(invocations) == 1:
            self._invoke(invocations[0])
            return
        with ThreadPoolExecutor(len(invocations)) as pool:
            list(pool.map(self._invoke, invocations))

    def _invoke(self, invocation: dict[str, Any]) -> None:
        numbers = [number for number in invocation["records"] if number < len(self.records)]
        self._invocations += 1
        name = f"{self._name}/{self._invocations}/{id(invocation)}"
        self._session.plan(name, [fault and Fault(fault) for fault in invocation["faults"]])
        event = samples.msk_event([self.records[number] for number in numbers])
        received = msk_event.records_of(event)
        passed = 0.0

        def sleep(seconds: float) -> None:
            nonlocal passed
            passed += max(seconds, 0.001)

        deadline = Deadline(TRIES_S, clock=lambda: passed, sleep=sleep)
        try:
            views = [_View(store, self._session, name) for store in self._stores]
            report = ingest(received, views, self.dead_letters, deadline)
        except Killed:
            return
        counts = report.counts()
        self.outcomes.update(counts)
        if sum(counts.values()) != len(received):
            raise DivergenceError(f"{len(received)} records came to {counts}")
        failed = {record.offset for record in report.handed_back()}
        if failed and not invocation["partial"]:
            return
        self.pending -= set(numbers) - failed

    def _drain(self) -> None:
        for _ in range(3):
            left = sorted(self.pending)
            for start in range(0, len(left), 50):
                self._invoke({"records": left[start : start + 50], "faults": [], "partial": True})
        if self.pending:
            raise DivergenceError(f"without faults {len(self.pending)} records are still handed back")

    def _replay(self, seed: int, size: int) -> None:
        order = list(range(len(self.records)))
        random.Random(seed).shuffle(order)  # noqa: S311 - a shuffle, not a secret
        for start in range(0, len(order), size):
            self._invoke({"records": order[start : start + size], "faults": [], "partial": True})

    def _check(self) -> None:
        """Every answer of the API is the fold of the distinct events; every poison is kept, and nothing else.

        Of each table, where there are two.
        """
        events, poison = [], set()
        for record in self.records:
            [one] = msk_event.records_of(samples.msk_event([record]))
            try:
                event = read(one.topic, one.value(), one.timestamp)
                if not isinstance(event, Ignored):
                    events.append(event)
            except RejectedError:
                poison.add((one.topic, one.partition, one.offset))
        if set(self.dead_letters.kept) != poison:
            raise DivergenceError(f"dead letters {set(self.dead_letters.kept)}, poison {poison}")
        table = fold.fold(events)
        for store in self._stores:
            self._compare(store, table, events)

    def _compare(self, store: ViewStore, table: fold.Table, events: list[AnyEvent]) -> None:
        api = Api(store, {ROLE: GATEWAY_CALLER}, samples.DEFAULT_PIPELINE, _no_metrics)
        batch_ids = {event.batch_id for event in events if event.batch_id is not None}
        batch_ids.add(self.batch("no-such-batch"))
        listings: dict[str, list[dict[str, Any]]] = {self.batch("no-such-user"): []}
        for batch_id in sorted(batch_ids):
            answer = fold.answer(table, batch_id)
            shown = self._ask(api, "/internal/v1/batches/{batch_id}/status", {}, batch_id=batch_id)
            if (shown is None) != (answer is None) or (answer and shown != answer):
                raise DivergenceError(f"{batch_id}: {json.dumps(shown)}, the fold says {json.dumps(answer)}")
            if answer:
                for name in ("phases", "essays", "pagination"):
                    del answer[name]
                listings.setdefault(answer["user_id"], []).append(answer)
        for user_id, batches in listings.items():
            batches.sort(key=lambda batch: (batch["created_at"], batch["batch_id"]), reverse=True)
            for status in (None, *statuses.OVERALL):
                wanted = [one for one in batches if status in (None, one["overall_status"])]
                asked = {"status": [status]} if status else {}
                page = self._ask(api, "/internal/v1/batches/user/{user_id}", asked, user_id=user_id)
                if page is None or page["batches"] != wanted or page["pagination"]["total"] != len(wanted):
                    raise DivergenceError(
                        f"{user_id}, {status}: {json.dumps(page)}, the fold says {json.dumps(wanted)}"
                    )

    def look(self, name: str) -> None:
        """A reader in the middle of things sees the ranking of one CJ job or of another, never a mix."""
        found = list(self._stores[0].read_partition(self.batch(name)))
        essays = [item for item in found if str(item["sk"]).startswith(table_layout.ESSAY_PREFIX)]
        rankings = [item for item in found if str(item["sk"]).startswith(table_layout.RANKING)]
        answers = view.essay_answers(essays, view.decode_ranking(rankings))
        # Each generated ranking gives all its essays its own comparison count.
        jobs = {answer["cj_comparison_count"] for answer in answers if answer["cj_rank"] is not None}
        if len(jobs) > 1:
            raise DivergenceError(f"{name}: a mix of the rankings {jobs}")

    def _ask(self, api: Api, route: str, query: dict[str, list[str]], **path: str) -> dict[str, Any] | None:
        event = {
            "httpMethod": "GET",
            "resource": route,
            "pathParameters": path,
            "multiValueQueryStringParameters": query,
            "headers": {},
            "requestContext": {"identity": {"userArn": CALLER}},
        }
        answer = api.answer(event)
        if answer["statusCode"] == 404:
            return None
        if answer["statusCode"] != 200:
            raise DivergenceError(f"{route} {path}: {answer}")
        body: dict[str, Any] = json.loads(answer["body"])
        return body
