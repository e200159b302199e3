"""Mutation testing of the service's code with mutmut, on a seeded sample of the mutants: `make mutation`.

Each mutant is run with the tests that call the function it changes, the fastest first, until one fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

from ras_local.servers import processes
from ras_local.settings import StackDir

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build" / "mutation"
WORK = BUILD / "work"
TREE = WORK / "mutants"
"""The repository as the tests see it; mutmut puts the mutated package into its `src`."""
TEMPORARY = BUILD / "tmp"
SHARED = "layers/shared/python"
PACKAGE = "result_aggregator"

NOT_COPIED = (".*", "node_modules", "cdk.out", "__pycache__", "*.egg-info")
KILLED, TIMEOUT, SURVIVED, NO_TESTS, OTHER = "killed", "timeout", "survived", "no tests", "other"
COLUMNS = (KILLED, TIMEOUT, SURVIVED, NO_TESTS, OTHER)

_HANGS_S = 900


def prepare() -> None:
    """A new working folder: the package for mutmut, and a copy of the repository for the tests."""
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(ROOT, TREE, ignore=shutil.ignore_patterns(*NOT_COPIED))
    shutil.copytree(
        ROOT / SHARED / PACKAGE, WORK / "src" / PACKAGE, ignore=shutil.ignore_patterns(*NOT_COPIED)
    )
    shutil.copy(Path(__file__).with_name("mutmut.cfg"), WORK / "setup.cfg")
    (TREE / ".build").mkdir()
    (TREE / ".build" / "servers").symlink_to(ROOT / ".build" / "servers")
    TEMPORARY.mkdir()


def environment(*first: Path) -> dict[str, str]:
    """The environment of tests on mutated code. Their temporary files are here, to stop what a killed test leaves running."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            str(path)
            for path in (
                *first,
                TREE / "localstack",
                TREE / "ops",
                TREE / "layers/client/python",
                TREE / SHARED,
            )
        ),
        "PYTEST_DEBUG_TEMPROOT": str(TEMPORARY),
    }


def all_mutants() -> dict[str, str]:
    """Every mutant's name and the module that it changes, as `store.view_store`."""
    from mutmut.configuration import config
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import get_mutant_name

    os.chdir(WORK)
    config()
    found = {}
    for path in walk_mutatable_files():
        module = ".".join(path.with_suffix("").parts[2:]).removesuffix(".__init__")
        for name in mutate_file_contents(str(path), path.read_text()).mutant_names:
            found[get_mutant_name(path, name)] = module
    return found


def run(names: list[str], workers: int) -> None:
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(workers), *names]
    subprocess.run(command, cwd=WORK, env=environment(), check=True)


def decided(names: list[str]) -> set[str]:
    """Those that an interrupted run came to."""
    return {name for name, result in results(names).items() if result["status"] != OTHER}


def results(names: list[str]) -> dict[str, dict[str, Any]]:
    """What mutmut found of each, and the change."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files

    found: dict[str, dict[str, Any]] = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name in data.exit_code_by_key.keys() & set(names):
            status = status_by_exit_code[data.exit_code_by_key[name]]
            if status not in COLUMNS:
                status = OTHER  # the process ended as no test run does, or never began
            seconds = round(data.durations_by_key.get(name, 0), 1)
            found[name] = {
                "status": status,
                "seconds": seconds,
                "diff": get_diff_for_mutant(name, path=path),
            }
    return found


def called_by_imports(name: str) -> bool:
    """Whether the mutant's function is done before its process begins: mutmut forks it when everything is imported."""
    return name.partition("__mutmut_")[0] in json.loads((TREE / "called-by-imports.json").read_text())


def from_the_start(name: str) -> str:
    """How a mutant fares in a new interpreter, with all tests."""
    from mutmut.configuration import config

    arguments = [*config().pytest_add_cli_args, *config().pytest_add_cli_args_test_selection]
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--rootdir=.", *arguments],
            cwd=TREE,
            env={**environment(TREE / "src"), "MUTANT_UNDER_TEST": name},
            capture_output=True,
            timeout=_HANGS_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TIMEOUT
    return SURVIVED if ended.returncode == 0 else KILLED


def stop_servers() -> None:
    """Stop what tests left running that were ended from outside."""
    for root in TEMPORARY.glob("*/*/*/"):
        state = StackDir(root)
        for record in processes.recorded(state):
            processes.stop(state, record)


def table(modules: dict[str, str], found: dict[str, dict[str, Any]]) -> str:
    counts: dict[str, Counter[str]] = {}
    for name, result in found.items():
        for row in (modules[name], "all"):
            counts.setdefault(row, Counter())[result["status"]] += 1
    lines = [f"{'module':28}{'mutants':>9}" + "".join(f"{column:>10}" for column in COLUMNS)]
    for row in sorted(counts, key=lambda row: (row == "all", row)):
        lines.append(
            f"{row:28}{counts[row].total():9}" + "".join(f"{counts[row][column]:10}" for column in COLUMNS)
        )
    return "\n".join(lines)


def digest(lines: list[str]) -> str:
    return sha256("\n".join(lines).encode()).hexdigest()[:12]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("names", nargs="*", help="these mutants alone, instead of a sample")
    parser.add_argument("--sample", type=int, default=400, help="how many mutants (400); 0 is all")
    parser.add_argument("--seed", type=int, default=1, help="which ones are drawn (1)")
    parser.add_argument("--workers", type=int, default=2, help="mutants that are tested at once (2)")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    parser.add_argument("--list", action="store_true", help="only print the names that would be run")
    arguments = parser.parse_args()

    begun = time.monotonic()
    if not arguments.resume:
        prepare()
    modules = all_mutants()
    population = sorted(modules)
    size = min(arguments.sample or len(population), len(population))
    names = arguments.names or random.Random(arguments.seed).sample(population, size)  # noqa: S311 - to be repeatable
    names.sort()
    if unknown := [name for name in names if name not in modules]:
        parser.error(f"no such mutant: {', '.join(unknown)}")
    if arguments.list:
        print("\n".join(names))
        return 0
    print(f"{len(names)} of {len(population)} mutants, seed {arguments.seed}", flush=True)
    try:
        done = decided(names) if arguments.resume else set()
        if todo := [name for name in names if name not in done]:  # without names mutmut would run all
            run(todo, arguments.workers)
        found = results(names)
        for name in names:
            if found[name]["status"] in (SURVIVED, NO_TESTS) and called_by_imports(name):
                found[name]["status"] = from_the_start(name)
    finally:
        stop_servers()
    minutes = round((time.monotonic() - begun) / 60, 1)

    alive = [name for name in names if found[name]["status"] not in (KILLED, TIMEOUT)]
    counts = Counter(result["status"] for result in found.values())
    share = round(100 * (counts[KILLED] + counts[TIMEOUT]) / len(names), 1)
    report = {
        "seed": arguments.seed,
        "population": len(population),
        "population_digest": digest(population),
        "sample": len(names),
        "sample_digest": digest(names),
        "counts": counts,
        "killed_percent": share,
        "minutes": minutes,
        "mutants": {name: {"module": modules[name], **found[name]} for name in names},
    }
    (BUILD / "report.json").write_text(json.dumps(report, indent=1))
    (BUILD / "survivors.txt").write_text(
        "\n\n".join(f"{found[name]['status']}: {name}\n{found[name]['diff']}" for name in alive) + "\n"
    )
    print(table(modules, found))
    print(
        f"killed {counts[KILLED]} and timed out {counts[TIMEOUT]} of {len(names)}: {share} %, {minutes} minutes"
    )
    print(f"survivors: {(BUILD / 'survivors.txt').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
