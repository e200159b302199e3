"""Answers as types: held against the contract, tolerant of what is new, strict about what is there."""

from __future__ import annotations

import dataclasses
import typing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from result_aggregator_client import BatchPage, BatchStatus, EssayResult, Health, models
from result_aggregator_client.models import UnreadableError, read

from tests import samples
from tests.client.answers import TIME, summary

CONTRACT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "docs/openapi.yaml").read_text(encoding="utf-8")
)
SCHEMAS = CONTRACT["components"]["schemas"]

MODELS: dict[str, Any] = {
    "Batch": models.BatchSummary,
    "BatchStatus": BatchStatus,
    "BatchList": BatchPage,
    "BatchPagination": models.BatchPagination,
    "Essay": EssayResult,
    "EssayPagination": models.EssayPagination,
    "Health": Health,
    "PhaseSummary": models.PhaseSummary,
}


def properties(schema: dict[str, Any]) -> dict[str, Any]:
    found = dict(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        found |= properties(SCHEMAS[part["$ref"].rsplit("/", 1)[-1]])
    return found


def json_types(schema: dict[str, Any]) -> set[str]:
    """The JSON types that a schema allows."""
    if "$ref" in schema:
        return json_types(SCHEMAS[schema["$ref"].rsplit("/", 1)[-1]])
    if "anyOf" in schema:
        return {kind for one in schema["anyOf"] for kind in json_types(one)}
    found = schema["type"]
    return set(found) if isinstance(found, list) else {found}


PYTHON_TYPES: dict[str, set[type]] = {
    "string": {str},
    "integer": {int},
    "number": {int, float},
    "object": {dict},
    "array": {list},
    "null": {type(None)},
}


@pytest.mark.parametrize("name", MODELS)
def test_models_have_the_fields_and_types_of_the_contract(name: str) -> None:
    """Neither more nor fewer, and each takes all that the contract allows."""
    wanted = properties(SCHEMAS[name])
    plan = {field.name: field for field in models._plan(MODELS[name])}

    assert set(plan) == set(wanted)
    for field, schema in wanted.items():
        allowed = {one for kind in json_types(schema) for one in PYTHON_TYPES[kind]}
        assert plan[field].types >= allowed, field


@pytest.mark.parametrize("name", ["Processing", "Continued", "FirstPage", "NoBatches"])
def test_examples_of_the_contract_are_read(name: str) -> None:
    """Value by value."""
    example = CONTRACT["components"]["examples"][name]["value"]
    model: type[Any] = BatchStatus if "essays" in example else BatchPage

    assert plain(read(model, example)) == example


@pytest.mark.parametrize("batch_id", samples.expected())
def test_samples_are_read(batch_id: str) -> None:
    """What the samples must answer survives the reading, value by value."""
    wanted = samples.expected()[batch_id]
    batch = plain(read(BatchStatus, wanted))

    assert samples.differences(batch, wanted) == []


def plain(value: Any) -> Any:
    """A model as the JSON it was read from, with every field."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value


def test_new_fields_are_passed_over_and_missing_ones_have_defaults() -> None:
    """An older client reads a newer service, and a newer client an older service."""
    body = {**summary(), "essays": [{"essay_id": "e", "plagiarism_status": "COMPLETED"}], "mood": "good"}
    batch = read(BatchStatus, body)

    assert batch.essays == (EssayResult(essay_id="e"),)
    assert (batch.phases, batch.pagination.next_cursor, batch.current_phase) == ((), None, None)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"batch_id": None}, "answer.batch_id has the wrong type"),
        ({"essay_count": True}, "answer.essay_count has the wrong type"),
        ({"essay_count": 1.5}, "answer.essay_count has the wrong type"),
        ({"essays": {}}, "answer.essays has the wrong type"),
        ({"essays": [{"essay_id": "a"}, {}]}, r"answer.essays\[1\].essay_id is missing"),
        ({"essays": [{"essay_id": "a", "cj_rank": "1"}]}, r"answer.essays\[0\].cj_rank has the wrong type"),
        ({"essays": ["a"]}, r"answer.essays\[0\] is no object"),
        ({"pagination": {"next_cursor": 3}}, "answer.pagination.next_cursor has the wrong type"),
        ({"created_at": "yesterday"}, "answer.created_at is no time"),
        ({"created_at": "2026-03-02T08:00:01"}, "answer.created_at has no time zone"),
    ],
)
def test_what_is_there_has_its_type(change: dict[str, Any], place: str) -> None:
    """A wrong value is told with its place, not handed on."""
    with pytest.raises(UnreadableError, match=place):
        read(BatchStatus, {**summary(), "essays": [], **change})


def test_times_and_numbers() -> None:
    """Times know their zone; a whole number serves where a fraction may be."""
    body = {**summary(), "essays": [{"essay_id": "e", "cj_score": 1, "last_updated": TIME}]}
    [essay] = read(BatchStatus, body).essays

    assert essay.last_updated == datetime(2026, 3, 2, 8, 0, 1, 276000, UTC)
    assert isinstance(essay.cj_score, float)


def test_answers_cannot_be_changed() -> None:
    """One may be shared between threads."""
    essay = EssayResult(essay_id="e")
    with pytest.raises(dataclasses.FrozenInstanceError):
        typing.cast("Any", essay).filename = "other"
