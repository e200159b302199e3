"""Events in over Kafka, answers out over signed HTTP: the deployed stacks on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ras import stack_file
from ras.kafka.publish import Event, publish
from ras_local import stack as local_stack

from tests import samples

if TYPE_CHECKING:
    import requests
    from ras.stack_file import Stack
    from ras_local.settings import StackDir

pytestmark = pytest.mark.e2e

BATCH = "batch-5aece68f"
SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"


def status(batch_id: str) -> str:
    return f"/internal/v1/batches/{batch_id}/status"


def listing(user_id: str) -> str:
    return f"/internal/v1/batches/user/{user_id}"


def body(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    parsed: dict[str, Any] = answer.json()
    return parsed


def dead_letters(running: Stack) -> dict[str, dict[str, Any]]:
    s3 = running.cloud.s3
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=running.dead_letter_bucket).get("Contents", [])]
    return {
        key: json.loads(s3.get_object(Bucket=running.dead_letter_bucket, Key=key)["Body"].read())
        for key in keys
    }


@pytest.mark.parametrize("batch_id", samples.expected())
def test_every_sample_batch_answers_as_written_down(filled: Stack, batch_id: str) -> None:
    """All 458 sample events through broker, mappings, functions and table: the API answers as expected."""
    answer = body(filled.get(status(batch_id)))

    assert samples.differences(answer, samples.expected()[batch_id]) == []


@pytest.mark.parametrize("user_id", samples.expected_listing())
def test_every_listing_answers_as_written_down(filled: Stack, user_id: str) -> None:
    """Each user's batches, newest first, with a true total."""
    answer = body(filled.get(listing(user_id)))
    wanted = samples.expected_listing()[user_id]

    assert [batch["batch_id"] for batch in answer["batches"]] == wanted
    assert answer["pagination"] == {
        "limit": 20,
        "offset": 0,
        "total": len(wanted),
        "next_cursor": None,
    }


def test_another_users_batch_is_like_none(filled: Stack) -> None:
    """With a vouched owner, someone else's batch and a missing one look the same."""
    headers = {"X-Correlation-ID": "the-same"}
    others = filled.get(f"{status(BATCH)}?user_id=teacher-elin", headers=headers)
    missing = filled.get(f"{status('missing')}?user_id=teacher-elin", headers=headers)

    assert (others.status_code, others.json()) == (missing.status_code, missing.json())
    assert others.status_code == 404
    assert body(filled.get(f"{status(BATCH)}?user_id=teacher-karin"))["user_id"] == "teacher-karin"


def test_correlation_ids_come_back(running: Stack) -> None:
    """What the caller sends is echoed."""
    answer = running.get(status("missing"), headers={"X-Correlation-ID": "abc-1"})

    assert answer.headers["X-Correlation-ID"] == answer.json()["correlation_id"] == "abc-1"


def test_poison_is_kept_and_its_neighbours_go_on(filled: Stack) -> None:
    """Broken records, a tombstone and a header among good ones: the good ones arrive, the broken ones are kept."""
    before = dead_letters(filled)

    def spellcheck(essay: str, **data: Any) -> bytes:
        return json.dumps(
            samples.envelope({"batch_id": "poisoned", "essay_id": essay, "status": "COMPLETED", **data})
        ).encode()

    registered = samples.envelope(
        {"batch_id": "poisoned", "user_id": "poisoned-user", "expected_essay_count": 2}
    )
    key = b"poisoned"  # one key, one partition: they are neighbours
    publish(
        filled.bootstrap_servers,
        [
            Event("huleedu.batch.essays.registered.v1", json.dumps(registered).encode(), key),
            Event(SPELLCHECK, spellcheck("first"), key, (("trace", b"\xff\x01"),)),
            Event(SPELLCHECK, b"not json \xff", key, (("trace", b"\xff\x01"),)),
            Event(SPELLCHECK, spellcheck("x", status="unheard-of"), key),
            Event(SPELLCHECK, spellcheck("y", correction_count=-1), key),
            Event(SPELLCHECK, None, key),
            Event(SPELLCHECK, spellcheck("last"), key),
        ],
    )
    stack_file.wait_consumed(filled)
    answer = body(filled.get(status("poisoned")))
    kept = {name: letter for name, letter in dead_letters(filled).items() if name not in before}

    assert [essay["essay_id"] for essay in answer["essays"]] == ["first", "last"]
    assert sorted(letter["reason"]["code"] for letter in kept.values()) == [
        "invalid_field",
        "not_json",
        "unknown_status",
    ]
    [broken] = [letter for letter in kept.values() if letter["reason"]["code"] == "not_json"]
    assert broken["value"] == "bm90IGpzb24g/w=="
    assert broken["headers"] == [{"trace": [-1, 1]}]


def test_up_is_idempotent_and_the_stack_file_is_private(running: Stack, state: StackDir) -> None:
    """A second `up` finds the first; what outside programs read is complete and readable by its owner alone."""
    assert local_stack.up(state) == running

    document = json.loads(state.stack_file.read_text())
    assert sorted(document) == [
        "api_url",
        "bootstrap_servers",
        "callers",
        "dashboard_url",
        "dead_letter_bucket",
        "endpoint_url",
        "lacks",
        "region",
        "table_name",
    ]
    assert {"api-gateway-service", "not-allowed"} <= set(document["callers"])
    assert set(document["callers"]["not-allowed"]) == {"access_key_id", "secret_access_key", "session_token"}
    assert state.stack_file.stat().st_mode & 0o077 == 0
    assert document["endpoint_url"].startswith("http://127.0.0.1:")
