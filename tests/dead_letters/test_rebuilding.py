"""What a rebuild decides: where it stands, what comes next, what the topics cannot tell any more."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from ras_local import stack as stacks
from ras_local.cli import main
from ras_local.errors import StackError
from ras_local.paths import StateDir, write_private
from ras_ops import options, rebuilding
from ras_ops.rebuild_command import _compare
from ras_ops.rebuilding import Fill, Table, Tables, deploy_command, gone, read_tables
from ras_ops.topic_log import Bounds, TopicLog
from result_aggregator.topics import TOPICS

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient
    from ras_ops.deployment import Brokers
    from result_aggregator.store.dynamodb_http import DynamoDB

    from tests.handlers.conftest import Service

ONE, TWO = Table(1, "one"), Table(2, "two")


@dataclass
class Deployment:
    """A stage of AWS, as far as a rebuild asks: its stack's outputs, its functions' environments, its tables."""

    state: StateDir
    told: dict[str, str]
    reads: str = "one"
    writes: str = "one"
    stage: str = "dev"
    kafka: Any = None
    invoke: Any = None
    made: datetime = field(default_factory=lambda: datetime(2026, 3, 2, tzinfo=UTC))

    def outputs(self) -> dict[str, str]:
        return self.told

    def environment(self, folder: str) -> dict[str, str]:
        return {"TABLE_NAME": self.reads if folder == "query" else self.writes}

    def brokers(self) -> Any:
        return self.kafka

    @property
    def cloud(self) -> Any:
        return self

    @property
    def dynamodb(self) -> Any:
        return self

    def describe_table(self, *, TableName: str) -> dict[str, Any]:  # noqa: N803 - its name there
        return {"Table": {"CreationDateTime": self.made, "TableName": TableName, "ItemCount": 5}}


def told(live: Table, second: Table | None = None) -> dict[str, str]:
    outputs = {"TableGeneration": str(live.generation), "TableName": live.name}
    if second is not None:
        outputs |= {"SecondTableGeneration": str(second.generation), "SecondTableName": second.name}
    return outputs


@pytest.mark.parametrize(
    ("outputs", "reads", "writes", "expected"),
    [
        (told(ONE), "one", "one", Tables(ONE)),
        (told(ONE, TWO), "one", "two,one", Tables(ONE, TWO, in_step=True)),
        (told(TWO, ONE), "two", "two,one", Tables(TWO, ONE, in_step=True)),
        (told(TWO, ONE), "two", "two", Tables(TWO, ONE)),
    ],
    ids=["one table", "being filled", "switched", "the old one left"],
)
def test_where_a_rebuild_stands(
    outputs: dict[str, str], reads: str, writes: str, expected: Tables, tmp_path: Path
) -> None:
    """By what is deployed, so that it can be left and taken up anywhere."""
    deployment: Any = Deployment(StateDir(tmp_path), outputs, reads, writes)

    assert read_tables(deployment) == expected


@pytest.mark.parametrize(
    ("outputs", "reads", "writes"),
    [
        (told(ONE, TWO), "one", "one,two"),
        (told(TWO, ONE), "one", "two,one"),
        (told(ONE, TWO), "one", "two"),
        (told(ONE), "one", ""),
    ],
)
def test_half_a_deployment_is_told(outputs: dict[str, str], reads: str, writes: str, tmp_path: Path) -> None:
    """Filling before every function writes both would leave a gap."""
    deployment: Any = Deployment(StateDir(tmp_path), outputs, reads, writes)
    with pytest.raises(StackError, match="other tables than its stacks say"):
        read_tables(deployment)


def test_an_older_deployment_is_told(tmp_path: Path) -> None:
    """It has no such outputs."""
    deployment: Any = Deployment(StateDir(tmp_path), {"TableName": "one"})
    with pytest.raises(StackError, match="knows no generations"):
        read_tables(deployment)


def test_each_step_is_a_deployment_with_settings() -> None:
    """Begin, switch, return, leave, drop."""
    filling, switched = Tables(ONE, TWO, in_step=True), Tables(TWO, ONE, in_step=True)

    assert Tables(ONE).begun() == {"table_generation": "1", "second_generation": "2"}
    assert filling.swapped() == {"table_generation": "2", "second_generation": "1"}
    assert switched.swapped() == Tables(ONE).begun()
    assert switched.left() == filling.swapped() | {"write_second": "false"}
    assert switched.alone() == {"table_generation": "2"}
    assert (filling.switched, switched.switched) == (False, True)
    assert filling.rebuilt == switched.rebuilt == TWO
    assert deploy_command("prod", switched.alone()) == "make deploy STAGE=prod ARGS='-c table_generation=2'"


def test_a_table_that_was_left_is_not_asked_again() -> None:
    """It lacks what came since."""
    for tables, why in ((Tables(TWO, ONE), "do not go into one"), (Tables(ONE), "no second table")):
        with pytest.raises(StackError, match=why):
            tables.swapped()


def test_what_kafka_no_longer_keeps_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the topics whose logs do not begin at their beginning."""
    held = {"a": {0: Bounds(0, 9), 1: Bounds(4, 4)}, "b": {0: Bounds(0, 0)}}
    monkeypatch.setattr(TopicLog, "bounds", lambda self: held[self.topic])
    brokers: Any = None

    assert gone(brokers, ["a", "b"]) == {"a": 4}


