"""What a session of tests reports where real servers cannot be fetched or built; these need none themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from ras.state_folder import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

TESTS = (
    "tests/store/test_view_store.py::test_newer_wins",
    "tests/integration/test_servers.py::test_kafka_is_on_loopback_alone",
)


def without_tools(folder: Path, **more: str) -> dict[str, str]:
    """An environment with nothing on its path."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "JAVA_HOME")}
    return {**kept, "PATH": str(folder), **more}


def run_pytest(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "tests.integration.nothing_fetched",
        ),
        *("-k", "moto or dynoxide or kafka", *options, *TESTS),
    ]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_session_without_their_tools_says_so_and_goes_on(tmp_path: Path, workers: int) -> None:
    """The tests that need a server are skipped, and a block at the end says which one is missing and what to install."""
    done = run_pytest(without_tools(tmp_path), f"--numprocesses={workers}")

    assert done.returncode == 0, done.stdout
    assert "REAL SERVERS, THE BROWSER OR LAMBDA'S PYTHON ARE MISSING" in done.stdout
    assert "Did not run against what they are for: 2 tests." in done.stdout
    assert "kafka: kafka cannot run here: no java on the path. Install a JDK" in done.stdout
    assert "dynoxide: dynoxide cannot be built here: no cargo on the path. Install Rust" in done.stdout
    assert "1 passed, 2 skipped" in done.stdout


def test_continuous_integration_without_their_tools_fails(tmp_path: Path) -> None:
    """With CI=true a missing server is a failure."""
    done = run_pytest(without_tools(tmp_path, CI="true"))

    assert done.returncode == 1, done.stdout
    assert "no java on the path" in done.stdout
    assert "no cargo on the path" in done.stdout
    assert "REAL SERVERS, THE BROWSER OR LAMBDA'S PYTHON ARE MISSING" in done.stdout
    assert "1 passed" in done.stdout
