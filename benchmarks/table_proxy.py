"""An HTTP proxy in front of DynamoDB: it counts every call, and can be a table that throttles or hangs."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urlparse

if TYPE_CHECKING:
    from collections.abc import Callable

_THROTTLED = json.dumps(
    {
        "__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException",
        "message": "Throughput exceeds the current capacity of your table or index.",
    }
).encode()
_PATIENCE_S = 30


class Capacity:
    """So many calls a second, and as many at once after a second of rest: a token bucket."""

    def __init__(self, calls_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = calls_per_second
        self._clock = clock
        self._tokens = calls_per_second
        self._then = clock()
        self._lock = threading.Lock()

    def takes(self) -> bool:
        """Whether one more call fits in."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._rate, self._tokens + (now - self._then) * self._rate)
            self._then = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


class TableProxy:
    """Listens on 127.0.0.1, on a free port, from `start` to `stop`; both from one thread, the rest from any."""

    def __init__(self, target_url: str) -> None:
        """`target_url`: the DynamoDB that answers. Requests pass as they are, so their signatures stay good."""
        self.target = urlparse(target_url).netloc
        self.capacity: Capacity | None = None
        """What the table takes; None is without limit. Calls beyond it are refused as DynamoDB does."""
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._awake.set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.wake()
        self._server.shutdown()
        self._server.server_close()

    def hang(self) -> None:
        """Take calls and answer none, until `wake`."""
        self._awake.clear()

    def wake(self) -> None:
        """Answer again; who waited is told nothing any more, its caller has given up."""
        self._awake.set()

    def take_calls(self) -> Counter[str]:
        """The calls since this was last asked, by operation; throttled and unanswered ones count."""
        with self._lock:
            calls, self._calls = self._calls, Counter()
        return calls

    def asked(self, operation: str, body: bytes) -> bytes:  # noqa: ARG002 - for those who change requests
        """The body that the table gets instead of a caller's."""
        return body

    def answered(self, operation: str, content: bytes) -> None:
        """Hear what the table answered."""

    def admit(self, operation: str) -> bool:
        """Count a call, hold it while the table hangs, and say whether the capacity takes it."""
        with self._lock:
            self._calls[operation] += 1
        if not self._awake.is_set():
            self._awake.wait()
            return False
        return self.capacity is None or self.capacity.takes()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: TableProxy

    def handle_error(self, *_: object) -> None:
        """A caller that has gone away is nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a caller, with one of its own to the table."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: without this the second waits for the caller's acknowledgement of the first.
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._table = HTTPConnection(self.server.proxy.target, timeout=_PATIENCE_S)

    def finish(self) -> None:
        self._table.close()
        super().finish()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy, operation = self.server.proxy, self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if not proxy.admit(operation):
            self._answer(400, {"Content-Type": "application/x-amz-json-1.0"}, _THROTTLED)
            return
        body = proxy.asked(operation, body)
        try:
            self._table.putrequest("POST", self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                length = name.lower() == "content-length"
                self._table.putheader(name, str(len(body)) if length else value)
            self._table.endheaders(body)
            answer = self._table.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            self._table.close()
            self.close_connection = True  # to the caller it is a connection that broke
            return
        proxy.answered(operation, content)
        hop = ("connection", "content-length", "date", "server", "transfer-encoding")
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in hop}
        self._answer(answer.status, kept, content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Thousands of calls, and nobody reads them."""
