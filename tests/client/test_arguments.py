"""What is wrong is refused where it is given, by name, before anything is sent."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials
from result_aggregator_client import (
    Address,
    AsyncResultAggregatorClient,
    ResultAggregatorClient,
    Retries,
    Timeouts,
    UnavailableError,
)

from tests.client import conftest
from tests.client.answers import error, listing, status
from tests.client.conftest import SECRET
from tests.client.server import CannedResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.conftest import Client, Time
    from tests.client.server import Server

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("attempts", [0, 1])
def test_no_retries(make_client: Callable[..., Client], server: Server, time: Time, attempts: int) -> None:
    """None, or one attempt in all: the same."""
    server.lay_out(error(503, "unavailable"), status("e"))
    with pytest.raises(UnavailableError):
        make_client(retries=Retries(attempts=attempts)).get_batch_status("b")

    assert len(server.asked) == 1
    assert time.pauses == []


@pytest.mark.parametrize(
    ("kind", "wrong", "raised"),
    [
        (Retries, {"attempts": -1}, ValueError),
        (Retries, {"attempts": 2.0}, TypeError),
        (Retries, {"attempts": True}, TypeError),
        (Retries, {"attempts": None}, TypeError),
        (Retries, {"base_s": -0.1}, ValueError),
        (Retries, {"longest_s": NAN}, ValueError),
        (Retries, {"longest_s": INFINITY}, ValueError),
        (Timeouts, {"connect_s": 0}, ValueError),
        (Timeouts, {"read_s": -1}, ValueError),
        (Timeouts, {"read_s": "10"}, TypeError),
        (Timeouts, {"read_s": None}, TypeError),
        (Timeouts, {"read_s": True}, TypeError),
        (Timeouts, {"total_s": NAN}, ValueError),
        # No socket takes it.
        (Timeouts, {"total_s": 1e300}, ValueError),
    ],
)
def test_wrong_numbers(kind: Any, wrong: dict[str, Any], raised: type[Exception]) -> None:
    """With the name of the one that is wrong."""
    [name] = wrong
    with pytest.raises(raised, match=name):
        kind(**wrong)


class AsyncCredentials(Credentials):
    """As aiobotocore's: what signs would wait for ever."""

    async def get_frozen_credentials(self) -> Any:  # type: ignore[override]
        return ReadOnlyCredentials("AKID", SECRET, None, None)


GOOD = {"address": "http://127.0.0.1:1", "credentials": Credentials("AKID", SECRET), "region": "eu-north-1"}


@pytest.mark.parametrize("client", [ResultAggregatorClient, AsyncResultAggregatorClient])
@pytest.mark.parametrize(
    ("wrong", "raised"),
    [
        ({"credentials": {"aws_access_key_id": "AKID"}}, TypeError),
        ({"credentials": ("AKID", SECRET)}, TypeError),
        ({"credentials": ReadOnlyCredentials("AKID", SECRET, None, None)}, TypeError),
        ({"credentials": AsyncCredentials("AKID", SECRET)}, TypeError),
        ({"credentials": Credentials}, TypeError),
        ({"address": None}, TypeError),
        ({"address": b"https://x/prod"}, TypeError),
        ({"region": 1}, TypeError),
        ({"timeouts": 3}, TypeError),
        ({"retries": 3}, TypeError),
        ({"max_connections": 0}, ValueError),
        ({"max_connections": "5"}, TypeError),
        ({"cache_entries": -1}, ValueError),
        ({"cache_bytes": 1.5}, TypeError),
        ({"transport": "http"}, TypeError),
        ({"transport": httpx2.MockTransport}, TypeError),
        ({"verify": False}, TypeError),
        ({"verify": "/nowhere/ca.pem"}, ValueError),
        ({"proxy": 8080}, TypeError),
        ({"proxy": "ftp://u:a secret@proxy"}, ValueError),
        ({"around": "a span"}, TypeError),
    ],
)
def test_wrong_options(client: Any, wrong: dict[str, Any], raised: type[Exception]) -> None:
    """When the client is made, not at its first question; a message never repeats credentials."""
    [name] = wrong
    with pytest.raises(raised, match=name) as caught:
        client(**{**GOOD, **wrong})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://[", "https://x:99999/prod", "https://x:port/", "https://a\n.example", "https://exa mple/x"],
)
def test_what_no_library_takes_for_a_url(url: str) -> None:
    """Is the same ValueError as any other wrong address."""
    with pytest.raises(ValueError, match="is not the base URL"):
        Address(url)


