"""What is wrong is refused where it is given, by name, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

from tests.client.answers import error, status
from tests.client.conftest import SECRET

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
            client.get_batch_status("b", wrong)
    assert server.asked == []
