"""What copies of one SnapStart snapshot may not share."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import snapshot_restore_py
from result_aggregator import snapstart

ROOT = Path(__file__).parents[2]


def test_copies_draw_different_random_numbers() -> None:
    """Restored from one snapshot, each would otherwise pause as long as every other between its retries."""
    state = random.getstate()
    try:
        snapstart.prepare(lambda: None)
        random.seed(1)
        drawn = set()
        taken = random.getstate()
        for _ in range(3):
            random.setstate(taken)
            for hook, arguments, named in snapshot_restore_py.get_after_restore():
                hook(*arguments, **named)
            drawn.add(random.random())  # noqa: S311 - that is what it is about
    finally:
        random.setstate(state)

    assert len(drawn) == 3


def test_a_snapshot_is_told_by_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other start prepares nothing: it would only be slower."""
    monkeypatch.delenv("AWS_LAMBDA_INITIALIZATION_TYPE", raising=False)
    assert not snapstart.is_taken()
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    assert not snapstart.is_taken()
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    assert snapstart.is_taken()


@pytest.mark.slow
def test_the_query_function_is_ready_in_its_snapshot_without_a_connection() -> None:
    """Its client is made when the snapshot is taken, which opens nothing that would be dead in a copy."""
    program = """
import socket, sys
def refuse(*arguments):
    raise AssertionError(f"connects to {arguments}")
socket.socket.connect = socket.create_connection = refuse
sys.path.insert(0, "functions/query")
import handler, random
import snapshot_restore_py
assert handler._api.cache_info().currsize == 1, "not prepared"
assert "boto3" in sys.modules, "the first request of a copy would load the SDK to get its credentials"
assert snapshot_restore_py.get_after_restore(), "nothing happens after a restore"
"""
    environment = {
        **os.environ,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
        "AWS_DEFAULT_REGION": "eu-north-1",
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "TABLE_NAME": "view",
        "COMPRESS_ANSWERS": "true",
        "ALLOWED_CALLERS": "{}",
        "DEFAULT_PIPELINE": "spellcheck",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
