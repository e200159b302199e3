"""Which tests belong to `make check`, `make test` and `make test-long`, and which run in one worker.

`make check` runs the tests marked `quick`: every test that no other mark and no fixture in SLOW rules out.
`make test` runs what is not marked `long`, in two workers: a group of tests stays in one worker, with its servers.
`make test-long` runs what is marked `long`: larger numbers, and combinations of backends that repeat a test of `make test`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

SLOW: Final = {
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
"""Fixtures that start a server."""

GROUPS: Final = {
    "real_stack": "the stack on Apache Kafka",
    "running": "the stack",
    "localstack_url": "LocalStack",
}
"""The worker group by the fixture that takes longest to set up. Tests with none of these are grouped by their file."""

FIRST: Final = (
    "the stack on Apache Kafka",
    "the stack",
    "tests/e2e/test_rebuild.py",
    "tests/dashboard/test_browser.py",
    "tests/convergence/test_convergence.py",
    "tests/local/test_poller.py",
    "LocalStack",
)
"""Groups that take a minute or more, begun first: one of them begun last would leave the other worker idle."""


def long(value: object, *marks: pytest.MarkDecorator) -> ParameterSet:
    """A parameter that only `make test-long` runs."""
    return pytest.param(value, marks=[pytest.mark.long, *marks], id=str(value))


def _group(item: pytest.Item) -> str:
    fixtures = getattr(item, "fixturenames", ())
    for fixture, group in GROUPS.items():
        if fixture in fixtures and not (fixture == "running" and _broker(item) == "kafka"):
            return group
    if "running" in fixtures:
        return GROUPS["real_stack"]
    return item.nodeid.partition("::")[0]


def _broker(item: pytest.Item) -> str:
    """The kind of broker that a test of `tests/e2e` runs on; empty for any other test."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("broker", "")) if callspec else ""


def _is_quick(item: pytest.Item) -> bool:
    slow_marks = any(item.get_closest_marker(name) for name in ("e2e", "integration", "slow"))
    return not slow_marks and not SLOW & set(getattr(item, "fixturenames", ()))


# Before pytest's own hook, which selects by marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _broker(item) == "kafka" and not item.get_closest_marker("on_kafka"):
            item.add_marker(pytest.mark.long)
        if _is_quick(item):
            item.add_marker(pytest.mark.quick)
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    order = {group: place for place, group in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(_group(item), len(order)))
