"""Clients of servers on this machine go to the address that they are given, whatever a shell says."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from ras.aws import Cloud
from ras_local.clients import LocalStackCloud, cloud_at

from tests.client.server import CannedResponse, Server

ELSEWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize("kind", [Cloud, LocalStackCloud])
def test_the_environment_of_another_stack_changes_nothing(
    kind: type[Cloud], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for any of many threads either, and the environment stays as it is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", ELSEWHERE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ELSEWHERE)

    def address(number: int) -> tuple[str, str | None]:
        cloud = kind(f"http://127.0.0.1:{number}", "eu-north-1")
        return cloud.s3.meta.endpoint_url, os.environ.get("AWS_ENDPOINT_URL")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(address, range(4000, 4040)))

    assert found == [(f"http://127.0.0.1:{number}", ELSEWHERE) for number in range(4000, 4040)]


@pytest.mark.parametrize(("status", "kind"), [(200, LocalStackCloud), (404, Cloud)])
def test_localstack_is_known_by_its_own_path(status: int, kind: type[Cloud]) -> None:
    with Server() as server:
        server.otherwise = lambda _: CannedResponse(status, {})

        assert type(cloud_at(server.url)) is kind
