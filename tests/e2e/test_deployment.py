"""The stacks come and go: deployed and destroyed twice in a row, with nothing left in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ras.aws import Cloud
from ras.state_folder import REPOSITORY
from ras_local import callers, deploy, stack
from ras_local.clients import dynamodb_at
from ras_local.servers import emulator, processes
from ras_local.settings import StackDir, region

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("embedded_emulator")]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StackDir]:
    """A folder of its own, whose processes are stopped in the end."""
    made = StackDir(tmp_path / "stack")
    made.create()
    try:
        yield made
    finally:
        stack.down(made)


def destroy(state: StackDir, cloud: Cloud) -> None:
    """`cdk destroy` of all that was deployed, from the assembly that it was deployed from."""
    code = processes.run(
        state,
        "destroy",
        [str(deploy.CDK), "destroy", "--all", "--force", f"--app={state.cloud_assembly}", "--no-notices"],
        environment=deploy.environment(cloud),
        folder=REPOSITORY,
        timeout_s=deploy.TIMEOUT_S,
    )

    assert code == 0, processes.tail(state.log("destroy"), 40)


def left(cloud: Cloud) -> dict[str, list[str]]:
    """What of this service is there, by kind."""
    stacks = cloud.stacks.list_stacks()["StackSummaries"]
    return {
        "stacks": [one["StackName"] for one in stacks if one["StackStatus"] != "DELETE_COMPLETE"],
        "tables": dynamodb_at(cloud.endpoint_url).list_tables()["TableNames"],
        "functions": [one["FunctionName"] for one in cloud.functions.list_functions()["Functions"]],
        "mappings": [
            one["UUID"] for one in cloud.functions.list_event_source_mappings()["EventSourceMappings"]
        ],
    }


def test_deployed_and_destroyed_twice(state: StackDir) -> None:
    """A destroyed stage leaves nothing that the next deployment trips over."""
    endpoint_url, ready = emulator.start(state, {})
    ready()
    cloud = Cloud(endpoint_url, region())
    callers.create_roles(cloud)
    deploy.create_asset_bucket(cloud)
    for _ in range(2):
        outputs = deploy.deploy(state, cloud)
        made = left(cloud)

        assert len(made["stacks"]) == 3
        assert made["tables"] == [outputs.table_name]
        assert len(made["functions"]) == 4

        destroy(state, cloud)

        assert left(cloud) == {"stacks": [], "tables": [], "functions": [], "mappings": []}
