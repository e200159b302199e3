"""The load tool on a stack: what it counts is true, overload is refused politely, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from ras import stack_file
from ras.kafka.publish import publish

from benchmarks import load, load_data
from benchmarks.load import Load, Report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ras.stack_file import Stack
    from ras_local.settings import StackDir

    from benchmarks.load_data import Batch

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("embedded_emulator")]


@pytest.fixture(scope="module")
def batches(running: Stack) -> list[Batch]:
    """Six batches of the load, consumed."""
    made = load_data.batches(5, 1, 60)
    publish(running.bootstrap_servers, load_data.events(made))
    stack_file.wait_consumed(running)
    return made


@pytest.fixture
def driven(running: Stack, state: StackDir, batches: list[Batch]) -> Iterator[Load]:
    """Short steps on the running stack."""
    with load.behind_proxy(running, load.table_url(running, state)) as proxy:
        yield Load(running, proxy, batches, seconds=1, warm_up_s=0)


def variables(stack: Stack) -> Any:
    return stack.cloud.functions.get_function_configuration(FunctionName=load.FUNCTION)["Environment"][
        "Variables"
    ]


@pytest.mark.parametrize("kind", load.MIX)
def test_dynamodb_calls_per_question(driven: Load, kind: str) -> None:
    """One call for a status answer, whatever it says, and two for a page of a listing: DESIGN 6, counted on the wire."""
    step = driven.step(kind, 1, {kind: 1})
    expected = {"Query": step.requests}
    if kind.startswith("listing"):
        expected["BatchGetItem"] = step.requests

    assert step.wrong == {}
    assert step.dynamodb_calls == expected


def test_a_run_is_reported(driven: Load, tmp_path: Path) -> None:
    """Every step of a whole run, in order, in numbers and in a picture.

    A table that takes nothing, then one that hangs: 503 with Retry-After; afterwards all is answered, by itself.
    """
    report = Report({}, load.MIX, {})
    load.run(driven, report, [1, 2], overload=True)
    load.plot(report, tmp_path / "load.png")

    assert [(step.name, step.concurrency) for step in report.steps[:3]] == [
        ("rising", 1),
        ("rising", 2),
        ("table throttles", 2),
    ]
    assert [step.name for step in report.steps[3:]] == ["after throttling", "table hangs", "after hanging"]
    assert report.verdict == load.verdict(report.steps) == []
    throttled, _, hanging, _ = report.steps[2:]
    assert "503" in throttled.statuses
    assert set(hanging.statuses) == {"503"}
    assert hanging.calls_per_request == 2
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")


def test_interrupted_it_reports_and_leaves_the_function_as_it_was(
    running: Stack, state: StackDir, batches: list[Batch], tmp_path: Path
) -> None:
    """Ctrl-C in the middle of an hour's step: exit code 130, what was measured is told, the proxy is gone."""
    assert batches
    before = variables(running)
    command = [sys.executable, "-m", "benchmarks.load", "--concurrency=2", "--seconds=3600", "--batches=5"]
    command += ["--large=1", "--large-essays=60", f"--output={tmp_path}"]
    process = subprocess.Popen(command, env={**os.environ, "RAS_STATE_DIR": str(state.root)})
    try:
        deadline = time.monotonic() + 120
        while load.TABLE_VARIABLE not in variables(running):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        code = process.wait(120)
    finally:
        process.kill()
    report = json.loads((tmp_path / "load.json").read_text())

    assert code == 130
    assert report["interrupted"] is True
    assert variables(running) == before
