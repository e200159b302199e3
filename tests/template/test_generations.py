"""A second table beside the first: what each step of a rebuild deploys, and what it must not touch."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from infra.context import load_settings
from infra.settings import SettingsError
from tests.template.synth import assembly
from tests.template.table import deployed

if TYPE_CHECKING:
    from tests.template.synth import Assembly

FUNCTION, POLICY, TABLE = "AWS::Lambda::Function", "AWS::IAM::Policy", "AWS::DynamoDB::Table"


def one() -> Assembly:
    return assembly("prod")


def filling() -> Assembly:
    return assembly("prod", second_generation=2)


def switched() -> Assembly:
    return assembly("prod", table_generation=2, second_generation=1)


def left() -> Assembly:
    return assembly("prod", table_generation=2, second_generation=1, write_second="false")


def alone() -> Assembly:
    return assembly("prod", table_generation=2)


def written(stage: Assembly) -> list[str]:
    """The tables that the ingest functions write, in their order."""
    (names,) = {
        found["Environment"]["Variables"]["TABLE_NAME"] for found in stage.properties("ingest", FUNCTION)
    }
    return [str(name) for name in names.split(",")]


def asked(stage: Assembly) -> str:
    """The table that is queried, which the outputs tell too."""
    name: str = stage.only("api", FUNCTION)["Environment"]["Variables"]["TABLE_NAME"]
    assert stage.outputs("data")["TableName"] == name
    return name


def imported(stage: Assembly) -> set[str]:
    """The exports of the data stack that other stacks need."""

    def inside(value: Any) -> set[str]:
        if isinstance(value, dict):
            if "Fn::ImportValue" in value:
                return {value["Fn::ImportValue"]}
            return set().union(*map(inside, value.values()))
        return set().union(*map(inside, value)) if isinstance(value, list) else set()

    found = set().union(*(inside(t) for part, t in stage.templates.items() if part != "data"))
    return {name for name in found if ":ExportsOutput" in name and name.startswith("ras-prod-data")}


def exported(stage: Assembly) -> set[str]:
    outputs = stage.templates["data"]["Outputs"].values()
    return {output["Export"]["Name"] for output in outputs if "Export" in output}


def test_the_steps() -> None:
    """Both are written from the beginning to the end, the newer one first; the switch changes the one that is asked."""
    old, new = asked(one()), asked(switched())

    assert old != new
    assert [asked(stage) for stage in (filling(), left(), alone())] == [old, new, new]
    assert written(one()) == [old]
    assert written(filling()) == written(switched()) == [new, old]
    assert written(left()) == written(alone()) == [new]


def test_both_tables_are_the_same() -> None:
    """Keys, index, recovery, encryption, protection: one construct makes both."""
    old, new = filling().resources("data", TABLE).values()

    assert old == new
    assert old["Properties"]["DeletionProtectionEnabled"] is True


def test_a_tables_place_in_its_stack_never_changes() -> None:
    """Or CloudFormation would replace it, with all that it holds."""
    (first,) = one().resources("data", TABLE)
    (second,) = alone().resources("data", TABLE)
    for stage in (filling(), switched(), left()):
        assert set(stage.resources("data", TABLE)) == {first, second}


def test_the_switch_touches_nothing_but_what_is_asked() -> None:
    """Ingest is the same to the letter, and no right is taken away that a running version still needs."""
    assert filling().templates["ingest"] == switched().templates["ingest"]

    before, after = (stage.properties("api", POLICY) for stage in (filling(), switched()))
    assert before == after


def test_a_right_is_there_before_the_function_needs_it_and_longer() -> None:
    """A policy per table, which each function waits for; CloudFormation removes what is gone at the end of an update."""
    stage = filling()
    policies = stage.resources("ingest", POLICY)
    for function in stage.resources("ingest", FUNCTION).values():
        mine = [
            name
            for name, policy in policies.items()
            if policy["Properties"]["Roles"] == [{"Ref": function["Properties"]["Role"]["Fn::GetAtt"][0]}]
        ]
        assert len(mine) == 3
        assert set(mine) <= set(function["DependsOn"])
    assert policies.keys() > left().resources("ingest", POLICY).keys()


def test_a_table_goes_only_once_nobody_needs_it() -> None:
    """What a step takes away from the data stack, which is deployed first, no other stack imports before it."""
    steps = [one(), filling(), switched(), left(), alone()]
    for before, after in pairwise(steps):
        assert imported(before) <= exported(after)
        assert imported(after) <= exported(after)


def test_settings_that_are_forgotten_cannot_take_the_view_away() -> None:
    """A deployment without them would take exports away that are in use, which CloudFormation refuses."""
    assert not imported(alone()) <= exported(one())
    assert not imported(switched()) <= exported(one())


def test_other_stages_have_no_second_table() -> None:
    """Nothing of it is there by default."""
    assert deployed("local"), "one table only"
    assert "SecondTableName" not in one().outputs("data")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"second_generation": 1}, "second_generation: 1 is table_generation"),
        ({"write_second": False}, "write_second: false, but there is no second_generation"),
        ({"table_generation": 0}, "table_generation"),
        ({"second_generation": "x"}, "second_generation"),
    ],
)
def test_what_makes_no_sense_is_told(given: dict[str, Any], problem: str) -> None:
    """By the setting's name."""
    with pytest.raises(SettingsError, match=problem):
        load_settings({"stage": "prod", "new_cluster": "serverless", **given}, {})
