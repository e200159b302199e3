"""The client against the deployed stack: real signatures over HTTP, checked by the gateway."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from botocore.credentials import Credentials
from ras import stack_file
from ras.kafka.publish import Event, publish
from ras_local.capabilities import Lack
from result_aggregator_client import (
    AsyncResultAggregatorClient,
    Attempt,
    CursorOutdatedError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    ResultAggregatorClient,
    Timeouts,
)

from tests import samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from ras.stack_file import Stack

pytestmark = pytest.mark.e2e

BATCH = "batch-5aece68f"
OWNER = "teacher-karin"

# A slow machine has all the time that it needs.
PATIENT = Timeouts(connect_s=60, read_s=60, total_s=240)


def options(running: Stack, caller: str = "api-gateway-service", **changed: Any) -> dict[str, Any]:
    keys = {**running.callers[caller], **changed}
    return {
        "credentials": Credentials(keys["access_key_id"], keys["secret_access_key"], keys["session_token"]),
        "region": running.region,
        "timeouts": PATIENT,
    }


@pytest.fixture(scope="session")
def client(filled: Stack) -> Iterator[ResultAggregatorClient]:
    with ResultAggregatorClient(filled.api_url, **options(filled)) as made:
        yield made


@pytest.mark.parametrize("batch_id", samples.expected())
def test_every_sample_batch(client: ResultAggregatorClient, batch_id: str) -> None:
    """What the samples must answer, as types."""
    wanted = samples.expected()[batch_id]
    status = client.get_batch_status(batch_id, user_id=wanted["user_id"])

    assert status is not None
    assert (status.overall_status, status.completed_essay_count, status.failed_essay_count) == (
        wanted["overall_status"],
        wanted["completed_essay_count"],
        wanted["failed_essay_count"],
    )
    assert [
        (essay.essay_id, essay.cj_rank, essay.spellcheck_correction_count) for essay in status.essays
    ] == [
        (essay["essay_id"], essay["cj_rank"], essay["spellcheck_correction_count"])
        for essay in wanted["essays"]
    ]


def test_nobody_elses_batch(client: ResultAggregatorClient) -> None:
    """None, as for one that does not exist."""
    assert client.get_batch_status(BATCH, user_id="teacher-elin") is None
    assert client.get_batch_status("missing", user_id="teacher-elin") is None
    assert client.get_batch_status(BATCH, user_id=OWNER) is not None


ODD_IDS = (
    "a b",
    "100%",
    "a+b",
    "a?b#c&d=e",
    "~-_.!*'();:@&=$,[]|",
    "..",
    ".",
    "åäö é",
    "日本",
    "x" * 255,
    "\\\\",
)


@pytest.fixture(scope="session")
def odd_batches(filled: Stack) -> None:
    """A batch under each odd id, of an owner by the same name."""
    publish(
        filled.bootstrap_servers,
        [
            Event("huleedu.batch.essays.registered.v1", json.dumps(registered).encode(), b"odd")
            for registered in (
                samples.envelope({"batch_id": odd, "user_id": odd, "expected_essay_count": 1})
                for odd in ODD_IDS
            )
        ],
    )
    stack_file.wait_consumed(filled)


@pytest.mark.usefixtures("odd_batches")
@pytest.mark.parametrize("odd", ODD_IDS)
def test_any_id(client: ResultAggregatorClient, odd: str) -> None:
    """The gateway finds the signature right, and the service the id: what was published under it comes back under it."""
    status = client.get_batch_status(odd, user_id=odd)

    assert status is not None
    assert (status.batch_id, status.user_id) == (odd, odd)
    assert [batch.batch_id for batch in client.get_user_batches(odd).batches] == [odd]


@pytest.mark.parametrize("ambiguous", ["a/b", "/", "%2F", "%41"])
def test_ids_that_the_emulator_decodes_too_early(client: ResultAggregatorClient, ambiguous: str) -> None:
    """It decodes a path before it looks for the route, which API Gateway does not; the signature fits all the same."""
    try:
        assert client.get_batch_status(ambiguous) is None
    except NotFoundError as error:
        assert error.code == "unknown_route"  # noqa: PT017 - both are answers to a signature that fitted


@pytest.mark.parametrize(
    ("caller", "changed"),
    [
        pytest.param("not-allowed", {}, marks=pytest.mark.needs(Lack.POLICIES), id="not allowed"),
        pytest.param(
            "api-gateway-service",
            {"secret_access_key": "x" * 40},
            marks=pytest.mark.needs(Lack.SIGNATURES),
            id="forged",
        ),
    ],
)
def test_who_is_refused(filled: Stack, caller: str, changed: dict[str, str]) -> None:
    """A caller that is not allowed, and a forged signature: told as such, with our own correlation id."""
    with (
        ResultAggregatorClient(filled.api_url, **options(filled, caller, **changed)) as client,
        pytest.raises(ForbiddenError) as caught,
    ):
        client.get_batch_status(BATCH, user_id=OWNER, correlation_id="abc-1")

    assert (caught.value.status, caught.value.correlation_id) == (403, "abc-1")


def test_what_is_refused(client: ResultAggregatorClient) -> None:
    """The service's own words, by code and details."""
    with pytest.raises(RefusedError) as caught:
        client.get_user_batches(OWNER, limit=101)

    assert (caught.value.status, caught.value.code) == (400, "bad_request")
    assert caught.value.details == {"parameter": "limit", "minimum": 1, "maximum": 100}


