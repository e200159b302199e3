"""What a session of tests says where a real server cannot be had; these need no Java themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from ras_local.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

A_TEST = "tests/store/test_view_store.py::test_newer_wins"


def without_java(folder: Path, **more: str) -> dict[str, str]:
    """An environment with nothing but Node on its path, which synthesising the table's template needs."""
    node = shutil.which("node")
    assert node is not None
    (folder / "node").symlink_to(node)
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "JAVA_HOME")}
    return {**kept, "PATH": str(folder), **more}


def run_pytest(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-k",
        "moto or dynamodb-local",
        A_TEST,
    ]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_session_without_java_says_so_and_goes_on(tmp_path: Path) -> None:
    """The tests that need it are skipped, and a block at the end says which server is missing and what to install."""
    done = run_pytest(without_java(tmp_path))

    assert done.returncode == 0, done.stdout
    assert "REAL SERVERS OR THE BROWSER ARE MISSING" in done.stdout
    assert "Did not run against what they are for: 1 tests." in done.stdout
    assert "dynamodb-local: dynamodb-local cannot run here: no java on the path" in done.stdout
    assert "Install a JDK" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout


def test_continuous_integration_without_java_fails(tmp_path: Path) -> None:
    """With CI=true a missing server is a failure."""
    done = run_pytest(without_java(tmp_path, CI="true"))

    assert done.returncode == 1, done.stdout
    assert "no java on the path" in done.stdout
    assert "REAL SERVERS OR THE BROWSER ARE MISSING" in done.stdout
