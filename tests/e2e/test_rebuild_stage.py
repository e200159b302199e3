"""`ras rebuild --stage`: the stage deployed as one in AWS is, by bootstrap's roles, and each step pasted as it is printed.

In an emulator of its own, which names the brokers when it is asked for those of the stage's cluster, and an Apache
Kafka that wants IAM's token, TLS and each right, as MSK does (`tests.msk.cluster`). Nothing polls: a mapping is not
needed, as `ras replay --via function` and a fill hand the records over themselves.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import boto3
import pytest
from click.testing import CliRunner
from ras.aws import ROOT_KEY, ROOT_SECRET, Cloud
from ras.cli import main
from ras.deployment import choose
from ras.kafka.publish import publish
from ras.rebuild.rebuild import Table, Tables, read_tables
from ras.state_folder import REPOSITORY
from ras_local import deploy
from ras_local.servers import emulator
from ras_local.settings import ACCOUNT, region
from result_aggregator.domain import registers, table_layout
from result_aggregator.store.aws import AccessKeys
from result_aggregator.topics import TOPICS

from infra.context import as_context, load_settings
from tests import samples
from tests.msk import cluster
from tests.msk.cluster import Right
from tests.real_servers import folder_of_servers
from tests.template.given import GIVEN_VPC

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result
    from ras_local.settings import StackDir

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("embedded_emulator"),
]

OPERATOR = f"arn:aws:iam::{ACCOUNT}:root"
# What --help of `ras replay --via function` lists, and of `ras rebuild`.
RIGHTS = [
    Right("DescribeTopic", "huleedu.*"),
    Right("ReadData", "huleedu.*"),
    Right("DescribeGroup", "ras-replay-*"),
]
FILES = ("platform_2025_06", "platform_2026_02")
# What an emulator has not, and functions for this machine's interpreter; the rest is as in AWS.
GIVEN = {
    "vpc": GIVEN_VPC,
    "callers": '{"api-gateway-service": "its/path/its-role"}',
    "operations": "false",
    "own_key": "false",
    "snap_start": "false",
    "tracing": "false",
    "api_log_role": "false",
    "api_access_logs": "false",
    "runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
    "architecture": "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64",
}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StackDir]:
    with folder_of_servers(tmp_path) as folder:
        yield folder


@pytest.fixture
def cluster_arn(state: StackDir, monkeypatch: pytest.MonkeyPatch) -> str:
    """A cluster with sample events, which may be read; and an account that was bootstrapped, as the environment names it."""
    bootstrap_servers, kafka_ready = cluster.start(state, list(TOPICS), 2)
    endpoint_url, emulator_ready = emulator.start(state, cluster.named(bootstrap_servers))
    emulator_ready()
    cloud = Cloud(endpoint_url, region())
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in deploy.environment(cloud).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAS_STATE_DIR", str(state.root))
    # Not where the app is: it would be run. So what its cdk.json says is said here: nothing is told to anybody.
    monkeypatch.setenv("CDK_DISABLE_CLI_TELEMETRY", "true")
    command = [str(deploy.CDK), "bootstrap", f"aws://{ACCOUNT}/{region()}", "--no-notices"]
    subprocess.run(command, cwd=state.root, check=True, capture_output=True)
    # It wants TLS, which the emulator has not.
    boto3.client("s3").delete_bucket_policy(Bucket=f"cdk-hnb659fds-assets-{ACCOUNT}-{region()}")
    msk = kafka_ready()
    monkeypatch.setenv("SSL_CERT_FILE", str(msk.ca))
    msk.know(AccessKeys(ROOT_KEY, ROOT_SECRET, None), OPERATOR)
    msk.allow(OPERATOR, RIGHTS)
    for name in FILES:
        publish(msk.unguarded, samples.publishable(name))
    return cluster.create(cloud)


def pasted(command: str, state: StackDir) -> None:
    """Run a printed deployment, where nobody is asked; directly, as the emulator's change sets forget outputs."""
    assert command.startswith("make deploy STAGE=dev ARGS='")
    here = f"--require-approval=never --method=direct --output={state.cloud_assembly}"
    unasked = command.replace("ARGS='", f"ARGS='{here} ", 1)
    done = subprocess.run(
        ["bash", "-c", unasked], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stage_is_rebuilt_by_what_is_printed(state: StackDir, cluster_arn: str) -> None:
    """Begun, filled, compared, switched; and the way back compared and printed."""

    def ras(*arguments: str, code: int) -> Result:
        result = CliRunner().invoke(main, [*arguments, "--stage", "dev", "--yes"])
        assert result.exit_code == code, (result.output, result.exception)
        return result

    def printed(*arguments: str) -> str:
        return ras("rebuild", *arguments, code=1).stdout.splitlines()[-1]

    settings = {"cluster_arn": cluster_arn, **GIVEN}
    given = " ".join(f"-c {name}={json.dumps(value)}" for name, value in settings.items())
    pasted(f"make deploy STAGE=dev ARGS='{given}'", state)
    ras("replay", "--all-topics", "--from", "beginning", "--via", "function", code=0)
    deployment = choose("dev")
    old = read_tables(deployment).live
    dynamodb = deployment.cloud.dynamodb
    filled = dynamodb.scan(TableName=old.name)["Items"]
    # What a bug once wrote under the right version.
    broken = table_layout.batch_key(next(iter(samples.expected(*FILES))))
    item = dynamodb.get_item(TableName=old.name, Key={"pk": {"S": broken.pk}, "sk": {"S": broken.sk}})["Item"]
    name = table_layout.attribute_of(table_layout.ESSAY_COUNT)
    count = item[name]["S"]
    dynamodb.put_item(
        TableName=old.name, Item={**item, name: {"S": count[: registers.payload_at(count)] + "99999"}}
    )

    pasted(printed(), state)
    told = ras("rebuild", code=1)
    pasted(told.stdout.splitlines()[-1], state)
    switched = read_tables(deployment)
    new = switched.live

    assert f"{len(filled) - 1} the same, 1 read otherwise" in told.stderr
    assert switched == Tables(Table(2, new.name), old, in_step=True)
    assert sorted(map(str, dynamodb.scan(TableName=new.name)["Items"])) == sorted(map(str, filled))
    assert "asked already" in ras("rebuild", code=0).stderr
    assert "-c table_generation=1 -c second_generation=2'" in printed("--back")
    deployed = load_settings({"stage": "dev", **settings}, {"AWS_REGION": region()})
    assert json.loads(deployment.outputs()["Settings"]) == as_context(deployed)
    assert os.environ["AWS_ENDPOINT_URL"] == dynamodb.meta.endpoint_url
