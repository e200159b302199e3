"""The client of DynamoDB: its signatures are the SDK's, its connections are kept while they live, its patience ends."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SdkCredentials
from botocore.exceptions import ClientError, CredentialRetrievalError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from result_aggregator.domain.store_interface import UnacceptableError, UnavailableError
from result_aggregator.store import aws
from result_aggregator.store.call_log import calls
from result_aggregator.store.dynamodb_client import (
    ConditionFailedError,
    Connections,
    DynamoDB,
    Response,
    Signer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = "eu-north-1"
KEYS = aws.AccessKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)


@pytest.fixture
def dynamodb_url() -> None:
    """These tests have servers of their own."""


@given(
    body=st.binary(max_size=200),
    token=st.none() | st.text("abcXYZ019/+=", min_size=1),
    now=st.integers(0, 4_000_000_000),
    host=st.sampled_from(["dynamodb.eu-north-1.amazonaws.com", "127.0.0.1:8000"]),
)
def test_signatures_are_the_sdks(body: bytes, token: str | None, now: int, host: str) -> None:
    """Of the same request at the same time, botocore's signer makes the same signature."""
    keys = KEYS._replace(session_token=token)
    mine = Signer(host, REGION, lambda: keys).headers("UpdateItem", body, now)
    request = AWSRequest("POST", f"https://{host}/", data=body)
    for name, value in mine.items():
        if name != "Authorization":
            request.headers[name] = value
    request.context["timestamp"] = mine["X-Amz-Date"]
    signer = SigV4Auth(SdkCredentials(keys.access_key_id, keys.secret_access_key, token), "dynamodb", REGION)
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)

    assert mine["X-Amz-Date"] == datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    assert mine["Authorization"].endswith(f"Signature={signature}")
    assert (
        f"/{REGION}/dynamodb/aws4_request, SignedHeaders={signer.signed_headers(signer.headers_to_sign(request))}"
        in mine["Authorization"]
    )


def test_a_key_is_made_anew_for_another_day_or_another_secret() -> None:
    """Keys that expired sign nothing more, whatever was signed before."""
    current = [KEYS]
    kept = Signer("h", REGION, lambda: current[0])
    for day, secret in ((1, "one"), (1, "two"), (2, "two"), (1, "one")):
        current[0] = KEYS._replace(secret_access_key=secret)
        fresh = Signer("h", REGION, lambda: current[0])

        assert kept.headers("Query", b"{}", day * 86_400) == fresh.headers("Query", b"{}", day * 86_400)


class Server(ThreadingHTTPServer):
    """Answers `{}` on connections that it keeps, and knows how many it was asked for."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        self.opened: list[socket.socket] = []
        self.asked: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                self.rfile.read(size)
                server.asked.append(
                    {name.lower(): value for name, value in self.headers.items()} | {"size": str(size)}
                )
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.opened.append(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        """Close every connection, as an idle one is closed."""
        for one in self.opened:
            with suppress(OSError):  # some are closed by then
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def client(url: str) -> DynamoDB:
    return DynamoDB(url, REGION, lambda: KEYS)


def test_a_connection_is_kept() -> None:
    """Requests one after the other share one, in one piece and with the headers that were signed."""
    with serving() as server, closing(Connections(server.url)) as connections:
        for size in (2, 300_000, 2):
            assert connections.send({"Host": "h", "X-Amz-Target": "t"}, b"x" * size) == (200, b"{}")

        assert len(server.opened) == 1
        assert [asked["size"] for asked in server.asked] == ["2", "300000", "2"]
        assert server.asked[0]["host"] == "h"


def test_the_host_that_is_signed_is_the_addresss() -> None:
    """With its port: AWS refuses a signature for any other."""
    with serving() as server:
        made = client(server.url)
        made.call("ListTables", {})
        made.transport.close()

        assert server.asked[0]["host"] == server.url.removeprefix("http://")


ANSWERS = {
    "as AWS does": (
        b"HTTP/1.1 200 OK\r\nServer: S\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}",
        True,
    ),
    "a refusal": (b"HTTP/1.1 400 Bad Request\r\ncontent-length:2\r\n\r\n{}", True),
    "in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        True,
    ),
    "in chunks, with a length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        True,
    ),
    "under line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", True),
    "as its last": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n{}", False),
    "by the old protocol": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", False),
    "without a length": (b"HTTP/1.1 200 OK\r\nServer: S\r\n\r\n{}", False),
    "after an interim one": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        True,
    ),
    "with a length twice": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", True),
    "under a long head": (
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
        True,
    ),
}


@contextmanager
def answering(answer: bytes, piece: int) -> Iterator[str]:
    """The address of a server that gives an answer, some bytes at a time, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            with accepted, suppress(OSError):  # whoever has what it wants hangs up
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                accepted.recv(65_536)
                for start in range(0, len(answer), piece):
                    accepted.sendall(answer[start : start + piece])
                    if piece < len(answer):
                        time.sleep(0.001)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("piece", [7, 100_000])
