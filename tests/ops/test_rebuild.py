"""What a rebuild decides: where it stands, what comes next, what the topics cannot tell any more."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from ras import options
from ras.cli import main
from ras.dead_letters.bucket import DeadLetterBucket
from ras.errors import OperatorError
from ras.invoke import BATCH_RECORDS, FunctionFailedError
from ras.kafka.msk_iam import Brokers
from ras.kafka.publish import Event, publish
from ras.kafka.topic import Bounds, TopicLog
from ras.rebuild import command as rebuild_command
from ras.rebuild import compare as comparing
from ras.rebuild import rebuild
from ras.rebuild.command import _compare
from ras.rebuild.rebuild import Fill, Table, Tables, deploy_command, gone, read_tables
from ras.stack_file import Stack
from ras.state_folder import REPOSITORY, StateDir, write_private
from ras_local import stack as stacks
from ras_local.settings import StackDir
from result_aggregator.domain import registers
from result_aggregator.topics import TOPICS

from infra.context import as_context, load_settings
from tests.ops import made
from tests.template.given import CLUSTER_ARN, GIVEN_VPC
from tests.template.test_settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.store.dynamodb_client import DynamoDB

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
    profile: str | None = None
    layer: str = "layer:1"
    made: datetime = field(default_factory=lambda: datetime(2026, 3, 2, tzinfo=UTC))
    s3: Any = None
    bucket_name: str = ""

    def outputs(self) -> dict[str, str]:
        return self.told

    def environment(self, folder: str) -> dict[str, str]:
        return {"TABLE_NAME": self.reads if folder == "query" else self.writes}

    def code(self, folder: str) -> list[str]:
        return [f"hash of {folder}", self.layer]

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


def of_service(service: Service, brokers: Brokers, state: Path) -> Any:
    """A stage whose functions are the service's and whose bucket is there."""
    return Deployment(
        StateDir(state), {}, kafka=brokers, invoke=service.invoke, s3=service.s3, bucket_name=service.bucket
    )


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
    with pytest.raises(OperatorError, match="other tables than its stacks say"):
        read_tables(deployment)


def test_an_older_deployment_is_told(tmp_path: Path) -> None:
    """It has no such outputs."""
    deployment: Any = Deployment(StateDir(tmp_path), {"TableName": "one"})
    with pytest.raises(OperatorError, match="knows no generations"):
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


AWKWARD = {
    "stage": "prod",
    "vpc": GIVEN_VPC,
    "cluster_arn": CLUSTER_ARN,
    "callers": json.dumps({"it's-me": "role/with+signs=,.@"}),
    "alarm_emails": json.dumps(["on-call+$HOME`id`@example.com", 'a"b\\c@example.com']),
    "runbook_url": "https://wiki.example.com/run book?a=1&b=$(id)#top; 'x' ${y}",
    "snap_start": "false",
    "retries": "7",
}


