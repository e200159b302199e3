"""Which tests belong to `make check`, `make test` and `make test-long`, and which of them run in one worker.

`make check` runs the tests marked `quick`: every test that no other mark and no fixture in SERVERS rules out.
`make test` runs what is not marked `long`, in several workers: a group of tests stays in one worker, with its servers.
`make test-long` runs what is marked `long`: larger numbers, and combinations of backends that repeat a test of `make test`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

SERVERS: Final = {
    "bootstrap_servers",
    "brokers",
    "deployed",
    "dynoxide_url",
    "emulator_url",
    "kafka",
    "localstack_url",
    "real_stack",
    "running",
    "servers_folder",
}
"""Fixtures that start one."""

KAFKA_STACK: Final = "the stack on Apache Kafka"
STACK: Final = "the stack"
OWN_STACK: Final = ("deployment", "rebuild", "rebuild_stage")
"""Tests of `tests/e2e` that share no stack with others."""

FIRST: Final = (
    KAFKA_STACK,
    STACK,
    "tests/e2e/test_rebuild.py",
    "tests/dashboard/test_browser.py",
    "tests/convergence/test_convergence.py",
    "tests/local/mapping/test_running.py",
    "tests/msk/test_commands.py",
    "tests/integration/test_foreign_servers.py",
    "tests/integration/test_localstack.py",
)
"""Groups that take longest. One of them begun last would leave the other workers idle."""


def long(value: object) -> ParameterSet:
    """A parameter that `make test` leaves out and `make test-long` runs."""
    return pytest.param(value, marks=pytest.mark.long, id=str(value))


def group(nodeid: str) -> str:
    """The group that a test belongs to: the stack that it shares with other files, else its own file."""
    path, _, name = nodeid.partition("::")
    folder, _, file = path.removeprefix("tests/").partition("/")
    subject = file.removeprefix("test_").removesuffix(".py")
    if folder == "chaos" or (folder, subject) == ("integration", "broker_failures"):
        return KAFKA_STACK
    if folder == "e2e" and subject not in OWN_STACK:
        return KAFKA_STACK if "kafka" in name.partition("[")[2].rstrip("]").split("-") else STACK
    return path


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each worker a group at a time, in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        # By default it would begin with the groups of most tests, which are not those that take longest.
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_configure() -> None:
    # What commands print is compared as it is written to a log. xdist tells its workers how wide the terminal is.
    os.environ.pop("COLUMNS", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    # The mark xdist_group of `--dist=loadgroup` does nothing: pytest-xdist 3.8.0 writes a group into an attribute that
    # pytest 9.2 does not read any more.
    return Groups(config, log)


def _is_quick(item: pytest.Item) -> bool:
    slow_marks = any(item.get_closest_marker(name) for name in ("e2e", "integration", "slow"))
    return not slow_marks and not SERVERS & set(getattr(item, "fixturenames", ()))


# Before pytest's own hook, which selects by marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        on_kafka = callspec is not None and callspec.params.get("broker") == "kafka"
        if on_kafka and not item.get_closest_marker("on_kafka"):
            item.add_marker(pytest.mark.long)
        if _is_quick(item):
            item.add_marker(pytest.mark.quick)
    order = {name: place for place, name in enumerate(FIRST)}
    # Chaos last on its stack: the others read the topics that it fills.
    items.sort(
        key=lambda item: (order.get(group(item.nodeid), len(order)), item.nodeid.startswith("tests/chaos/"))
    )
