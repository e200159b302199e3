"""Imports run one way: handler -> use case -> domain <- storage."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import result_aggregator

PACKAGE = Path(result_aggregator.__file__).parent

# What each part may import of the package, besides itself.
ALLOWED = {
    "names": set[str](),
    "domain": set[str](),
    "topics": {"domain"},
    "settings": {"domain", "names"},
    "msk_event": set[str](),
    "replay_headers": set[str](),
    "contracts": {"domain", "topics"},
    "metrics": {"domain"},
    "emf": {"metrics"},
    "prometheus": {"domain", "metrics"},
    "store": {"contracts", "domain", "metrics", "msk_event", "names", "replay_headers"},
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


def imported(path: Path) -> set[str]:
    """The full names of the modules that a module imports, for types or in earnest."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_run_one_way(path: Path) -> None:
    """A module imports only what lies below it, and only the store knows boto3."""
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
