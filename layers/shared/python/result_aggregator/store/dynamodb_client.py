"""DynamoDB's protocol: signed JSON over connections that are kept, and nothing in between.

An UpdateItem through boto3 takes 0.8 ms of CPU, most of it spent on what never changes between two of ours: validating
and serialising by the service's description, resolving the endpoint, walking the answer by the description again.
This takes 0.2 ms (`make bench-ingest` compares whole handlers), and importing boto3 takes longer than all other imports
of a function together. What it does not do: anything that the view does not need, and proxies.

Sources: DynamoDB developer guide, "DynamoDB low-level API" (the JSON protocol); IAM user guide, "Create a signed AWS API
request" (Signature Version 4).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import random
import socket
import ssl
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic_core import from_json

from result_aggregator.domain.store_interface import StoreError, UnacceptableError, UnavailableError
from result_aggregator.store import aws
from result_aggregator.store.call_log import calls

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

_SERVICE = "dynamodb"
_TARGET = "DynamoDB_20120810."
_CONTENT_TYPE = "application/x-amz-json-1.0"
_SIGNED_HEADERS = "content-type;host;x-amz-date;x-amz-target"
_SIGNED_HEADERS_WITH_TOKEN = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target"  # noqa: S105 - names

# Full jitter: writers that were throttled together do not come back together.
_LONGEST_PAUSE_S = 0.1
_JITTER = random.SystemRandom()


class ConditionFailedError(Exception):
    """The condition of a write did not hold. `item` is what is stored, typed as in the protocol; {} where nothing is."""

    def __init__(self, item: dict[str, Any]) -> None:
        super().__init__("ConditionalCheckFailedException")
        self.item = item


class Response(NamedTuple):
    """An answer as it arrived."""

    status: int
    body: bytes


class Transport(Protocol):
    """How requests reach DynamoDB. A seam: tests answer here, or let requests meet faults."""

    def send(self, headers: dict[str, str], body: bytes) -> Response:
        """POST / once. Raises OSError or http.client.HTTPException where no answer comes."""
        ...

    def close(self) -> None:
        """Close the connections that are kept."""
        ...


class Connections:
    """HTTP/1.1 connections to one server, kept: as many as requests were ever under way at once."""

    def __init__(self, endpoint_url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        parts = urlsplit(endpoint_url)
        self._host, is_tls = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if is_tls else 80)
        self._tls = _tls() if is_tls else None
        # The one used last is taken first, as the others may have died of idleness. Lists pop and append atomically.
        self._idle: list[socket.socket] = []

    def send(self, headers: dict[str, str], body: bytes) -> Response:
        """See `Transport`."""
        # http.client would make these two packets, at two system calls.
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"POST / HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body
        end = self._clock() + aws.CONNECT_TIMEOUT_S + aws.READ_TIMEOUT_S
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._exchange(self._made(end), request, end)
        try:
            return self._exchange(connection, request, end)
        except OSError as error:
            # Kept connections die, while Lambda freezes a function above all; the others will be as dead as this one.
            self.close()
            if isinstance(error, TimeoutError):
                raise
            # That is no failed attempt, as long as the attempt's time is not over. To send it again is safe: what the
            # view asks has the same effect twice.
            return self._exchange(self._made(end), request, end)

    def close(self) -> None:
        """See `Transport`."""
        # Not `while self._idle`: another thread may take the last one in between.
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _timeout(self, end: float, longest: float) -> float:
        left = end - self._clock()
        if left <= 0:
            raise TimeoutError("the attempt's time is over")
        return min(left, longest)

    def _made(self, end: float) -> socket.socket:
        made = socket.create_connection((self._host, self._port), self._timeout(end, aws.CONNECT_TIMEOUT_S))
        try:
            # The end of a large request must not wait for the answer to its beginning.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is not None:
                made = self._tls.wrap_socket(made, server_hostname=self._host)
        except BaseException:
            made.close()
            raise
        return made

    def _exchange(self, connection: socket.socket, request: bytes, end: float) -> Response:
        is_whole = False
        try:
            connection.settimeout(self._timeout(end, aws.READ_TIMEOUT_S))
            connection.sendall(request)
            # For each piece of the answer, so a server that drips takes longer.
            connection.settimeout(self._timeout(end, aws.READ_TIMEOUT_S))
            answer, is_whole = _received(connection)
        finally:
            # Half an exchange is left on any other, whose answer must not be taken for the next one's.
            if is_whole:
                self._idle.append(connection)
            else:
                connection.close()
        return answer


def _received(connection: socket.socket) -> tuple[Response, bool]:
    """The answer that comes next, and whether the connection may be kept after it.

    Nearly always the first piece has all headers, and one says how long the body is. http.client reads the others: it
    makes an email's headers of them, which takes a third of what an ingested event costs (docs/performance.md).
    Raises OSError and http.client.HTTPException.
    """
    with connection.makefile("rb") as stream:
        piece = stream.peek()
        head, end, _ = piece.partition(b"\r\n\r\n")
        first, *lines = head.lower().split(b"\r\n")
        fields = dict(line.split(b":", 1) for line in lines if b":" in line)
        length = fields.get(b"content-length", b"").strip()
        is_plain = (
            end
            and len(fields) == len(lines) == head.count(b"\n")
            and first[:12] in _WITH_A_BODY
            and first[12:13] in (b"", b" ")
            and length.isdigit()
            and len(length) <= _LONGEST_LENGTH
            and b"transfer-encoding" not in fields
            and b"close" not in fields.get(b"connection", b"")
        )
        if not is_plain:
            with http.client.HTTPResponse(_Received(stream), method="POST") as response:  # type: ignore[arg-type] # it asks its socket for the stream alone
                response.begin()
                if (response.length or 0) >= 10**_LONGEST_LENGTH:
                    raise http.client.HTTPException("the answer is too long")
                return Response(response.status, response.read()), not response.will_close
        stream.read(len(head) + len(end))
        body = stream.read(int(length))
        if len(body) < int(length):
            raise http.client.IncompleteRead(body, int(length) - len(body))
        # What lies behind the answer would be taken for the next one.
        return Response(int(first[9:12]), body), len(piece) <= len(head) + len(end) + len(body)


class _Received(NamedTuple):
    """A socket to http.client, of which a stream was taken already."""

    stream: io.BufferedReader

    def makefile(self, _: str) -> io.BufferedReader:
        return self.stream


# Digits of a body's length: DynamoDB's answers have 16 MB at most (BatchGetItem).
_LONGEST_LENGTH = 8
_WITH_A_BODY = frozenset(b"http/1.1 %d" % status for status in (200, *range(400, 600)))


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Signer:
    """Signature Version 4 for POSTs to `/` of one DynamoDB endpoint."""

    def __init__(self, host: str, region: str, credentials: Callable[[], aws.AccessKeys]) -> None:
        """`credentials` are asked for with every request, so that they may be refreshed."""
        self._host = host
        self._region = region
        self._credentials = credentials
        self._key: tuple[tuple[str, str], bytes] = (("", ""), b"")

    def headers(self, operation: str, body: bytes, now: float | None = None) -> dict[str, str]:
        """The request's headers; `now` is in seconds since the epoch."""
        key_id, secret, token = self._credentials()
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        date, target = moment[:8], _TARGET + operation
        signed = _SIGNED_HEADERS_WITH_TOKEN if token else _SIGNED_HEADERS
        token_line = f"x-amz-security-token:{token}\n" if token else ""
        canonical = (
            f"POST\n/\n\ncontent-type:{_CONTENT_TYPE}\nhost:{self._host}\nx-amz-date:{moment}\n{token_line}"
            f"x-amz-target:{target}\n\n{signed}\n{hashlib.sha256(body).hexdigest()}"
        )
        scope = f"{date}/{self._region}/{_SERVICE}/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(secret, date), to_sign.encode(), "sha256").hex()
        headers = {
            "Host": self._host,
            "Content-Type": _CONTENT_TYPE,
            "X-Amz-Date": moment,
            "X-Amz-Target": target,
            "Authorization": (
                f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={signed}, Signature={signature}"
            ),
        }
        if token:
            headers["X-Amz-Security-Token"] = token
        return headers

    def _signing_key(self, secret: str, date: str) -> bytes:
        made_of, key = self._key
        if made_of != (secret, date):
            key = f"AWS4{secret}".encode()
            for part in (date, self._region, _SERVICE, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            # One assignment, so that another thread sees a key with what it was made of.
            self._key = ((secret, date), key)
        return key


class DynamoDB:
    """A client: operations by name, requests and answers as in the API reference, values typed (`{"S": …}`)."""

    def __init__(
        self,
        endpoint_url: str,
        region: str,
        credentials: Callable[[], aws.AccessKeys],
        *,
        transport: Transport | None = None,
        attempts: int = aws.ATTEMPTS,
    ) -> None:
        self.transport = transport or Connections(endpoint_url)
        self._signer = Signer(urlsplit(endpoint_url).netloc, region, credentials)
        self._attempts = attempts

    def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Ask, and again where that failed for a passing reason.

        Raises ConditionFailedError, UnavailableError or UnacceptableError.
        """
        try:
            body = json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise UnacceptableError(f"{operation}: {error.reason}") from error
        status, begun = "error", time.perf_counter()
        try:
            for attempt in range(self._attempts):
                if attempt:
                    time.sleep(_JITTER.uniform(0, _LONGEST_PAUSE_S))
                try:
                    answer = self._attempt(operation, body)
                except UnavailableError as error:
                    if attempt == self._attempts - 1 or not error.soon:
                        raise
                else:
                    status = "success"
                    return answer
        except ConditionFailedError:
            status = "condition_failed"
            raise
        finally:
            calls.note(operation, status, time.perf_counter() - begun)
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, operation: str, body: bytes) -> dict[str, Any]:
        try:
            response = self.transport.send(self._signer.headers(operation, body), body)
            # DynamoDB's answer to a write is `{}`; an empty one is of somebody in between, who may have done nothing.
            answer: Any = from_json(response.body)
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"{operation}: {type(error).__name__}") from error
        except ValueError as error:
            raise UnavailableError(f"{operation}: no JSON in the answer") from error
        if not isinstance(answer, dict):
            raise UnavailableError(f"{operation}: no object in the answer")
        if response.status != http.client.OK:
            raise _refusal(operation, answer)
        return answer


def _refusal(operation: str, answer: dict[str, Any]) -> ConditionFailedError | StoreError:
    # `com.amazonaws.dynamodb.v20120810#ThrottlingException`, or the name alone.
    code = str(answer.get("__type", "")).rpartition("#")[2]
    if code == "ConditionalCheckFailedException":
        return ConditionFailedError(answer.get("Item", {}))
    return aws.store_error(operation, code, str(answer.get("message") or answer.get("Message") or ""))


@cache
def client() -> DynamoDB:
    """The process's client, by its environment: AWS's own variables say where, and as whom."""
    return DynamoDB(aws.endpoint_url(_SERVICE), aws.region(), aws.credentials)
