"""Apache Kafka, dynoxide, the AWS emulator, the browser and Lambda's Python for tests, on loopback and free ports.

A test that uses one carries the mark `integration` (`server` gives it to a parameter). Where Java, Maven, Rust, Chromium or that Python is missing
such tests are skipped, and the session ends with a block that says so; with CI=true in the environment they fail.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ras import interrupts
from ras.errors import OperatorError
from ras_local import stack
from ras_local.servers import broker, dynoxide, emulator, fetch, localstack_process, processes
from ras_local.settings import StackDir

from infra.byte_code import Compiler, find_compiler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from _pytest.mark import ParameterSet
    from ras.stack_file import Stack

KAFKA = "kafka"
DYNOXIDE = "dynoxide"
EMULATOR = "emulator"
LOCALSTACK = "localstack"
CHROMIUM = "chromium"

BROWSERS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
"""Names of a Chromium, the first that is found is taken: Debian's, Google's (GitHub's runners have it), Ubuntu's."""

# What could not be had in this session, and why.
_missing: dict[str, str] = {}
_not_run = 0


def server(name: str) -> ParameterSet:
    """A fixture's parameter that stands for a real server."""
    return pytest.param(name, marks=pytest.mark.integration, id=name)


def require(*names: str) -> None:
    """Fetch servers. Skips the test, or with CI=true fails it, where that is not possible."""
    for name in names:
        if name == LOCALSTACK:
            continue  # a Python package: its fixture says whether it is there
        if name in _missing:
            continue  # tried before: cargo and Maven take their time to fail without a network
        try:
            fetch.fetch(name)
        except OperatorError as error:
            _missing[name] = f"{error.message}. {error.advice}"
    _decide([_missing[name] for name in names if name in _missing])


def require_chromium() -> Path:
    """Where the browser is, one of BROWSERS. Skips the test, or with CI=true fails it, without."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return Path(found)
    _missing[CHROMIUM] = (
        f"None of {', '.join(BROWSERS)} is on the PATH. "
        "Install the package chromium (apt-get install chromium), or google-chrome-stable where that is a snap"
    )
    _decide([_missing[CHROMIUM]])
    raise AssertionError("it is decided by now")


def require_python(version: str) -> Compiler:
    """A CPython of that version, such as "3.13". Skips the test, or with CI=true fails it, without.

    CI has it: the image of `.ci/run`'s machines brings it, and the workflow sets it up. No package registry gives it to
    a machine that has not, so what runs there instead would be tests of another Python.
    """
    found = find_compiler(version)
    if found is not None:
        return found
    name = f"python{version}"
    _missing[name] = (
        f"There is none on the PATH, nor of pyenv's or uv's. Install Python {version}, which the functions run on"
    )
    _decide([_missing[name]])
    raise AssertionError("it is decided by now")


def _decide(lacking: list[str]) -> None:
    if lacking and os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail("\n".join(lacking), pytrace=False)
    if lacking:
        pytest.skip("; ".join(lacking))


def pytest_configure() -> None:
    # A session that is told to end stops its servers, as an interrupted one does: they have sessions of their own.
    interrupts.end_as_interrupted()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    global _not_run
    if report.skipped and "integration" in report.keywords:
        _not_run += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    # Of a worker nothing is shown but what it passes to the process that started it.
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["missing"] = _missing


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # A worker that crashed passed nothing.
    _missing.update(getattr(node, "workeroutput", {}).get("missing", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _missing:
        return
    terminalreporter.section(
        "REAL SERVERS, THE BROWSER OR LAMBDA'S PYTHON ARE MISSING", sep="!", red=True, bold=True
    )
    terminalreporter.line(f"Did not run against what they are for: {_not_run} tests.")
    for name, reason in _missing.items():
        terminalreporter.line(f"  {name}: {reason}", red=True)
    terminalreporter.line("What passed above passed on stand-ins alone. With CI=true this is a failure.")


@contextmanager
def folder_of_servers(root: Path) -> Iterator[StackDir]:
    """Where servers keep their files: whatever was started from there is stopped in the end."""
    state = StackDir(root)
    state.create()
    try:
        yield state
    finally:
        for record in processes.recorded(state):
            processes.stop(state, record)


@contextmanager
def running_broker(kind: str, root: Path, topics: Sequence[str], partitions: int) -> Iterator[str]:
    """A broker of one of `broker.KINDS` with these topics; its bootstrap servers."""
    if kind == KAFKA:
        require(KAFKA)
    with folder_of_servers(root) as state:
        yield broker.KINDS[kind](state, topics, partitions)()


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackDir]:
    """Where the session's servers keep their files; all of them are stopped at its end."""
    with folder_of_servers(tmp_path_factory.mktemp("servers")) as state:
        yield state


@pytest.fixture(scope="session")
def dynoxide_url(servers_folder: StackDir) -> str:
    """A dynoxide."""
    require(DYNOXIDE)
    endpoint_url, wait = dynoxide.start(servers_folder)
    wait()
    return endpoint_url


@pytest.fixture(scope="session")
def emulator_url(servers_folder: StackDir) -> str:
    """The emulator alone, with nothing deployed."""
    endpoint_url, wait = emulator.start(servers_folder)
    wait()
    return endpoint_url


@pytest.fixture(scope="session")
def localstack_url(servers_folder: StackDir) -> str:
    """LocalStack's free edition, with nothing deployed, on dynoxide."""
    if not localstack_process.installed():
        _missing[LOCALSTACK] = "It is not installed. Run `make localstack-free`"
    require(DYNOXIDE, LOCALSTACK)
    endpoint_url, wait = localstack_process.start(servers_folder)
    wait()
    return endpoint_url


@pytest.fixture(scope="session")
def real_state(tmp_path_factory: pytest.TempPathFactory) -> StackDir:
    """The folder of `real_stack`."""
    return StackDir(tmp_path_factory.mktemp("real-stack"))


@pytest.fixture(scope="session")
def real_stack(real_state: StackDir) -> Iterator[Stack]:
    """The whole stack on Apache Kafka and dynoxide; it is stopped even if it never got up."""
    require(KAFKA, DYNOXIDE)
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("RAS_BROKER", KAFKA)
            environment.setenv("RAS_DYNAMODB", DYNOXIDE)
            started = stack.up(real_state)
        yield started
    finally:
        stack.down(real_state)
