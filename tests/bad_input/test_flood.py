"""A flood of poison: what each record of it costs. How fast it goes is measured by `make bench-flood`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from result_aggregator.store import dead_letters as s3_module
from result_aggregator.store import dynamodb_client

from infra.settings import BATCHING
from tests.bad_input.good import ONE_A_TOPIC
from tests.dynamodb import Watched
from tests.samples import record

if TYPE_CHECKING:
    from tests.bad_input.conftest import Deliveries


@pytest.mark.slow
def test_poison_costs_one_request_a_record(deliveries: Deliveries) -> None:
    """An invocation full of it is kept with one PutObject each, and asks nothing of the table."""
    topic = ONE_A_TOPIC[0].topic
    size = BATCHING["ingest_essays"].batch_size
    requests: Counter[str] = Counter()
    table = dynamodb_client.client()
    table.transport = Watched(table.transport, lambda operation: requests.update([operation]))
    s3_module._client().meta.events.register("before-call", lambda model, **_: requests.update([model.name]))
    counts = deliveries.invoke(topic, [record(topic, b"poison", offset) for offset in range(size)])

    assert counts == {"rejected": size}
    assert requests == {"PutObject": size}
    assert len(deliveries.service.dead_letters()) == size
