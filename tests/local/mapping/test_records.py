"""A Kafka record in the event."""

from __future__ import annotations

import base64
import json

import pytest
from ras_local.mapping.events import render_event
from ras_local.mapping.records import Nulls, event_record

from tests.local.mapping.made import NOW_MS, SOURCE, TOPIC, record


class TestRecord:
    """AWS Lambda developer guide, using Lambda with Amazon MSK: a record of the event."""

    def test_a_record_has_aws_names_and_types(self) -> None:
        """Using Lambda with Amazon MSK, example event: the fields of a record and their types."""
        told = record(5, 2, key=b"essay-1", headers=(("trace", b"abc"),), timestamp_type="LOG_APPEND_TIME")

        assert event_record(told) == {
            "topic": TOPIC,
            "partition": 2,
            "offset": 5,
            "timestamp": NOW_MS,
            "timestampType": "LOG_APPEND_TIME",
            "key": base64.b64encode(b"essay-1").decode(),
            "value": base64.b64encode(b"{}").decode(),
            "headers": [{"trace": [97, 98, 99]}],
        }

    def test_null_key_and_null_value_are_absent(self) -> None:
        """Filtering Kafka events: the record without a key has no such field. The default for values too."""
        event = event_record(record(1, value=None))

        assert "key" not in event
        assert "value" not in event

    @pytest.mark.parametrize(
        ("nulls", "offset", "shown"),
        [
            (Nulls.ABSENT, 1, False),
            (Nulls.NULL, 1, True),
            (Nulls.NULL, 2, True),
            (Nulls.ALTERNATE, 1, True),
            (Nulls.ALTERNATE, 2, False),
        ],
    )
    def test_null_key_and_null_value_may_be_shown(self, nulls: Nulls, offset: int, shown: bool) -> None:  # noqa: FBT001 (a parameter)
        """AWS's users report both forms of a tombstone, so a function can be tried with either."""
        event = json.loads(render_event(SOURCE, [record(offset, value=None, nulls=nulls)]))
        [entry] = event["records"]["essays-0"]

        assert ("key" in entry, "value" in entry) == (shown, shown)
        assert (entry.get("key"), entry.get("value")) == (None, None)

    def test_an_empty_key_or_value_is_not_a_null_one(self) -> None:
        """Kafka tells an empty value from a tombstone, and so does its base64."""
        event = event_record(record(1, value=b"", key=b""))

        assert (event["key"], event["value"]) == ("", "")

    def test_header_bytes_are_signed(self) -> None:
        """Powertools, decode_header_bytes: header bytes come as Java has them, from -128 to 127."""
        event = event_record(record(1, headers=(("h", b"\x00\x7f\x80\xff"),)))

        assert event["headers"] == [{"h": [0, 127, -128, -1]}]

    def test_headers_keep_order_and_repeated_names(self) -> None:
        """Using Lambda with Amazon MSK, example event: headers are a list of objects with one name each."""
        event = event_record(record(1, headers=(("a", b"1"), ("b", b"2"), ("a", b"3"))))

        assert event["headers"] == [{"a": [49]}, {"b": [50]}, {"a": [51]}]
