"""Credentials come from wherever botocore finds them, and are refreshed by it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator_client import CredentialsError

from tests.client import sigv4
from tests.client.answers import status
from tests.client.conftest import REGION, SECRET
from tests.client.server import CannedResponse, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.client.conftest import Client

pytestmark = pytest.mark.usefixtures("no_aws")


@pytest.fixture
def issuer() -> Iterator[Server]:
    """Where credentials come from."""
    with Server() as running:
        yield running


def key_of(server: Server) -> str:
    """The access key that signed the last request, whose signature is checked."""
    asked = server.asked[-1]
    assert sigv4.problem(asked.target, asked.headers, secret=SECRET, region=REGION) is None
    match = re.search(r"Credential=(\w+)/", asked.headers["authorization"])
    assert match
    return match[1]


def container_keys(access_key: str, life: timedelta) -> CannedResponse:
    return CannedResponse(
        200,
        {
            "AccessKeyId": access_key,
            "SecretAccessKey": SECRET,
            "Token": "t",
            "Expiration": (datetime.now(UTC) + life).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    )


def test_the_environment(
    make_client: Callable[..., Client], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys, and its region for an address that does not tell one."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    server.lay_out(status("e"))
    make_client(credentials=None, region=None).get_batch_status("b")

    assert key_of(server) == "ENVIRONMENT"


def test_a_profile(
    make_client: Callable[..., Client], server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The one that AWS_PROFILE names, with its region."""
    (tmp_path / "config").write_text(
        f"[profile team]\nregion = {REGION}\naws_access_key_id = PROFILE\naws_secret_access_key = {SECRET}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "team")
    server.lay_out(status("e"))
    make_client(credentials=None, region=None).get_batch_status("b")

    assert key_of(server) == "PROFILE"


def test_a_container_and_its_refreshes(
    make_client: Callable[..., Client], server: Server, issuer: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in ECS and EKS: keys near their end are renewed before they sign."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", issuer.url)
    # botocore renews what lives less than ten minutes.
    issuer.lay_out(
        container_keys("FIRST", timedelta(minutes=5)), container_keys("SECOND", timedelta(hours=1))
    )
    server.lay_out(*[status("e")] * 3)
    client = make_client(credentials=None)
    used = []
    for _ in range(3):
        client.get_batch_status("b")
        used.append(key_of(server))

    assert set(used[1:]) == {"SECOND"}
    assert len(issuer.asked) == 2


def test_web_identity(
    make_client: Callable[..., Client],
    server: Server,
    issuer: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """As in EKS with a service account: the token is exchanged at STS."""
    (tmp_path / "token").write_text("a token of the cluster")
    for name, value in {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/api-gateway-service",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_ENDPOINT_URL_STS": issuer.url,
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    result = "AssumeRoleWithWebIdentity"
    issuer.lay_out(
        CannedResponse(
            200,
            f'<{result}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{result}Result><Credentials>'
            f"<AccessKeyId>WEB</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
            "<SessionToken>t</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>"
            f"</Credentials></{result}Result></{result}Response>".encode(),
            {"Content-Type": "text/xml"},
        )
    )
    server.lay_out(status("e"))
    make_client(credentials=None, region=None).get_batch_status("b")

    assert key_of(server) == "WEB"


def refusing_issuer(issuer: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", issuer.url)
    issuer.otherwise = lambda _: CannedResponse(403, b"no")


def expired_keys(issuer: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", issuer.url)
    issuer.otherwise = lambda _: container_keys("OLD", timedelta(minutes=-5))


def unknown_profile(_issuer: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")


def nothing(_issuer: Server, _monkeypatch: pytest.MonkeyPatch) -> None:
    pass


def no_region(_issuer: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.mark.parametrize("trouble", [refusing_issuer, expired_keys, unknown_profile, nothing, no_region])
@pytest.mark.slow
def test_no_credentials_are_told_before_anything_is_sent(
    make_client: Callable[..., Client],
    server: Server,
    issuer: Server,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[..., Any],
) -> None:
    """Whatever the trouble is, it is one kind of error, with the correlation id."""
    trouble(issuer, monkeypatch)
    with pytest.raises(CredentialsError) as caught:
        make_client(credentials=None, region=None).get_batch_status("b", None, "abc-1")

    assert caught.value.correlation_id == "abc-1"
    assert server.asked == []
