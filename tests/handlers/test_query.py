"""The query function: the guide's answers, and clear refusals that tell nothing they should not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

import pytest
from result_aggregator.domain.storage import UnavailableError
from result_aggregator.store.dynamodb import ViewStore

from tests import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.handlers.conftest import Logs, Service

STATUS = "/internal/v1/batches/{batch_id}/status"
LISTING = "/internal/v1/batches/user/{user_id}"
BATCH = "d5d61df1-a408-46cc-b7c1-a3e2bd2f53d7"
OWNER = "teacher-anna"
USERS = ("teacher-anna", "teacher-bo")


@pytest.fixture
def filled(service: Service) -> Service:
    """The service after the platform's samples."""
    service.deliver(samples.events("platform_2025_06", "platform_2026_02"))
    return service


def refusal(answer: dict[str, Any]) -> tuple[int, str]:
    """A refusal's status and code; its body has the four fields of every error."""
    assert list(answer["body"]) == ["error", "code", "details", "correlation_id"]
    return answer["statusCode"], answer["body"]["code"]


def test_the_guides_fields_come_in_its_names(filled: Service) -> None:
    """A status answer has exactly the guide's fields of a batch."""
    body = filled.get(STATUS, batch_id=BATCH)["body"]

    assert list(body) == [
        "batch_id", "user_id", "overall_status", "essay_count", "completed_essay_count", "failed_essay_count",
        "requested_pipeline", "current_phase", "created_at", "last_updated", "processing_started_at",
        "processing_completed_at", "essays",
    ]  # fmt: skip


def test_listings_are_as_written_down(filled: Service) -> None:
    """Each user's batches, newest first, say the same of a batch as its status does, without the essays."""
    for user_id in USERS:
        batch_ids = samples.expected_listing()[user_id]
        body = filled.get(LISTING, user_id=user_id)["body"]

        assert [batch["batch_id"] for batch in body["batches"]] == batch_ids
        assert body["pagination"] == {"limit": 20, "offset": 0, "total": len(batch_ids)}
        for batch in body["batches"]:
            status = filled.get(STATUS, batch_id=batch["batch_id"])["body"]
            del status["essays"]
            assert batch == status


def test_listings_are_paged_and_filtered(filled: Service) -> None:
    """`total` is true for the filter, whatever the page."""

    def ids(**query: str) -> tuple[list[str], int]:
        asked = {name: [value] for name, value in query.items()}
        body = filled.get(LISTING, user_id="teacher-anna", query=asked)["body"]
        return [batch["batch_id"] for batch in body["batches"]], body["pagination"]["total"]

    everything = samples.expected_listing()["teacher-anna"]
    failed = [one for one in everything if samples.expected()[one]["overall_status"] == "FAILED"]
    assert len(failed) == 2

    assert ids(limit="2", offset="1") == (everything[1:3], 6)
    assert ids(offset="6") == ([], 6)
    assert ids(status="FAILED") == (failed, 2)
    assert ids(status="failed", limit="1", offset="1") == (failed[1:], 2)
    assert ids(status="CANCELLED") == ([], 0)


def test_another_users_batch_is_no_batch(filled: Service) -> None:
    """With a vouched owner, another's batch is answered like one that does not exist, to the letter."""

    def ask(batch_id: str, user_id: str) -> dict[str, Any]:
        headers = {"X-Correlation-ID": "same"}
        return filled.get(STATUS, batch_id=batch_id, query={"user_id": [user_id]}, headers=headers)

    assert ask(BATCH, OWNER)["statusCode"] == 200
    assert refusal(ask(BATCH, "teacher-bo")) == (404, "batch_not_found")
    assert ask(BATCH, "teacher-bo") == ask("no-such-batch", "teacher-bo")


def test_a_batch_without_an_owner_is_counted(service: Service, logs: Logs) -> None:
    """A batch whose owner no event has named is a 404, and a metric."""
    value = samples.envelope({"batch_id": "b", "essay_id": "e", "status": "COMPLETED"})
    service.deliver([samples.Line("huleedu.essay.spellcheck.completed.v1", "k", value)])
    logs.take()

    assert refusal(service.get(STATUS, batch_id="b")) == (404, "batch_not_found")
    _, metrics = logs.take()
    assert sum(1 for line in metrics if "ras_orphan_batches_total" in line) == 1


CALLERS = {
    "nobody": None,
    "a user": "arn:aws:iam::123456789012:user/api-gateway-service",
    "another role": "arn:aws:sts::123456789012:assumed-role/api-gateway-service-2/session",
    "another account": "arn:aws:sts::999999999999:assumed-role/api-gateway-service/session",
    "a forged session": "arn:aws:sts::123456789012:assumed-role/other/api-gateway-service/x",
}


@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS.keys())
def test_unknown_callers_are_refused(filled: Service, caller: str | None) -> None:
    """Whatever policy let a caller through, only named roles of the named account are answered."""
    assert refusal(filled.get(STATUS, caller=caller, batch_id=BATCH)) == (403, "forbidden")
    assert refusal(filled.get(LISTING, caller=caller, user_id=OWNER)) == (403, "forbidden")
    assert refusal(filled.get("/internal/v1/other", caller=caller)) == (403, "forbidden")
    assert refusal(filled.get(STATUS, method="POST", caller=caller, batch_id=BATCH)) == (403, "forbidden")


