"""The pieces by themselves: addresses, paths, the cache, the pauses."""

from __future__ import annotations

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_aggregator_client import Address
from result_aggregator_client.cache import EtagCache, Kept, Key
from result_aggregator_client.client import _jitter
from result_aggregator_client.core import segment
from result_aggregator_client.errors import of_answer


@pytest.mark.parametrize(
    ("address", "url", "region"),
    [
        (
            Address.private_dns("a1", region="eu-north-1", stage="prod"),
            "https://a1.execute-api.eu-north-1.amazonaws.com/prod",
            "eu-north-1",
        ),
        (
            Address.endpoint_alias("a1", vpc_endpoint_id="vpce-0f", region="eu-north-1", stage="prod"),
            "https://a1-vpce-0f.execute-api.eu-north-1.amazonaws.com/prod",
            "eu-north-1",
        ),
        (
            Address.endpoint_dns(
                "vpce-0f-x.execute-api.eu-north-1.vpce.amazonaws.com", api_id="a1", stage="prod"
            ),
            "https://vpce-0f-x.execute-api.eu-north-1.vpce.amazonaws.com/prod",
            "eu-north-1",
        ),
        (
            Address.private_dns("a1", region="cn-north-1", stage="prod"),
            "https://a1.execute-api.cn-north-1.amazonaws.com.cn/prod",
            "cn-north-1",
        ),
        (Address("https://Results.Example.com:443/v1/"), "https://results.example.com/v1", None),
        (Address("http://127.0.0.1:8080"), "http://127.0.0.1:8080", None),
        (Address("http://[::1]:8080/v1"), "http://[::1]:8080/v1", None),
        (Address("http://ras_api:8080"), "http://ras_api:8080", None),
    ],
)
def test_the_ways_to_the_api(address: Address, url: str, region: str | None) -> None:
    """The URL as it is sent, and the region where the name tells it."""
    assert (address.url, address.region) == (url, region)


def test_only_an_endpoints_own_name_needs_the_header() -> None:
    """The other names say which API they are of."""
    assert Address.endpoint_dns("v.example", api_id="a1", stage="prod").headers == {"x-apigw-api-id": "a1"}
    assert Address.private_dns("a1", region="eu-north-1", stage="prod").headers == {}


@pytest.mark.parametrize(
    "url", ["", "results.example.com", "ftp://x/y", "https://", "https://x/?a=b", "https://u:p@x/"]
)
def test_what_is_no_address(url: str) -> None:
    """Is refused where it is written, not at the first question."""
    with pytest.raises(ValueError, match="is not the base URL"):
        Address(url)


@given(st.text(min_size=1, max_size=255).filter(lambda text: text.isprintable() or "\n" in text))
def test_no_library_on_the_way_changes_a_path(name: str) -> None:
    """What is signed is what the HTTP library sends, whatever the id."""
    path = f"/stage/internal/v1/batches/{segment('batch_id', name)}/status"

    assert httpx2.URL(f"https://host{path}").raw_path.decode() == path


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60))),
    st.integers(0, 4),
    st.integers(0, 150),
)
def test_the_cache_never_exceeds_its_bounds(puts: list[tuple[str, int]], entries: int, size: int) -> None:
    """In entries and in bytes, all told; and the one put last is there if it fits alone."""
    cache = EtagCache(max_entries=entries, max_bytes=size)
    for name, length in puts:
        kept = Kept("etag", b"x" * length)
        cache.put(Key("key", name), kept)
        found = [cache.get(Key("key", one)) for one in "abcdef"]
        held = [one for one in found if one is not None]
        fits = entries > 0 and length + len("key") + len(name) + len("etag") <= size

        assert len(cache) == len(held) <= entries
        assert sum(len(one.body) + len("key") + len(name) + len("etag") for one in held) <= size
        assert (cache.get(Key("key", name)) is kept) == fits


def test_jitter_is_full() -> None:
    """From nothing to the longest."""
    drawn = [_jitter(2.0) for _ in range(10_000)]

    assert 0 <= min(drawn) < 0.2
    assert 1.8 < max(drawn) <= 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0),
        ({"retry-after": " 12 "}, 12),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "Mon, 02 Mar 2026 08:00:00 GMT"}, None),
        (
            {"retry-after": "Mon, 02 Mar 2026 08:00:00 GMT", "date": "Mon, 02 Mar 2026 08:00:09 GMT"},
            0,
        ),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds or a date (RFC 9110); anything else says nothing, and a date without the server's own neither."""
    assert of_answer(503, headers, b"", "abc-1").retry_after_s == seconds
