"""Imports run one way, between the rooms of the repository and inside the service: handler -> use case -> domain <- storage."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import result_aggregator

PACKAGE = Path(result_aggregator.__file__).parent
REPOSITORY = Path(__file__).parents[2]

# What each part of the service may import of it, besides itself.
ALLOWED = {
    "names": set[str](),
    "domain": set[str](),
    "topics": {"domain"},
    "settings": {"domain", "names"},
    "msk_event": set[str](),
    "dead_letter_key": set[str](),
    "replay_headers": {"dead_letter_key"},
    "contracts": {"domain", "topics"},
    "metrics": {"domain"},
    "emf": {"metrics"},
    "prometheus": {"domain", "metrics"},
    "store": {"contracts", "dead_letter_key", "domain", "metrics", "msk_event", "names", "replay_headers"},
    "deadline": {"domain"},
    "ingest": {"contracts", "deadline", "domain", "msk_event"},
    "cursors": set[str](),
    "query": {"cursors", "domain"},
    "observability": {"domain", "emf", "ingest", "metrics", "names"},
    "api": {"cursors", "domain", "names", "observability", "prometheus", "query"},
    "ingest_handler": {
        "deadline",
        "domain",
        "ingest",
        "msk_event",
        "names",
        "observability",
        "replay_headers",
        "settings",
        "store",
    },
    "snapstart": set[str](),
    "__init__": set[str](),
}

ROOTS = {
    "result_aggregator": "layers/shared/python",
    "result_aggregator_client": "layers/client/python",
    "ras": "ops",
    "ras_local": "localstack",
    "infra": ".",
    "benchmarks": ".",
    "tests": ".",
}
"""The folder that each package lies in."""

PACKAGES = {
    "result_aggregator": set[str](),
    "result_aggregator_client": set[str](),
    "infra": {"result_aggregator"},
    "ras": {"result_aggregator", "result_aggregator_client"},
    "ras_local": {"ras", "result_aggregator"},
    # They use what the tests use: samples, the fold, the service as the handlers' tests set it up.
    "benchmarks": {"infra", "ras", "ras_local", "result_aggregator", "tests"},
    "tests": {"benchmarks", "infra", "ras", "ras_local", "result_aggregator", "result_aggregator_client"},
}
"""What each package may import of the others: localstack -> ops -> layers."""


def imported(path: Path) -> set[str]:
    """The full names of the modules that a module imports, for types or in earnest, at the top or on use."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module_of(path).split(".")
                above = parts[: len(parts) - node.level + (path.name == "__init__.py")]
                base = ".".join([*above, base]).rstrip(".")
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def files(package: str) -> list[Path]:
    return sorted((REPOSITORY / ROOTS[package] / package).rglob("*.py"))


def module_of(path: Path) -> str:
    """The dotted name of a file of one of the PACKAGES."""
    relative = path.relative_to(REPOSITORY)
    root = next(
        root for name, root in ROOTS.items() if (REPOSITORY / root / name) in (path.parent, *path.parents)
    )
    return ".".join(relative.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def upward(path: Path, package: str) -> set[str]:
    """The packages that a file imports although its own may not."""
    others = {name.split(".")[0] for name in imported(path)} & PACKAGES.keys()
    return others - PACKAGES[package] - {package}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; none where there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_lies_below_them(package: str) -> None:
    found = {str(path.relative_to(REPOSITORY)): upward(path, package) for path in files(package)}

    assert found, "there is no such package"
    assert {path: others for path, others in found.items() if others} == {}


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports inside functions count: none of them is there because of a circle."""
    modules = {module_of(path): path for package in PACKAGES for path in files(package)}
    graph = {
        module: {
            name for name in imported(path) if name in modules and name != module and not inside(module, name)
        }
        for module, path in modules.items()
    }

    assert circle(graph) == []


def inside(module: str, package: str) -> bool:
    """Whether a module lies in a package: `from package import module` names both, and needs the second alone."""
    return module.startswith(f"{package}.")


def test_an_upward_import_and_a_circle_are_found(tmp_path: Path) -> None:
    path = tmp_path / "upward.py"
    path.write_text("def stop() -> None:\n    from ras_local import stack\n", encoding="utf-8")

    assert upward(path, "ras") == {"ras_local"}
    assert upward(path, "tests") == set()
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_run_one_way(path: Path) -> None:
    """A module of the service imports only what lies below it, and only the store knows boto3."""
    part = part_of(path)
    ours = {
        name.split(".")[1]
        for name in imported(path)
        if (name.startswith("result_aggregator.") and (PACKAGE / name.split(".")[1]).exists())
        or (name.startswith("result_aggregator.") and (PACKAGE / f"{name.split('.')[1]}.py").exists())
    }
    foreign = {name.split(".")[0] for name in imported(path)}

    assert ours - {part} <= ALLOWED[part]
    if part != "store":
        assert not foreign & {"boto3", "botocore"}
    if part == "domain":
        assert not foreign & {"aws_lambda_powertools", "pydantic"}
