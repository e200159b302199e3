"""The headers of a replayed record: they lead back to the record as it first came, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_aggregator import replay_headers

HEX = "0123456789abcdef" * 2
NAMES = st.sampled_from([replay_headers.ATTEMPT, replay_headers.ORIGIN, "trace", ""])
BYTES = st.one_of(
    st.binary(max_size=24),
    st.sampled_from([b"1", b"2", b"0/0/", b"3/7/1772438400000", f"3/7/5/{HEX}".encode()]),
)


def listed(*headers: tuple[str, bytes]) -> list[dict[str, list[int]]]:
    """Headers as an event holds them, bytes signed as AWS signs them."""
    return [{name: [byte - 256 if byte > 127 else byte for byte in value]} for name, value in headers]


def received(*headers: tuple[str, bytes], **fields: Any) -> dict[str, Any]:
    return {"topic": "t", "partition": 1, "offset": 9, "timestamp": 5, **fields, "headers": listed(*headers)}


@given(
    st.lists(st.tuples(NAMES, BYTES)),
    st.integers(0, 10**9 - 1),
    st.integers(0, 10**18 - 1),
    st.none() | st.integers(0, 10**18 - 1),
    st.integers(1, 10**9 - 1),
)
def test_a_replayed_record_is_found_as_it_first_came(
    others: list[tuple[str, bytes]], partition: int, offset: int, timestamp: int | None, attempt: int
) -> None:
    """Its own headers, with their order and duplicates, its place and its time come back; ours are gone."""
    before = received(*others, partition=partition, offset=offset, timestamp=timestamp, key="a2V5")
    own = replay_headers.headers(before, attempt=attempt)
    first, replay = replay_headers.first_received(received(*others, *own.items(), key="a2V5"))

    assert replay == attempt
    assert {"timestamp": None, **first} == before


@given(st.lists(st.tuples(NAMES, BYTES)), st.sampled_from(["key", "value", "headers", "timestamp"]))
def test_headers_of_another_record_do_not_count(others: list[tuple[str, bytes]], changed: str) -> None:
    """Copied to a record that differs in anything but its place, they are headers as any other."""
    before = received(*others, key="a2V5", value="dmFsdWU=")
    own = listed(*replay_headers.headers(before, attempt=3).items())
    if changed == "timestamp":
        own[1] = {
            replay_headers.ORIGIN: [byte + (chr(byte) == "5") for byte in own[1][replay_headers.ORIGIN]]
        }
    headers = [*before["headers"], *([{"x": [1]}] if changed == "headers" else []), *own]
    copied = {**before, "offset": 77, "headers": headers}
    if changed in ("key", "value"):
        copied[changed] = "eA=="

    assert replay_headers.first_received(copied) == (copied, 0)


@given(st.lists(st.tuples(NAMES, BYTES)))
def test_whatever_the_headers_say_the_topic_stays(headers: list[tuple[str, bytes]]) -> None:
    """Whatever the headers say, topic, key and value are as received."""
    record = received(*headers, key="a", value="b")
    first, replay = replay_headers.first_received(record)

    assert {name: first[name] for name in ("topic", "key", "value")} == {
        "topic": "t",
        "key": "a",
        "value": "b",
    }
    assert first == record or replay > 0


@pytest.mark.parametrize(
    "headers",
    [
        [],
        None,
        [{replay_headers.ATTEMPT: [49]}],
        [{replay_headers.ATTEMPT: [49]}, {replay_headers.ORIGIN: list(b"../../x")}],
        [{replay_headers.ATTEMPT: [48]}, {replay_headers.ORIGIN: list(f"0/0/0/{HEX}".encode())}],
        [{replay_headers.ATTEMPT: "1"}, {replay_headers.ORIGIN: f"0/0/0/{HEX}"}],
        [{replay_headers.ATTEMPT: [49], replay_headers.ORIGIN: list(f"0/0/0/{HEX}".encode())}],
        [{replay_headers.ATTEMPT: None}, {replay_headers.ORIGIN: {}}, "x", 5],
        "headers",
        5,
    ],
)
def test_anything_else_is_no_replay(headers: Any) -> None:
    """Headers that this service did not write are left where they are, however broken."""
    record = {**received(), "headers": headers}

    assert replay_headers.first_received(record) == (record, 0)
