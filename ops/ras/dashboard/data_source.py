"""Where the dashboard's answers come from: the API, CloudWatch, the mappings and the dead-letter bucket of one deployment.

All of it with what the user has: on the stack on this machine the keys of `admin-dashboard-service`, on a stage in
AWS the user's own credentials, which the API must know as those of an allowed role.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from botocore.credentials import Credentials
from result_aggregator.names import DASHBOARD_CALLER, stack_name
from result_aggregator_client import AsyncResultAggregatorClient, Retries, Timeouts

from ras import stack_file
from ras.deployment import Account, choose, stack_output
from ras.state_folder import LOCAL

if TYPE_CHECKING:
    from pathlib import Path

    from ras.deployment import Deployment
    from ras.state_folder import StateDir

# Somebody looks at the page: better told soon that nothing comes than left waiting.
_TIMEOUTS = Timeouts(connect_s=2.0, read_s=10.0, total_s=15.0)
_RETRIES = Retries(attempts=2)
# The same of AWS, but that a replayed record's function may take its time.
_AWS_READ_S = 20.0
_AWS_ATTEMPTS = 2
# The answers of a large batch are some megabytes, and are confirmed by their ETags every few seconds.
_CACHE_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class DataSource:
    """One deployment, as the dashboard reads it. `credentials` None: whatever botocore finds."""

    deployment: Deployment
    api_url: str
    credentials: Credentials | None

    @property
    def is_local(self) -> bool:
        return self.deployment.stage == LOCAL

    @property
    def label(self) -> str:
        """The deployment's name for people."""
        return (
            "this machine" if self.is_local else f"{self.deployment.stage} · {self.deployment.cloud.region}"
        )

    @cached_property
    def results(self) -> AsyncResultAggregatorClient:
        """The API's client. Of the event loop that asks first."""
        return AsyncResultAggregatorClient(
            self.api_url,
            credentials=self.credentials,
            region=self.deployment.cloud.region,
            timeouts=_TIMEOUTS,
            retries=_RETRIES,
            cache_bytes=_CACHE_BYTES,
        )


def open_source(
    stage: str | None = None,
    *,
    profile: str | None = None,
    region: str | None = None,
    api_url: str | None = None,
    state: StateDir | None = None,
) -> DataSource:
    """The deployment that options name, as `ras.deployment.choose`. `api_url`: another way to a stage's API.

    Raises OperatorError, and botocore's errors where AWS refuses.
    """
    deployment = choose(stage, profile=profile, region=region, state=state)
    cloud = replace(deployment.cloud, retries=_AWS_ATTEMPTS, read_timeout_s=_AWS_READ_S)
    deployment = replace(deployment, cloud=cloud)
    if not isinstance(cloud, Account):
        stack = stack_file.load(deployment.state)
        keys = stack.callers[DASHBOARD_CALLER]
        signing = Credentials(keys["access_key_id"], keys["secret_access_key"], keys["session_token"])
        return DataSource(deployment, api_url or stack.api_url, signing)
    address = api_url or stack_output(cloud, stack_name(deployment.stage, "api"), "ApiUrl")
    found: Credentials | None = cloud.session.get_credentials()
    return DataSource(deployment, address, found)


class Reopened:
    """The source of the stack of a state folder, opened on the first request and again once it was started anew.

    Raises OperatorError while the stack is not up.
    """

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._opened: tuple[tuple[int, int], DataSource] | None = None
        self._lock = threading.Lock()

    def __call__(self) -> DataSource:
        with self._lock:
            version = _version(self._state.stack_file)
            if self._opened is None or self._opened[0] != version:
                self._opened = version, open_source(state=self._state)
            return self._opened[1]


def _version(path: Path) -> tuple[int, int]:
    """What changes when a file is replaced."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns
