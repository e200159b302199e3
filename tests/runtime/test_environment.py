"""What Lambda does around an invocation: time-outs, snapshots and their credentials, several workers in one environment."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests import samples
from tests.runtime.events import LISTING, rest
from tests.runtime.test_deployed_functions import SPELLCHECK, spellchecked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.runtime.conftest import Function

    Start = Callable[..., Function]

pytestmark = pytest.mark.integration


@contextmanager
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def signed() -> Iterator[tuple[str, list[str]]]:
    """The address of a table that is empty, and the access keys that its requests are signed with, in order."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            keys.append(self.headers["Authorization"].partition("Credential=")[2].partition("/")[0])
            body = json.dumps({"Items": [], "Count": 0}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", keys
    finally:
        server.shutdown()
        server.server_close()


def credentials(key: str, minutes: int) -> dict[str, str]:
    """What the endpoint of container credentials answers, valid for so long."""
    until = datetime.now(UTC) + timedelta(minutes=minutes)
    return {
        "AccessKeyId": key,
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def test_a_table_that_hangs_is_answered_for_in_time(start: Start, stores: dict[str, str]) -> None:
    """Every record is returned for retry before Lambda would end the function."""
    with silent() as address, start("ingest_essays", **stores, AWS_ENDPOINT_URL_DYNAMODB=address) as function:
        records = [samples.record(SPELLCHECK, spellchecked("hangs", n), n) for n in range(3)]
        sent = function.send(samples.msk_event(records), timeout_s=20)
        function.wait(sent)
        late = time.time() * 1000 - sent.deadline_ms

    assert sent.outcome == "response"
    assert [one["itemIdentifier"]["offset"] for one in sent.answer["batchItemFailures"]] == [0, 1, 2]
    assert late < 0


def test_a_function_that_is_ended_loses_nothing(start: Start, stores: dict[str, str]) -> None:
    """Lambda ends one whose time is over wherever it is; the batch comes again, to another environment."""
    event = samples.msk_event([samples.record(SPELLCHECK, spellchecked("ended", n), n) for n in range(3)])
    with silent() as address, start("ingest_essays", **stores, AWS_ENDPOINT_URL_DYNAMODB=address) as function:
        sent = function.send(event)
        while "GET invocation/next" not in function.api.asked:
            time.sleep(0.05)
        function.kill()
        assert function.exit_code() == -9
        assert not sent.done.is_set()
    with start("ingest_essays", **stores) as function:
        assert function.invoke(event).answer == {"batchItemFailures": []}
        (closing,) = [line for line in function.lines if line.get("message") == "ingested"]
    assert closing["applied"] == 3


def test_a_snapshot_is_taken_before_the_first_event_and_keeps_no_credentials(
    start: Start, stores: dict[str, str]
) -> None:
    """Init, snapshot, restore, event; each copy asks for credentials of its own, and again before they expire."""
    restored = {
        **stores,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_SESSION_TOKEN": "",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token",
    }
    with (
        signed() as (address, keys),
        start("query", **restored, AWS_ENDPOINT_URL_DYNAMODB=address) as function,
    ):
        # The SDK asks again where fewer than ten minutes are left.
        function.api.credentials = credentials("FIRST", 5)
        function.invoke(rest(LISTING, user_id="teacher-anna"))
        first = [*keys]
        function.api.credentials = credentials("SECOND", 60)
        function.invoke(rest(LISTING, user_id="teacher-anna"))
        second = keys[len(first) :]
        asked = function.api.asked
        lines = function.lines

    assert set(first) == {"FIRST"}
    assert set(second) == {"SECOND"}
    assert asked[:2] == ["GET restore/next", "GET invocation/next"]
    assert asked.index("GET /credentials") > asked.index("GET invocation/next")
    assert lines


def test_workers_of_one_environment_share_nothing_that_mixes(start: Start, stores: dict[str, str]) -> None:
    """With AWS_LAMBDA_MAX_CONCURRENCY, processes forked before the import take events at the same time."""
    with start("ingest_essays", **stores, AWS_LAMBDA_MAX_CONCURRENCY="3") as function:
        sent = [
            function.send(
                samples.msk_event(
                    [samples.record(SPELLCHECK, spellchecked(f"worker-{n}", e), e) for e in range(20)]
                )
            )
            for n in range(9)
        ]
        for one in sent:
            function.wait(one)
        lines = function.lines
        waiting = function.api.asked.count("GET invocation/next")
    closing = [line for line in lines if line.get("message") == "ingested"]

    assert [one.answer for one in sent] == [{"batchItemFailures": []}] * 9
    assert sum(line["applied"] for line in closing) == 180
    assert {line["function_request_id"] for line in closing} == {one.request_id for one in sent}
    assert waiting > 9