def test_who_asked_is_logged(filled: Service, logs: Logs) -> None:
    """A caller by its service's name, a refused one by its ARN, both with the correlation id."""
    headers = {"X-Correlation-ID": "who-1"}
    logs.take()
    filled.get(STATUS, batch_id=BATCH, headers=headers)
    (answered,) = logs.take()[0]
    filled.get(STATUS, batch_id=BATCH, headers=headers, caller=CALLERS["another role"])
    refused, closing = logs.take()[0]

    assert (answered["caller"], answered["correlation_id"]) == ("api-gateway-service", "who-1")
    assert (refused["caller_arn"], refused["correlation_id"]) == (CALLERS["another role"], "who-1")
    assert (closing.get("caller"), closing["status"]) == (None, 403)


BAD_QUERIES = {
    "limit=0": {"limit": ["0"]},
    "limit=101": {"limit": ["101"]},
    "limit=-1": {"limit": ["-1"]},
    "limit=1e2": {"limit": ["1e2"]},
    "limit=abc": {"limit": ["abc"]},
    "limit=": {"limit": [""]},
    "limit twice": {"limit": ["1", "2"]},
    "offset=10001": {"offset": ["10001"]},
    "offset=-1": {"offset": ["-1"]},
    "status=DONE": {"status": ["DONE"]},
    "status=": {"status": [""]},
}


@pytest.mark.parametrize("query", BAD_QUERIES.values(), ids=BAD_QUERIES.keys())
def test_bad_queries_are_refused_by_name(service: Service, query: dict[str, list[str]]) -> None:
    """A wrong parameter is a 400 that names it."""
    answer = service.get(LISTING, user_id="u", query=query)

    assert refusal(answer) == (400, "bad_request")
    assert answer["body"]["details"]["parameter"] == next(iter(query))


@pytest.mark.parametrize("batch_id", ["", "x" * 256, "a%0Ab", "a\x7fb", "%ff", "%ED%A0%80"])
def test_bad_ids_are_refused(service: Service, batch_id: str) -> None:
    """An id that no event can carry is a 400."""
    assert refusal(service.get(STATUS, batch_id=batch_id)) == (400, "bad_request")


def test_ids_are_percent_decoded(service: Service) -> None:
    """A path parameter comes as it stands in the path."""
    for batch_id in ("a/b ü", "no\u00a0break", "zero\u200bwidth"):
        value = samples.envelope({"batch_id": batch_id, "user_id": "u"})
        service.deliver([samples.Line("huleedu.batch.essays.registered.v1", "k", value)])

        assert service.get(STATUS, batch_id=quote(batch_id, safe=""))["body"]["batch_id"] == batch_id


def test_other_routes_and_methods_are_refused(service: Service) -> None:
    """An unknown route is a 404 by any method, a known one with another method a 405 that says which it allows."""
    assert refusal(service.get("/internal/v1/other")) == (404, "unknown_route")
    assert refusal(service.get("/internal/v1/other", method="POST")) == (404, "unknown_route")
    answer = service.get(STATUS, method="POST", batch_id="b")

    assert refusal(answer) == (405, "method_not_allowed")
    assert answer["headers"]["Allow"] == "GET"


def test_correlation_ids_go_through(service: Service, logs: Logs) -> None:
    """A caller's correlation id is echoed and logged; a missing or malformed one is replaced by a new UUID."""
    kept = service.get(STATUS, batch_id="b", headers={"x-correlation-id": "abc-123"})
    lines, _ = logs.take()

    assert kept["headers"]["X-Correlation-ID"] == kept["body"]["correlation_id"] == "abc-123"
    assert {line["correlation_id"] for line in lines} == {"abc-123"}
    for bad in (
        None,
        {},
        {"X-Correlation-ID": ""},
        {"X-Correlation-ID": "a b"},
        {"X-Correlation-ID": "x" * 129},
    ):
        made = service.get(STATUS, batch_id="b", headers=bad)
        assert UUID(made["headers"]["X-Correlation-ID"]).version == 4


def test_health_needs_no_caller_and_tells_the_truth(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Healthy while the table answers, a 503 when it does not."""
    assert service.get("/healthz", caller=None)["body"]["status"] == "healthy"

    def unavailable(_: ViewStore) -> bool:
        raise UnavailableError("DescribeTable: InternalServerError")

    monkeypatch.setattr(ViewStore, "is_active", unavailable)
    assert refusal(service.get("/healthz", caller=None)) == (503, "unavailable")


def test_failures_tell_no_internals(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails is a 503, a bug a 500; the body has neither a trace nor a name of ours."""

    def fail(error: Exception) -> None:
        def read(_: ViewStore, __: str) -> Iterator[Any]:
            raise error

        monkeypatch.setattr(ViewStore, "read_partition", read)

    fail(UnavailableError("Query: ProvisionedThroughputExceededException on table-x"))
    throttled = service.get(STATUS, batch_id="b")
    fail(KeyError("secret"))
    broken = service.get(STATUS, batch_id="b")

    assert refusal(throttled) == (503, "unavailable")
    assert throttled["headers"]["Retry-After"] == "2"
    assert "Retry-After" not in broken["headers"]
    assert refusal(broken) == (500, "internal_error")
    assert "table-x" not in json.dumps(throttled)
    assert "secret" not in json.dumps(broken)
