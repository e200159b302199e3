"""AWS's own DynamoDB Local, for the table alone: in memory, on 127.0.0.1 only, beside the emulator of all the rest.

It checks no signatures and no policies, and keeps one set of tables whoever asks. What it holds is gone when it ends.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ras_local import aws, java, processes
from ras_local.errors import StackError
from ras_local.paths import region, write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

    from ras_local.aws import Cloud
    from ras_local.paths import StateDir

PROCESS = "dynamodb-local"
SERVER = "dynamodb-local"
HEAP_MB = 384

# What CreateTable takes of what DescribeTable answers, and nothing that only an answer has.
_OF_TABLE = ("TableName", "AttributeDefinitions", "KeySchema")
_OF_INDEX = ("IndexName", "KeySchema", "Projection")


def wanted() -> bool:
    """Whether RAS_DYNAMODB asks for it (`dynamodb-local`) instead of the emulator's own (`emulator`, the default).

    Raises StackError for any other value.
    """
    kind = os.environ.get("RAS_DYNAMODB", "") or "emulator"
    if kind not in ("emulator", "dynamodb-local"):
        raise StackError(f"RAS_DYNAMODB={kind!r} is unknown", "It may be: emulator, dynamodb-local.")
    return kind == "dynamodb-local"


def start(state: StateDir) -> tuple[str, Callable[[], None]]:
    """Start it, empty, on RAS_DYNAMODB_PORT, or any free port.

    Gives its address, and how to wait until it answers. Raises StackError when Java or its jars are missing, or the
    wished port is taken.
    """
    state.dynamodb_local.mkdir(parents=True, exist_ok=True)
    port = processes.choose_steady_port("RAS_DYNAMODB_PORT")
    write_private(_address(state), f"http://127.0.0.1:{port}")
    return restart(state)


def restart(state: StateDir) -> tuple[str, Callable[[], None]]:
    """Start the one of this folder again, empty, on its port; answers as `start` does.

    Raises StackError when there never was one, or it still runs.
    """
    endpoint_url = endpoint(state)
    if processes.running(state, PROCESS) is not None:
        raise StackError("DynamoDB Local still runs", "Stop or kill it first.")
    port = endpoint_url.rpartition(":")[2]
    arguments = ["-inMemory", "-sharedDb", "-disableTelemetry", "-port", port]
    options = [f"-Djava.io.tmpdir={state.dynamodb_local}"]
    command = java.command(SERVER, "Loopback", arguments, heap_mb=HEAP_MB, options=options)
    processes.start(state, PROCESS, command, environment=os.environ, folder=state.dynamodb_local)

    def wait() -> None:
        dynamodb = client(endpoint_url)
        processes.wait_until(
            "DynamoDB Local", lambda: _answers(dynamodb), timeout_s=60, state=state, process=PROCESS
        )

    return endpoint_url, wait


def endpoint(state: StateDir) -> str:
    """The address of the one of this folder, whether it runs or not. Raises StackError when there never was one."""
    try:
        return _address(state).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StackError(
            f"there is no DynamoDB Local in {state.root}",
            "Start it with `RAS_DYNAMODB=dynamodb-local make up`.",
        ) from None


def stop(state: StateDir) -> None:
    """Stop it; its tables are gone."""
    for record in processes.recorded(state):
        if record.name == PROCESS:
            processes.stop(state, record)


def kill(state: StateDir) -> None:
    """Kill it as a crash would (SIGKILL). Returns when it is gone."""
    for record in processes.recorded(state):
        if record.name == PROCESS:
            processes.kill(state, record)


def client(endpoint_url: str, **config: Any) -> DynamoDBClient:
    """A client of it; `config` is botocore's. By default nothing is tried twice."""
    settings = {"retries": {"total_max_attempts": 1}, "connect_timeout": 5, **config}
    return _session().client(
        "dynamodb",
        endpoint_url=endpoint_url,
        region_name=region(),
        aws_access_key_id=aws.ROOT_KEY,
        aws_secret_access_key=aws.ROOT_SECRET,
        config=Config(**settings),
    )


@cache
def _session() -> boto3.session.Session:
    # The descriptions of AWS's services are read once per session, which takes longer than most requests here.
    return boto3.session.Session()


def copy_table(cloud: Cloud, table_name: str, endpoint_url: str) -> None:
    """Make the table that was deployed into the emulator once more, empty, over there: same name, keys and indexes."""
    deployed: Any = client(cloud.endpoint_url).describe_table(TableName=table_name)["Table"]
    definition: dict[str, Any] = {name: deployed[name] for name in _OF_TABLE}
    if indexes := deployed.get("GlobalSecondaryIndexes"):
        definition["GlobalSecondaryIndexes"] = [
            {name: index[name] for name in _OF_INDEX} for index in indexes
        ]
    client(endpoint_url).create_table(**definition, BillingMode="PAY_PER_REQUEST")


def _address(state: StateDir) -> Path:
    return state.dynamodb_local / "endpoint"


def _answers(dynamodb: DynamoDBClient) -> bool:
    try:
        dynamodb.list_tables(Limit=1)
    except (BotoCoreError, ClientError):
        return False
    return True
