"""Answers as types: held against the contract, tolerant of what is new, strict about what is there."""

from __future__ import annotations

import dataclasses
import json
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
        found |= properties(SCHEMAS[part["$ref"].rsplit("/", 1)[-1]] if "$ref" in part else part)
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

    assert read(model, example).to_dict() == example


@pytest.mark.parametrize("batch_id", samples.expected())
def test_samples_are_read(batch_id: str) -> None:
    """What the samples must answer survives the reading, value by value."""
    wanted = samples.expected()[batch_id]
    batch = read(BatchStatus, wanted)

    assert samples.differences(batch.to_dict(), wanted) == []
    assert read(BatchStatus, json.loads(batch.to_json())) == batch


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


def test_statuses_are_those_of_the_contract() -> None:
    """The literals that a type checker knows, and what of them is an end (DESIGN: a phase's, a batch's)."""
    for name, known, ended in [
        ("OverallStatus", models.OverallStatus, models.ENDED_BATCH),
        ("PhaseStatus", models.PhaseStatus, models.ENDED_PHASE),
    ]:
        words = typing.get_args(known)

        assert list(words) == SCHEMAS[name]["enum"]
        assert ended < set(words)
        assert set(words) - ended in ({"REGISTERED", "PROCESSING"}, {"PENDING", "IN_PROGRESS"})


@pytest.mark.parametrize("word", [*typing.get_args(models.OverallStatus), "OF_A_NEWER_SERVICE"])
def test_a_batch_says_whether_it_has_ended(word: str) -> None:
    """A word that this client does not know is passed on, and is no end."""
    batch = read(BatchStatus, {**summary(), "overall_status": word, "essays": []})

    assert batch.overall_status == word
    assert batch.is_ended == (word in {"COMPLETED", "PARTIALLY_COMPLETED", "FAILED", "CANCELLED"})


@pytest.mark.parametrize("word", [None, *typing.get_args(models.PhaseStatus)])
def test_a_phase_says_whether_it_has_ended(word: str | None) -> None:
    """None before an event has told of it."""
    phase = read(models.PhaseSummary, {"name": "nlp", "status": word})

    assert phase.is_ended == (word in {"COMPLETED", "FAILED", "SKIPPED", "CANCELLED"})


def test_json_is_the_apis_own() -> None:
    """Names, times and nulls as the service writes them."""
    health = read(Health, {"status": "healthy"})

    assert health.to_dict() == {"status": "healthy", "service": None}
    assert json.loads(health.to_json()) == health.to_dict()
    assert read(BatchStatus, {**summary(), "essays": []}).to_dict()["created_at"] == TIME


def test_answers_cannot_be_changed() -> None:
    """One may be shared between threads."""
    essay = EssayResult(essay_id="e")
    with pytest.raises(dataclasses.FrozenInstanceError):
        typing.cast("Any", essay).filename = "other"
