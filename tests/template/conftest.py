"""The synthesised stages; each is made once per test run."""

from __future__ import annotations

import pytest

from tests.template.given import STAGES
from tests.template.synth import Assembly, assembly


@pytest.fixture(scope="session")
def prod() -> Assembly:
    return assembly("prod")


@pytest.fixture(scope="session")
def local() -> Assembly:
    return assembly("local")


@pytest.fixture(scope="session", params=STAGES)
def stage(request: pytest.FixtureRequest) -> Assembly:
    """Each stage in turn."""
    return assembly(str(request.param))


@pytest.fixture(scope="session", params=[name for name in STAGES if name != "local"])
def aws_stage(request: pytest.FixtureRequest) -> Assembly:
    """Each stage that is deployed to AWS, in turn."""
    return assembly(str(request.param))
