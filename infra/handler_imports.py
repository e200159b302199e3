"""Whether every module that our own deployed code imports is in what is deployed with it."""

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# Lambda's Python runtimes bring it, from 3.12 on.
_OF_THE_RUNTIME = frozenset({"snapshot_restore_py"})


def missing_imports(
    sources: Path, path: Sequence[Path], standard_library: frozenset[str] = sys.stdlib_module_names
) -> list[str]:
    """What the files under `sources` import that is in no folder of `path`, each as `<file>:<line> imports <module>`."""
    return [
        f"{source}:{line} imports {module}"
        for source in sorted(sources.rglob("*.py"))
        for line, module in _imports(ast.parse(source.read_text(), str(source)))
        if module.partition(".")[0] not in standard_library | _OF_THE_RUNTIME
        and not any(_is_module(folder.joinpath(*module.split("."))) for folder in path)
    ]


def _imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    for child in ast.iter_child_nodes(node):
        match child:
            # Read by type checkers alone.
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=otherwise):
                yield from _imports(ast.Module(otherwise, []))
            case ast.Import(names=names):
                yield from ((child.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield child.lineno, module
            case _:
                yield from _imports(child)


def _is_module(path: Path) -> bool:
    return (
        path.is_dir()
        or path.with_name(f"{path.name}.py").is_file()
        or any(path.parent.glob(f"{path.name}.*.so"))
    )
