"""The event of one invocation."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st
from ras_local.mapping.events import render_event

from tests.local.mapping.made import CLUSTER, SOURCE, record, records


class TestEvent:
    """AWS Lambda developer guide, using Lambda with Amazon MSK: the event."""

    def test_top_level_has_the_source_its_arn_and_the_brokers_as_one_string(self) -> None:
        """Using Lambda with Amazon MSK, example event: four fields at the top and nothing else."""
        event = json.loads(render_event(SOURCE, records(7)))

        assert {name: event[name] for name in event if name != "records"} == {
            "eventSource": "aws:kafka",
            "eventSourceArn": CLUSTER,
            "bootstrapServers": "b-1:9098,b-2:9098",
        }

    def test_records_are_grouped_by_topic_and_partition_in_order(self) -> None:
        """Using Lambda with Amazon MSK, example event: `records` is keyed by topic-partition."""
        batch = [record(1, 0), record(9, 3), record(2, 0)]

        event = json.loads(render_event(SOURCE, batch))

        assert {
            lane: [entry["offset"] for entry in entries] for lane, entries in event["records"].items()
        } == {
            "essays-0": [1, 2],
            "essays-3": [9],
        }

    @given(st.binary(max_size=50), st.text(max_size=20))
    def test_any_bytes_and_any_name_survive(self, value: bytes, name: str) -> None:
        """Keys, values and headers are bytes: nothing is decoded on the way."""
        event = json.loads(render_event(SOURCE, [record(1, value=value, headers=((name, value),))]))
        entry = event["records"]["essays-0"][0]

        assert base64.b64decode(entry["value"]) == value
        assert entry["headers"] == [{name: [b - 256 if b > 127 else b for b in value]}]
