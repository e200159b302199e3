"""The OpenAPI document is valid, its examples are, and it says what the service says; `tests/template/test_api.py` compares it with the stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from openapi_spec_validator import validate
from result_aggregator import api
from result_aggregator.domain import ids, statuses, view
from result_aggregator.domain.phases import NLP, PHASE_NAMES, SPELLCHECK

from tests import openapi
from tests.openapi import document, problems, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATIONS = {route: item["get"] for route, item in document()["paths"].items()}
SCHEMAS = document()["components"]["schemas"]


def parameters(route: str, where: str) -> dict[str, dict[str, Any]]:
    """An operation's parameters of one kind by name."""
    found = [resolved(parameter) for parameter in OPERATIONS[route].get("parameters", [])]
    return {parameter["name"]: parameter for parameter in found if parameter["in"] == where}


def examples() -> list[Any]:
    """Every example of a response: route, status, value."""
    found = []
    for route, operation in OPERATIONS.items():
        for status, response in operation["responses"].items():
            content: dict[str, Any] = next(iter(resolved(response).get("content", {}).values()), {})
            named = {name: resolved(one)["value"] for name, one in content.get("examples", {}).items()}
            if "example" in content:
                named["example"] = content["example"]
            assert named or status == "304", f"{route} {status} has no example"
            found += [
                pytest.param(route, status, value, id=f"{operation['operationId']}-{status}-{name}")
                for name, value in named.items()
            ]
    return found


def test_the_document_is_valid() -> None:
    """By the rules of OpenAPI 3.1."""
    validate(document())


@pytest.mark.parametrize(("route", "status", "value"), examples())
def test_every_response_has_examples_that_are_valid(route: str, status: str, value: Any) -> None:
    """Against the schema that stands beside them."""
    code = 418 if status == "4XX" else int(status)
    described = resolved(OPERATIONS[route]["responses"][status])
    (content_type,) = described["content"]
    found = problems(route, code, {"content-type": content_type}, value)

    assert [problem for problem in found if "no header" not in problem] == []


@pytest.mark.parametrize("route", OPERATIONS)
def test_examples_of_parameters_are_valid(route: str) -> None:
    """And those with a default have a valid one."""
    for where in ("path", "query", "header"):
        for parameter in parameters(route, where).values():
            schema = resolved(parameter["schema"])
            shown = [parameter[key] for key in ("example",) if key in parameter]
            shown += [schema["default"]] if "default" in schema else []
            for value in shown:
                assert openapi._problems(parameter["schema"], value, parameter["name"]) == []


def test_operations_are_those_of_the_function() -> None:
    """Name and query parameters of every route."""
    described = {
        route: (operation["operationId"], sorted(parameters(route, "query")))
        for route, operation in OPERATIONS.items()
    }

    assert described == {
        route: (known.endpoint, sorted(known.parameters)) for route, known in api.ROUTES.items()
    }


def test_path_parameters_are_those_of_the_path() -> None:
    """Each in its braces."""
    for route in OPERATIONS:
        assert {f"{{{name}}}" for name in parameters(route, "path")} == {
            step for step in route.split("/") if step.startswith("{")
        }


def test_limits_are_those_of_the_function() -> None:
    """Of parameters, ids, the path and the headers."""
    status, listing = ("/internal/v1/batches/{batch_id}/status", "/internal/v1/batches/user/{user_id}")
    essays, batches = (
        parameters(route, "query")["limit"]["schema"]["maximum"] for route in (status, listing)
    )

    assert (essays, batches) == (api.MAX_ESSAYS, api.MAX_BATCHES)
    assert parameters(listing, "query")["offset"]["schema"]["maximum"] == api.MAX_OFFSET
    assert SCHEMAS["Id"]["maxLength"] == ids.MAX_LENGTH
    text = document()["info"]["description"]
    assert f"up to {api.MAX_PATH_BYTES:,} bytes" in text
    assert f"up to {api.MAX_HEADER_BYTES:,}" in text


def test_properties_never_stand_beside_all_of() -> None:
    """openapi-python-client loses them there, and with them essays, phases and pagination of a status."""

    def schemas(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            yield value
            value = value.values()
        if not isinstance(value, str | int | float | None):
            for one in value:
                yield from schemas(one)

    composed = [one for one in schemas(document()) if "allOf" in one]

    assert composed
    for one in composed:
        assert not one.keys() & {"type", "properties", "required"}


def test_fields_are_those_of_the_view() -> None:
    """Every field of an essay, and every word for a phase or a status."""
    assert SCHEMAS["Essay"]["required"] == list(SCHEMAS["Essay"]["properties"]) == list(view._EMPTY)
    for phase, schema in ((SPELLCHECK, "SpellcheckMetrics"), (NLP, "NlpMetrics")):
        assert list(SCHEMAS[schema]["properties"]) == list(phase.metrics)
    assert tuple(SCHEMAS["PhaseName"]["enum"]) == PHASE_NAMES
    assert tuple(SCHEMAS["PhaseStatus"]["enum"]) == statuses.OF_A_PHASE
    assert tuple(SCHEMAS["EssayStatuses"]["required"]) == statuses.OF_A_PHASE
    assert tuple(SCHEMAS["OverallStatus"]["enum"]) == statuses.OVERALL


def test_the_check_sees_what_is_wrong() -> None:
    """A missing field, a foreign one, a wrong type, a missing header and a body where there is none."""
    route = "/internal/v1/batches/user/{user_id}"
    good = document()["components"]["examples"]["NoBatches"]["value"]
    headers = {
        "Content-Type": "application/json",
        "ETag": 'W/"a"',
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding",
        "X-Correlation-ID": "a",
    }
    assert problems(route, 200, headers, good) == []

    assert problems(route, 200, headers, {"batches": []})
    assert problems(route, 200, headers, {**good, "more": 1})
    assert problems(route, 200, headers, {**good, "batches": {}})
    assert problems(route, 200, {**headers, "ETag": "a"}, good)
    assert problems(route, 200, {"Content-Type": "application/json"}, good)
    assert problems(route, 201, headers, good)
    assert problems(route, 304, headers, good)
    assert problems(None, 200, headers, good)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/healthz", "/healthz"),
        ("/internal/v1/batches/b/status", "/internal/v1/batches/{batch_id}/status"),
        ("/internal/v1/batches/user/u", "/internal/v1/batches/user/{user_id}"),
        ("/internal/v1/batches/user/status", "/internal/v1/batches/user/{user_id}"),
        ("/internal/v1/batches/b/c/status", None),
        ("/", None),
    ],
)
def test_paths_are_told_apart(path: str, route: str | None) -> None:
    """As API Gateway does."""
    assert openapi.route_of(path) == route
