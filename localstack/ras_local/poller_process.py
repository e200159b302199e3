"""The process that stands in for Lambda's pollers: the mapping package, on the stack's deployed mappings.

`python -m ras_local.poller_process ENDPOINT_URL REGION BOOTSTRAP_SERVERS MAPPINGS_FILE` runs until it is terminated. It reads
every few seconds which mappings are deployed, so a new deployment, a disabled mapping or a changed batch size takes
effect while it runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from ras.aws import ROOT_KEY, ROOT_SECRET, Cloud
from ras.deployed_mappings import DeployedMappings
from ras.environment import number
from ras.errors import SettingError

from ras_local.mapping import (
    AwsAccess,
    Connections,
    InvalidMappingError,
    MappingSettings,
    MappingsUnknownError,
    Nulls,
    Poller,
    StatusFile,
    log_to_standard_output,
    run_until_terminated,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ras_local.mapping import ListMappings


def nulls_from_environment() -> Nulls:
    """How events show null keys and values: RAS_NULLS, by default absent. Raises OperatorError for anything else."""
    wished = os.environ.get("RAS_NULLS", "").lower() or Nulls.ABSENT
    if wished not in set(Nulls):
        raise SettingError(f"RAS_NULLS={wished!r} is unknown", f"It may be {', '.join(Nulls)}.")
    return Nulls(wished)


def limit_from_environment() -> int:
    """How many invocations of one function run at a time: RAS_FUNCTION_CONCURRENCY. Raises OperatorError as `number`."""
    return number("RAS_FUNCTION_CONCURRENCY", 2, least=1)


def deployed(cloud: Cloud) -> ListMappings:
    """How the deployed mappings are listed, with what the emulator forgets of them."""
    mappings = DeployedMappings(cloud)

    def listed() -> Sequence[MappingSettings]:
        try:
            return [MappingSettings.from_api(mapping.described) for mapping in mappings.read()]
        except (BotoCoreError, ClientError, InvalidMappingError) as error:
            raise MappingsUnknownError(str(error)) from error

    return listed


def main(arguments: list[str]) -> None:
    endpoint_url, region, bootstrap_servers, mappings_file = arguments
    connections = Connections(
        bootstrap_servers,
        AwsAccess(endpoint_url, region, ROOT_KEY, ROOT_SECRET),
        nulls=nulls_from_environment(),
        function_concurrency=limit_from_environment(),
        grant_trust=True,  # the emulator cannot assume a role as the Lambda service
    )
    log_to_standard_output()
    run_until_terminated(
        Poller(
            deployed(Cloud(endpoint_url, region, retries=1)),
            connections.mapping,
            report=StatusFile(Path(mappings_file)).write,
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
