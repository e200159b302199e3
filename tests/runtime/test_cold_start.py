"""`make bench-cold-start` measures what is deployed, and the same without byte code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from result_aggregator.topics import ESSAYS

from benchmarks import cold_start
from tests.real_servers import require_python

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def test_both_load_the_same_and_keep_the_first_dead_letter(tmp_path: Path) -> None:
    """The same packages come in, out of sources alone or with their byte code; neither folder is written to."""
    compiler = require_python("3.13")
    deployed = cold_start.built(compiler, tmp_path)
    compiled = {how: len(list(one.layers.rglob("*.pyc"))) for how, one in deployed.items()}
    packages = {how: set(one.split("import handler", ESSAYS)) for how, one in deployed.items()}
    with cold_start.bucket() as (address, put):
        for one in deployed.values():
            assert one.first_letter(address) > 0
            assert one.measure("import handler").milliseconds > 0

    assert compiled[cold_start.WITHOUT] == 0 < compiled[cold_start.WITH]
    assert packages[cold_start.WITHOUT] == packages[cold_start.WITH] >= {"result_aggregator", "aws_xray_sdk"}
    assert len(put) == len(deployed)
    assert compiled == {how: len(list(one.layers.rglob("*.pyc"))) for how, one in deployed.items()}
