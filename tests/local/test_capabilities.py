"""What is found out of an emulator by trying it: of the embedded one, which lacks nothing, and of what it becomes without a part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pytest
import requests
from ras import signed_http
from ras.aws import Cloud
from ras.errors import OperatorError
from ras_local import capabilities
from ras_local.capabilities import Lack
from ras_local.settings import region

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_lambda import LambdaClient


@dataclass(frozen=True)
class Trusting(Cloud):
    """An emulator that goes by a key's id alone: whatever secret is given, the key's own signs."""

    first: ClassVar[dict[str, str]] = {}

    def __post_init__(self) -> None:
        object.__setattr__(self, "secret", self.first.setdefault(self.key, self.secret))


@pytest.fixture
def cloud(emulator_url: str) -> Cloud:
    return Cloud(emulator_url, region())


def answering(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[requests.Response], requests.Response]
) -> None:
    """Have the API answer otherwise."""
    real = signed_http.get
    monkeypatch.setattr(signed_http, "get", lambda url, **asked: change(real(url, **asked)))


def refusal() -> requests.Response:
    answer = requests.Response()
    answer.status_code = 403
    answer._content = b'{"message": "access denied"}'
    return answer


def test_nothing_is_lacking_and_nothing_is_left(cloud: Cloud) -> None:
    """What was made to find out is gone again."""
    assert list(capabilities.found(cloud)) == []

    assert [
        one["UserName"] for one in cloud.iam.list_users()["Users"] if "ras_probe" in one["UserName"]
    ] == []
    assert [
        one["RoleName"] for one in cloud.iam.list_roles()["Roles"] if "ras_probe" in one["RoleName"]
    ] == []
    assert [one for one in cloud.gateway.get_rest_apis()["items"] if "ras_probe" in one["name"]] == []
    assert [one for one in cloud.functions.list_layers()["Layers"] if "ras_probe" in one["LayerName"]] == []
    functions = cloud.functions.list_functions()["Functions"]
    assert [one for one in functions if "ras_probe" in one["FunctionName"]] == []


def test_policies_may_be_enforced_where_signatures_are_not_checked(emulator_url: str) -> None:
    """As LocalStack's paid edition documents it: then callers are still told apart, and nobody else is served."""
    found = list(capabilities.found(Trusting(emulator_url, region())))

    assert found == [Lack.SIGNATURES]
    assert capabilities.settings(found) == {}


def test_whom_an_api_does_not_name_is_served_by_setting(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By that alone, whatever else is checked."""

    def unnamed(answer: requests.Response) -> requests.Response:
        answer.headers["X-Caller"] = ""
        return answer

    answering(monkeypatch, unnamed)
    found = list(capabilities.found(cloud))

    assert found == [Lack.IDENTITY]
    assert capabilities.settings(found) == {"serve_unidentified": "true"}


def may_be_invoked_by_an_api(functions: LambdaClient) -> bool:
    """Whether the function's own policy says so."""
    (name,) = (
        one["FunctionName"]
        for one in functions.list_functions()["Functions"]
        if "ras_probe" in one["FunctionName"]
    )
    try:
        return "apigateway.amazonaws.com" in functions.get_policy(FunctionName=name)["Policy"]
    except functions.exceptions.ResourceNotFoundException:
        return False


def test_an_api_is_allowed_to_invoke_the_function(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded emulator asks for no such permission; AWS does, and LocalStack where it enforces policies."""
    answering(
        monkeypatch,
        lambda answer: answer if may_be_invoked_by_an_api(cloud.functions) else refusal(),
    )

    assert list(capabilities.found(cloud)) == []


def test_an_api_that_refuses_is_told_as_such(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function runs, so nothing is said of Docker."""
    answering(monkeypatch, lambda _: refusal())

    with pytest.raises(
        OperatorError, match=r"does not get through to its function: 403 .*access denied"
    ) as error:
        list(capabilities.found(cloud))
    assert "Docker" not in error.value.advice