def test_the_deployment_that_is_told_can_be_pasted() -> None:
    """Through a shell, make and its shell every setting arrives as it was, whatever is in it."""
    deployed = load_settings(AWKWARD, {})
    command = deploy_command("prod", {**as_context(deployed), "table_generation": "2"}, "some profile")
    assert command.startswith("AWS_PROFILE='some profile' make deploy STAGE=prod ARGS='-c ")

    # `words` instead of the CDK's command line: it prints what it is given, a word a line.
    words = "printf '%s\\n'"
    told = command.replace(" make deploy ", f' make --silent SETUP= CDK="{words}" deploy ')
    given = subprocess.run(
        ["bash", "-c", told], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    lines = given.splitlines()
    pairs = [second for first, second in pairwise(lines) if first == "-c"]

    again = load_settings(dict(pair.split("=", 1) for pair in pairs), {})
    assert again == deployed.model_copy(update={"table_generation": 2})


def test_a_table_that_was_left_is_not_asked_again() -> None:
    """It lacks what came since."""
    for tables, why in ((Tables(TWO, ONE), "do not go into one"), (Tables(ONE), "no second table")):
        with pytest.raises(OperatorError, match=why):
            tables.swapped()


def test_what_kafka_no_longer_keeps_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the topics whose logs do not begin at their beginning."""
    held = {"a": {0: Bounds(0, 9), 1: Bounds(4, 4)}, "b": {0: Bounds(0, 0)}}
    monkeypatch.setattr(TopicLog, "bounds", lambda self: held[self.topic])

    assert gone(Brokers("unused"), ["a", "b"]) == {"a": 4}


def test_a_fill_goes_on_where_it_was(service: Service, brokers: Brokers, tmp_path: Path) -> None:
    """Topics that are through are not handed over again; another table of that name is filled from the beginning."""
    deployment = of_service(service, brokers, tmp_path)
    fill = Fill.of(deployment, TWO)
    first, *others = fill.runs()
    assert [first.topic, *(run.topic for run in others)] == list(TOPICS)
    fill.hand_over(first, lambda _: None)

    assert [run.topic for run in Fill.of(deployment, TWO).runs()] == [run.topic for run in others]
    deployment.made = datetime(2026, 3, 3, tzinfo=UTC)
    assert len(Fill.of(deployment, TWO).runs()) == len(TOPICS)
    fill.forget()
    assert len(fill.runs()) == len(TOPICS)


def test_a_fill_goes_on_on_another_machine(
    service: Service, brokers: Brokers, consumed: str, tmp_path: Path
) -> None:
    """That reaches the brokers by another address, in the middle of a topic: how far it is lies with the stage."""
    values = [made.result(f"e{number}") for number in range(250)]
    publish(brokers.bootstrap_servers, [Event(consumed, value, b"", partition=0) for value in values])
    here = of_service(service, brokers, tmp_path / "here")
    calls = iter(range(1))

    def stopped(folder: str, event: dict[str, Any]) -> dict[str, Any]:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return service.invoke(folder, event)

    here.invoke = stopped
    with pytest.raises(KeyboardInterrupt):
        handed_over(Fill.of(here, TWO))
    address = brokers.bootstrap_servers.split(",")[0].replace("127.0.0.1", "localhost")
    there = of_service(service, replace(brokers, bootstrap_servers=address), tmp_path / "there")

    [run] = Fill.of(there, TWO).runs()
    assert (run.resumed, run.left) == (True, 250 - BATCH_RECORDS)
    assert handed_over(Fill.of(there, TWO)) == [consumed]
    assert Fill.of(here, TWO).runs() == []
    listed = service.s3.list_objects_v2(Bucket=service.bucket)["Contents"]
    assert [one["Key"] for one in listed] == [f"rebuilds/two-{here.made.timestamp():.0f}/filled.json"]
    assert DeadLetterBucket(service.s3, service.bucket).counts().total() == 0


def handed_over(fill: Fill) -> list[str]:
    """Hand everything over that is still to do; the topics that were."""
    runs = fill.runs()
    for run in runs:
        fill.hand_over(run, lambda _: None)
    return [run.topic for run in runs]


def test_what_another_reader_filled_does_not_count(
    service: Service, brokers: Brokers, tmp_path: Path
) -> None:
    """Whether all of it or a part, or if nobody knows: the table keeps what that one read of an event."""
    deployment = of_service(service, brokers, tmp_path)
    handed_over(Fill.of(deployment, TWO))
    assert Fill.of(deployment, TWO).runs() == []

    deployment.layer = "layer:2"
    mended = Fill.of(deployment, TWO)
    with pytest.raises(OperatorError, match="deployed anew since") as refused:
        mended.runs()
    assert "--finish" in refused.value.advice
    assert "--restart" in refused.value.advice
    mended.forget()
    assert len(handed_over(mended)) == len(TOPICS)
    mended.notes.write("filled", list(TOPICS))  # as an earlier version noted it
    with pytest.raises(OperatorError, match="deployed anew since"):
        mended.runs()


def test_functions_that_change_during_a_fill_are_noticed(
    service: Service, brokers: Brokers, tmp_path: Path
) -> None:
    """What they had read by then is in the table."""
    deployment = of_service(service, brokers, tmp_path)
    fill = Fill.of(deployment, TWO)
    run, *_ = fill.runs()
    deployment.layer = "layer:2"

    with pytest.raises(OperatorError, match="deployed anew since"):
        fill.hand_over(run, lambda _: None)
    with pytest.raises(OperatorError, match="deployed anew since"):
        Fill.of(deployment, TWO).runs()


class Breaking:
    """Functions that break on records whose value has a word; `given` counts the records handed over."""

    def __init__(self, invoke: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        self.invoke = invoke
        self.word = b64("breaks")
        self.given = 0

    def __call__(self, folder: str, event: dict[str, Any]) -> dict[str, Any]:
        if self.word and self.word in json.dumps(event):
            raise FunctionFailedError("out of memory")
        self.given += sum(map(len, event["records"].values()))
        return self.invoke(folder, event)


def b64(text: str) -> str:
    return made.b64(text.encode())


@pytest.fixture
def consumed(topic: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic with ten records in a partition, the fourth and the sixth of which break its function."""
    for name in list(TOPICS):
        if name != made.SPELLCHECK:
            monkeypatch.delitem(TOPICS, name)
    monkeypatch.setitem(TOPICS, topic, TOPICS[made.SPELLCHECK])
    monkeypatch.delitem(TOPICS, made.SPELLCHECK)
    return topic


def test_records_that_the_function_breaks_on_are_not_filled(
    service: Service, brokers: Brokers, consumed: str, tmp_path: Path
) -> None:
    """They are handed over again, with what lies between them, until it takes them."""
    values = [b"breaks" if number in (3, 5) else made.result(f"e{number}") for number in range(10)]
    publish(brokers.bootstrap_servers, [Event(consumed, value, b"", partition=0) for value in values])
    breaking = Breaking(service.invoke)
    deployment = of_service(service, brokers, tmp_path)
    deployment.invoke = breaking
    fill = Fill.of(deployment, TWO)

    assert handed_over(fill) == [consumed]
    assert fill.failed() == {consumed: [(f"{consumed}/0/{n}", "out of memory") for n in (3, 5)]}
    assert breaking.given == 8
    assert [run.left for run in Fill.of(deployment, TWO).runs()] == [3]
    assert handed_over(fill) == [consumed]
    assert (breaking.given, len(fill.failed()[consumed])) == (9, 2)

    breaking.word = ""
    assert handed_over(fill) == [consumed]
    assert (breaking.given, fill.failed(), fill.runs()) == (12, {}, [])


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A stage in AWS of which Kafka keeps everything."""
    found = Deployment(StateDir(tmp_path), told(ONE), kafka=Brokers("unused"))
    monkeypatch.setattr(options, "deployment", lambda _: found)
    monkeypatch.setattr(rebuild, "gone", lambda _: {})
    monkeypatch.setattr(TopicLog, "bounds", lambda _: {0: Bounds(0, 3)})
    return found


def ras(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["rebuild", "--stage", "dev", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_stage_in_aws_is_deployed_by_its_owner(stage: Deployment) -> None:
    """Each time the next step is a deployment, it is told what to run."""
    output = ras("--yes", code=1)
    assert "make deploy STAGE=dev ARGS='-c table_generation=1 -c second_generation=2'" in output
    assert "Then run the same command again" in output
    stage.told, stage.reads, stage.writes = told(TWO, ONE), "two", "two,one"
    assert "--back returns to it" in ras()
    assert "-c table_generation=1 -c second_generation=2" in ras("--back", "--dry-run")
    left = "-c table_generation=2 -c second_generation=1 -c write_second=false"
    assert left in ras("--finish", "--yes", code=1)
    stage.writes = "two"
    assert "no way back" in ras()
    assert "do not go into one" in ras("--back", "--yes", code=1)
    output = ras("--finish", "--dry-run")
    assert "write_second" not in output
    assert "would run: make deploy STAGE=dev ARGS='-c table_generation=2'" in output


def test_every_setting_of_the_stage_is_told(stage: Deployment) -> None:
    """As its stack has them, in one line by itself; of an older stack that they are not known."""
    assert "beside every setting that the stage has now" in ras("--yes", code=1)

    deployed = load_settings(
        {"stage": "prod", "vpc": GIVEN_VPC, "cluster_arn": CLUSTER_ARN, "retries": "7"}, {}
    )
    stage.told["Settings"] = json.dumps(as_context(deployed))
    stage.profile = "production"
    result = CliRunner().invoke(main, ["rebuild", "--stage", "dev", "--yes"])
    _, _, command = result.stdout.strip().partition("\n")
    assert command.startswith("AWS_PROFILE=production make deploy STAGE=dev ")
    assert "\n" not in command
    given = settings_of(command.removeprefix("AWS_PROFILE=production "))
    assert load_settings(given | {"stage": "prod"}, {}) == deployed.model_copy(
        update={"second_generation": 2}
    )
    assert "it has every setting" in result.stderr


def test_a_dry_run_says_how_much(stage: Deployment) -> None:
    """And writes nothing, not even a note."""
    assert f"{3 * len(TOPICS)} records would be handed over, and about 5 items" in ras("--dry-run")
    assert not list(stage.state.root.iterdir())


@pytest.mark.usefixtures("stage")
def test_what_is_gone_needs_a_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is begun."""
    monkeypatch.setattr(rebuild, "gone", lambda _: {"huleedu.t": 7})
    output = ras("--yes", code=1)

    assert "huleedu.t: the first 7 offsets are gone" in output
    assert "--missing copy" in output
    assert "make deploy" in ras("--yes", "--missing", "copy", code=1)


@pytest.mark.usefixtures("stage")
def test_mistakes_are_told() -> None:
    """Nothing to go back to, nothing to finish, both at once."""
    assert "there is no second table to go back to" in ras("--back", "--yes", code=1)
    assert "no second table" in ras("--finish", "--yes", code=1)
    assert "not both" in ras("--back", "--finish", code=2)


@pytest.mark.parametrize(("missing", "gone_on"), [(None, False), ("copy", True), ("drop", True)])
def test_what_breaks_the_functions_has_to_be_chosen(
    brokers: Brokers,
    tmp_path: Path,
    missing: str | None,
    gone_on: bool,  # noqa: FBT001 - a test parameter
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is told how many of which topic, and what can be done."""
    deployment: Any = Deployment(StateDir(tmp_path), {}, kafka=brokers)
    monkeypatch.setattr(Fill, "runs", lambda _: [])
    monkeypatch.setattr(Fill, "failed", lambda _: {"t": [("t/0/1", "out of memory"), ("t/0/2", "timeout")]})
    tables = Tables(ONE, TWO, in_step=True)
    if gone_on:
        assert rebuild_command._fill(deployment, tables, missing, restart=False) == 2
        rebuild_command._ask_about(2, 1, yes=True)
        asked = "without 2 records that the functions break on and what 1 items of the other table have"
        assert asked in capsys.readouterr().err
        with pytest.raises(OperatorError, match=f"Go on {asked}"):
            rebuild_command._ask_about(2, 1, yes=False)
    else:
        with pytest.raises(OperatorError, match="break on 2 records: 2 of t") as refused:
            rebuild_command._fill(deployment, tables, missing, restart=False)
        assert "--restart" in refused.value.advice
        assert "--missing drop" in refused.value.advice


def test_going_back_needs_an_old_table_that_has_everything(
    stage: Deployment, http_client: DynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the new table has, the old one may lack: events did not go into it for a while."""
    stage.told, stage.reads, stage.writes = told(TWO, ONE), "two", "two,one"
    compared: list[tuple[str, str]] = []

    def compare(_: Any, old: str, new: str, **options: Any) -> comparing.Comparison:
        compared.append((old, new))
        found = comparing.Comparison()
        found.note({"pk": "batch#b7", "sk": "batch"}, comparing.Difference.BEHIND)
        found.copied = 1 if options["copy_to"] is not None else 0
        return found

    monkeypatch.setattr(comparing, "compare", compare)
    monkeypatch.setattr(Deployment, "view_client", http_client, raising=False)
    output = ras("--back", "--yes", code=1)

    assert compared == [("two", "one")]
    assert "the old table lacks what 1 items of the new one have" in output
    assert "write_second=false" in output
    assert "b7 batch" in output
    assert "make deploy" not in output
    assert "make deploy" in ras("--back", "--yes", "--missing", "drop", code=1)
    assert "make deploy" in ras("--back", "--yes", "--missing", "copy", code=1)


def test_the_switch_is_refused_where_something_is_lacking(
    dynamodb: DynamoDBClient,
    http_client: DynamoDB,
    table: str,
    table_arguments: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is lacking is named; to go without it, or to copy it, has to be said."""
    dynamodb.create_table(**{**table_arguments, "TableName": "new"})
    end = registers.encode_short(f"20260302T080000000000 {'0' * 32}", 1)
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "batch#b7"}, "sk": {"S": "batch"}, "e": {"S": end}})
    deployment: Any = SimpleNamespace(cloud=SimpleNamespace(dynamodb=dynamodb, view_client=http_client))
    old, new = Table(1, table), Table(2, "new")
    monkeypatch.setattr(comparing, "AGAIN_S", ())

    with pytest.raises(
        OperatorError, match="the new table lacks what 1 items of the old one have"
    ) as refused:
        _compare(deployment, old, new, None)
    assert "--missing copy" in refused.value.advice
    assert "b7 batch" in capsys.readouterr().err
    assert _compare(deployment, new, old, None) == 0  # the way back
    assert _compare(deployment, old, new, "drop") == 1
    assert dynamodb.scan(TableName="new")["Items"] == []
    assert _compare(deployment, old, new, "copy") == 0
    assert dynamodb.scan(TableName="new")["Items"] == dynamodb.scan(TableName=table)["Items"]
    assert _compare(deployment, old, new, None) == 0

    dynamodb.put_item(TableName="new", Item={"pk": {"S": "batch#b8"}, "sk": {"S": "batch"}, "e": {"S": end}})
    with pytest.raises(OperatorError, match="the old table lacks what 1 items of the new one have"):
        _compare(deployment, new, old, None)


def test_a_stack_on_dynoxide_cannot_be_rebuilt(tmp_path: Path) -> None:
    """Said before anything is deployed, as its second table would not be where the functions look for it."""
    state = StackDir(tmp_path)
    written = {one.name: {} if one.name == "callers" else "" for one in fields(Stack)}
    write_private(state.stack_file, json.dumps(written))
    state.dynoxide.mkdir()
    with pytest.raises(OperatorError, match="dynoxide"):
        stacks.deploy_again(state, {})
