"""A fact that several parts of the project share has one home: `names`, or `domain.statuses` for a batch's statuses."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from result_aggregator import names
from result_aggregator.domain import statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
NAMES = Path(names.__file__)
STATUSES = Path(statuses.__file__)

SCANNED = ("app.py", "benchmarks", "functions", "infra", "layers", "localstack", "ops", "tests")
SPARED = {
    "layers/client": "other teams install it without this package",
    "localstack/ras_local/mapping": "it is a package that others can lift out, so it imports nothing of this project",
    "tests/client": "its server stands for a service that the client knows by its wire format alone",
}
# Tests themselves say what the values must be, so a wrong value in `names` cannot pass.
EXPECTATION = re.compile(r"test_.*\.py")


def _exactly(*values: str) -> str:
    return f"(?:{'|'.join(map(re.escape, values))})"


ENVIRONMENT = [value for name, value in vars(names).items() if name.startswith("ENV_")]
PREFIXES = [value for name, value in vars(names).items() if name.endswith("_PREFIX")]
BATCH_ALONE = sorted({*statuses.OVERALL} - {*statuses.OF_A_PHASE})

# Each is searched in the literals of a file, where `{}` is what an f-string fills in.
FACTS = {
    "names of a stage": (NAMES, r"\bras-(?:\{\}|local|dev|staging|prod)-"),
    "log groups": (NAMES, r"/aws/lambda\b"),
    "the alias": (NAMES, rf"\A{names.LIVE_ALIAS}\Z"),
    "the index": (NAMES, names.USER_INDEX),
    "prefixes of the bucket": (NAMES, rf"(?:\A|\{{\}}){_exactly(*PREFIXES)}"),
    "the batches' prefix": (NAMES, r"(?<!/)\baws/lambda\b"),
    "callers": (NAMES, rf"\A{_exactly(*names.ALLOWED_CALLERS)}\Z"),
    "environment variables": (NAMES, rf"\A{_exactly(*ENVIRONMENT)}\Z"),
    # The other three are words of the platform's events as well.
    "statuses of a batch": (STATUSES, rf"\A{_exactly(*BATCH_ALONE)}\Z"),
}


def files() -> Iterator[Path]:
    """The project's Python but its tests, and what is spared."""
    for name in SCANNED:
        path = ROOT / name
        for found in [path] if path.is_file() else sorted(path.rglob("*.py")):
            inside = found.relative_to(ROOT).as_posix()
            spared = any(inside.startswith(f"{folder}/") for folder in SPARED)
            if not spared and not EXPECTATION.fullmatch(found.name):
                yield found


def literals(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string but docstrings; `{}` stands for what an f-string fills in."""
    tree = ast.parse(source)
    passed_over = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed_over.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
            passed_over |= {part for part in node.values if isinstance(part, ast.Constant)}
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in passed_over:
            yield node.lineno, node.value


@cache
def literals_of(path: Path) -> list[tuple[int, str]]:
    """`literals` of a file, which every fact is looked for in."""
    return list(literals(path.read_text(encoding="utf-8")))


def waits(source: str) -> Iterator[int]:
    """Lines that say after how many seconds to ask again, by a number of their own."""
    for node in ast.walk(ast.parse(source)):
        pairs: list[tuple[ast.expr | None, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.Dict):
            pairs = list(zip(node.keys, node.values, strict=True))
        for key, value in pairs:
            is_wait = key is not None and re.search(r"retry[-_]after", ast.unparse(key), re.IGNORECASE)
            if is_wait and isinstance(value, ast.Constant) and value.value not in (None, 0):
                yield value.lineno


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_has_one_home(fact: str) -> None:
    """Nowhere else is its value written down."""
    home, pattern = FACTS[fact]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in files()
        if path != home
        for line, text in literals_of(path)
        if re.search(pattern, text)
    ]

    assert found == []


def test_the_seconds_to_wait_have_one_home() -> None:
    """Those of the functions are those of the gateway."""
    found = {path for path in files() if [*waits(path.read_text(encoding="utf-8"))]}

    assert found == {NAMES}


@pytest.mark.parametrize(
    ("fact", "second_home"),
    [
        ("names of a stage", 'f"ras-{stage}-data"'),
        ("names of a stage", 'FUNCTION = "ras-local-query"'),
        ("log groups", 'f"/aws/lambda/{name}"'),
        ("the alias", 'LIVE = "live"'),
        ("the index", '{"IndexName": "user-batches"}'),
        ("prefixes of the bucket", 'PREFIX = "given-up/"'),
        ("prefixes of the bucket", 'f"{base}rejected/{topic}"'),
        ("the batches' prefix", 'bucket.arn_for_objects("aws/lambda/*")'),
        ("callers", 'ALLOWED = ("api-gateway-service",)'),
        ("environment variables", 'os.environ["TABLE_NAME"]'),
        ("environment variables", '{"POWERTOOLS_TRACE_DISABLED": "true"}'),
        ("statuses of a batch", 'STATUSES = ("COMPLETED", "PARTIALLY_COMPLETED")'),
    ],
)
def test_a_second_home_is_found(fact: str, second_home: str) -> None:
    """As it could be written again; a docstring may name the value."""
    _, pattern = FACTS[fact]
    assert [text for _, text in literals(second_home) if re.search(pattern, text)]
    assert [*literals(f"'''{second_home}'''")] == []


@pytest.mark.parametrize("second_home", ["RETRY_AFTER_S = 2", '{"Retry-After": "2"}', "retry_after: int = 2"])
def test_a_second_wait_is_found(second_home: str) -> None:
    """As a number or a header."""
    assert [*waits(second_home)] == [1]


def test_names_import_nothing() -> None:
    """So that everything may import them."""
    imported = [
        node
        for node in ast.walk(ast.parse(NAMES.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__")
    ]

    assert imported == []