@pytest.mark.parametrize(("answer", "is_kept"), ANSWERS.values(), ids=ANSWERS.keys())
def test_any_servers_answer_is_understood(answer: bytes, is_kept: bool, piece: int) -> None:  # noqa: FBT001 - a case
    """However it says how long it is, and in however many pieces it arrives; the connection is kept where it may be."""
    piece = max(piece, len(answer) // 20)
    with answering(answer, piece) as url, closing(Connections(url)) as connections:
        status, body = connections.send({"Host": "h"}, b"{}")

        assert (status, body) == (400 if answer is ANSWERS["a refusal"][0] else 200, b"{}")
        assert len(connections._idle) == is_kept


def test_what_lies_behind_an_answer_is_no_answer() -> None:
    """The connection is given up with it."""
    plain = ANSWERS["as AWS does"][0]
    with (
        answering(plain + plain.replace(b"{}", b"[]"), 100_000) as url,
        closing(Connections(url)) as connections,
    ):
        assert connections.send({"Host": "h"}, b"{}") == (200, b"{}")
        assert connections._idle == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    ],
    ids=[
        "nothing",
        "half a body",
        "half a head",
        "another protocol",
        "a status of four digits",
        "a length beyond memory",
    ],
)
def test_half_an_answer_is_none(answer: bytes) -> None:
    """It is a failed attempt, and the connection is not used again."""
    with answering(answer, 100_000) as url, closing(Connections(url)) as connections:
        asked = DynamoDB(url, REGION, lambda: KEYS, transport=connections, attempts=1)
        with pytest.raises(UnavailableError):
            asked.call("UpdateItem", {})

        assert connections._idle == []


def test_a_connection_that_died_is_replaced() -> None:
    """What a server or a frozen function's network closed is no failed attempt: the request goes out on a new one.

    The others that were kept are closed with it, as they have idled for longer.
    """
    with serving() as server, closing(Connections(server.url)) as connections:
        connections.send({"Host": "h"}, b"{}")
        server.hang_up()
        connections._idle.insert(0, connections._made(time.monotonic() + 9))

        assert connections.send({"Host": "h"}, b"{}") == (200, b"{}")
        assert len(connections._idle) == 1


