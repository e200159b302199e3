"""A real HTTP server on this machine that answers what a test lays out for it, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


@dataclass(frozen=True)
class Asked:
    """A request as it arrived. `headers` by lower-case name; `connection` is the same for all on one connection."""

    target: str
    headers: dict[str, str]
    connection: int


@dataclass(frozen=True)
class CannedResponse:
    """An answer. `announced`: a Content-Length other than the body's. `after_each_byte` makes it come in pieces."""

    status: int = 200
    body: bytes | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = None
    after_each_byte: Callable[[], None] | None = None

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


HANG_UP = "hang up"
"""The connection is closed without an answer."""
SILENCE = "silence"
"""Nothing comes, until the test is over."""

CannedReply = CannedResponse | str


class Server:
    """Answers in the order of `plans`, then as `otherwise` says. Use as a context manager. `tls`: its side of TLS."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.plans: deque[CannedReply] = deque()
        self.otherwise: Callable[[Asked], CannedReply] = lambda _: CannedResponse(
            500, b"the test laid out no answer"
        )
        self.asked: list[Asked] = []
        self._arrived = threading.Condition()
        self._over = threading.Event()
        self._closed = threading.Semaphore(0)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._scheme = "https" if tls else "http"
        if tls:
            # The handshake in the connection's own thread: one that fails must not end the server's.
            self._http.socket = tls.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._http.server_address[1]}/stage"

    def lay_out(self, *plans: CannedReply) -> None:
        self.plans.extend(plans)

    def wait_until_asked(self, part: str) -> None:
        """Waits until a request has come with this in its target."""
        with self._arrived:
            self._arrived.wait_for(lambda: any(part in asked.target for asked in self.asked))

    def wait_until_closed(self, connections: int) -> bool:
        """Whether so many connections have been closed, by either side; waits for them, a minute each."""
        return all(self._closed.acquire(timeout=60) for _ in range(connections))

    def _plan(self, asked: Asked) -> CannedReply:
        with self._arrived:
            self.asked.append(asked)
            self._arrived.notify_all()
            if self.plans:
                return self.plans.popleft()
        return self.otherwise(asked)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            plan = server._plan(Asked(self.path, headers, id(self)))
            if plan == SILENCE:
                server._over.wait()
            if isinstance(plan, str):
                self.close_connection = True
                return
            content = plan.content
            self.send_response(plan.status)
            for name, value in plan.headers.items():
                self.send_header(name, value)
            if plan.status != 304:
                self.send_header("Content-Length", str(plan.announced or len(content)))
            self.end_headers()
            try:
                if plan.after_each_byte is None:
                    self.wfile.write(content)
                else:
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        plan.after_each_byte()
            except OSError:
                self.close_connection = True  # the client has given up
            if plan.announced is not None:
                self.close_connection = True

        def handle(self) -> None:
            with suppress(ssl.SSLError):  # a client that does not trust the certificate
                super().handle()

        def finish(self) -> None:
            super().finish()
            server._closed.release()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def send_response(self, code: int, message: str | None = None) -> None:
            # Without a Date of this moment: a test's own would come second.
            self.send_response_only(code, message)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
