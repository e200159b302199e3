"""Reading dead letters: both kinds come to the same typed object, and nothing that lies in a bucket is a crash."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ras.dead_letters.letter import Kind, MalformedError, Place, RecordId, parse
from result_aggregator import replay_headers
from result_aggregator.contracts.rejection import Problem

from tests.ops import made

LATER = datetime(2026, 3, 3, tzinfo=UTC)
REJECTED = "rejected/t/0/00000000000000000007.json"
HEADERS = (("trace", b"\xff\x00"), ("trace", b"b"), ("", b""))


def rejected(**changes: Any) -> bytes:
    letter = {
        "reason": {"code": "not_json", "problems": [{"path": "", "message": "no"}]},
        "kept": {"at": "2026-03-02T12:00:00+00:00", "function": "f", "eventSourceArn": "arn", "replays": 2},
        "topic": "t",
        "partition": 0,
        "offset": 7,
        "timestamp": 1_772_438_400_000,
        "value": made.b64(b"x"),
        **changes,
    }
    return json.dumps({name: value for name, value in letter.items() if value is not None}).encode()


def test_a_rejected_record() -> None:
    """All that was kept of it: reason and field, place, times, bytes."""
    [letter] = parse(REJECTED, rejected(headers=[{"h": [-1, 1]}], key=made.b64(b"k")), LATER)

    assert (letter.kind, letter.code, letter.problems) == (Kind.REJECTED, "not_json", (Problem("", "no"),))
    assert str(letter.place) == "t/0/7"
    assert (letter.kept_at, letter.replays) == (made.NOON, 2)
    assert (letter.function, letter.event_source_arn) == ("f", "arn")
    assert letter.timestamp == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert (letter.key(), letter.value(), letter.headers()) == (b"k", b"x", [("h", b"\xff\x01")])


def test_a_rejected_record_of_an_earlier_version() -> None:
    """One that says neither when nor by whom it was kept: S3 knows when."""
    [letter] = parse(REJECTED, rejected(kept=None), LATER)

    assert (letter.kept_at, letter.replays, letter.function) == (LATER, 0, "")


def test_a_batch_that_was_given_up_is_its_records() -> None:
    """Of two partitions, in their order, each with the mapping's reason, and with its bytes as they were."""
    records = [
        made.record(made.result("a"), 7, 1, key=b"\x00k", headers=HEADERS),
        made.record(None, 8, 1),
        made.record(b"\xff", 3, 2),
    ]
    letters = parse(*made.given_up(*records), LATER)

    assert [str(letter.place) for letter in letters] == [
        f"{made.SPELLCHECK}/{n}" for n in ("1/7", "1/8", "2/3")
    ]
    assert {letter.kind for letter in letters} == {Kind.GIVEN_UP}
    assert {letter.code for letter in letters} == {"RetryAttemptsExhausted"}
    assert letters[0].problems == (Problem("", "Unhandled after 4 invocations of a batch of 3"),)
    assert (letters[0].kept_at, letters[0].function) == (made.NOON, "ras-local-ingest-essays")
    assert letters[0].event_source_arn == made.SOURCE.event_source_arn
    assert [(one.key(), one.value(), tuple(one.headers())) for one in letters] == [
        (one.key, one.value, one.headers) for one in records
    ]
    assert letters[0].correlation_id == "corr-1"


def test_a_replayed_record_that_is_given_up_is_the_one_it_was_first() -> None:
    """Its letter is found under its first place, with the number of the replay, and without our headers."""
    first = made.received(made.record(b"x", 5, 3, headers=HEADERS))
    own = replay_headers.headers({**first, "timestamp": 9}, attempt=2)
    again = made.in_kafka(made.record(b"x", 4711, 0, headers=HEADERS), **own)
    [letter] = parse(*made.given_up(again), LATER)

    assert str(letter.place) == f"{made.SPELLCHECK}/3/5"
    assert (letter.replays, letter.received["timestamp"]) == (2, 9)
    assert tuple(letter.headers()) == HEADERS


def test_what_is_stored_is_what_was_read() -> None:
    """A letter put into an object of its own reads the same, whichever kind it was."""
    key, body = made.given_up(made.record(b"\xff", 7, 1, key=b"k", headers=HEADERS))
    for at, content in ((key, body), (REJECTED, rejected(headers=[{"h": [1]}]))):
        [letter] = parse(at, content, LATER)
        alone = letter.id.object_key("given-up/" if letter.kind is Kind.GIVEN_UP else "rejected/")
        [again] = parse(alone, json.dumps(letter.stored()).encode(), datetime.now(UTC))

        assert {**vars(again), "object_key": None} == {**vars(letter), "object_key": None}


