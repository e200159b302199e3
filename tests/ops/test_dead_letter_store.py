"""What the functions keep of a record that they reject, and what they answer to a replay."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
from result_aggregator import replay_headers
from result_aggregator.contracts.rejection import Problem, RejectedError
from result_aggregator.domain.store_interface import UnavailableError
from result_aggregator.msk_event import records_of
from result_aggregator.store.dead_letters import DeadLetterStore
from result_aggregator.store.view_store import ViewStore

from tests.samples import envelope, msk_event, record

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tests.handlers.conftest import Service

SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
REJECTION = RejectedError("invalid_field", [Problem("data.rank", "too small")])
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def spellcheck(essay: str, **data: Any) -> dict[str, Any]:
    return envelope({"batch_id": "b", "essay_id": essay, "status": "COMPLETED", **data})


def keep(s3: S3Client, bucket: str, received: dict[str, Any]) -> None:
    """Keep one record as a function does that rejects it."""
    [one] = records_of(msk_event([received]))
    DeadLetterStore(bucket, s3, function="ingest", clock=lambda: NOON).keep(one, REJECTION)


def letters(s3: S3Client, bucket: str) -> dict[str, dict[str, Any]]:
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {key: json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys}


def test_a_letter_goes_by_the_client_that_is_given() -> None:
    """Whoever has one need not have the environment that the functions make theirs of."""
    sent = []

    class Client:
        def put_object(self, **request: Any) -> None:
            sent.append((request["Bucket"], request["Key"]))

    keep(cast("S3Client", Client()), "a-bucket", record(SPELLCHECK, b"x", 7, 3))

    [(there, key)] = sent
    assert there == "a-bucket"
    assert re.fullmatch(rf"rejected/{re.escape(SPELLCHECK)}/3/{7:020d}-[0-9a-f]{{32}}\.json", key)


def test_a_letter_says_why_when_and_by_whom(s3: S3Client, bucket: str) -> None:
    """Beside the record as received: the reason with its field, the function, the cluster and the time."""
    received = record(SPELLCHECK, b"x", 7, 3)
    keep(s3, bucket, received)

    [letter] = letters(s3, bucket).values()
    assert letter == {
        "reason": {"code": "invalid_field", "problems": [{"path": "data.rank", "message": "too small"}]},
        "kept": {
            "at": "2026-03-02T12:00:00+00:00",
            "function": "ingest",
            "eventSourceArn": msk_event([])["eventSourceArn"],
            "replays": 0,
        },
        **received,
    }


def test_a_replayed_record_goes_back_to_its_own_letter(s3: S3Client, bucket: str) -> None:
    """Rejected again, wherever in the topic it came from this time: one letter, as it first came, its count raised."""
    first = record(SPELLCHECK, b"x", 7, 3) | {"key": "a2V5", "headers": [{"trace": [-1]}, {"trace": [1]}]}
    keep(s3, bucket, first)
    headers = replay_headers.headers(first, attempt=2)
    again = first | {
        "partition": 5,
        "offset": 4711,
        "timestamp": 1_999_999_999_999,
        "headers": [*first["headers"], *({name: list(value)} for name, value in headers.items())],
    }
    keep(s3, bucket, again)
    [(key, letter)] = letters(s3, bucket).items()

    assert key.startswith(f"rejected/{SPELLCHECK}/3/{7:020d}-")
    assert first.items() <= letter.items()
    assert letter["kept"]["replays"] == 2


def test_a_replay_is_told_what_became_of_each_record(service: Service) -> None:
    """One record of every outcome, by its place in the event; the mapping's own answer is in there too."""
    newer = spellcheck("old") | {"event_timestamp": "2026-03-03T00:00:00Z"}
    values = [spellcheck("a"), newer, spellcheck("old"), None, b"poison"]
    records = [record(SPELLCHECK, value, n, 1) for n, value in enumerate([*values, values[0]])]
    event = msk_event(records) | {"eventSource": replay_headers.EVENT_SOURCE}
    answer = service.invoke("ingest_essays", event)

    assert answer["batchItemFailures"] == []
    assert [(one["offset"], one["outcome"]) for one in answer["outcomes"]] == [
        (0, "applied"),
        (1, "applied"),
        (2, "stale"),
        (3, "ignored"),
        (4, "rejected"),
        (5, "duplicate"),
    ]
    assert {one["partition"] for one in answer["outcomes"]} == {f"{SPELLCHECK}-1"}
    assert answer["outcomes"][4]["reason"].startswith("not_json: ")
    [key] = service.dead_letters()
    assert key.startswith(f"rejected/{SPELLCHECK}/1/{4:020d}-")


@pytest.mark.parametrize("partial", ["true", "false"])
def test_a_replay_is_told_of_passing_failures(
    service: Service, monkeypatch: pytest.MonkeyPatch, partial: str
) -> None:
    """Whatever the mappings of this function take, a replay gets an answer and no error."""

    def unavailable(*_: Any) -> None:
        raise UnavailableError("throttled", soon=False)

    monkeypatch.setenv("PARTIAL_BATCH_RESPONSE", partial)
    monkeypatch.setattr(ViewStore, "write", unavailable)
    event = msk_event([record(SPELLCHECK, spellcheck("a"), 7)]) | {"eventSource": replay_headers.EVENT_SOURCE}
    [outcome] = service.invoke("ingest_essays", event)["outcomes"]

    assert (outcome["outcome"], outcome["reason"]) == ("handed_back", "throttled")


def test_no_mapping_is_answered_with_outcomes(service: Service) -> None:
    """What AWS reads stays as AWS documents it."""
    answer = service.invoke("ingest_essays", msk_event([record(SPELLCHECK, spellcheck("a"))]))

    assert answer == {"batchItemFailures": []}


def test_no_record_replaces_the_letter_of_another(s3: S3Client, bucket: str) -> None:
    """A topic that was created again uses its offsets again: both records are kept, each once however often it comes."""
    first, other = record(SPELLCHECK, b"x", 7, 3), record(SPELLCHECK, b"y", 7, 3)
    for received in (first, other, first, other, {**first, "timestamp": first["timestamp"] + 1}):
        keep(s3, bucket, received)

    found = list(letters(s3, bucket).values())
    assert sorted((one["value"], one["timestamp"] - first["timestamp"]) for one in found) == sorted(
        [(first["value"], 0), (first["value"], 1), (other["value"], 0)]
    )


def test_headers_of_another_record_are_not_believed(s3: S3Client, bucket: str) -> None:
    """A producer that copies the headers of a replayed record: its own record is filed where it came from, uncounted."""
    first = record(SPELLCHECK, b"x", 7, 3)
    keep(s3, bucket, first)
    own = [{name: list(value)} for name, value in replay_headers.headers(first, attempt=99).items()]
    keep(s3, bucket, {**record(SPELLCHECK, b"forged", 20, 1), "headers": own})

    found = {(one["partition"], one["offset"]): one for one in letters(s3, bucket).values()}
    assert found.keys() == {(3, 7), (1, 20)}
    assert found[3, 7]["value"] == first["value"]
    assert found[1, 20]["kept"]["replays"] == 0
