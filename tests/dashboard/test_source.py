"""What the dashboard reads: the stack on this machine, or a stage in AWS."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from ras.dashboard.data_source import Reopened, open_source
from ras.deployment import Account
from ras.errors import OperatorError
from ras.state_folder import StateDir, write_private
from result_aggregator.names import DASHBOARD_CALLER

from tests.dynamodb import REGION

if TYPE_CHECKING:
    from pathlib import Path


def up(
    folder: Path, api_url: str = "http://127.0.0.1:1/api", endpoint_url: str = "http://127.0.0.1:1"
) -> StateDir:
    """The state folder of a stack that runs."""
    keys = {"access_key_id": "its key", "secret_access_key": "s", "session_token": "t"}
    stack = {
        "region": REGION,
        "endpoint_url": endpoint_url,
        "bootstrap_servers": "127.0.0.1:2",
        "api_url": api_url,
        "table_name": "table",
        "dead_letter_bucket": "letters",
        "callers": {DASHBOARD_CALLER: keys},
        "dashboard_url": "http://127.0.0.1:3/",
    }
    state = StateDir(folder)
    write_private(state.stack_file, json.dumps(stack))
    return state


def test_on_this_machine_it_signs_as_the_dashboards_own_role(tmp_path: Path) -> None:
    found = open_source(state=up(tmp_path))

    assert (found.is_local, found.label, found.api_url) == (True, "this machine", "http://127.0.0.1:1/api")
    assert found.credentials is not None
    assert found.credentials.access_key == "its key"


def test_a_stack_that_is_started_anew_is_opened_anew(tmp_path: Path) -> None:
    """The dashboard of the stack is there before the stack is."""
    opener = Reopened(StateDir(tmp_path))
    with pytest.raises(OperatorError, match="not up"):
        opener()
    up(tmp_path)
    first = opener()

    assert opener() is first
    state = up(tmp_path, "http://127.0.0.1:9/api")
    os.utime(state.stack_file, ns=(0, 0))  # as a clock that stood still would not
    assert opener().api_url == "http://127.0.0.1:9/api"


@pytest.mark.usefixtures("aws")
def test_in_aws_it_signs_with_the_users_own_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API's address is an output of the stage's stack, unless another way to it is named."""

    class Stacks:
        def describe_stacks(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - its name there
            key, value = {
                "ras-dev-data": ("DeadLetterBucketName", "dev-letters"),
                "ras-dev-api": ("ApiUrl", "https://x.execute-api.eu-north-1.amazonaws.com/dev"),
            }[StackName]
            return {"Stacks": [{"Outputs": [{"OutputKey": key, "OutputValue": value}]}]}

    monkeypatch.setattr(Account, "stacks", Stacks())
    state = StateDir(tmp_path)
    found = open_source("dev", state=state)
    elsewhere = open_source("dev", state=state, api_url="https://vpce.example/dev")

    assert (found.is_local, found.label) == (False, f"dev · {REGION}")
    assert found.api_url == "https://x.execute-api.eu-north-1.amazonaws.com/dev"
    assert found.credentials is not None
    assert found.credentials.access_key == "test"
    assert found.deployment.bucket_name == "dev-letters"
    assert elsewhere.api_url == "https://vpce.example/dev"


@pytest.mark.usefixtures("aws")
def test_nobody_is_kept_waiting_by_aws_itself(tmp_path: Path) -> None:
    """But for an invocation, which may take as long as a function may."""
    account = Account("", REGION, retries=2, read_timeout_s=20.0)
    for cloud in (open_source(state=up(tmp_path)).deployment.cloud, account):
        clients: tuple[Any, ...] = (cloud.s3, cloud.metrics, cloud.functions)
        configs = [client.meta.config for client in clients]
        waits = [(one.read_timeout, one.retries["total_max_attempts"]) for one in configs]

        assert waits == [(20.0, 2), (20.0, 2), (900, 2)]
