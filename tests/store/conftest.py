"""The store's tests run on three implementations of DynamoDB: each misses what another has."""

from __future__ import annotations

import pytest

from tests.real_servers import DYNOXIDE, EMULATOR, server


@pytest.fixture(params=["moto", server(DYNOXIDE), server(EMULATOR)])
def dynamodb_url(request: pytest.FixtureRequest) -> str | None:
    """moto in this process, dynoxide, and the emulator that the stack on this machine runs on."""
    fixtures = {DYNOXIDE: "dynoxide_url", EMULATOR: "emulator_url"}
    if request.param == "moto":
        return None
    url: str = request.getfixturevalue(fixtures[request.param])
    return url