@pytest.mark.parametrize(
    ("key", "body", "problem"),
    [
        (REJECTED, b"", "not JSON"),
        (REJECTED, b"\xff\xfe", "not JSON"),
        (REJECTED, b"[" * 100_000, "not JSON"),
        (REJECTED, b"[]", "not a JSON object"),
        (REJECTED, rejected(reason=None), "no reason.code"),
        (REJECTED, rejected(reason={"code": 5}), "no reason.code"),
        (REJECTED, rejected(kept=[1]), "kept is not an object"),
        (REJECTED, rejected(topic=""), "no topic"),
        (REJECTED, rejected(offset=-1), "no partition or no offset"),
        (REJECTED, rejected(partition=True), "no partition or no offset"),
        (REJECTED, rejected(offset="7"), "no partition or no offset"),
        ("elsewhere/x.json", rejected(), "no dead letters are kept"),
        ("aws/lambda/u/x", b"{}", "no requestContext"),
        ("aws/lambda/u/x", b'{"requestContext": {}}', "no KafkaBatchInfo"),
        ("aws/lambda/u/x", b'{"requestContext": {}, "KafkaBatchInfo": {}}', "no records in payload"),
        (
            "aws/lambda/u/x",
            b'{"requestContext": {}, "KafkaBatchInfo": {}, "payload": "{"}',
            "payload is not JSON",
        ),
        (
            "aws/lambda/u/x",
            b'{"requestContext": {}, "KafkaBatchInfo": {}, "payload": {"records": {"t-0": [5]}}}',
            "a record is not an object",
        ),
    ],
)
def test_what_is_malformed_is_told(key: str, body: bytes, problem: str) -> None:
    """Each in its own words."""
    with pytest.raises(MalformedError, match=problem):
        parse(key, body, LATER)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["code", "replays", "at"]), inner)
    ),
    max_leaves=8,
)
FIELDS = (
    "reason", "kept", "topic", "partition", "offset", "timestamp", "key", "value", "headers",
    "requestContext", "responseContext", "KafkaBatchInfo", "payload",
)  # fmt: skip


@given(
    st.sampled_from([REJECTED, "given-up/t/0/1.json", "aws/lambda/u/x", f"replayed/{REJECTED}"]),
    st.dictionaries(st.sampled_from(FIELDS), JSON),
)
@pytest.mark.slow
def test_no_object_is_a_crash(key: str, changes: dict[str, Any]) -> None:
    """Whatever a field holds, the letter is read or said to be malformed, and what was read can be asked for."""
    bodies = [json.loads(rejected()) | changes]
    if key.startswith("aws/"):
        batch = json.loads(made.given_up(made.record(b"x"))[1])
        event = json.loads(batch["payload"])
        inner = json.loads(rejected()) | changes
        bodies = [batch | changes, batch | {"payload": {**event, "records": {"t-0": [inner]}}}]
    for body in bodies:
        try:
            letters = parse(key, json.dumps(body).encode(), LATER)
        except MalformedError:
            continue
        for letter in letters:
            json.dumps(letter.stored())
            letter.names_batch("b")
            assert letter.correlation_id is None or letter.correlation_id
            assert letter.timestamp is None or letter.timestamp.tzinfo
            for part in (letter.key, letter.value, letter.headers):
                try:
                    part()
                except ValueError:
                    continue


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("t.v1/0/7", Place("t.v1", 0, 7)),
        ("a/b/0/007", Place("a/b", 0, 7)),
        ("t/0", None),
        ("t/0/-1", None),
        ("t/0/x", None),
        ("rejected/t/0/00000000000000000007.json", None),
    ],
)
def test_a_place_is_written_as_it_is_shown(text: str, place: Place | None) -> None:
    """topic/partition/offset, and nothing else."""
    assert Place.parse(text) == place


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("t.v1/0/7", RecordId(Place("t.v1", 0, 7), "")),
        ("t-a/0/7-0af", RecordId(Place("t-a", 0, 7), "0af")),
        (f"t/0/7-{'9' * 32}", RecordId(Place("t", 0, 7), "9" * 32)),
        (f"t/0/7-{'9' * 33}", None),
        ("t/0/7-x", None),
        ("t/0-1", None),
        ("t/0/7-", None),
    ],
)
def test_a_record_is_named_by_its_place_and_as_much_of_its_digest(text: str, record: RecordId | None) -> None:
    """As much as tells it from others; the whole is what its id shows."""
    assert RecordId.parse(text) == record


@given(st.binary(max_size=4), st.text(max_size=5).filter(bool), st.integers(0, 9), st.integers(0, 10**17))
def test_a_records_id_is_read_as_it_is_shown(value: bytes, topic: str, partition: int, offset: int) -> None:
    """Whatever its topic is called, if that is one line of text."""
    if not topic.isprintable():
        return
    key = "rejected/x"
    [letter] = parse(
        key, rejected(topic=topic, partition=partition, offset=offset, value=made.b64(value)), LATER
    )

    assert RecordId.parse(str(letter.id)) == letter.id


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"data": {"batch_id": "b"}}, True),
        ({"data": {"entity_ref": {"entity_id": "e", "parent_id": "b"}}}, True),
        ({"data": {"results": [{"entity_id": "b"}]}}, True),
        ({"data": {"batch_id": "other", "note": "b"}}, False),
        ("b", False),
    ],
)
def test_a_batch_is_found_in_any_dialect(value: Any, *, named: bool) -> None:
    """By what poison says of it, which no contract could read; or by the record's key."""
    content = made.b64(json.dumps(value).encode())
    [letter] = parse(REJECTED, rejected(value=content), LATER)
    [keyed] = parse(REJECTED, rejected(key=made.b64(b"b")), LATER)

    assert letter.names_batch("b") is named
    assert keyed.names_batch("b")
