"""What the clients decide, driven by hand: no socket, no sleep, any history of outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st
from result_aggregator_client import Address, ResultAggregatorError, Retries, Timeouts
from result_aggregator_client.cache import EtagCache
from result_aggregator_client.core import (
    RETRIED_STATUSES,
    Broken,
    Core,
    Flow,
    NeedKeys,
    Pause,
    Received,
    Send,
)
from result_aggregator_client.signing import Signer

from tests.client.answers import listing, status
from tests.client.server import CannedResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from result_aggregator_client.core import Effect

KEYS = ReadOnlyCredentials("AKID", "secret", "token", None)
RETRIES = Retries(attempts=4, base_s=0.1, longest_s=2)
TIMEOUTS = Timeouts(connect_s=2, read_s=10, total_s=20)


class World:
    """Does what a flow asks for, as a history says, and writes it down."""

    def __init__(self, history: list[tuple[float, Received | Broken]], share: float = 1.0) -> None:
        """`history`: how long each attempt takes, and what comes of it. `share`: of each pause that jitter leaves."""
        self.now = 0.0
        self.history = iter(history)
        self.sends: list[Send] = []
        self.pauses: list[tuple[float, float]] = []
        self.share = share

    def core(self) -> Core:
        return Core(
            Address.private_dns("a1", region="eu-north-1", stage="prod"),
            Signer(None, "eu-north-1"),
            EtagCache(max_entries=10, max_bytes=10_000),
            TIMEOUTS,
            RETRIES,
            lambda: self.now,
            lambda longest: longest * self.share,
        )

    def run(self, flow: Flow[Any]) -> Any:
        outcome: Any = None
        while True:
            try:
                effect: Effect = flow.send(outcome)
            except StopIteration as end:
                return end.value
            match effect:
                case NeedKeys():
                    outcome = KEYS
                case Pause(seconds):
                    self.pauses.append((self.now, seconds))
                    self.now += seconds
                    outcome = None
                case Send():
                    self.sends.append(effect)
                    took, outcome = next(self.history, (0.0, OK))
                    self.now += took


OK = Received(200, {"etag": 'W/"1"'}, status("e").content)

outcomes = st.one_of(
    st.just(OK),
    st.builds(Broken, st.just(OSError("reset")), st.booleans()),
    st.builds(
        Received,
        st.sampled_from([301, 304, 400, 403, 404, 405, 414, 429, 500, 502, 503, 504]),
        st.one_of(st.just({}), st.integers(0, 30).map(lambda wait: {"retry-after": str(wait)})),
        st.sampled_from([b"", b"<html>", b"[]", b'{"code": "batch_not_found"}', b'{"code": "unavailable", "error": "x"}']),
    ),
)  # fmt: skip


@given(st.lists(st.tuples(st.floats(0, 15), outcomes), max_size=6), st.floats(0, 1))
def test_every_history_ends_within_its_bounds(
    history: list[tuple[float, Received | Broken]], share: float
) -> None:
    """Whatever happens: an answer or an error of ours, not too often, not too late, and nothing refused twice."""
    world = World(history, share)
    failure = None
    answer = None
    try:
        answer = world.run(world.core().batch_status("b", "u", {"correlation_id": "abc-1"}))
    except ResultAggregatorError as error:
        failure = error

    assert failure is None or failure.correlation_id == "abc-1"
    assert answer is None or answer.essays[0].essay_id == "e"
    assert 1 <= len(world.sends) <= RETRIES.attempts
    for send in world.sends:
        assert dict(send.headers)["X-Correlation-ID"] == "abc-1"
        assert 0 < send.read_s <= TIMEOUTS.read_s
        assert 0 < send.connect_s <= TIMEOUTS.connect_s
        assert send.deadline == TIMEOUTS.total_s
    for began, seconds in world.pauses:
        assert began + seconds < TIMEOUTS.total_s
    # All but the last attempt came to something that passes.
    for _, outcome in history[: len(world.sends) - 1]:
        assert isinstance(outcome, Broken) or outcome.status in RETRIED_STATUSES


USER = "/internal/v1/batches/user/{user_id}"
CONTRACT = yaml.safe_load((Path(__file__).parents[2] / "docs/openapi.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("ask", "route"),
    [
        (lambda core: core.batch_status("x", "u", {}), "/internal/v1/batches/{batch_id}/status"),
        (
            lambda core: core.batch_status_page("x", "u", 1, "c", {}),
            "/internal/v1/batches/{batch_id}/status",
        ),
        (
            lambda core: core.batches_page("x", 1, 2, "FAILED", "c", {}),
            "/internal/v1/batches/user/{user_id}",
        ),
        (lambda core: core.health({}), "/healthz"),
    ],
)
def test_questions_are_those_of_the_contract(ask: Callable[[Core], Flow[Any]], route: str) -> None:
    """Paths, parameters and headers: the service refuses any parameter that it does not know."""
    answer = {"/healthz": CannedResponse(body={"status": "healthy"}), USER: listing(total=0)}.get(
        route, status("e")
    )
    world = World([(0, Received(200, {}, answer.content))])
    world.run(ask(world.core()))
    url = urlsplit(world.sends[0].url)
    operation = CONTRACT["paths"][route]["get"]
    parameters = [
        CONTRACT["components"]["parameters"][one["$ref"].rsplit("/", 1)[-1]] if "$ref" in one else one
        for one in operation["parameters"]
    ]

    assert url.path == "/prod" + route.replace("{batch_id}", "x").replace("{user_id}", "x")
    assert set(parse_qs(url.query)) <= {one["name"] for one in parameters if one["in"] == "query"}
    assert "X-Correlation-ID" in {one["name"] for one in parameters if one["in"] == "header"}
    assert ("Authorization" in dict(world.sends[0].headers)) == (operation.get("security") != [])


def test_what_is_signed_is_what_is_said() -> None:
    """For a VPC endpoint's own name: its host, and the header that names the API, are under the signature."""
    world = World([])
    core = Core(
        Address.endpoint_dns("vpce-0f.execute-api.eu-north-1.vpce.amazonaws.com", api_id="a1", stage="prod"),
        Signer(None, "eu-north-1"),
        EtagCache(max_entries=0, max_bytes=0),
        TIMEOUTS,
        RETRIES,
        lambda: 0.0,
        lambda longest: longest,
    )
    world.run(core.batch_status("b", None, {}))
    headers = dict(world.sends[0].headers)

    assert headers["x-apigw-api-id"] == "a1"
    assert "Host" not in headers  # the library sends the URL's, which is what is signed
    assert (
        "SignedHeaders=accept;host;x-amz-date;x-amz-security-token;x-apigw-api-id;x-correlation-id"
        in headers["Authorization"]
    )
