"""Signing: what is signed is what is sent."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys
from ras import signed_http
from ras.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras.signed_http import CallerKeys

CREDENTIALS: CallerKeys = {"access_key_id": "AK", "secret_access_key": "SK", "session_token": "ST"}


@pytest.fixture
def echo() -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """A server that remembers the path and the headers of every request."""
    seen: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    "path", ["/a", "/user/teacher%20x?limit=5&status=a&status=b", "/user/åsa?q=é", "/a%2Fb"]
)
def test_the_signature_fits_what_arrives(
    echo: tuple[str, list[tuple[str, dict[str, str]]]], path: str
) -> None:
    url, seen = echo
    signed_http.get(
        url + path, region="eu-north-1", credentials=CREDENTIALS, headers={"X-Correlation-ID": "c-1"}
    )
    [(arrived, headers)] = seen
    again = AWSRequest("GET", url + arrived, headers={"X-Correlation-ID": headers["x-correlation-id"]})
    again.context["timestamp"] = headers["x-amz-date"]
    again.headers["X-Amz-Date"] = headers["x-amz-date"]
    again.headers["X-Amz-Security-Token"] = headers["x-amz-security-token"]
    signer = SigV4Auth(Keys("AK", "SK", "ST"), "execute-api", "eu-north-1")
    signature = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)

    assert headers["authorization"].endswith(f"Signature={signature}")
    assert "/eu-north-1/execute-api/aws4_request" in headers["authorization"]


def test_an_unsigned_request_carries_no_credentials(
    echo: tuple[str, list[tuple[str, dict[str, str]]]],
) -> None:
    url, seen = echo
    signed_http.get(url + "/a", region="eu-north-1", credentials=None)

    assert "authorization" not in seen[0][1]


def test_an_answer_that_does_not_come_in_time_is_told() -> None:
    """A port that is open, with nobody there to answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        with pytest.raises(OperatorError, match=r"no answer from .* within 0\.1 s"):
            signed_http.get(url, region="eu-north-1", credentials=None, timeout_s=0.1)
