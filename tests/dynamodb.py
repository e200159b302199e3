"""The functions' DynamoDB client over what tests have for a DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.awsrequest import AWSRequest
from botocore.session import Session
from ras.aws import ROOT_KEY, ROOT_SECRET
from result_aggregator.store import aws
from result_aggregator.store.dynamodb_client import DynamoDB, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from result_aggregator.store.dynamodb_client import Transport

REGION: Final = "eu-north-1"
IN_PROCESS = f"https://dynamodb.{REGION}.amazonaws.com"


class Moto:
    """A transport whose requests moto answers, where it takes those of the SDK: at the hook before they are sent."""

    def __init__(self) -> None:
        # Made inside the emulation, or moto is not among its handlers.
        self._hooks = Session().get_component("event_emitter")

    def send(self, headers: dict[str, str], body: bytes) -> Response:
        request = AWSRequest("POST", f"{IN_PROCESS}/", headers=headers, data=body).prepare()
        operation = headers["X-Amz-Target"].rpartition(".")[2]
        answer = self._hooks.emit_until_response(f"before-send.dynamodb.{operation}", request=request)[1]
        assert answer is not None, "nothing is emulated here"
        return Response(answer.status_code, answer.content)

    def close(self) -> None:
        """There is nothing to close."""


class Watched:
    """A transport that tells somebody of every request, by the operation's name, before it goes on."""

    def __init__(self, real: Transport, tell: Callable[[str], object]) -> None:
        self._real, self._tell = real, tell

    def send(self, headers: dict[str, str], body: bytes) -> Response:
        self._tell(headers["X-Amz-Target"].rpartition(".")[2])
        return self._real.send(headers, body)

    def close(self) -> None:
        self._real.close()


def client(endpoint_url: str | None, *, attempts: int = aws.ATTEMPTS) -> DynamoDB:
    """A client of the DynamoDB at an address; None is moto in this process."""
    return DynamoDB(
        endpoint_url or IN_PROCESS,
        REGION,
        lambda: aws.AccessKeys(ROOT_KEY, ROOT_SECRET, None),
        transport=None if endpoint_url else Moto(),
        attempts=attempts,
    )
