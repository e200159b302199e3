"""Every handler starts, with tracing as deployed and without, and without what it only sometimes needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/handler.py"))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("tracing", ["on", "off"])
def test_a_handler_is_imported(function: str, tracing: str) -> None:
    """The SDK stays out, as dead letters and metrics alone need it; X-Ray's is there where tracing is on."""
    program = """
import sys
import handler
assert callable(handler.lambda_handler)
print("boto3" in sys.modules, "aws_xray_sdk" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "functions" / function,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("POWERTOOLS_")},
            "LAMBDA_TASK_ROOT": "/var/task",
            "POWERTOOLS_TRACE_DISABLED": "false" if tracing == "on" else "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["False", str(tracing == "on")]
