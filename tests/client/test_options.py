"""What a client or a single call can be given of one's own: certificates, a proxy, a transport, headers, times, spans."""

from __future__ import annotations

import contextlib
import inspect
import ssl
import threading
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from botocore.credentials import Credentials
from result_aggregator_client import (
    AsyncResultAggregatorClient,
    Attempt,
    DeadlineExceededError,
    ResultAggregatorClient,
    Retries,
    Timeouts,
    UnavailableError,
)

from tests.client import certificates, sigv4
from tests.client.answers import error, listing, status
from tests.client.conftest import REGION, SECRET
from tests.client.server import HANG_UP, Asked, CannedResponse, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.client.conftest import Client, Time

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


# Certificates and the way


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server with a certificate of an authority that nobody knows, and the authority's file."""
    context, bundle = certificates.make(tmp_path)
    with Server(context) as running:
        running.otherwise = lambda _: status("e")
        yield running, bundle


@pytest.mark.parametrize("given", ["path", "text", "context", "AWS_CA_BUNDLE"])
def test_an_authority_of_ones_own(
    make_client: Callable[..., Client],
    tls: tuple[Server, Path],
    monkeypatch: pytest.MonkeyPatch,
    given: str,
) -> None:
    """By its file, by a context that has more, or by the variable that every AWS tool knows."""
    server, bundle = tls
    verify: Any = {
        "path": bundle,
        "text": str(bundle),
        "context": ssl.create_default_context(cafile=bundle),
    }.get(given)
    if verify is None:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))

    assert make_client(address=server.url, verify=verify).get_batch_status("b") is not None
    assert (
        sigv4.problem(server.asked[0].target, server.asked[0].headers, secret=SECRET, region=REGION) is None
    )


