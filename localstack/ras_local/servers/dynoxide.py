"""dynoxide, a DynamoDB server for the table alone: in memory, on 127.0.0.1 only, beside the emulator of all the rest.

It checks no signatures and no policies, and holds one set of tables for every caller. Its tables are gone when it ends.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from ras.errors import ConflictError, SettingError
from ras.state_folder import write_private

from ras_local.clients import dynamodb_at
from ras_local.servers import processes, rust_servers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient
    from ras.aws import Cloud

    from ras_local.settings import StackDir

PROCESS = "dynoxide"
SERVER = "dynoxide"

# What CreateTable takes of what DescribeTable answers, and nothing that only an answer has.
_OF_TABLE = ("TableName", "AttributeDefinitions", "KeySchema")
_OF_INDEX = ("IndexName", "KeySchema", "Projection")


def wanted() -> bool:
    """Whether RAS_DYNAMODB asks for it (`dynoxide`) instead of the emulator's own (`emulator`, the default).

    Raises OperatorError for any other value.
    """
    kind = os.environ.get("RAS_DYNAMODB", "") or "emulator"
    if kind not in ("emulator", SERVER):
        raise SettingError(f"RAS_DYNAMODB={kind!r} is unknown", f"It may be: emulator, {SERVER}.")
    return kind == SERVER


def command() -> list[str]:
    """The command line that serves an empty DynamoDB, without its port. Raises OperatorError as `rust_servers.fetch` does."""
    return [str(rust_servers.fetch(SERVER)), "serve", "--host", "127.0.0.1", "--log", "quiet"]


def start(state: StackDir) -> tuple[str, Callable[[], None]]:
    """Start it, empty, on RAS_DYNAMODB_PORT, or any free port.

    Gives its address, and how to wait until it answers. Raises OperatorError when it cannot be built, or the wished port
    is taken.
    """
    _refuse_running(state)
    state.dynoxide.mkdir(parents=True, exist_ok=True)
    port = processes.choose_steady_port("RAS_DYNAMODB_PORT")
    write_private(_address(state), f"http://127.0.0.1:{port}")
    return restart(state)


def restart(state: StackDir) -> tuple[str, Callable[[], None]]:
    """Start the one of this folder again, empty, on its port; answers as `start` does.

    Raises OperatorError when there never was one, or it still runs.
    """
    endpoint_url = endpoint(state)
    _refuse_running(state)
    port = endpoint_url.rpartition(":")[2]
    processes.start(
        state, PROCESS, [*command(), "--port", port], environment=os.environ, folder=state.dynoxide
    )

    def wait() -> None:
        dynamodb = dynamodb_at(endpoint_url)
        processes.wait_until(
            "dynoxide",
            lambda: _answers(dynamodb),
            timeout_s=60,
            state=state,
            process=PROCESS,
            interval_s=0.02,
        )

    return endpoint_url, wait


def endpoint(state: StackDir) -> str:
    """The address of the one of this folder, whether it runs or not. Raises OperatorError when there never was one."""
    try:
        return _address(state).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingError(
            f"there is no dynoxide in {state.root}", "Start it with `RAS_DYNAMODB=dynoxide make up`."
        ) from None


def stop(state: StackDir) -> None:
    """Stop it; its tables are gone."""
    for record in processes.recorded(state):
        if record.name == PROCESS:
            processes.stop(state, record)


def kill(state: StackDir) -> None:
    """Kill it as a crash would (SIGKILL). Returns when it is gone."""
    for record in processes.recorded(state):
        if record.name == PROCESS:
            processes.kill(state, record)


def copy_table(cloud: Cloud, table_name: str, endpoint_url: str) -> None:
    """Create the table that was deployed into the emulator once more, empty, over there: same name, keys and indexes."""
    deployed: Any = dynamodb_at(cloud.endpoint_url).describe_table(TableName=table_name)["Table"]
    definition: dict[str, Any] = {name: deployed[name] for name in _OF_TABLE}
    if indexes := deployed.get("GlobalSecondaryIndexes"):
        definition["GlobalSecondaryIndexes"] = [
            {name: index[name] for name in _OF_INDEX} for index in indexes
        ]
    dynamodb_at(endpoint_url).create_table(**definition, BillingMode="PAY_PER_REQUEST")


def _refuse_running(state: StackDir) -> None:
    if processes.running(state, PROCESS) is not None:
        raise ConflictError("dynoxide still runs", "Stop or kill it first.")


def _address(state: StackDir) -> Path:
    return state.dynoxide / "endpoint"


def _answers(dynamodb: DynamoDBClient) -> bool:
    try:
        dynamodb.list_tables(Limit=1)
    except (BotoCoreError, ClientError):
        return False
    return True
