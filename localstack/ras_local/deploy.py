"""The real `cdk deploy`, aimed at the emulator."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ras import aws
from ras.errors import FailedError, NotFoundError, NotInstalledError
from ras.state_folder import LOCAL, REPOSITORY
from result_aggregator.names import stack_name

from ras_local.servers import emulator, processes
from ras_local.settings import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras.aws import Cloud

    from ras_local.settings import StackDir

CDK = REPOSITORY / "node_modules" / ".bin" / "cdk"
LOG = "deploy"
TIMEOUT_S = 600


@dataclass(frozen=True)
class Outputs:
    """What the rest needs to know of the deployed stacks."""

    table_name: str
    dead_letter_bucket: str
    api_id: str


def check_tools() -> None:
    """Raises OperatorError when Node or the CDK command line is missing."""
    if shutil.which("node") is None:
        raise NotInstalledError(
            "Node.js is not installed", "Install Node 20 or newer, then run `make setup`."
        )
    if not CDK.exists():
        raise NotInstalledError("the CDK command line is not installed", "Run `make setup`.")


def create_asset_bucket(cloud: Cloud) -> None:
    """Where CDK uploads code and templates: the one thing of `cdk bootstrap` that a local deploy needs."""
    # An emulator that was not started for this has it from the last time.
    with contextlib.suppress(cloud.s3.exceptions.BucketAlreadyOwnedByYou):
        cloud.s3.create_bucket(
            Bucket=f"cdk-hnb659fds-assets-{ACCOUNT}-{cloud.region}",
            CreateBucketConfiguration={"LocationConstraint": cloud.region},  # type: ignore[typeddict-item] # any region name
        )


def deploy(state: StackDir, cloud: Cloud, settings: Mapping[str, str] | None = None) -> Outputs:
    """Synthesise the local stage, with `settings` beside its own, and deploy every stack of it.

    Raises OperatorError with the end of CDK's own output when it fails.
    """
    state.outputs_file.unlink(missing_ok=True)
    command = [
        str(CDK),
        "deploy",
        "--all",
        "--require-approval=never",
        "--context=stage=" + LOCAL,
        f"--context=region={cloud.region}",
        *_functions(cloud),
        *(f"--context={name}={value}" for name, value in (settings or {}).items()),
        f"--output={state.cloud_assembly}",
        f"--outputs-file={state.outputs_file}",
        # The emulator applies a template at once, so a change set would only be one more round trip.
        "--method=direct",
        "--concurrency=4",
        "--progress=events",
        "--no-version-reporting",
        "--no-notices",
    ]
    state.log(LOG).unlink(missing_ok=True)
    exit_code = processes.run(
        state, LOG, command, environment=environment(cloud), folder=REPOSITORY, timeout_s=TIMEOUT_S
    )
    if exit_code != 0:
        raise FailedError("cdk deploy failed", processes.tail(state.log(LOG), 40))
    return read_outputs(state.outputs_file)


def _functions(cloud: Cloud) -> list[str]:
    """LocalStack runs functions in containers of Lambda's runtimes, the embedded emulator in an interpreter like this one."""
    return ["--context=functions_on_host=false"] if emulator.is_localstack(cloud.endpoint_url) else []


def read_outputs(path: Path) -> Outputs:
    """Raises OperatorError when an output that the local stack needs is missing."""
    try:
        stacks: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
        data, api = stacks[stack_name(LOCAL, "data")], stacks[stack_name(LOCAL, "api")]
        return Outputs(data["TableName"], data["DeadLetterBucketName"], api["ApiId"])
    except (OSError, ValueError, KeyError) as error:
        raise NotFoundError(
            f"the deployed stacks lack an output: {error!r}", "See the logs folder: deploy.log."
        ) from error


def environment(cloud: Cloud) -> dict[str, str]:
    """What the CDK command line runs with, so that it reaches the emulator and nothing else."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        # A profile or region of the user's own must not decide where this goes. And without bytecode files
        # aws-cdk-lib is compiled anew by every synthesis, which takes longer than all the rest.
        if not name.startswith("AWS_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}",
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        "AWS_ENDPOINT_URL_S3": cloud.endpoint_url,
        "AWS_ACCESS_KEY_ID": aws.ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": aws.ROOT_SECRET,
        "AWS_REGION": cloud.region,
        "AWS_DEFAULT_REGION": cloud.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "18,20",
        "NO_COLOR": "1",
    }
