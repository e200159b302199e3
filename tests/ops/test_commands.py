"""`ras dead-letters` and `ras replay` as they are typed: what they print, ask and exit with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from click.testing import CliRunner
from confluent_kafka import KafkaError, KafkaException
from ras import deployment as deployments
from ras.aws import Cloud
from ras.cli import main
from ras.dead_letters.bucket import DeadLetterBucket
from ras.errors import OperatorError
from ras.replay.paused import PausedMappings
from ras.state_folder import StateDir
from result_aggregator.contracts.rejection import Problem
from result_aggregator.dead_letter_key import record_digest

from tests.ops import brokers as kafka
from tests.ops import made
from tests.ops.made import DEPLOYED, RANKING, REGISTERED, SPELLCHECK

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result
    from ras.deployed_mappings import DeployedMapping
    from ras.kafka.msk_iam import Brokers

    from tests.handlers.conftest import Service


FIRST = made.record(made.result("a"), 1, key=b"k", headers=(("h", b"\xff"),))


@dataclass
class Deployment:
    """The service of the tests in place of a deployed one."""

    service: Service
    kafka: Brokers
    state: StateDir
    stage: str = "test"
    cloud: Any = field(default_factory=lambda: Cloud("http://127.0.0.1:4566", "eu-north-1"))
    found: list[DeployedMapping] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    @property
    def dead_letters(self) -> DeadLetterBucket:
        return DeadLetterBucket(self.service.s3, self.service.bucket)

    @property
    def is_local(self) -> bool:
        return False

    @property
    def profile(self) -> None:
        return None

    @property
    def paused_mappings(self) -> PausedMappings:
        return PausedMappings(self.service.s3, self.service.bucket, self.cloud.functions)

    @property
    def invoke(self) -> Any:
        return self.service.invoke

    def brokers(self) -> Brokers:
        return self.kafka

    def mappings(self) -> list[DeployedMapping]:
        return self.found

    def choose(self, stage: str | None = None, **options: Any) -> Deployment:
        self.asked.append({"stage": stage, **options})
        return self


@pytest.fixture
def deployed(
    service: Service, brokers: Brokers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Deployment:
    made_up = Deployment(service, brokers, StateDir(tmp_path))
    monkeypatch.setattr(deployments, "choose", made_up.choose)
    monkeypatch.setenv("COLUMNS", "200")
    return made_up


@pytest.fixture
def letters(deployed: Deployment) -> Service:
    """A record that was rejected, poison, and a batch of two that was given up."""
    service = deployed.service
    made.reject(service.s3, service.bucket, FIRST)
    made.reject(service.s3, service.bucket, made.record(b"\x1b[31mpoison", 2), "not_json")
    made.give_up(service.s3, service.bucket, made.record(made.result("c"), 3), made.record(b"d", 4))
    return service


def ras(*arguments: str, answer: str | None = None, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, input=answer)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def keys(service: Service) -> list[str]:
    return sorted(made.contents(service.s3, service.bucket))


# --- list and show ---


def test_list_counts_both_kinds_and_shows_each_record(letters: Service) -> None:  # noqa: ARG001 (they are listed)
    """Also those inside a batch, with reason and field."""
    output = ras("dead-letters", "list").stdout

    assert "2 records rejected, 0 given up, 1 batch given up, 0 replayed through Kafka" in output
    assert [f"{SPELLCHECK}/0/{n} " in output for n in range(1, 5)] == [True] * 4
    assert "data.status: unknown status word" in output
    assert "2 RetryAttemptsExhausted, 1 unknown_status, 1 not_json" in output
    assert "\x1b" not in output


@pytest.mark.usefixtures("letters")
def test_list_tells_which_reasons_there_are_where_none_is_the_one_asked_for() -> None:
    """Of the letters that the other filters admit."""
    asked = ("dead-letters", "list", "--reason", "unknown_staus")

    assert (
        "None has this reason; others have: 2 RetryAttemptsExhausted, 1 unknown_status, 1 not_json"
        in ras(*asked).stdout
    )
    assert "others have: 2 RetryAttemptsExhausted\n" in ras(*asked, "--kind", "given-up").stdout


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(
    "command",
    [["list"], ["replay"], ["replay", "--dry-run"], ["purge"], ["purge", "--dry-run"]],
    ids=" ".join,
)
def test_filters_that_nothing_matches_do_not_look_like_work_that_is_done(command: list[str]) -> None:
    """Misspelt, they would."""
    told = ras("dead-letters", *command, "--topic", "huleedu.essay.spelcheck.completed.v1").output

    assert "None matches the filters" in told


def test_list_for_programs(letters: Service) -> None:
    """One JSON object a line, complete enough to go on with; malformed objects too."""
    letters.s3.put_object(Bucket=letters.bucket, Key="rejected/t/0/1.json", Body=b"broken")
    lines = [json.loads(line) for line in ras("dead-letters", "list", "--json").stdout.splitlines()]

    assert lines[0] == {
        "kind": "rejected",
        "place": f"{SPELLCHECK}/0/1",
        "digest": record_digest(made.received(FIRST)),
        "topic": SPELLCHECK,
        "partition": 0,
        "offset": 1,
        "reason": "unknown_status",
        "problems": [{"path": "data.status", "message": "unknown status word"}],
        "kept_at": "2026-03-02T12:00:00+00:00",
        "timestamp": "2026-03-02T08:00:00+00:00",
        "replays": 0,
        "function": "ras-local-ingest-essays",
        "correlation_id": "corr-1",
        "object": made.object_key(FIRST),
    }
    assert [line["kind"] for line in lines[1:]] == ["rejected", "malformed", "given-up", "given-up"]
    assert lines[2]["problem"].startswith("not JSON")


@pytest.mark.parametrize(
    ("options", "offsets"),
    [
        (["--reason", "not_json"], [2]),
        (["--kind", "given-up"], [3, 4]),
        (["--batch-id", "b"], [1, 3]),
        (["--topic", RANKING], []),
        (["--since", "2026-03-02T12:00:01Z"], []),
        (["--since", "2026-03-02", "--until", "now"], [1, 2, 3, 4]),
        (["--since", "1h"], []),
        (["--limit", "3"], [1, 2, 3]),
    ],
)
def test_list_filters(letters: Service, options: list[str], offsets: list[int]) -> None:  # noqa: ARG001 (they are listed)
    """As they are typed."""
    lines = ras("dead-letters", "list", "--json", *options).stdout.splitlines()

    assert [json.loads(line)["offset"] for line in lines] == offsets


def test_list_says_when_there_are_more(letters: Service) -> None:  # noqa: ARG001 (they are listed)
    """Nothing is cut silently."""
    assert "there are more" in ras("dead-letters", "list", "--limit", "3").stdout
    assert "there are more" not in ras("dead-letters", "list", "--limit", "4").stdout
    assert "there are more" not in ras("dead-letters", "list", "--limit", "0").stdout


def test_show_tells_everything(letters: Service) -> None:  # noqa: ARG001 (they are shown)
    """Of a record in a batch as of one by itself; what is no text is written out, never sent to the terminal."""
    shown = ras("dead-letters", "show", f"{SPELLCHECK}/0/1").stdout
    poison = ras("dead-letters", "show", f"{SPELLCHECK}/0/2").stdout
    in_batch = ras("dead-letters", "show", f"{SPELLCHECK}/0/3").stdout

    for part in (
        "unknown_status",
        "data.status: unknown status word",
        "corr-1",
        "h: b'\\xff'",
        '"essay_id": "a"',
    ):
        assert part in shown
    assert "\\u001b[31mpoison" in poison
    assert "Unhandled after 4 invocations of a batch of 2" in in_batch
    assert '"essay_id": "c"' in in_batch


def test_show_raw_is_the_bytes(letters: Service) -> None:
    """For other programs; of a malformed object, the object."""
    letters.s3.put_object(Bucket=letters.bucket, Key="rejected/t/0/1.json", Body=b"broken\xff")

    assert ras("dead-letters", "show", f"{SPELLCHECK}/0/2", "--raw").stdout_bytes == b"\x1b[31mpoison"
    assert ras("dead-letters", "show", "rejected/t/0/1.json", "--raw").stdout_bytes == b"broken\xff"


def test_show_says_what_it_cannot(letters: Service) -> None:
    """Unknown, malformed, or several records under one key."""
    letters.s3.put_object(Bucket=letters.bucket, Key="rejected/t/0/1.json", Body=b"broken")
    batch = next(key for key in keys(letters) if key.startswith("aws/"))

    assert "there is no dead letter nowhere/0/1" in ras("dead-letters", "show", "nowhere/0/1", code=1).stderr
    assert "is malformed: not JSON" in ras("dead-letters", "show", "rejected/t/0/1.json", code=1).stderr
    assert "holds 2 records" in ras("dead-letters", "show", batch, code=1).stderr


# --- replay ---


def test_replay_applies_and_tells_what_stays(letters: Service) -> None:
    """Exit code 1 while something stays behind, 0 when nothing does."""
    first = ras("dead-letters", "replay", "--yes", code=1).stderr
    assert "2 applied, 2 rejected again" in first
    assert f"{SPELLCHECK}/0/2  rejected again: not_json" in first

    assert len(keys(letters)) == 2
    ras("dead-letters", "purge", "--reason", "not_json", "--yes")
    assert "nothing to do" in ras("dead-letters", "replay", "--yes").stderr


def test_replay_dry_run_writes_nothing(letters: Service) -> None:
    """And shows what would be."""
    before = made.contents(letters.s3, letters.bucket)
    output = ras("dead-letters", "replay", "--dry-run", "--reason", "unknown_status")

    assert output.stdout == f"would replay {SPELLCHECK}/0/1  rejected  unknown_status\n"
    assert made.contents(letters.s3, letters.bucket) == before


def test_replay_asks_first(letters: Service) -> None:
    """Where nobody can answer, --yes has to be said."""
    before = keys(letters)
    refused = ras("dead-letters", "replay", answer="y\n", code=1).stderr

    assert "Replay 4 records of stage test through function?" in refused
    assert "--yes" in refused
    assert keys(letters) == before


@pytest.mark.parametrize(("answer", "left"), [("y\n", 2), ("n\n", 3), ("\n", 3)])
def test_replay_takes_the_answer(
    letters: Service, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    """Anything but yes changes nothing."""
    monkeypatch.setattr("ras.options._somebody_is_here", lambda: True)
    ras("dead-letters", "replay", answer=answer, code=1)

    assert len(keys(letters)) == left


EVIL = "\x1b]0;evil\x07\x9b31m\u202e\u2066\u200b"


@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["list", "--json"],
        ["show", f"{SPELLCHECK}/0/1"],
        ["replay", "--dry-run"],
        ["purge", "--all", "--dry-run"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_no_command_prints_what_is_hidden(deployed: Deployment, command: list[str]) -> None:
    """Key, header, correlation id, value, reason, problem, function: whatever a record says."""
    service = deployed.service
    value = json.dumps({EVIL: EVIL, "correlation_id": EVIL}, ensure_ascii=False).encode()
    evil = made.record(value, 1, key=EVIL.encode(), headers=((EVIL, EVIL.encode()),))
    made.reject(service.s3, service.bucket, evil, EVIL, problems=[Problem(EVIL, EVIL)])
    service.s3.put_object(Bucket=service.bucket, Key=f"rejected/{EVIL}", Body=b"broken")
    result = ras("dead-letters", *command)

    assert [one for one in result.output if not one.isprintable() and one != "\n"] == []
    if "--json" in command:
        [broken, one] = (json.loads(line) for line in result.stdout.splitlines())
        assert (one["correlation_id"], one["reason"]) == (EVIL, EVIL)
        assert broken["object"] == f"rejected/{EVIL}"
    elif "purge" not in command:
        assert "\\u202e\\u2066" in result.output


def test_a_name_that_several_records_have_is_not_guessed(letters: Service) -> None:
    """A topic that was created again: the command says so and lists the names that tell them apart."""
    other = made.record(b"of the new topic", 1)
    made.reject(letters.s3, letters.bucket, other)
    before = keys(letters)
    place = f"{SPELLCHECK}/0/1"
    ids = [f"{place}-{record_digest(made.received(one))}" for one in (FIRST, other)]

    listed = ras("dead-letters", "list").stdout
    for command in (["show"], ["replay", "--yes"], ["purge", "--yes"]):
        told = ras("dead-letters", *command, place, code=1).stderr
        assert f"2 records have the name {place}" in told
        assert all(one in told for one in ids)
    assert keys(letters) == before
    assert all(one[:-24] in listed for one in ids), "the digests of records that share a place"
    assert "of the new topic" in ras("dead-letters", "show", ids[1][:-20]).stdout
    ras("dead-letters", "purge", "--yes", ids[1])
    assert set(before) - set(keys(letters)) == {made.object_key(other)}


def test_replay_of_named_records(letters: Service) -> None:
    """By place, inside a batch too, or by key; not together with filters."""
    ras(
        "dead-letters",
        "replay",
        "--yes",
        f"{SPELLCHECK}/0/3",
        made.object_key(FIRST),
    )

    assert keys(letters) == [
        made.object_key(made.record(b"d", 4), "given-up/"),
        made.object_key(made.record(b"\x1b[31mpoison", 2)),
    ]
    ras("dead-letters", "replay", "--yes", "--reason", "x", f"{SPELLCHECK}/0/2", code=2)
    ras("dead-letters", "replay", "--yes", "t/0/1", code=1)


def test_replay_through_kafka(letters: Service, deployed: Deployment) -> None:
    """Published, and set aside."""
    output = ras(
        "dead-letters", "replay", "--via", "kafka", "--yes", "--stage", "dev", "--bootstrap-servers", "x:1"
    )

    assert "4 published" in output.stderr
    assert {key.split("/")[0] for key in keys(letters)} == {"replayed"}
    assert deployed.asked[-1]["bootstrap_servers"] == "x:1"
    assert "4 replayed through Kafka" in ras("dead-letters", "list").stdout


def test_replay_that_is_interrupted_says_so(letters: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130, and how to go on."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(letters, "invoke", interrupted, raising=False)
    assert "the same command goes on" in ras("dead-letters", "replay", "--yes", code=130).stderr


# --- purge ---


def test_purge_wants_to_be_told_what(letters: Service) -> None:
    """Everything only with --all; a dry run and no answer change nothing."""
    before = made.contents(letters.s3, letters.bucket)
    ras("dead-letters", "purge", "--yes", code=2)
    dry = ras("dead-letters", "purge", "--all", "--dry-run")
    ras("dead-letters", "purge", "--all", code=1)

    assert dry.stdout.count("would purge") == 4
    assert made.contents(letters.s3, letters.bucket) == before
    assert "4 purged" in ras("dead-letters", "purge", "--all", "--yes").stderr
    assert keys(letters) == []


def test_purge_by_filter_and_by_name(letters: Service) -> None:
    """Only those; malformed objects when that is said."""
    letters.s3.put_object(Bucket=letters.bucket, Key="rejected/t/0/1.json", Body=b"broken")
    assert "1 purged" in ras("dead-letters", "purge", "--yes", f"{SPELLCHECK}/0/4").stderr
    assert "2 purged" in ras("dead-letters", "purge", "--yes", "--kind", "rejected").stderr
    assert [key.split("/")[0] for key in keys(letters)] == ["given-up", "rejected"]

    assert "1 purged" in ras("dead-letters", "purge", "--yes", "--malformed", "rejected/t/0/1.json").stderr
    assert [key.split("/")[0] for key in keys(letters)] == ["given-up"]


# --- ras replay ---


@pytest.fixture
def polled(deployed: Deployment) -> Deployment:
    """Two topics with a mapping each."""
    deployed.found = [
        replace(DEPLOYED, topic=topic, consumer_group_id=f"group-of-{topic}", enabled=False)
        for topic in (SPELLCHECK, REGISTERED)
    ]
    return deployed


def test_replay_of_a_topic_by_its_group(polled: Deployment) -> None:
    """What is shown is what is done, and a dry run does nothing."""
    from ras.kafka.group import Group

    kafka.fill(polled.kafka, REGISTERED, {0: [1000, 2000]})
    group = Group(polled.kafka, f"group-of-{REGISTERED}", REGISTERED)
    end = group_end(polled, REGISTERED)
    group.commit({0: end})
    command = ("replay", "--topic", REGISTERED, "--from", "beginning")
    dry = ras(*command, "--dry-run")

    assert f"{end} records would be read again" in dry.stderr
    assert group.committed([0]) == {0: end}
    assert "Rewind 1 consumer group of stage test?" in ras(*command, code=1).stderr
    ras(*command, "--yes")
    assert group.committed([0]) == {0: 0}


def test_nobody_waits_for_a_mapping_that_is_disabled(polled: Deployment) -> None:
    """As one that a killed rewind has left behind: what to do is told, and the group is rewound."""
    from ras.kafka.group import Group

    kafka.fill(polled.kafka, REGISTERED, {0: [1000, 2000]})
    group = Group(polled.kafka, f"group-of-{REGISTERED}", REGISTERED)
    group.commit({0: group_end(polled, REGISTERED)})
    disabled = SimpleNamespace(get_event_source_mapping=lambda UUID: {"State": "Disabled"})  # noqa: N803, ARG005
    polled.cloud = SimpleNamespace(
        functions=disabled, endpoint_url="http://127.0.0.1:4566", region="eu-north-1", key="k", secret="s"
    )
    command = ("replay", "--topic", REGISTERED, "--from", "beginning", "--wait", "--yes")
    told = " ".join(ras(*command, code=1).stderr.split())
    # Once more there is nothing to rewind, and still nobody who reads.
    again = " ".join(ras(*command).stderr.split())

    enable = (
        "AWS_ACCESS_KEY_ID=k AWS_SECRET_ACCESS_KEY=s aws --region eu-north-1 --endpoint-url http://127.0.0.1:4566"
        f" lambda update-event-source-mapping --enabled --uuid {DEPLOYED.uuid}"
    )
    assert f"What is rewound stays so. Enable it with `{enable}`" in told
    assert (
        f"{REGISTERED} is not read by group group-of-{REGISTERED}: its mapping is disabled, and stays so;"
        f" enable it with `{enable}`" in again
    )
    assert group.committed([0]) == {0: 0}


def test_a_wait_ends_and_tells_what_is_missing(polled: Deployment) -> None:
    """After --timeout seconds: nobody reads here, though the mapping is enabled."""
    from ras.kafka.group import Group

    kafka.fill(polled.kafka, SPELLCHECK, {0: [1000, 2000]})
    end = group_end(polled, SPELLCHECK)
    group = Group(polled.kafka, f"group-of-{SPELLCHECK}", SPELLCHECK)
    group.commit({0: end})
    states = iter(["Enabled"] * 1000)
    enabled = SimpleNamespace(
        get_event_source_mapping=lambda UUID: {"State": next(states)},  # noqa: N803, ARG005
        update_event_source_mapping=lambda UUID, Enabled: None,  # noqa: N803, ARG005
        exceptions=SimpleNamespace(
            ResourceConflictException=LookupError,
            ResourceInUseException=LookupError,
            ResourceNotFoundException=LookupError,
        ),
    )
    polled.cloud = SimpleNamespace(
        functions=enabled, endpoint_url="http://127.0.0.1:4566", region="eu-north-1", key="k", secret="s"
    )
    command = ("replay", "--topic", SPELLCHECK, "--from", "beginning", "--wait", "--timeout", "1", "--yes")
    told = " ".join(ras(*command, code=1).stderr.split())

    assert (
        f"not read again within 1 s: {SPELLCHECK} by group group-of-{SPELLCHECK}: partition 0 at 0 of {end}"
        in told
    )


@pytest.mark.parametrize("via", ["group", "function"])
def test_what_an_interrupted_replay_left_disabled_is_said(polled: Deployment, via: str) -> None:
    """By every replay, whatever its topic, with the command that enables it."""
    disabled = SimpleNamespace(get_event_source_mapping=lambda UUID: {"State": "Disabled"})  # noqa: N803, ARG005
    polled.cloud = SimpleNamespace(functions=disabled)
    polled.paused_mappings.note(replace(DEPLOYED, topic=RANKING))
    command = ("replay", "--topic", REGISTERED, "--from", "beginning", "--dry-run", "--via", via)
    told = " ".join(ras(*command).stderr.split())

    assert f"{RANKING}: its mapping is disabled by an interrupted replay since 20" in told
    assert "`ras replay --enable --stage test` enables it" in told


def group_end(deployed: Deployment, topic: str) -> int:
    from ras.kafka.topic import TopicLog

    return TopicLog(deployed.kafka, topic).bounds()[0].high


def test_replay_of_a_topic_through_its_function(polled: Deployment, service: Service) -> None:
    """Records are handed over, and their outcomes told; the dry run hands over nothing."""
    kafka.fill(polled.kafka, SPELLCHECK, {1: [1_772_438_401_000]}, made.result("redriven"))
    kafka.fill(polled.kafka, SPELLCHECK, {2: [1_772_438_402_000]}, b"poison")
    since, until = "2026-03-02T08:00:01Z", "2026-03-02T08:00:03Z"
    command = ("replay", "--topic", SPELLCHECK, "--via", "function", "--from", since, "--to", until)

    assert "2 records in all, nothing was handed over" in ras(*command, "--dry-run").stderr
    assert keys(service) == []
    assert "Hand 2 records to the functions of stage test?" in ras(*command, code=1).stderr
    assert f"{SPELLCHECK}: 1 applied, 1 rejected" in ras(*command, "--yes").stderr
    assert len(keys(service)) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--from", "1h"], 2, "--all-topics"),
        (["--topic", SPELLCHECK], 2, "--from"),
        (["--topic", SPELLCHECK, "--from", "yesterday"], 2, "is no moment"),
        (["--topic", SPELLCHECK, "--all-topics", "--from", "1h"], 2, "--all-topics"),
        (["--topic", "unknown.v1", "--from", "1h"], 1, "does not read unknown.v1"),
        (["--topic", SPELLCHECK, "--from", "1h", "--to", "now"], 2, "--via function"),
        (["--topic", SPELLCHECK, "--from", "1h", "--via", "function", "--group", "g"], 2, "No group"),
        (["--topic", SPELLCHECK, "--from", "1h", "--to", "2h", "--via", "function"], 2, "--to is not after"),
        (["--topic", SPELLCHECK, "--from", "1h", "--group", "g", "--all-groups"], 2, "not both"),
        (["--topic", SPELLCHECK, "--from", "1h", "--group", "g"], 1, "no mapping reads as group g"),
        (["--topic", RANKING, "--from", "1h"], 1, f"no event source mapping of stage test reads {RANKING}"),
    ],
)
def test_replay_says_what_is_wrong(polled: Deployment, arguments: list[str], code: int, message: str) -> None:  # noqa: ARG001 (it is asked)
    """Before anything is done."""
    assert message in ras("replay", *arguments, code=code).output


def test_replay_asks_which_group_where_there_are_several(polled: Deployment) -> None:
    """One is chosen by its name, all are taken when that is said."""
    [mapping] = [one for one in polled.found if one.topic == REGISTERED]
    polled.found.append(replace(mapping, consumer_group_id="second"))
    command = ("replay", "--topic", REGISTERED, "--from", "beginning", "--dry-run")

    assert "Say --all-groups, or one --group of" in ras(*command, code=1).stderr
    ras(*command, "--group", "second")
    ras(*command, "--all-groups")


# --- failures ---


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2"),
            "lack that right",
        ),
        (ClientError({"Error": {"Code": "NoSuchBucket", "Message": "no"}}, "ListObjectsV2"), "NoSuchBucket"),
        (NoCredentialsError(), "Are there credentials"),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), "Do the brokers answer"),
        (OperatorError("the stack is not up", "Start it"), "Start it"),
    ],
)
def test_what_others_refuse_is_told_in_a_line(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """No traceback, and what to do."""

    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(type(deployed), "dead_letters", property(fails))
    output = ras("dead-letters", "list", code=1).stderr

    assert message in output
    assert "Traceback" not in output


@pytest.mark.parametrize("command", ["list", "show", "replay", "purge"])
def test_help_has_examples(command: str) -> None:
    """Lines that can be copied."""
    for arguments in (["dead-letters", command], ["replay"]):
        assert "Examples:\n    ras " in ras(*arguments, "--help").output
