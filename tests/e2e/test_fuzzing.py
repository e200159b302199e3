"""The deployed API, fuzzed from its OpenAPI document with signed requests: no 5xx, and no answer outside the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from ras import signed_http
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests import openapi, samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras.stack_file import Stack
    from schemathesis import Case

pytestmark = pytest.mark.e2e

# Without its signing, which is not what is fuzzed: the matrix in `test_authorisation` tells all ways of signing wrongly.
SCHEMA: Any = schemathesis.openapi.from_dict(
    {name: value for name, value in openapi.document().items() if name != "security"}
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Each example is a request; so many of each operation and mode take a few seconds.
BOUNDED = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    # A failing request is short as it is, and shrinking it would send thousands.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
REAL = {
    "batch_id": st.sampled_from(list(samples.expected())),
    "user_id": st.sampled_from(list(samples.expected_listing())),
}


class Signed(requests.auth.AuthBase):
    """Signs as the API's first caller: the method, the URL as it is sent and the host, no other header."""

    def __init__(self, running: Stack) -> None:
        self._running = running

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        assert prepared.url
        assert prepared.method
        signed = signed_http.prepare(
            prepared.url,
            region=self._running.region,
            credentials=self._running.callers["api-gateway-service"],
            method=prepared.method,
        )
        prepared.headers.update(signed.headers)
        return prepared


def take(path: str) -> None:
    """Go on only with a path that the emulator's policies can match: its `*` ends at a line feed, AWS's at nothing.

    It refuses others by its own words. That an id takes no line feed is held by the functions' tests.
    """
    assume("%0a" not in path.lower() and "\n" not in path)


@pytest.fixture(scope="session")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        yield made


@pytest.mark.parametrize("route", openapi.document()["paths"])
def test_any_good_request_gets_an_answer_of_the_document(
    filled: Stack, session: requests.Session, route: str
) -> None:
    """Of requests that the document allows, about known batches and users and about any others."""

    @BOUNDED
    @given(SCHEMA[route]["GET"].as_strategy(), st.booleans(), st.data())
    def fuzz(case: Case[Any], is_known: bool, data: st.DataObject) -> None:  # noqa: FBT001 - generated
        if is_known:
            for name in case.path_parameters:
                case.path_parameters[name] = data.draw(REAL[name])
        take(case.formatted_path)
        answer = case.call(base_url=filled.api_url, session=session, auth=Signed(filled))
        case.validate_response(answer, checks=CHECKS)

    fuzz()


@pytest.mark.parametrize("route", [route for route in openapi.document()["paths"] if "{" in route])
def test_any_bad_request_is_refused_as_the_document_says(
    filled: Stack, session: requests.Session, route: str
) -> None:
    """Of requests that the document does not allow, none is answered as if it did."""

    @BOUNDED
    @given(SCHEMA[route]["GET"].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def fuzz(case: Case[Any]) -> None:
        take(case.formatted_path)
        answer = case.call(base_url=filled.api_url, session=session, auth=Signed(filled))
        case.validate_response(answer, checks=[*CHECKS, negative_data_rejection])

    fuzz()


PATHS = st.lists(
    st.sampled_from(
        [
            "internal",
            "v1",
            "batches",
            "user",
            "status",
            "healthz",
            "metrics",
            "..",
            ".",
            "",
            "%00",
            "%2e%2e",
            "%ff",
        ]
    )
    | st.text(max_size=20).map(lambda text: quote(text.encode("utf-8", "replace"), safe="")),
    max_size=8,
).map("/".join)


@pytest.mark.usefixtures("embedded_emulator")
def test_any_path_and_method_gets_an_error_of_the_document(filled: Stack, session: requests.Session) -> None:
    """What is no route, or no GET, is a 4xx with the error body; nothing else is known."""

    @BOUNDED
    @given(PATHS, st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]))
    def fuzz(path: str, method: str) -> None:
        take(path)
        answer = session.request(method, f"{filled.api_url}/{path}", auth=Signed(filled), timeout=60)

        route = openapi.route_of(f"/{path}")
        if method == "GET" and answer.status_code < 400:
            assert route is not None
        else:
            assert 400 <= answer.status_code < 500
            assert openapi.problems(None, answer.status_code, dict(answer.headers), answer.json()) == []

    fuzz()
