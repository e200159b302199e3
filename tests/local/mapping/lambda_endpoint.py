"""A small HTTP server that answers as Lambda's API does, for functions that are Python callables of a test."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlparse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class LambdaEndpoint:
    """Functions by name, and the pages of mappings that are listed; `events` are those that functions received.

    A function returns its answer, raises to fail, or raises Throttled.
    """

    functions: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    pages: list[list[dict[str, Any]]] = field(default_factory=lambda: [[]])
    events: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    @property
    def items(self) -> list[tuple[str, int]]:
        """Every record that was received: its `topic-partition` and its offset."""
        return [
            (lane, one["offset"])
            for event in self.events
            for lane, records in event["records"].items()
            for one in records
        ]


class Throttled(Exception):  # noqa: N818 (what the function's concurrency does, not a mistake)
    """Lambda answers 429 in the function's place."""


@contextmanager
def serving(endpoint: LambdaEndpoint) -> Iterator[LambdaEndpoint]:
    """Listen on a free port of this machine; `endpoint.url` is where."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            name = unquote(self.path.split("/functions/")[1].split("/")[0])
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.events.append(event)
            try:
                self.answer(200, endpoint.functions[name](event), {"X-Amz-Executed-Version": "7"})
            except Throttled:
                self.answer(
                    429, {"message": "Rate exceeded"}, {"X-Amzn-ErrorType": "TooManyRequestsException"}
                )
            except KeyError:
                self.answer(
                    404, {"Message": "no function"}, {"X-Amzn-ErrorType": "ResourceNotFoundException"}
                )
            except ValueError as error:
                failed = {"X-Amz-Function-Error": "Unhandled", "X-Amz-Executed-Version": "7"}
                self.answer(200, {"errorMessage": str(error), "errorType": "ValueError"}, failed)

        def do_GET(self) -> None:
            marker = parse_qs(urlparse(self.path).query).get("Marker", ["0"])[0]
            page = int(marker)
            more = {"NextMarker": str(page + 1)} if page + 1 < len(endpoint.pages) else {}
            self.answer(200, {"EventSourceMappings": endpoint.pages[page], **more}, {})

        def answer(self, status: int, document: Any, headers: dict[str, str]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            fixed = {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "X-Amzn-RequestId": "r-1",
            }
            for name, value in (fixed | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        endpoint.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()