def test_a_bundle_of_the_environment_that_is_not_there(
    make_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is named when the client is made."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(ValueError, match=r"AWS_CA_BUNDLE .*/nowhere/ca.pem"):
        make_client()


def test_a_proxy_only_where_it_is_given(
    make_client: Callable[..., Client], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its URL, with its password; never the environment's."""
    with Server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        server.lay_out(status("direct"))
        proxy.lay_out(status("by proxy"))
        direct = make_client().get_batch_status("b")
        by_proxy = make_client(proxy=proxy.url.replace("//", "//me:secret@")).get_batch_status("b")

        assert [answer.essays[0].essay_id for answer in (direct, by_proxy)] == ["direct", "by proxy"]
        assert proxy.asked[0].target == f"{server.url}/internal/v1/batches/b/status"
        assert proxy.asked[0].headers["proxy-authorization"].startswith("Basic ")


def test_a_transport_of_ones_own(make_client: Callable[..., Client]) -> None:
    """Instead of the network; it sees requests as they would be sent, signed and with the times allowed."""
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=status("e").body)

    client = make_client(transport=httpx2.MockTransport(answer), timeouts=Timeouts(read_s=7))

    assert client.get_batch_status("b").essays[0].essay_id == "e"
    assert "Signature=" in seen[0].headers["authorization"]
    assert seen[0].extensions["timeout"]["read"] == 7


def test_a_transport_of_ones_own_is_ones_own_to_close(server: Server) -> None:
    """It may serve others."""
    server.otherwise = lambda _: status("e")
    with httpx2.HTTPTransport() as transport:
        for _ in range(2):
            with ResultAggregatorClient(
                server.url, credentials=Credentials("AKID", SECRET), region=REGION, transport=transport
            ) as client:
                client.get_batch_status("b")

    assert len({asked.connection for asked in server.asked}) == 1


# Of a single call


def test_headers_of_a_call(client: Client, server: Server) -> None:
    """They are sent with each of its requests, beside the signature and not under it, and with no other call's."""
    server.lay_out(
        HANG_UP, status("e"), listing(total=0), CannedResponse(body={"status": "healthy"}), status("e")
    )
    headers = {"traceparent": TRACE, "X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793"}
    client.get_batch_status("b", headers=headers)
    client.get_user_batches("u", headers=headers)
    client.health(headers=headers)
    client.get_batch_status("b")

    assert [asked.headers.get("traceparent") for asked in server.asked] == [TRACE] * 4 + [None]
    for asked in server.asked[:3]:
        signed = asked.headers["authorization"].split("SignedHeaders=")[1].split(",")[0]
        assert signed == "accept;host;x-amz-date;x-amz-security-token;x-correlation-id"
        ours = {name: value for name, value in asked.headers.items() if name != "x-amzn-trace-id"}
        assert sigv4.problem(asked.target, ours, secret=SECRET, region=REGION) is None


def test_retries_of_a_call(client: Client, server: Server, time: Time) -> None:
    """More or fewer than the client's; the health too may be asked for more than once then."""
    server.lay_out(error(503, "unavailable"))
    with pytest.raises(UnavailableError):
        client.get_batch_status("b", retries=Retries(attempts=0))
    assert (len(server.asked), time.pauses) == (1, [])

    server.lay_out(*[error(503, "unavailable")] * 5, status("e"))
    assert client.get_batch_status("b", retries=Retries(attempts=6, base_s=1, longest_s=1)) is not None
    assert time.pauses == [1] * 5

    server.lay_out(error(503, "unavailable"), CannedResponse(body={"status": "healthy"}))
    assert client.health(retries=Retries(attempts=2)).status == "healthy"


def test_times_of_a_call(client: Client, server: Server, time: Time) -> None:
    """The whole of it is bounded by its own, not by the client's."""

    def later(_asked: Asked) -> CannedResponse:
        time.now += 50
        return status("e")

    server.otherwise = later
    with pytest.raises(DeadlineExceededError):
        client.get_batch_status("b")
    assert client.get_batch_status("b", timeouts=Timeouts(connect_s=600, read_s=600, total_s=60)) is not None


# Around each request


class Spans:
    """What a tracer would record, and the header that it would send."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, int, int | None, str | None]] = []
        self.open = 0
        self.threads: set[int] = set()

    @contextlib.contextmanager
    def __call__(self, attempt: Attempt) -> Iterator[None]:
        self.open += 1
        self.threads.add(threading.get_ident())
        attempt.headers["traceparent"] = TRACE.replace("-01", f"-0{attempt.number}")
        yield
        self.open -= 1
        name = type(attempt.error).__name__ if attempt.error else None
        self.ended.append((attempt.operation, attempt.number, attempt.status, name))


def test_a_span_around_each_request(make_client: Callable[..., Client], server: Server) -> None:
    """It sees what was asked and what came of it, and may send headers of its own."""
    spans = Spans()
    server.lay_out(HANG_UP, error(503, "unavailable"), status("e"), listing(total=0))
    client = make_client(around=spans)
    client.get_batch_status("b", user_id="u")
    client.get_user_batches("u")

    assert spans.ended == [
        ("get_batch_status", 1, None, "RemoteProtocolError"),
        ("get_batch_status", 2, 503, None),
        ("get_batch_status", 3, 200, None),
        ("get_user_batches", 1, 200, None),
    ]
    assert spans.open == 0
    assert [asked.headers["traceparent"][-2:] for asked in server.asked] == ["01", "02", "03", "01"]
    assert len(spans.threads) == 1


def test_what_is_around_may_not_break_a_request(make_client: Callable[..., Client], server: Server) -> None:
    """A header that cannot be sent is its fault, told as such and not tried again."""

    @contextlib.contextmanager
    def around(attempt: Attempt) -> Iterator[None]:
        attempt.headers["traceparent"] = "two\nlines"
        yield

    with pytest.raises(ValueError, match="traceparent"):
        make_client(around=around).get_batch_status("b")
    assert server.asked == []


# Pages as well as items


def test_pages_of_a_batch(client: Client, server: Server) -> None:
    """Each with its own account of the batch."""
    server.lay_out(status("1", cursor="c"), status("2", overall_status="COMPLETED"))
    pages = client.iter_batch_status_pages("b", user_id="u", page_size=1)

    assert [(page.essays[0].essay_id, page.is_ended) for page in pages] == [("1", False), ("2", True)]


def test_pages_of_a_users_batches(client: Client, server: Server) -> None:
    """Each with the total."""
    server.lay_out(listing("2", total=2, cursor="c"), listing("1", total=2))
    pages = client.iter_user_batch_pages("u", page_size=1)

    assert [(page.batches[0].batch_id, page.pagination.total) for page in pages] == [("2", 2), ("1", 2)]


def test_both_clients_have_the_same_methods() -> None:
    """And the same options, under the same names."""
    names = {name for name in vars(ResultAggregatorClient) if not name.startswith("_")}

    assert names == {name for name in vars(AsyncResultAggregatorClient) if not name.startswith("_")}
    for name in names:
        sync, other = (getattr(kind, name) for kind in (ResultAggregatorClient, AsyncResultAggregatorClient))
        assert list(inspect.signature(sync).parameters) == list(inspect.signature(other).parameters)
