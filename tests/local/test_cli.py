"""The command line where no stack runs: help, and failures that say what to do."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result
from ras import stack_file
from ras.cli import main
from ras.kafka.publish import Published
from ras.stack_file import Stack
from ras.state_folder import write_private
from ras_local import stack
from ras_local.settings import StackDir

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackDir:
    monkeypatch.setenv("RAS_STATE_DIR", str(tmp_path))
    return StackDir.default()


def ras(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_help_names_every_command_and_the_settings() -> None:
    text = ras("--help").output

    for word in ("up", "down", "demo", "status", "publish", "query", "RAS_STATE_DIR", "RAS_EMULATOR_PORT"):
        assert word in text


@pytest.mark.parametrize("command", ["up", "down", "demo", "status", "publish", "query"])
def test_every_command_has_help(command: str) -> None:
    result = ras(command, "--help")

    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 4


@pytest.mark.usefixtures("state")
def test_without_a_stack_a_query_says_how_to_start_one() -> None:
    result = ras("query", "/healthz")

    assert result.exit_code == 1
    assert "the stack is not up" in result.stderr
    assert "make up" in result.stderr


@pytest.mark.parametrize(
    ("name", "wished"), [("RAS_EMULATOR", "http://127.0.0.1:9"), ("RAS_BROKER", "127.0.0.1:9")]
)
def test_a_stack_that_is_up_is_not_taken_for_another_one(
    state: StackDir, monkeypatch: pytest.MonkeyPatch, name: str, wished: str
) -> None:
    """Somebody who names an emulator or a broker means those; without a name the one that is up will do."""
    known = {"endpoint_url": "http://127.0.0.1:4566", "bootstrap_servers": "127.0.0.1:9092"}
    other = dict.fromkeys(["region", "api_url", "table_name", "dead_letter_bucket", "dashboard_url"], "x")
    write_private(state.stack_file, json.dumps({**known, **other, "callers": {}}))
    monkeypatch.setattr(stack, "is_up", lambda _: True)
    assert "already up" in ras("up").output
    monkeypatch.setenv(name, wished)

    refused = ras("up")

    assert refused.exit_code == 1
    assert f"not {name}={wished}" in " ".join(refused.stderr.split())


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAS_PARTITIONS", "0"),
        ("RAS_PARTITIONS", "-1"),
        ("RAS_NULLS", "nil"),
        ("RAS_REGION", "foo"),
        ("RAS_FUNCTION_CONCURRENCY", "0"),
        ("RAS_DASHBOARD_PORT", "x"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_deployed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """By its name: a process that ends over it while it starts says less, and later."""
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(stack, "deploy", _NothingDeployed())

    refused = ras("up")

    assert refused.exit_code == 1
    assert name in refused.stderr


class _NothingDeployed:
    """In place of the module that runs the CDK."""

    def check_tools(self) -> None:
        pass


@pytest.mark.usefixtures("state")
def test_down_is_harmless_when_nothing_runs() -> None:
    assert ras("down").output == "nothing was running\n"
    assert ras("down").exit_code == 0


@pytest.mark.usefixtures("state")
def test_status_tells_programs_that_nothing_runs() -> None:
    result = ras("status", "--json")
    report = json.loads(result.output)

    assert result.exit_code == 1
    assert report["up"] is False
    assert set(report["processes"].values()) == {None}


def test_a_stack_file_from_elsewhere_is_told(state: StackDir) -> None:
    state.create()
    write_private(state.stack_file, '{"something": "else"}')
    result = ras("query", "/healthz")

    assert result.exit_code == 1
    assert "cannot be read" in result.stderr
    assert "make down" in result.stderr


def test_an_unknown_caller_is_told_who_there_is(state: StackDir) -> None:
    keys = {"access_key_id": "a", "secret_access_key": "b", "session_token": "c"}
    state.create()
    write_private(
        state.stack_file,
        json.dumps(
            {
                "region": "eu-north-1",
                "endpoint_url": "http://127.0.0.1:1",
                "bootstrap_servers": "127.0.0.1:1",
                "api_url": "http://127.0.0.1:1/api",
                "table_name": "t",
                "dead_letter_bucket": "b",
                "callers": {"api-gateway-service": keys},
                "dashboard_url": "http://127.0.0.1:1/",
            }
        ),
    )

    unknown = ras("query", "/healthz", "--as", "nobody")
    away = ras("query", "/healthz")

    assert "api-gateway-service" in unknown.stderr
    assert "nothing answers at http://127.0.0.1:1/api/healthz" in away.stderr
    assert state.stack_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("path", ["", "healthz", "http://127.0.0.1/healthz"])
def test_what_is_no_path_of_the_api_is_told(path: str) -> None:
    assert "is not a path of the API" in ras("query", path).stderr


@pytest.mark.usefixtures("state")
def test_a_file_that_is_not_there_is_told_before_a_stack_is_missed() -> None:
    assert "no-such-file cannot be read" in ras("publish", "no-such-file").stderr


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("header", ["novalue", ": x"])
def test_a_header_that_is_none_is_told(header: str) -> None:
    result = ras("query", "/healthz", "-H", header)

    assert result.exit_code == 1
    assert "is not a header" in result.stderr


@pytest.mark.usefixtures("state")
def test_a_wished_port_that_is_no_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAS_EMULATOR_PORT", "many")
    result = ras("up")

    assert result.exit_code == 1
    assert "RAS_EMULATOR_PORT='many' is not a number" in result.stderr


def test_an_emulator_that_does_not_tell_its_mappings_is_told_of(
    state: StackDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a line, where a person waits for what they published to be consumed."""
    events = tmp_path / "events.jsonl"
    events.touch()
    known = dict.fromkeys((one.name for one in fields(Stack)), "")
    write_private(state.stack_file, json.dumps(known))

    def refused(*_: object, **__: object) -> None:
        raise ClientError({"Error": {"Code": "Throttling", "Message": "later"}}, "DescribeStacks")

    monkeypatch.setattr("ras.kafka.publish.publish", lambda *_, **__: Published(0, 0, 0.0))
    monkeypatch.setattr(stack_file, "wait_consumed", refused)
    result = ras("publish", str(events), "--wait")

    assert result.exit_code == 1
    assert "(Throttling)" in result.stderr


@pytest.mark.slow
def test_publishing_does_not_say_consumed_of_what_the_broker_dropped(
    state: StackDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poller counts what is gone; the offsets alone look as if it had been read."""
    events = tmp_path / "events.jsonl"
    events.touch()
    known = dict.fromkeys((one.name for one in fields(Stack)), "")
    write_private(state.stack_file, json.dumps(known))
    write_private(state.mappings_file, json.dumps([{"topic": "t", "lost": 2}]))
    monkeypatch.setattr("ras.kafka.publish.publish", lambda *_, **__: Published(0, 0, 0.0))

    def consumed(*_: object, **__: object) -> None:
        write_private(state.mappings_file, json.dumps([{"topic": "t", "lost": 7}]))

    monkeypatch.setattr(stack_file, "wait_consumed", consumed)
    result = ras("publish", str(events), "--wait")

    assert result.exit_code == 1
    assert "dropped records before they were read: 5 of t" in result.stderr
    assert "consumed" not in result.stdout
