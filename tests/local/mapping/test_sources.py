"""Which mappings there are: by Lambda's API and by a file in its shape."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from ras_local.mapping import AwsAccess, LambdaMappings, MappingsFile, MappingsUnknownError

from tests.local.mapping.lambda_endpoint import LambdaEndpoint, serving

if TYPE_CHECKING:
    from pathlib import Path

MSK = "arn:aws:kafka:eu-north-1:000000000000:cluster/c/1"
MINIMAL = {"UUID": "one", "Topics": ["essays"], "FunctionArn": "f"}


def listed(url: str) -> LambdaMappings:
    return LambdaMappings(AwsAccess(url, "eu-north-1", "test", "test").functions)


def test_lambda_lists_all_mappings_of_msk() -> None:
    """API reference, ListEventSourceMappings: in pages; those of other sources are somebody else's."""
    queue = {"UUID": "queue", "FunctionArn": "f", "EventSourceArn": "arn:aws:sqs:eu-north-1:000000000000:q"}
    one, two = ({**MINIMAL, "UUID": uuid, "EventSourceArn": MSK} for uuid in ("one", "two"))
    with serving(LambdaEndpoint(pages=[[one, queue], [], [two]])) as endpoint:
        found = listed(endpoint.url)()

    assert [(settings.uuid, settings.event_source_arn) for settings in found] == [("one", MSK), ("two", MSK)]


def test_an_api_that_does_not_answer_is_told() -> None:
    with pytest.raises(MappingsUnknownError, match="Could not connect"):
        listed("http://127.0.0.1:1")()


@pytest.mark.parametrize("wrapped", [False, True], ids=["a list", "as the API lists them"])
def test_a_file_holds_what_the_api_answers(tmp_path: Path, wrapped: bool) -> None:  # noqa: FBT001 (a parameter)
    """The AWS command line prints times as ISO 8601, templates have seconds."""
    written = [
        {
            **MINIMAL,
            "StartingPosition": "AT_TIMESTAMP",
            "StartingPositionTimestamp": "2026-11-23T01:00:00+01:00",
        },
        {**MINIMAL, "UUID": "two", "BatchSize": 7, "StartingPositionTimestamp": 1_795_392_000},
    ]
    file = tmp_path / "mappings.json"
    file.write_text(json.dumps({"EventSourceMappings": written} if wrapped else written))
    one, two = MappingsFile(file)()

    assert (one.uuid, one.topic, one.function_name, one.consumer_group_id) == ("one", "essays", "f", "one")
    assert one.starting_timestamp_ms == two.starting_timestamp_ms == 1_795_392_000_000
    assert two.batch_size == 7


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "mappings.json"
    file.write_text(json.dumps([MINIMAL]))
    mappings = MappingsFile(file)
    first = mappings()

    assert mappings() is first

    changed = tmp_path / "new"
    changed.write_text(json.dumps([{**MINIMAL, "BatchSize": 5}]))
    changed.replace(file)
    os.utime(file, ns=(0, 0))

    assert [settings.batch_size for settings in mappings()] == [5]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[", "Expecting value"),
        ("{}", "neither a list of mappings"),
        ("3", "neither a list of mappings"),
        ("[1]", "neither a list of mappings"),
        ('[{"Topics": ["t"], "FunctionArn": "f"}]', "a mapping without UUID"),
        ('[{"UUID": "one", "Topics": ["t"]}]', "a mapping without FunctionArn"),
        (json.dumps([{**MINIMAL, "BatchSize": "many"}]), "mapping one: invalid literal"),
        (json.dumps([{**MINIMAL, "Topics": 3}]), "mapping one: "),
        (json.dumps([{**MINIMAL, "ProvisionedPollerConfig": 2}]), "mapping one: "),
        (json.dumps([{**MINIMAL, "FilterCriteria": {"Filters": [3]}}]), "mapping one: "),
        (json.dumps([{**MINIMAL, "StartingPositionTimestamp": "Tuesday"}]), "mapping one: "),
        (json.dumps([MINIMAL, MINIMAL]), "two mappings have the same UUID"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_what_is_wrong(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "mappings.json"
    file.write_text(content)
    with pytest.raises(MappingsUnknownError, match=r"mappings\.json: ") as raised:
        MappingsFile(file)()

    assert problem in str(raised.value)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    missing: Any = MappingsFile(tmp_path / "mappings.json")

    with pytest.raises(MappingsUnknownError, match="No such file"):
        missing()
