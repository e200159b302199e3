"""The dashboard over the service of this process (`dashboard`), and in a browser over the stack (`test_browser`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.credentials import Credentials
from ras.dashboard.data_source import DataSource
from ras.dead_letters.bucket import DeadLetterBucket
from ras.errors import OperatorError
from ras.replay.paused import PausedMappings
from ras.state_folder import StateDir
from result_aggregator import settings
from result_aggregator.names import ENV_TABLE_NAME

from tests.client.server import Server
from tests.dashboard.serving import serving
from tests.dynamodb import REGION
from tests.handlers.conftest import logs, service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ras.invoke import Invoke

    from tests.handlers.conftest import Service

__all__ = ["logs", "service"]


@pytest.fixture
def dynamodb_url() -> str | None:
    """What is tested here is not the table: the emulated one will do."""
    return None


@dataclass
class Cloud:
    """AWS in this process."""

    region: str = REGION

    @property
    def metrics(self) -> Any:
        return boto3.client("cloudwatch", region_name=REGION)

    @property
    def dynamodb(self) -> Any:
        return boto3.client("dynamodb", region_name=REGION)

    @property
    def functions(self) -> Any:
        """Lambda with one mapping, which is disabled."""
        return SimpleNamespace(get_event_source_mapping=lambda UUID: {"State": "Disabled"})  # noqa: N803, ARG005


@dataclass
class Deployment:
    """The service of this process in place of a deployed one."""

    service: Service
    state: StateDir
    stage: str = "dev"
    cloud: Cloud = field(default_factory=Cloud)
    s3: Any = None
    refusal: Exception | None = None
    invoked: list[str] = field(default_factory=list)
    is_local: bool = False
    profile: str | None = "on-call"

    def environment(self, _: str) -> dict[str, str]:
        return {ENV_TABLE_NAME: settings.text(ENV_TABLE_NAME)}

    @property
    def dead_letters(self) -> DeadLetterBucket:
        return DeadLetterBucket(self.s3 or self.service.s3, self.service.bucket)

    @property
    def paused_mappings(self) -> PausedMappings:
        return PausedMappings(self.service.s3, self.service.bucket, self.cloud.functions)

    @property
    def invoke(self) -> Invoke:
        def invoke(folder: str, event: dict[str, Any]) -> dict[str, Any]:
            self.invoked.append(folder)
            if self.refusal is not None:
                raise OperatorError("it cannot be invoked") from self.refusal
            return self.service.invoke(folder, event)

        return invoke


@dataclass
class Dashboard:
    """A dashboard that listens at `url`; `api` stands in for the API and answers what a test lays out."""

    url: str
    deployment: Deployment
    api: Server
    failure: list[OperatorError]
    """What opening the source raises, while there is something in it."""


@pytest.fixture
def dashboard(service: Service, tmp_path: Path) -> Iterator[Dashboard]:
    deployment: Any = Deployment(service, StateDir(tmp_path))
    failure: list[OperatorError] = []
    with Server() as api:
        source = DataSource(deployment, api.url, Credentials("key", "secret"))

        def opener() -> DataSource:
            for one in failure:
                raise one
            return source

        with serving(opener) as url:
            yield Dashboard(url, deployment, api, failure)
