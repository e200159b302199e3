"""The whole stack, started once for all end-to-end tests, in a folder and on ports of its own.

Once on what it embeds, and once on Apache Kafka and dynoxide; where RAS_EMULATOR and RAS_BROKER are the addresses
of some that run (`make test-localstack`), once on those. A test that needs what an emulator may lack says so, by the
mark `needs`, and is skipped where that was found to be so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from ras import signed_http, stack_file
from ras.kafka.publish import publish
from ras_local import capabilities, stack
from ras_local.servers import emulator
from ras_local.settings import StackDir

from tests import openapi, samples
from tests.real_servers import KAFKA, server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests
    from ras.stack_file import Stack


ELSEWHERE = "elsewhere"
BROKERS = [ELSEWHERE] if emulator.named() else ["embedded", server(KAFKA)]


@pytest.fixture(scope="session", params=BROKERS)
def broker(request: pytest.FixtureRequest) -> str:
    """The kind of broker."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def state(broker: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> StackDir:
    if broker == KAFKA:
        shared: StackDir = request.getfixturevalue("real_state")
        return shared
    return StackDir(tmp_path_factory.mktemp("stack"))


@pytest.fixture(scope="session")
def running(broker: str, state: StackDir, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A running stack; it is stopped even if it never got up."""
    if broker == KAFKA:
        yield request.getfixturevalue("real_stack")  # other tests use it too: it is stopped with the session
        return
    try:
        yield stack.up(state)
    finally:
        stack.down(state)


@pytest.fixture(autouse=True)
def nothing_needed_is_lacking(request: pytest.FixtureRequest) -> None:
    """The mark `needs`: capabilities.Lack, …"""
    needed = {lack for mark in request.node.iter_markers("needs") for lack in mark.args}
    if needed and "running" in request.fixturenames:
        running: Stack = request.getfixturevalue("running")
        if found := sorted(needed & set(running.lacks)):
            pytest.skip(
                f"{running.endpoint_url} lacks {'; '.join(capabilities.SAID[lack] for lack in found)}"
            )


@pytest.fixture(scope="session")
def embedded_emulator() -> None:
    """For tests that start it, come between its functions and their table, or write down how it reads paths."""
    if emulator.named():
        pytest.skip("it is about the embedded emulator, and RAS_EMULATOR names another")


# What it says by whether the process was reading, answering, or gone before it was asked.
_ENDED = ("Worker process died", "Worker returned no response", "Broken pipe", "object has no attribute 'std")


def ended_by_the_emulator(answer: requests.Response) -> bool:
    """It ends a function's process where its configuration changes, in the middle of an invocation; AWS lets it finish."""
    return answer.status_code == 502 and any(words in answer.text for words in _ENDED)


# Of this folder and not of the session: `tests/local` asks servers of its own, which know no document.
@pytest.fixture(scope="package", autouse=True)
def held_to_the_document() -> Iterator[None]:
    """Every answer of the API to a signed or unsigned GET is held against the OpenAPI document."""
    real = signed_http.get

    def get(url: str, **asked: Any) -> requests.Response:
        answer = real(url, **asked)
        if answer.status_code == 403 and "X-Correlation-ID" not in answer.headers:
            # Where policies decide, the emulator refuses in its own words: `test_authorisation` writes them down.
            return answer
        if ended_by_the_emulator(answer):
            return answer
        # The local API's address has the API's id and the stage before the path.
        path = "/" + url.partition("?")[0].split("/", 7)[7]
        is_json = answer.headers.get("Content-Type") == "application/json"
        body = (answer.json() if is_json else answer.text) if answer.content else None
        route = openapi.route_of(unquote(path))
        assert openapi.problems(route, answer.status_code, dict(answer.headers), body) == [], body
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signed_http, "get", get)
        yield


@pytest.fixture(scope="session")
def filled(running: Stack) -> Stack:
    """A running stack that has consumed all sample events."""
    for name in samples.FILES:
        publish(running.bootstrap_servers, samples.publishable(name))
    stack_file.wait_consumed(running)
    return running
