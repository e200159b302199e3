"""Lambda's Runtime API on loopback, and the endpoint that gives a restored function its credentials.

"Using the Lambda runtime API for custom runtimes" in AWS's developer guide. One function, as many of its processes as it starts.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from uuid import uuid4

_PREFIX = "/2018-06-01/runtime/"
PATIENCE_S = 120
"""For an answer; far more than any takes."""


@dataclass
class Invocation:
    """One event and what became of it: `outcome` is `response` or `error`, `body` is what was answered, undecoded."""

    event: bytes
    deadline_ms: int
    request_id: str = field(default_factory=lambda: str(uuid4()))
    outcome: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def answer(self) -> Any:
        """The answer, decoded as RFC 8259 has it: no NaN, no Infinity."""
        return json.loads(self.body, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class RuntimeApi:
    """Serves from `with` to its end. `asked` has every request in order, such as `GET restore/next`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.init_error: dict[str, Any] | None = None
        self.credentials: dict[str, str] = {}
        """What the endpoint of container credentials answers."""
        self._events: queue.Queue[Invocation] = queue.Queue()
        self._running: dict[str, Invocation] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def send(self, event: Any, *, timeout_s: float) -> Invocation:
        """Queue an event; `timeout_s` is the function's time from now."""
        sent = Invocation(json.dumps(event).encode(), int((time.time() + timeout_s) * 1000))
        self._events.put(sent)
        return sent

    def _next(self) -> Invocation:
        found = self._events.get()
        self._running[found.request_id] = found
        return found


class _Server(ThreadingHTTPServer):
    # What waits for the next event when a test ends would be waited for.
    daemon_threads = True
    block_on_close = False
    api: RuntimeApi

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A function that is ended resets its connections; anything else is a fault of this server."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        api, what = self.server.api, self.path.removeprefix(_PREFIX)
        api.asked.append(f"GET {what}")
        if what == "invocation/next":
            found = api._next()
            headers = {
                "Lambda-Runtime-Aws-Request-Id": found.request_id,
                "Lambda-Runtime-Deadline-Ms": str(found.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-north-1:111122223333:function:f",
                "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
                "Content-Type": "application/json",
            }
            self._answer(200, found.event, headers)
        elif what == "restore/next":
            self._answer(200, b"{}", {})
        elif self.path == "/credentials":
            self._answer(200, json.dumps(api.credentials).encode(), {"Content-Type": "application/json"})
        else:
            self._answer(404, b"{}", {})

    def do_POST(self) -> None:
        api, what = self.server.api, self.path.removeprefix(_PREFIX)
        body = self._body()
        api.asked.append(f"POST {what}")
        place, _, outcome = what.rpartition("/")
        if place == "init":
            api.init_error = json.loads(body)
        elif place.startswith("invocation/"):
            found = api._running.pop(place.removeprefix("invocation/"))
            found.outcome, found.body, found.headers = outcome, body, dict(self.headers)
            found.done.set()
        self._answer(202, b'{"status":"OK"}', {})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the function was ended while it waited
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        pass