def test_a_fill_goes_on_where_it_was(service: Service, brokers: Brokers, tmp_path: Path) -> None:
    """Topics that are through are not handed over again; another table of that name is filled from the beginning."""
    deployment: Any = Deployment(StateDir(tmp_path), {}, kafka=brokers, invoke=service.invoke)
    fill = Fill.of(deployment, TWO)
    first, *others = fill.runs()
    assert [first.topic, *(run.topic for run in others)] == list(TOPICS)
    fill.hand_over(first, lambda _: None)

    assert [run.topic for run in Fill.of(deployment, TWO).runs()] == [run.topic for run in others]
    deployment.made = datetime(2026, 3, 3, tzinfo=UTC)
    assert len(Fill.of(deployment, TWO).runs()) == len(TOPICS)
    fill.forget()
    assert len(fill.runs()) == len(TOPICS)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A stage in AWS of which Kafka keeps everything."""
    found = Deployment(StateDir(tmp_path), told(ONE))
    monkeypatch.setattr(options, "deployment", lambda _: found)
    monkeypatch.setattr(rebuilding, "gone", lambda _: {})
    monkeypatch.setattr(TopicLog, "bounds", lambda _: {0: Bounds(0, 3)})
    return found


def ras(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["rebuild", "--stage", "dev", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_stage_in_aws_is_deployed_by_its_owner(stage: Deployment) -> None:
    """Each time the next step is a deployment, it is told what to run."""
    assert "make deploy STAGE=dev ARGS='-c table_generation=1 -c second_generation=2'" in ras("--yes", code=1)
    stage.told, stage.reads, stage.writes = told(TWO, ONE), "two", "two,one"
    assert "asked already" in ras()
    assert "-c table_generation=1 -c second_generation=2" in ras("--back", "--yes", code=1)
    left = "-c table_generation=2 -c second_generation=1 -c write_second=false"
    assert left in ras("--finish", "--yes", code=1)
    stage.writes = "two"
    output = ras("--finish", "--dry-run")
    assert "write_second" not in output
    assert "would run: make deploy STAGE=dev ARGS='-c table_generation=2'" in output


def test_a_dry_run_says_how_much(stage: Deployment) -> None:
    """And writes nothing, not even a note."""
    assert f"{3 * len(TOPICS)} records would be handed over, and about 5 items" in ras("--dry-run")
    assert not list(stage.state.root.iterdir())


@pytest.mark.usefixtures("stage")
def test_what_is_gone_needs_a_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is begun."""
    monkeypatch.setattr(rebuilding, "gone", lambda _: {"huleedu.t": 7})
    output = ras("--yes", code=1)

    assert "huleedu.t: the first 7 offsets are gone" in output
    assert "--missing copy" in output
    assert "make deploy" in ras("--yes", "--missing", "copy", code=1)


@pytest.mark.usefixtures("stage")
def test_mistakes_are_told() -> None:
    """Nothing to go back to, nothing to finish, both at once."""
    assert "the old table is the one that is asked" in ras("--back", "--yes", code=1)
    assert "no second table" in ras("--finish", "--yes", code=1)
    assert "not both" in ras("--back", "--finish", code=2)


def test_the_switch_is_refused_where_something_is_lacking(
    dynamodb: DynamoDBClient,
    http_client: DynamoDB,
    table: str,
    table_arguments: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is lacking is named; to go without it, or to copy it, has to be said."""
    dynamodb.create_table(**{**table_arguments, "TableName": "new"})
    end = f"20260302T080000000000 {'0' * 32} 1"
    dynamodb.put_item(
        TableName=table, Item={"pk": {"S": "batch#b7"}, "sk": {"S": "batch"}, "end": {"S": end}}
    )
    deployment: Any = SimpleNamespace(cloud=SimpleNamespace(dynamodb=dynamodb, view_client=http_client))
    tables = Tables(Table(1, table), Table(2, "new"), in_step=True)

    with pytest.raises(StackError, match="lacks what 1 items of the old one have") as refused:
        _compare(deployment, tables, None)
    assert "--missing copy" in refused.value.advice
    assert "b7 batch" in capsys.readouterr().err
    _compare(deployment, tables, "drop")
    assert dynamodb.scan(TableName="new")["Items"] == []
    _compare(deployment, tables, "copy")
    assert dynamodb.scan(TableName="new")["Items"] == dynamodb.scan(TableName=table)["Items"]
    _compare(deployment, tables, None)


def test_a_stack_on_dynamodb_local_cannot_be_rebuilt(tmp_path: Path) -> None:
    """Said before anything is deployed, as its second table would not be where the functions look for it."""
    state = StateDir(tmp_path)
    written = {one.name: {} if one.name == "callers" else "" for one in fields(stacks.Stack)}
    write_private(state.stack_file, json.dumps(written))
    state.dynamodb_local.mkdir()
    with pytest.raises(StackError, match="DynamoDB Local"):
        stacks.deploy_again(state, {})