def test_health_without_credentials(filled: Stack) -> None:
    """Anyone behind the endpoint may ask."""
    with ResultAggregatorClient(filled.api_url, timeouts=PATIENT) as client:
        assert client.health().status == "healthy"


def test_the_async_client_answers_the_same(filled: Stack, client: ResultAggregatorClient) -> None:
    """Many at once, over one client."""
    wanted = list(samples.expected())

    async def ask() -> list[Any]:
        answers: dict[str, Any] = {}

        async def one(asking: AsyncResultAggregatorClient, batch_id: str) -> None:
            answers[batch_id] = await asking.get_batch_status(batch_id)

        async with (
            AsyncResultAggregatorClient(filled.api_url, **options(filled)) as asking,
            anyio.create_task_group() as tasks,
        ):
            for batch_id in wanted:
                tasks.start_soon(one, asking, batch_id)
        return [answers[batch_id] for batch_id in wanted]

    assert anyio.run(ask) == [client.get_batch_status(batch_id) for batch_id in wanted]


def test_pages(client: ResultAggregatorClient) -> None:
    """The pages put together are the whole, of essays and of batches; and each kind of page has its size."""
    whole = client.get_batch_status(BATCH, user_id=OWNER)
    page = client.get_batch_status_page(BATCH, user_id=OWNER, limit=5)

    assert whole is not None
    assert page is not None
    assert page.essays == whole.essays[:5]
    assert tuple(client.iter_essays(BATCH, user_id=OWNER, page_size=5)) == whole.essays
    assert len(client.get_user_batches("teacher-anna", limit=2).batches) == 2
    for user_id, wanted in samples.expected_listing().items():
        assert [batch.batch_id for batch in client.iter_user_batches(user_id, page_size=2)] == wanted
    completed = [
        batch.overall_status
        for batch in client.iter_user_batches("teacher-anna", status="COMPLETED", page_size=1)
    ]
    assert completed == ["COMPLETED"] * 2


def test_an_unchanged_batch_is_confirmed_not_sent(filled: Stack) -> None:
    """The deployed service's ETag makes the second answer a 304."""
    attempts: list[Attempt] = []

    def around(attempt: Attempt) -> AbstractContextManager[None]:
        attempts.append(attempt)
        return nullcontext()

    with ResultAggregatorClient(filled.api_url, around=around, **options(filled)) as client:
        first, second = (client.get_batch_status(BATCH, user_id=OWNER) for _ in range(2))

    assert first == second
    assert [attempt.status for attempt in attempts if attempt.status != 503] == [200, 304]


def test_a_ranking_replaced_between_two_pages(filled: Stack, client: ResultAggregatorClient) -> None:
    """The page of another ranking is refused; what reads the whole batch has it of one ranking."""
    batch_id, owner = "batch-reranked", "teacher-reranked"

    def rank(job: str, at: str, essays: list[str]) -> Event:
        rankings = [
            {"essay_id": essay, "rank": place, "score": 1.0 / place, "comparison_count": 3}
            for place, essay in enumerate(essays, 1)
        ]
        data = {
            "batch_id": batch_id,
            "status": "COMPLETED",
            "cj_assessment_job_id": job,
            "rankings": rankings,
        }
        return Event(
            "huleedu.cj_assessment.completed.v1", json.dumps(samples.envelope(data, at)).encode(), b"reranked"
        )

    registered = samples.envelope({"batch_id": batch_id, "user_id": owner, "expected_essay_count": 3})
    publish(
        filled.bootstrap_servers,
        [
            Event("huleedu.batch.essays.registered.v1", json.dumps(registered).encode(), b"reranked"),
            rank("first", "2026-03-02T09:00:00Z", ["a", "b", "c"]),
        ],
    )
    stack_file.wait_consumed(filled)
    essays = client.iter_essays(batch_id, user_id=owner, page_size=1)
    assert next(essays).cj_rank == 1

    publish(filled.bootstrap_servers, [rank("second", "2026-03-02T10:00:00Z", ["c", "b", "a"])])
    stack_file.wait_consumed(filled)

    with pytest.raises(CursorOutdatedError, match="begin again"):
        next(essays)
    whole = client.get_batch_status(batch_id, user_id=owner)
    assert whole is not None
    assert [(essay.essay_id, essay.cj_rank) for essay in whole.essays] == [("a", 3), ("b", 2), ("c", 1)]
