"""Answers held against the OpenAPI document, wherever they come from."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = Path(__file__).parents[1] / "docs" / "openapi.yaml"


@cache
def document() -> dict[str, Any]:
    """The document as it is written, references and all."""
    loaded: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return loaded


def resolved(value: Any) -> Any:
    """What a reference stands for; anything else is itself."""
    while isinstance(value, dict) and "$ref" in value:
        steps, value = value["$ref"].removeprefix("#/").split("/"), document()
        for step in steps:
            value = value[step]
    return value


def route_of(path: str) -> str | None:
    """The document's path that a request path is of; a literal segment goes before a parameter. None for none."""
    found = [
        route
        for route in document()["paths"]
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route)), path)
    ]
    return max(found, key=lambda route: route.find("{") % len(route), default=None)


def problems(
    route: str | None, status: int, headers: Mapping[str, str], body: Any, method: str = "GET"
) -> list[str]:
    """Where an answer is not as the document says; on an unknown route, any error of the document's.

    A method that a route does not have is answered as GET is, and HEAD never with a body.
    """
    if route is None:
        return [f"{status} on an unknown route"] * (status < 400) + _problems_of_schema("Error", body)
    operations = document()["paths"][route]
    responses = operations.get(method.lower(), operations["get"])["responses"]
    response = resolved(responses.get(str(status), responses["4XX"] if 400 <= status < 500 else None))
    if response is None:
        return [f"no response {status}"]
    given = {name.lower(): value for name, value in headers.items()}
    found = []
    for name, header in response.get("headers", {}).items():
        schema, value = resolved(header)["schema"], given.get(name.lower())
        if value is None:
            found += [f"no header {name}"] * resolved(header).get("required", False)
        else:
            # A header is text; an integer's schema means its digits.
            is_number = schema["type"] == "integer" and value.isdecimal()
            found += _problems(schema, int(value) if is_number else value, name)
    if method == "HEAD" or "content" not in response:
        return found + [f"a body: {body!r}"] * (body is not None)
    ((content_type, content),) = response["content"].items()
    if given.get("content-type") != content_type:
        found.append(f"content type {given.get('content-type')}")
    return found + _problems(content["schema"], body, "body")


def _problems_of_schema(name: str, body: Any) -> list[str]:
    return _problems({"$ref": f"#/components/schemas/{name}"}, body, "body")


def _problems(schema: dict[str, Any], value: Any, where: str) -> list[str]:
    validator = _validator(schema.get("$ref") or yaml.safe_dump(schema))
    return [
        f"{where}/{'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
        for error in validator.iter_errors(value)
    ]


@cache
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    """Of a reference, or of a schema as YAML."""
    parsed = {"$ref": schema} if schema.startswith("#/") else yaml.safe_load(schema)
    return jsonschema_rs.Draft202012Validator(
        {**parsed, "components": document()["components"]}, validate_formats=True
    )