@pytest.mark.parametrize("url", [None, 5, b"https://x/prod"])
def test_what_is_no_text(url: Any) -> None:
    """Is no address."""
    with pytest.raises(TypeError, match="url"):
        Address(url)


@pytest.mark.parametrize(
    ("wrong", "raised"), [(None, TypeError), (5, TypeError), (b"b", TypeError), ("", ValueError), ("\ud800", ValueError)]
)  # fmt: skip
def test_wrong_ids(client: Client, server: Server, wrong: Any, raised: type[Exception]) -> None:
    """What cannot be sent; what else is no id of the platform's, the service refuses, which has the rule."""
    for ask in (client.get_batch_status, client.get_batch_status_page, client.iter_essays):
        with pytest.raises(raised, match="batch_id"):
            ask(wrong)
    for ask in (client.get_user_batches, client.iter_user_batches):
        with pytest.raises(raised, match="user_id"):
            ask(wrong)
    if wrong not in (None, ""):
        with pytest.raises(raised, match="user_id"):
            client.get_batch_status("b", user_id=wrong)
    assert server.asked == []


@pytest.mark.parametrize("client", [ResultAggregatorClient, AsyncResultAggregatorClient])
@pytest.mark.parametrize(
    "beside", [{"proxy": "http://127.0.0.1:2"}, {"verify": ssl.create_default_context()}]
)
def test_a_transport_of_ones_own_has_its_own_settings(client: Any, beside: dict[str, Any]) -> None:
    """What it would not see is refused."""
    with pytest.raises(ValueError, match="transport"):
        client(**GOOD, transport=httpx2.MockTransport(lambda _: httpx2.Response(503)), **beside)


@pytest.mark.parametrize(
    ("options", "raised"),
    [
        ({"timeouts": 3}, TypeError),
        ({"retries": 3}, TypeError),
        ({"headers": ["traceparent"]}, TypeError),
        ({"headers": {"traceparent": 1}}, TypeError),
        ({"headers": {"traceparent": "two\r\nlines"}}, ValueError),
        ({"headers": {"trace parent": "x"}}, ValueError),
        ({"headers": {"Authorization": "x"}}, ValueError),
        ({"headers": {"x-correlation-id": "x"}}, ValueError),
        ({"headers": {"X-Amz-Date": "x"}}, ValueError),
        ({"corelation_id": "x"}, TypeError),
    ],
)
def test_wrong_options_of_a_call(
    client: Client, server: Server, options: dict[str, Any], raised: type[Exception]
) -> None:
    """By name; one that does not exist too."""
    [name] = options
    for ask in (
        client.get_batch_status,
        client.iter_essays,
        client.get_user_batches,
        client.iter_user_batch_pages,
    ):
        with pytest.raises(raised, match=name):
            ask("b", **options)
    with pytest.raises(raised, match=name):
        client.health(**options)
    assert server.asked == []


# What version 0.1 took by position


def test_by_position_with_a_warning(client: Client, server: Server) -> None:
    """The old form asks the same, for one version, and warns where it is written."""
    server.otherwise = lambda asked: (
        CannedResponse(body={"status": "healthy"})
        if asked.target.endswith("healthz")
        else listing(total=0)
        if "/user/" in asked.target
        else status("e")
    )
    ways: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (client.get_batch_status, ("b", "u", "abc-1")),
        (client.get_batch_status_page, ("b", "u", "abc-1")),
        (client.iter_essays, ("b", "u", "abc-1")),
        (client.get_user_batches, ("u", "abc-1")),
        (client.iter_user_batches, ("u", "abc-1")),
        (client.health, ("abc-1",)),
    ]
    for ask, given in ways:
        with pytest.warns(DeprecationWarning, match="by keyword only") as warned:
            ask(*given)
        assert [one.filename for one in warned] == [conftest.__file__]

    assert {asked.headers["x-correlation-id"] for asked in server.asked} == {"abc-1"}
    assert all("user_id=u" in asked.target for asked in server.asked[:3])


def test_too_much_by_position(client: Client) -> None:
    """Or twice, is as wrong as it was."""
    with pytest.raises(TypeError, match="positional"):
        client.get_batch_status("b", "u", "abc-1", 5)
    with pytest.raises(TypeError, match="positional"):
        client.get_user_batches("u", "abc-1", correlation_id="abc-1")
