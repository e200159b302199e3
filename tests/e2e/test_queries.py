"""The query API over HTTP: pages, revalidation, compression, and what bad requests get, through the emulated gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from ras import stack_file
from ras.kafka.publish import Event, publish
from ras_local.capabilities import Lack

from tests import samples

if TYPE_CHECKING:
    import requests
    from ras.stack_file import Stack

pytestmark = pytest.mark.e2e

BATCH, OWNER = "batch-5aece68f", "teacher-karin"
STATUS = f"/internal/v1/batches/{BATCH}/status"
LISTING = f"/internal/v1/batches/user/{OWNER}"


def refusal(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_pages_together_are_the_whole(filled: Stack) -> None:
    """Essays of a batch, and batches of a user."""
    whole = filled.get(STATUS).json()["essays"]
    answer = filled.get(f"{STATUS}?limit=10&user_id={OWNER}").json()
    shown = answer["essays"]
    while cursor := answer["pagination"]["next_cursor"]:
        answer = filled.get(f"{STATUS}?limit=10&user_id={OWNER}&cursor={cursor}").json()
        shown += answer["essays"]
    assert len(whole) > 10
    assert shown == whole

    batches = filled.get(LISTING).json()["batches"]
    answer = filled.get(f"{LISTING}?limit=1").json()
    found = answer["batches"]
    while cursor := answer["pagination"]["next_cursor"]:
        answer = filled.get(f"{LISTING}?limit=1&cursor={cursor}").json()
        found += answer["batches"]
    assert found == batches


@pytest.mark.needs(Lack.BYTES)
@pytest.mark.parametrize("path", [STATUS, LISTING])
def test_answers_are_revalidated_and_compressed(filled: Stack, path: str) -> None:
    """A 304 for the ETag, gzip on the wire for who asks, and the same content either way."""
    plain = filled.get(path)
    packed = filled.get(path, headers={"Accept": "application/json", "Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < len(plain.content)
    assert packed.json() == plain.json()
    assert packed.headers["ETag"] == plain.headers["ETag"]

    again = filled.get(path, headers={"If-None-Match": plain.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == plain.headers["ETag"]


IDS = ["x%41", "a b+c", "å ü \U0001f600", "q?x=1&y#z", "ä" * 200]


def test_ids_are_what_they_are(filled: Stack) -> None:
    """Every character of an id arrives once decoded; one with a literal "%41" is not the one with an A."""
    events = []
    for batch_id in [*IDS, "xA"]:
        value = samples.envelope({"batch_id": batch_id, "user_id": "strange ids"})
        events.append(
            Event("huleedu.batch.essays.registered.v1", json.dumps(value).encode(), batch_id.encode())
        )
    publish(filled.bootstrap_servers, events)
    stack_file.wait_consumed(filled)

    for batch_id in [*IDS, "xA"]:
        answer = filled.get(f"/internal/v1/batches/{quote(batch_id, safe='')}/status")
        assert answer.status_code == 200, batch_id
        assert answer.json()["batch_id"] == batch_id
    assert (
        len(filled.get(f"/internal/v1/batches/user/{quote('strange ids')}").json()["batches"]) == len(IDS) + 1
    )


def status(batch_id: str) -> str:
    return f"/internal/v1/batches/{batch_id}/status"


BAD: dict[str, tuple[str, dict[str, str], int, str]] = {
    "limit=0": (f"{LISTING}?limit=0", {}, 400, "bad_request"),
    "limit=-1": (f"{LISTING}?limit=-1", {}, 400, "bad_request"),
    "limit=101": (f"{LISTING}?limit=101", {}, 400, "bad_request"),
    "limit=1e9": (f"{LISTING}?limit=1e9", {}, 400, "bad_request"),
    "limit=abc": (f"{STATUS}?limit=abc", {}, 400, "bad_request"),
    "limit=5001": (f"{STATUS}?limit=5001", {}, 400, "bad_request"),
    "limit twice": (f"{LISTING}?limit=1&limit=1", {}, 400, "bad_request"),
    "user_id twice": (f"{STATUS}?user_id={OWNER}&user_id=x", {}, 400, "bad_request"),
    "unknown": (f"{STATUS}?userid={OWNER}", {}, 400, "bad_request"),
    "offset and cursor": (f"{LISTING}?offset=1&cursor=x", {}, 400, "bad_request"),
    "cursor=": (f"{STATUS}?cursor=", {}, 400, "invalid_cursor"),
    "cursor=x": (f"{LISTING}?cursor=x", {}, 400, "invalid_cursor"),
    "256 characters": (status("x" * 256), {}, 400, "bad_request"),
    "255 characters": (status("q" * 255), {}, 404, "batch_not_found"),
    # A newline is for the handler's tests: the emulator's policies do not match a path with one.
    "a control character": (status("a%7Fb"), {}, 400, "bad_request"),
    "1,600 bytes": (status("%F0%9F%98%80" * 130), {}, 404, "batch_not_found"),
    "over 1,600 bytes": (status("%F0%9F%98%80" * 140), {}, 414, "path_too_long"),
    "10 KB of headers": (STATUS, {"x-much": "x" * 10_240}, 431, "headers_too_large"),
}


@pytest.mark.parametrize(("path", "headers", "code", "name"), BAD.values(), ids=BAD.keys())
def test_bad_requests_get_a_code(
    filled: Stack, path: str, headers: dict[str, str], code: int, name: str
) -> None:
    """A 4xx each, with the code that the document has for it."""
    assert refusal(filled.get(path, headers=headers)) == (code, name)


@pytest.mark.usefixtures("embedded_emulator")
@pytest.mark.parametrize(
    ("path", "name"), [(status("a%2Fb"), "unknown_route"), (status("%FF"), "batch_not_found")]
)
def test_how_the_embedded_emulator_reads_a_path(filled: Stack, path: str, name: str) -> None:
    """It decodes a path before it looks for the route; AWS hands the id to the function, LocalStack refuses the second."""
    assert refusal(filled.get(path)) == (404, name)


def test_cursors_of_others_are_refused_alike(filled: Stack) -> None:
    """Damaged, of another batch, user or query: the same words, whether there is anything or not."""
    of_batch = filled.get(f"{STATUS}?limit=1").json()["pagination"]["next_cursor"]
    of_user = filled.get(f"{LISTING}?limit=1").json()["pagination"]["next_cursor"]
    flipped = ("B" if of_batch[0] == "A" else "A") + of_batch[1:]
    bodies: list[dict[str, Any]] = []
    for path in (
        f"{STATUS}?cursor={flipped}",
        f"{STATUS}?cursor={of_user}",
        f"{STATUS}?cursor={of_batch}&user_id={OWNER}",
        f"{status('batch-be38915f')}?cursor={of_batch}",
        f"{status('missing')}?cursor={of_batch}",
        f"{LISTING}?cursor={of_batch}",
        f"{LISTING}?cursor={of_user}&status=FAILED",
        f"/internal/v1/batches/user/teacher-elin?cursor={of_user}",
        f"/internal/v1/batches/user/nobody?cursor={of_user}",
    ):
        answer = filled.get(path, headers={"X-Correlation-ID": "same"})
        assert refusal(answer) == (400, "invalid_cursor")
        bodies.append(answer.json())

    assert all(body == bodies[0] for body in bodies)
