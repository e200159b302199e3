"""Credentials come from wherever botocore finds them, and are refreshed by it."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.credentials import Credentials, DeferredRefreshableCredentials
from result_aggregator_client import CredentialsError

from tests.client import sigv4
from tests.client.answers import status
from tests.client.conftest import REGION, SECRET
from tests.client.server import CannedResponse, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", issuer.url)
    issuer.otherwise = lambda _: container_keys("OLD", timedelta(minutes=-5))


def unknown_profile(_issuer: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")


def nothing(_issuer: Server, _monkeypatch: pytest.MonkeyPatch) -> None:
    pass


def no_region(_issuer: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def missing_token_file(_issuer: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/api-gateway-service")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)


def process_that_says(words: str) -> Callable[[Server, pytest.MonkeyPatch], None]:
    """A `credential_process`, as a profile may name one."""

    def trouble(_issuer: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        config = Path(os.environ["AWS_CONFIG_FILE"])
        config.write_text(f"[default]\nregion = {REGION}\ncredential_process = {words}\n")
        monkeypatch.setenv("AWS_PROFILE", "default")

    return trouble


def broken_config(_issuer: Server, _monkeypatch: pytest.MonkeyPatch) -> None:
    Path(os.environ["AWS_CONFIG_FILE"]).write_bytes(b"[default\xff")


@pytest.mark.parametrize(
    ("trouble", "cause"),
    [
        pytest.param(refusing_issuer, "CredentialRetrievalError", id="refusing issuer"),
        pytest.param(expired_keys, "RuntimeError", id="expired keys"),
        pytest.param(unknown_profile, "ProfileNotFound", id="unknown profile"),
        pytest.param(nothing, "NoneType", id="nothing"),
        pytest.param(no_region, "NoneType", id="no region"),
        pytest.param(missing_token_file, "FileNotFoundError", id="no token file"),
        pytest.param(process_that_says("echo this is no JSON"), "JSONDecodeError", id="process without JSON"),
        pytest.param(process_that_says("/nowhere/program"), "FileNotFoundError", id="no such process"),
        pytest.param(broken_config, "ConfigParseError", id="broken config"),
    ],
)
@pytest.mark.slow
def test_no_credentials_are_told_before_anything_is_sent(
    make_client: Callable[..., Client],
    server: Server,
    issuer: Server,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[..., Any],
    cause: str,
) -> None:
    """Whatever the trouble is, it is one kind of error, with the correlation id and what was raised as its cause."""
    trouble(issuer, monkeypatch)
    with pytest.raises(CredentialsError) as caught:
        make_client(credentials=None, region=None).get_batch_status("b", correlation_id="abc-1")

    assert caught.value.correlation_id == "abc-1"
    assert type(caught.value.__cause__).__name__ == cause
    assert server.asked == []


def test_a_refresh_that_fails_is_told(make_client: Callable[..., Client], server: Server) -> None:
    """Whatever it raises: credentials of one's own may run any code."""

    def refresh() -> Any:
        raise OSError("the socket of the agent is gone")

    credentials = DeferredRefreshableCredentials(refresh, "an agent")
    with pytest.raises(CredentialsError, match="OSError") as caught:
        make_client(credentials=credentials).get_batch_status("b")

    assert isinstance(caught.value.__cause__, OSError)
    assert server.asked == []


@pytest.mark.parametrize("keys", [(None, None), ("AKID", None), ("", SECRET), ("AKID", "")])
def test_half_a_pair_of_keys_is_none(
    make_client: Callable[..., Client], server: Server, keys: tuple[Any, Any]
) -> None:
    """Nothing can be signed with it."""
    with pytest.raises(CredentialsError, match="incomplete"):
        make_client(credentials=Credentials(*keys)).get_batch_status("b")
    assert server.asked == []
