"""The example of an API Gateway service, in front of the deployed stack: what a teacher's browser gets."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient
from ras_local.capabilities import Lack

from tests import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx2 import Response
    from ras.stack_file import Stack

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[2] / "layers/client/examples/gateway_service.py"
BATCH = "batch-5aece68f"


def as_teacher(name: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}", **headers}


def environment(monkeypatch: pytest.MonkeyPatch, running: Stack, caller: str = "api-gateway-service") -> None:
    keys = running.callers[caller]
    monkeypatch.setenv("RESULT_AGGREGATOR_URL", running.api_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", running.region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["secret_access_key"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["session_token"])


def served() -> TestClient:
    """The example as a server would load it; entered as a context manager, it starts and stops."""
    spec = importlib.util.spec_from_file_location("gateway_service", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return TestClient(module.app)


def ask(gateway: TestClient, path: str, headers: dict[str, str] | None = None) -> Response:
    """GET, and again while told to come later: a busy machine may outlast the patience of the gateway's client."""
    for _ in range(9):
        answer = gateway.get(path, headers=headers)
        if answer.status_code != 503:
            return answer
    return gateway.get(path, headers=headers)


@pytest.fixture
def gateway(filled: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    environment(monkeypatch, filled)
    with served() as client:
        yield client


def test_a_teacher_sees_a_batch(gateway: TestClient) -> None:
    """With every field that the service has, and a second time out of the client's cache."""
    for _ in range(2):
        answer = ask(gateway, f"/v1/batches/{BATCH}/status", headers=as_teacher("teacher-karin"))

        assert answer.status_code == 200, answer.text
        assert samples.differences(answer.json(), samples.expected()[BATCH]) == []


def test_a_request_keeps_its_correlation_id(gateway: TestClient) -> None:
    """The browser's own comes back with the answer; where there is none, one is made."""
    theirs = as_teacher("teacher-karin", **{"X-Correlation-ID": "abc-1"})

    assert ask(gateway, "/v1/batches", headers=theirs).headers["X-Correlation-ID"] == "abc-1"
    assert ask(gateway, "/v1/batches/missing/status", headers=theirs).headers["X-Correlation-ID"] == "abc-1"
    assert (
        len(ask(gateway, "/v1/batches", headers=as_teacher("teacher-karin")).headers["X-Correlation-ID"])
        == 36
    )


def test_another_teachers_batch_is_like_a_missing_one(gateway: TestClient) -> None:
    """404, with the same words."""
    others = ask(gateway, f"/v1/batches/{BATCH}/status", headers=as_teacher("teacher-elin"))
    missing = ask(gateway, "/v1/batches/missing/status", headers=as_teacher("teacher-elin"))

    assert (others.status_code, others.json()) == (missing.status_code, missing.json())
    assert others.status_code == 404


def test_a_teachers_own_batches(gateway: TestClient) -> None:
    """Theirs and nobody else's, newest first."""
    answer = ask(gateway, "/v1/batches", headers=as_teacher("teacher-karin"))

    assert [batch["batch_id"] for batch in answer.json()["batches"]] == samples.expected_listing()[
        "teacher-karin"
    ]


def test_nobody_without_a_name(gateway: TestClient) -> None:
    """Who the teacher is comes from the gateway's own authentication, never from the address."""
    assert ask(gateway, f"/v1/batches/{BATCH}/status").status_code == 401
    assert ask(gateway, "/v1/batches", headers={"Authorization": "Basic x"}).status_code == 401


def test_wrong_questions_are_the_askers(gateway: TestClient) -> None:
    """An id that is too long is a 400 of theirs, with the correlation id that they sent."""
    headers = as_teacher("teacher-karin", **{"X-Correlation-ID": "abc-1"})
    answer = ask(gateway, f"/v1/batches/{'x' * 256}/status", headers=headers)

    assert (answer.status_code, answer.headers["X-Correlation-ID"]) == (400, "abc-1")


@pytest.mark.needs(Lack.POLICIES)
def test_a_service_that_refuses_the_gateway_is_not_the_teachers_fault(
    filled: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that may not ask: 502, with nothing of the reason but the id that finds it."""
    environment(monkeypatch, filled, "not-allowed")
    with served() as gateway:
        headers = as_teacher("teacher-karin", **{"X-Correlation-ID": "abc-1"})
        answer = ask(gateway, f"/v1/batches/{BATCH}/status", headers=headers)

    assert (answer.status_code, answer.headers["X-Correlation-ID"]) == (502, "abc-1")
    assert answer.json() == {"detail": "The results cannot be shown now."}


def test_a_service_that_is_not_there(filled: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 and when to come again."""
    environment(monkeypatch, filled)
    monkeypatch.setenv("RESULT_AGGREGATOR_URL", "http://127.0.0.1:1")
    with served() as gateway:
        answer = gateway.get("/v1/batches", headers=as_teacher("teacher-karin"))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