def test_an_answer_that_does_not_come_ends_by_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is given up with it: a late answer must not be taken for the next request's."""
    monkeypatch.setattr(aws, "READ_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with closing(Connections(url)) as connections:
            with pytest.raises(TimeoutError):
                connections.send({"Host": "h"}, b"{}")

            assert connections._idle == []


@pytest.mark.parametrize(
    ("url", "port"), [("http://localhost", 80), ("https://localhost", 443), ("http://localhost:8000", 8000)]
)
def test_the_port_is_the_schemes_unless_told(url: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(address: tuple[str, int], _: float) -> NoReturn:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(ConnectionRefusedError):
        Connections(url).send({}, b"")

    assert asked == [("localhost", port)]


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """After every attempt, and the call log knows of one call that failed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    calls.take()
    with pytest.raises(UnavailableError, match="Query: ConnectionRefusedError"):
        client(f"http://127.0.0.1:{port}").call("Query", {})

    assert [(call.operation, call.status) for call in calls.take()] == [("Query", "error")]


def test_an_attempt_has_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept connection that dies when the attempt's time is over is not replaced: somebody counts on the end."""
    now = [0.0]
    with serving() as server, closing(Connections(server.url, clock=lambda: now[0])) as connections:
        connections.send({"Host": "h"}, b"{}")
        server.hang_up()
        timeouts: list[float] = []
        real = connections._exchange

        def late(connection: socket.socket, _request: bytes, end: float) -> Response:
            connection.close()
            timeouts.append(end - now[0])
            now[0] += aws.CONNECT_TIMEOUT_S + aws.READ_TIMEOUT_S
            raise ConnectionResetError

        monkeypatch.setattr(connections, "_exchange", late)
        with pytest.raises(TimeoutError, match="time is over"):
            connections.send({"Host": "h"}, b"{}")
        monkeypatch.setattr(connections, "_exchange", real)

        assert timeouts == [aws.CONNECT_TIMEOUT_S + aws.READ_TIMEOUT_S]
        assert connections.send({"Host": "h"}, b"{}") == (200, b"{}")


def test_threads_may_close_what_others_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a thaw, when all find their connections dead at once."""
    monkeypatch.setattr(aws, "CONNECT_TIMEOUT_S", 60)  # a machine may be busy
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with serving() as server, closing(Connections(server.url)) as connections:

            def use(_: int) -> Response:
                answer = connections.send({"Host": "h"}, b"{}")
                connections.close()
                return answer

            with ThreadPoolExecutor(16) as pool:
                assert set(pool.map(use, range(400))) == {(200, b"{}")}
    finally:
        sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost` that nobody vouches for, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    key_text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(key_text + made.public_bytes(Encoding.PEM))
    return file


def test_the_servers_certificate_is_checked(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its issuer, where AWS_CA_BUNDLE may name others, and its name; a connection that died is replaced here too."""
    with serving() as server:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        port = server.server_address[1]
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
            Connections(f"https://localhost:{port}").send({"Host": "h"}, b"{}")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.1"):
            Connections(f"https://127.0.0.1:{port}").send({"Host": "h"}, b"{}")
        with closing(Connections(f"https://localhost:{port}")) as connections:
            for _ in range(2):
                assert connections.send({"Host": "h"}, b"{}") == (200, b"{}")
            asked = len(server.asked)
            server.hang_up()

            assert connections.send({"Host": "h"}, b"{}") == (200, b"{}")
            assert (asked, len(server.asked)) == (2, 3)


class Scripted:
    """A transport that answers as told, one after the other."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)

    def send(self, headers: dict[str, str], body: bytes) -> Response:  # noqa: ARG002 - a transport's
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        pass


def refusal(code: str, status: int = 400, **more: Any) -> Response:
    return Response(
        status, json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", **more}).encode()
    )


def ask(*answers: Response | Exception) -> tuple[dict[str, Any], int]:
    """The answer of a client whose server answers so, and how many answers it did not ask for."""
    transport = Scripted(*answers)
    made = DynamoDB("http://127.0.0.1", REGION, lambda: KEYS, transport=transport)
    return made.call("UpdateItem", {}), len(transport.answers)


GOOD = Response(200, b'{"Count":1}')


@pytest.mark.parametrize(
    "failure",
    [
        TimeoutError(),
        ConnectionResetError(),
        refusal("ThrottlingException"),
        refusal("InternalServerError", 500),
        Response(503, b"<html>busy</html>"),
        Response(503, b""),
        Response(503, b"null"),
        Response(200, b'{"Count":'),
        Response(200, b""),
        Response(200, b"[]"),
    ],
    ids=["timeout", "reset", "throttled", "500", "no JSON", "nothing", "null", "cut off", "empty", "a list"],
)
def test_a_passing_failure_is_tried_once_more(failure: Response | Exception) -> None:
    """And no more than that: what lasts is for those who know how much time is left."""
    assert ask(failure, GOOD) == ({"Count": 1}, 0)
    with pytest.raises(UnavailableError) as caught:
        ask(*[failure] * aws.ATTEMPTS, GOOD)

    assert caught.value.soon


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ResourceNotFoundException", "UnrecognizedClientException"]
)
def test_what_somebody_has_to_mend_is_not_tried_again(code: str) -> None:
    with pytest.raises(UnavailableError, match=code) as caught:
        ask(refusal(code))

    assert not caught.value.soon


def test_a_condition_that_failed_brings_the_item() -> None:
    """It is no failure: it is how a duplicate is found, and counted as what it is."""
    calls.take()
    with pytest.raises(ConditionFailedError) as caught:
        ask(refusal("ConditionalCheckFailedException", Item={"pk": {"S": "b"}}))

    assert caught.value.item == {"pk": {"S": "b"}}
    assert [call.status for call in calls.take()] == ["condition_failed"]


def test_a_condition_that_failed_on_nothing_brings_nothing() -> None:
    """DynamoDB leaves the item out where there is none."""
    with pytest.raises(ConditionFailedError) as caught:
        ask(refusal("ConditionalCheckFailedException"))

    assert caught.value.item == {}


@pytest.mark.parametrize("name", ["message", "Message"])
def test_an_item_that_is_too_large_is_unacceptable(name: str) -> None:
    """Only the refusal's text says that it is the size; DynamoDB writes the field's name in either way."""
    with pytest.raises(UnacceptableError, match="UpdateItem: ValidationException: Item size has exceeded"):
        ask(refusal("ValidationException", 400, **{name: "Item size has exceeded"}))


def test_keys_come_from_the_environment_or_from_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda's functions have them in the environment, those restored from a snapshot ask a container's endpoint."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")

    assert aws.credentials() == ("id", "secret", "token")

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setattr(aws, "_sdk_credentials", lambda: SdkCredentials("other", "hidden"))

    assert aws.credentials() == ("other", "hidden", None)

    monkeypatch.setattr(aws, "_sdk_credentials", lambda: None)
    with pytest.raises(UnavailableError, match="no AWS credentials"):
        aws.credentials()


def test_keys_that_cannot_be_had_are_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's endpoint that does not answer is a passing failure like the table's."""

    def fail() -> NoReturn:
        raise CredentialRetrievalError(provider="container-role", error_msg="no answer")

    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setattr(aws, "_sdk_credentials", fail)
    with pytest.raises(UnavailableError, match="CredentialRetrievalError"):
        DynamoDB("http://127.0.0.1", REGION, aws.credentials, transport=Scripted(GOOD)).call("Query", {})


@pytest.mark.parametrize(
    ("refused", "kind", "text"),
    [
        (
            {"Code": "ValidationException", "Message": "Item size has exceeded"},
            UnacceptableError,
            "PutItem: ValidationException: Item size has exceeded",
        ),
        ({"Code": "ValidationException"}, UnavailableError, "PutItem: ValidationException"),
        ({}, UnavailableError, "PutItem: "),
    ],
)
def test_the_sdks_refusals_are_the_stores_errors(
    refused: dict[str, str], kind: type[Exception], text: str
) -> None:
    """As the client's own: only an item's size is the record's fault. A refusal may say nothing at all."""
    error = aws.translated(ClientError({"Error": refused}, "PutItem"))  # type: ignore[typeddict-item] # as some servers answer

    assert type(error) is kind
    assert str(error) == text


def test_what_no_request_can_hold_is_unacceptable() -> None:
    """Half a surrogate pair is no text: it can never be stored."""
    with pytest.raises(UnacceptableError):
        client("http://127.0.0.1").call("UpdateItem", {"Item": "\ud800"})


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "https://dynamodb.eu-north-1.amazonaws.com"),
        ({"AWS_REGION": "cn-north-1"}, "https://dynamodb.cn-north-1.amazonaws.com.cn"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1/"}, "http://127.0.0.1:1"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1/X/"}, "http://127.0.0.1:1/X"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:2"},
            "http://127.0.0.1:2",
        ),
    ],
)
def test_the_address_is_the_environments_or_the_regions(
    environment: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", REGION)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert aws.endpoint_url("dynamodb") == url
    assert urlsplit(url).netloc
