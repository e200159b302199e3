"""What pytest does otherwise while mutants are tested: `mutmut.cfg` names this plugin."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path

import pytest
import result_aggregator
from hypothesis import Phase, settings
from mutmut.state import state

# Servers and tools that take seconds to start, or run the service's code in processes of their own.
SERVERS = {"emulator", "kafka", "localstack"}
FIXTURES = {"emulator_url", "localstack_url", "real_stack", "kafka", "brokers"}
# Folders whose tests run on moto and on dynoxide: once is enough, and dynoxide is the faster.
ON_DYNOXIDE = {"handlers", "bad_input"}
# These start other interpreters or read the repository's files; no mutant is where they look.
FILES = {
    "test_adding_a_phase.py",
    "test_handlers_start.py",
    "test_imports.py",
    "test_package.py",
    "test_snapshot.py",
    "test_workflows.py",
}
HISTORIES = 30


def pytest_collection() -> None:
    """The same examples in every run, so that a kill can be repeated; nobody needs to see them made small."""
    settings.register_profile(
        "mutation",
        settings(deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)),
    )
    settings.load_profile("mutation")
    for module in pkgutil.walk_packages(result_aggregator.__path__, "result_aggregator."):
        importlib.import_module(module.name)
    if _notes():
        Path("called-by-imports.json").write_text(json.dumps(sorted(state()._stats)))
    _forget()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if collection_path.name in FILES else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if _is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec and "histories" in callspec.params:
            callspec.params["histories"] = HISTORIES


def _is_left_out(item: pytest.Item) -> bool:
    servers = SERVERS | {"moto"} if item.path.parent.name in ON_DYNOXIDE else SERVERS
    callspec = getattr(item, "callspec", None)
    parameters = [one for one in callspec.params.values() if isinstance(one, str)] if callspec else []
    return not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())) or not servers.isdisjoint(parameters)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # pytest keeps the ids that `ids=repr` made, and escapes their backslashes once more when the process collects again.
    for mark in metafunc.definition.iter_markers("parametrize"):
        if mark._param_ids_from:
            object.__setattr__(mark._param_ids_from, "_param_ids_generated", None)


def pytest_collection_finish() -> None:
    state()._stats.clear()  # what parametrisation called is no test's
    # What was imported stays, and need not be looked through with every collection in a test: that is half the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def pytest_runtest_setup() -> None:
    if _notes():
        # Every test shall call what an earlier one left in a cache.
        _forget()


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if _notes() and call.when == "setup":
        # mutmut itself counts only the test's own time.
        state().duration_by_test[item.nodeid] += call.duration


def _notes() -> bool:
    """Whether this is the run in which mutmut notes which test calls what."""
    return os.environ.get("MUTANT_UNDER_TEST") == "stats"


def _forget() -> None:
    """Empty the caches of the service: a mutant's process begins with those of the unchanged code."""
    for name, module in list(sys.modules.items()):
        if name.startswith("result_aggregator."):
            for value in vars(module).values():
                if clear := getattr(value, "cache_clear", None):
                    clear()
